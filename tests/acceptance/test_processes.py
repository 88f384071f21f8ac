"""`--processes N`: one port, one banner, one exit code, and nobody alone when a process dies."""

import os
import re
import signal
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.places import PLACES, Place, config_for, free_port
from tests.support.database import rows
from tests.support.postgres import Cluster
from tests.support.program import Gateway, MockUpstream, Program, chat, client, submit, wait_done
from tests.support.waiting import wait_until

PATH = "/v1/async/chat/completions"
N = 3


@pytest.fixture(params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, start_cluster: Callable[[], Cluster]
) -> Iterator[Place]:
    """A database for several processes."""
    with request.param.new(tmp_path, start_cluster) as found:
        yield found


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Generator[MockUpstream]:
    """An upstream that takes every call and answers none."""
    record = tmp_path_factory.mktemp("silent") / "calls"
    with MockUpstream("--record", str(record), "--latency-ms", "3600000") as found:
        yield found


@pytest.fixture(scope="module")
def brief() -> Generator[MockUpstream]:
    """An upstream that thinks for a second."""
    with MockUpstream("--echo", "--latency-ms", "1000") as found:
        yield found


def several(place: Place, upstream: MockUpstream | None = None, **ours: Any) -> Gateway:
    """N processes, soon to be served by one banner."""
    more = {} if upstream is None else {"openai": upstream}
    port = ours.pop("port", 0)
    config = config_for({"processes": N, "upkeep_s": 0.2, **ours}, **more)
    return place.start("several", config, port=port)


@contextmanager
def calling(gateway: Gateway, place: Place) -> Generator[str]:
    """A job whose call is out."""
    with client(gateway) as http:
        job_id = submit(http, chat("hello", "openai/any"))
        wait_until(lambda: place.attempts_of(job_id)[-1:] == [(1, "sending", None)])
        yield job_id


def holder(gateway: Gateway, place: Place, job_id: str) -> int:
    """The process that runs a job: its log names the worker."""
    ((worker_id,),) = place.rows("SELECT worker_id FROM job WHERE id = ?", place.key(job_id))
    found = re.search(rf"\[(\d+)\] .* worker {worker_id}", gateway.output)
    assert found
    return int(found[1])


def served(gateway: Gateway) -> None:
    """A job done over a connection of its own."""
    with client(gateway) as http:
        assert wait_done(http, submit(http, chat()))["status"] == "completed"


def clean_exit(gateway: Gateway) -> None:
    assert gateway.wait_exit() == 0, gateway.output
    assert "Traceback" not in gateway.output, gateway.output
    assert gateway.output.count(": drained") == N, gateway.output


# Together


def test_they_share_a_port_a_banner_and_the_work(place: Place) -> None:
    with several(place, worker_slots=1) as gateway, client(gateway) as http:
        assert f"role       all, {N} processes" in gateway.output
        assert gateway.output.count("listening") == 1
        assert len(gateway.children()) == N
        jobs = [submit(http, chat(model="mock/slow?seconds=1")) for _ in range(N + 1)]
        for job_id in jobs:
            assert wait_done(http, job_id)["status"] == "completed"
            assert place.attempts_of(job_id) == [(1, "succeeded", None)]
        by = place.rows("SELECT count(DISTINCT worker_id) FROM attempt")
        assert by == [(N,)]
        gateway.send(signal.SIGTERM)
        clean_exit(gateway)


def test_every_line_of_the_log_says_whose_it_is(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--processes", "2") as gateway:
        gateway.wait_ready()
        named = {int(pid) for pid in re.findall(r"INFO \[(\d+)\] ", gateway.output)}
        assert named == set(gateway.children())


def test_several_workers_share_a_port_for_probes(tmp_path: Path) -> None:
    flags = ("--processes", "2", "--role", "worker")
    with Gateway(tmp_path, *flags) as gateway, client(gateway) as http:
        assert http.get("/health/readiness").status_code == 200
        assert http.post(PATH, json=chat()).status_code == 404


# What keeps them from starting


def test_a_port_that_is_taken_is_told_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        flags = ("--processes", "2", "--app-dir", str(tmp_path), "--port", port)
        with Program("serve", *flags, ready="listening") as program:
            assert program.wait_exit() == 2
            (line,) = program.output.splitlines()
            assert line.endswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")


def test_what_one_process_cannot_start_without_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "hermod.db").write_bytes(os.urandom(8192))
    with Gateway(tmp_path, "--processes", "2") as gateway:
        assert gateway.wait_exit() == 2
        said = [line for line in gateway.output.splitlines() if line.startswith("hermod: ")]
        assert len(said) == 1
        assert said[0].startswith(f"hermod: cannot open the database {tmp_path}/hermod.db: ")
        assert "listening" not in gateway.output


# Signals


@pytest.mark.parametrize("to_group", [False, True], ids=["supervisor", "group"])
def test_sigterm_lets_what_runs_finish(place: Place, brief: MockUpstream, to_group: bool) -> None:
    with several(place, brief) as gateway, calling(gateway, place) as job_id:
        if to_group:
            os.killpg(gateway.process.pid, signal.SIGTERM)
        else:
            gateway.send(signal.SIGTERM)
        clean_exit(gateway)
    assert place.attempts_of(job_id) == [(1, "succeeded", None)]


@pytest.mark.parametrize("to_group", [False, True], ids=["supervisor", "group"])
def test_a_second_sigterm_gives_jobs_back_at_once(
    place: Place, silent: MockUpstream, to_group: bool
) -> None:
    with several(place, silent, drain_s=3600) as gateway, calling(gateway, place) as job_id:
        for _ in range(2):
            if to_group:
                os.killpg(gateway.process.pid, signal.SIGTERM)
            else:
                gateway.send(signal.SIGTERM)
            wait_until(lambda: gateway.output.count(": draining") == N)
        clean_exit(gateway)
    assert place.attempts_of(job_id) == [(1, "unknown", "drained")]


def test_nobody_is_told_to_wait_for_a_port_that_nobody_serves(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--processes", "2") as gateway:
        url = gateway.url
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health", trust_env=False)


# Deaths


def test_the_jobs_of_a_process_that_is_killed_are_run_by_the_others(
    place: Place, brief: MockUpstream
) -> None:
    with several(place, brief) as gateway, calling(gateway, place) as job_id:
        killed = holder(gateway, place, job_id)
        os.kill(killed, signal.SIGKILL)
        with client(gateway) as http:
            assert wait_done(http, job_id)["status"] == "completed"
        wait_until(lambda: len({*gateway.children()} - {killed}) == N)
        served(gateway)
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        assert f"process {killed} ended: signal 9; next try in 0.1 s" in gateway.output
    assert place.attempts_of(job_id) == [(1, "unknown", "worker_died"), (2, "succeeded", None)]


def test_a_process_that_is_told_to_stop_by_itself_drains_and_is_replaced(
    place: Place, brief: MockUpstream
) -> None:
    with several(place, brief) as gateway, calling(gateway, place) as job_id:
        told = holder(gateway, place, job_id)
        os.kill(told, signal.SIGTERM)
        with client(gateway) as http:
            assert wait_done(http, job_id)["status"] == "completed"
        wait_until(lambda: told not in gateway.children() and len(gateway.children()) == N)
        served(gateway)
    assert place.attempts_of(job_id) == [(1, "succeeded", None)]


def test_killed_supervisor_takes_its_children_with_it_and_leaves_port_and_jobs_to_the_next(
    place: Place, silent: MockUpstream, brief: MockUpstream
) -> None:
    port = free_port()
    with several(place, silent, port=port) as first, calling(first, place) as job_id:
        pids = first.children()
        first.kill()
        with several(place, brief, port=port) as second, client(second) as http:
            assert wait_done(http, job_id)["status"] == "completed"
            second.send(signal.SIGTERM)
            clean_exit(second)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert place.attempts_of(job_id) == [(1, "unknown", "drained"), (2, "succeeded", None)]


def test_all_processes_killed_at_once_are_replaced_and_nobody_is_refused(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--processes", "2") as gateway:
        served(gateway)
        before = gateway.children()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        served(gateway)
        wait_until(lambda: not {*before} & {*gateway.children()})
    assert rows(tmp_path, "SELECT count(*) FROM job") == [(2,)]


def test_a_frozen_process_is_killed_when_its_time_to_drain_is_over(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--processes", "2", config={"hermod": {"drain_s": 0.1}}) as gateway:
        gateway.wait_ready()
        frozen = gateway.children()[0]
        os.kill(frozen, signal.SIGSTOP)
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 1
        assert f"process {frozen} does not end: killing it" in gateway.output
