"""A full disk and no file descriptors: refused honestly, and over when there is room again."""

import os
import resource
import signal
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.database import attempts_of, rows, state_of
from tests.support.program import (
    Gateway,
    MockUpstream,
    chat,
    client,
    openai_config,
    submit,
    wait_done,
)
from tests.support.waiting import wait_until

PATH = "/v1/async/chat/completions"


@pytest.fixture(scope="module")
def brisk() -> Generator[MockUpstream]:
    """An upstream that leaves the time to fill the disk before it answers."""
    with MockUpstream("--latency-ms", "1500") as found:
        yield found


DEAD = f"{0:032x}.lock"
"""The lock file of a worker that nobody holds."""


def answered(upstream: MockUpstream) -> int:
    """How many calls the upstream has answered."""
    calls = httpx.get(f"{upstream.url}/stats", trust_env=False).json()["calls"]
    return sum(n for statuses in calls.values() for n in statuses.values())


@contextmanager
def limited(gateway: Gateway, what: int, soft: int) -> Generator[None]:
    """Another limit for the running gateway, as long as the context lasts."""
    pid = gateway.process.pid
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        if gateway.process.poll() is None:
            resource.prlimit(pid, what, before)


@contextmanager
def full_disk(gateway: Gateway, http: httpx.Client) -> Generator[None]:
    """No file of the gateway can grow: `EFBIG` in the place of `ENOSPC`."""
    with limited(gateway, resource.RLIMIT_FSIZE, 1):
        refused = http.post(PATH, json=chat())
        assert refused.status_code in {503, 507}, refused.text
        yield


def test_a_full_disk_refuses_submits_and_answers_polls(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway, client(gateway) as http:
        job_id = submit(http, chat("before", "mock/echo"))
        done = wait_done(http, job_id)
        with full_disk(gateway, http):
            assert http.get(f"{PATH}/{job_id}").json() == done
            assert http.get("/health/liveness").status_code == 200
        assert wait_done(http, submit(http, chat()))["status"] == "completed"
        assert rows(tmp_path, "SELECT count(*) FROM job") == [(2,)]


def test_an_answer_that_finds_the_disk_full_is_kept_until_there_is_room(
    tmp_path: Path, brisk: MockUpstream
) -> None:
    with Gateway(tmp_path, config=openai_config(brisk)) as gateway, client(gateway) as http:
        before = answered(brisk)
        job_id = submit(http, chat("hi", "openai/any"))
        with full_disk(gateway, http):
            wait_until(lambda: answered(brisk) > before)
            assert state_of(tmp_path, job_id) == "running"
        assert wait_done(http, job_id)["status"] == "completed"
    assert attempts_of(tmp_path, job_id) == [(1, "succeeded", None)]
    assert answered(brisk) == before + 1


def test_sigterm_ends_a_gateway_that_cannot_write(tmp_path: Path, brisk: MockUpstream) -> None:
    config = openai_config(brisk, drain_s=3, lease_s=3600, renew_s=1000)
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        before = answered(brisk)
        job_id = submit(http, chat("hi", "openai/any"))
        with full_disk(gateway, http):
            wait_until(lambda: answered(brisk) > before)
            gateway.send(signal.SIGTERM)
            assert gateway.wait_exit(25) == 0, gateway.output
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"


def test_a_gateway_without_descriptors_serves_its_clients_and_recovers(tmp_path: Path) -> None:
    config = {"hermod": {"upkeep_s": 0.1}}
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http, ExitStack() as crowd:
        brief = {"x-bf-async-job-result-ttl": "1"}
        job_id = http.post(PATH, json=chat("hi", "mock/echo"), headers=brief).json()["id"]
        # Another worker's lock file, which every upkeep tries to open.
        (tmp_path / "workers" / DEAD).touch()
        wait_until(lambda: not (tmp_path / "workers" / DEAD).exists())
        open_files = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
        with limited(gateway, resource.RLIMIT_NOFILE, open_files):
            (tmp_path / "workers" / DEAD).touch()
            for _ in range(20):
                newcomer = crowd.enter_context(socket.socket())
                newcomer.connect(("127.0.0.1", gateway.port))
            assert wait_done(http, submit(http, chat("hi", "mock/echo")))["status"] == "completed"
            wait_until(lambda: "upkeep" in gateway.output)
        wait_until(lambda: not (tmp_path / "workers" / DEAD).exists())
        wait_until(lambda: rows(tmp_path, "SELECT count(*) FROM job")[0][0] == 1)
        assert http.get(f"{PATH}/{job_id}").status_code == 404
        with client(gateway) as newcomer_http:
            done = wait_done(newcomer_http, submit(newcomer_http, chat("hi", "mock/echo")))
            assert done["status"] == "completed"
        assert "Traceback" not in gateway.output, gateway.output
