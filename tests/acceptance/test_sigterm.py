"""SIGTERM: nothing new, running jobs may finish, the rest is given back, the process is gone."""

import fcntl
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.database import attempts_of, raw_id, rows
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
LARGE = "0123456789abcdef" * 500_000
"""An answer of 8 MB, more than the sockets on its way hold."""


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Generator[MockUpstream]:
    """An upstream that takes every call and answers none."""
    record = tmp_path_factory.mktemp("silent") / "calls"
    with MockUpstream("--record", str(record), "--latency-ms", "3600000") as found:
        yield found


@pytest.fixture(scope="module")
def quick() -> Generator[MockUpstream]:
    """An upstream that repeats the prompt."""
    with MockUpstream("--echo", "--latency-ms", "50") as found:
        yield found


def stats_in_flight(upstream: MockUpstream) -> int:
    return httpx.get(f"{upstream.url}/stats", trust_env=False).json()["in_flight"]


def clean_exit(gateway: Gateway, timeout_s: float) -> None:
    """The gateway ends by itself, in time and without a word of complaint."""
    assert gateway.wait_exit(timeout_s) == 0, gateway.output
    assert "Traceback" not in gateway.output, gateway.output
    assert "ERROR" not in gateway.output, gateway.output


def wait_draining(http: httpx.Client) -> None:
    """Until the gateway says that it is no longer ready."""
    wait_until(lambda: http.get("/health/readiness").status_code == 503)


@contextmanager
def slow_clients(gateway: Gateway, large_id: str) -> Generator[None]:
    """Five connections, each slow in a way of its own, as long as the context lasts."""
    done = threading.Event()
    with ExitStack() as stack:

        def connect(sent: bytes) -> socket.socket:
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", gateway.port))
            connection.sendall(sent)
            return connection

        def trickle(connection: socket.socket) -> None:
            while not done.wait(1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        connect(b"")
        connect(f"GET {PATH}/x HTTP/1.1\r\nHost: loc".encode())
        bytewise = connect(f"POST {PATH} HTTP/1.1\r\nx-slow: ".encode())
        connect(f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n{{".encode())
        connect(f"GET {PATH}/{large_id} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        thread = threading.Thread(target=trickle, args=(bytewise,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Load:
    """Clients that submit until they are refused."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.accepted: dict[str, str] = {}
        self.refused: list[httpx.Response] = []
        self._url = url
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, client_number: int) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as http:
            for number in range(100_000):
                text = f"job {client_number}-{number}"
                try:
                    response = http.post(PATH, json=chat(text, "openai/any"))
                except httpx.TransportError:
                    return
                if response.status_code != 202:
                    self.refused.append(response)
                    return
                self.accepted[response.json()["id"]] = text

    def join(self) -> None:
        """Wait until all of them have been refused or cut off."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def test_sigterm_under_load_with_slow_clients_ends_in_time_and_loses_nothing(
    tmp_path: Path, quick: MockUpstream
) -> None:
    config = openai_config(quick, drain_s=6, upkeep_s=0.3)
    with Gateway(tmp_path, config=config) as gateway:
        with client(gateway) as http:
            large_id = submit(http, chat(LARGE, "mock/echo"))
            assert wait_done(http, large_id)["status"] == "completed"
        with slow_clients(gateway, large_id):
            load = Load(gateway.url)
            wait_until(lambda: len(load.accepted) > 100)
            gateway.send(signal.SIGTERM)
            clean_exit(gateway, timeout_s=25)
            load.join()
    assert {response.status_code for response in load.refused} <= {503}
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        for job_id, text in load.accepted.items():
            done = wait_done(http, job_id)
            assert done["result"]["choices"][0]["message"]["content"] == text, done
    unfinished = "SELECT count(*) FROM job WHERE state IN ('queued', 'running', 'waiting')"
    assert rows(tmp_path, unfinished) == [(0,)]


def test_a_drain_still_answers_polls_and_refuses_submits(tmp_path: Path) -> None:
    with Gateway(tmp_path, config={"hermod": {"drain_s": 15}}) as gateway, client(gateway) as http:
        done_id = submit(http, chat("before", "mock/echo"))
        done = wait_done(http, done_id)
        job_id = submit(http, chat("hi", "mock/slow?seconds=4"))
        wait_until(lambda: http.get(f"{PATH}/{job_id}").json()["status"] == "processing")
        gateway.send(signal.SIGTERM)
        wait_draining(http)
        refused = http.post(PATH, json=chat())
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "shutting down" in refused.json()["error"]["message"]
        assert http.get(f"{PATH}/{job_id}").status_code == 202
        assert http.get(f"{PATH}/{done_id}").json() == done
        assert http.get("/health/liveness").status_code == 200
        with client(gateway) as newcomer:
            assert newcomer.get(f"{PATH}/{job_id}").status_code == 202
        clean_exit(gateway, timeout_s=25)
    assert attempts_of(tmp_path, job_id) == [(1, "succeeded", None)]


def test_a_job_longer_than_the_grace_is_given_back_and_not_blamed(
    tmp_path: Path, silent: MockUpstream, quick: MockUpstream
) -> None:
    with Gateway(tmp_path, config=openai_config(silent, drain_s=2)) as gateway:
        with client(gateway) as http:
            job_id = submit(http, chat("long", "openai/any"))
            once = {"x-hermod-on-unknown": "fail"}
            response = http.post(PATH, json=chat("once", "openai/any"), headers=once)
            once_id = response.json()["id"]
        wait_until(lambda: stats_in_flight(silent) == 2)
        gateway.send(signal.SIGTERM)
        clean_exit(gateway, timeout_s=20)
    assert attempts_of(tmp_path, job_id) == [(1, "unknown", "drained")]
    sql = "SELECT state, attempts_spent, suspicion FROM job WHERE id = ?"
    assert rows(tmp_path, sql, raw_id(job_id)) == [("waiting", 0, 0)]
    with Gateway(tmp_path, config=openai_config(quick)) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"
        assert wait_done(http, once_id)["error"]["type"] == "outcome_unknown"
    assert [state for _, state, _ in attempts_of(tmp_path, once_id)] == ["unknown"]


def test_a_job_waiting_for_its_next_try_is_given_back_at_once(tmp_path: Path) -> None:
    patient = {"retry_backoff_initial_ms": 4900, "retry_backoff_max_ms": 4900}
    with MockUpstream("--error-rate", "1", "--latency-ms", "0") as broken:
        config = openai_config(broken, drain_s=60, **patient)
        with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
            job_id = submit(http, chat("again", "openai/any"))
            wait_until(
                lambda: "500" in str(httpx.get(f"{broken.url}/stats", trust_env=False).json())
            )
            gateway.send(signal.SIGTERM)
            clean_exit(gateway, timeout_s=40)
    sql = "SELECT state, attempts_spent FROM job WHERE id = ?"
    assert rows(tmp_path, sql, raw_id(job_id)) == [("waiting", 1)]
    assert attempts_of(tmp_path, job_id) == [(1, "failed", "server_error")]


def test_a_second_sigterm_ends_the_drain(tmp_path: Path, silent: MockUpstream) -> None:
    config = openai_config(silent, drain_s=3600)
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        job_id = submit(http, chat("long", "openai/any"))
        wait_until(lambda: stats_in_flight(silent) == 1)
        gateway.send(signal.SIGTERM)
        wait_draining(http)
        gateway.send(signal.SIGTERM)
        clean_exit(gateway, timeout_s=30)
    assert attempts_of(tmp_path, job_id) == [(1, "unknown", "drained")]


def test_sigterm_to_the_process_group_drains(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway, client(gateway) as http:
        job_id = submit(http, chat("hi", "mock/slow?seconds=1"))
        os.killpg(os.getpgid(gateway.process.pid), signal.SIGTERM)
        clean_exit(gateway, timeout_s=25)
    assert attempts_of(tmp_path, job_id) == [(1, "succeeded", None)]


def test_an_idle_gateway_ends_at_once_and_lets_go_of_everything(tmp_path: Path) -> None:
    with Gateway(tmp_path, config={"hermod": {"drain_s": 3600}}) as gateway:
        with client(gateway) as http:
            wait_done(http, submit(http, chat()))
        gateway.send(signal.SIGTERM)
        clean_exit(gateway, timeout_s=20)
    with closing(sqlite3.connect(tmp_path / "hermod.db", timeout=0)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
    assert not (tmp_path / "hermod.db-wal").exists()
    for lock in (tmp_path / "workers").iterdir():
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_drained_gateway_leaves_its_job_to_the_one_beside_it(
    tmp_path: Path, silent: MockUpstream, quick: MockUpstream
) -> None:
    ours = {"drain_s": 1, "upkeep_s": 0.3}
    with Gateway(tmp_path, config=openai_config(silent, **ours)) as leaving:
        with client(leaving) as http:
            job_id = submit(http, chat("over there", "openai/any"))
        wait_until(lambda: stats_in_flight(silent) == 1)
        with Gateway(tmp_path, config=openai_config(quick, **ours)) as staying:
            staying.wait_ready()
            leaving.send(signal.SIGTERM)
            clean_exit(leaving, timeout_s=20)
            with client(staying) as http:
                assert wait_done(http, job_id)["status"] == "completed"
    assert [state for _, state, _ in attempts_of(tmp_path, job_id)] == ["unknown", "succeeded"]
