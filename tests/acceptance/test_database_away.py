"""A gateway whose database server is not there yet, is frozen, or refuses it."""

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.faults.places import free_port
from tests.support.postgres import Cluster
from tests.support.program import Gateway, chat, client, submit, wait_done
from tests.support.waiting import wait_until

PATH = "/v1/async/chat/completions"
PROBE_S = 10.0
"""Far above the two seconds in which a probe is answered, far below a wait for the database."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A PostgreSQL of our own, which comes and goes."""
    with Cluster({"fsync": "off"}) as started:
        yield started
        started.thaw()


def answers(url: str, path: str) -> httpx.Response | None:
    """What a probe hears; None while nobody listens."""
    with suppress(httpx.ConnectError):
        return httpx.get(f"{url}{path}", timeout=PROBE_S, trust_env=False)
    return None


def get(url: str, path: str) -> httpx.Response:
    """What a probe hears, once somebody listens."""
    seen: list[httpx.Response] = []

    def heard() -> bool:
        seen[:] = [answer for answer in [answers(url, path)] if answer is not None]
        return bool(seen)

    wait_until(heard, timeout_s=30)
    return seen[0]


@pytest.mark.parametrize("flags", [(), ("--processes", "2")], ids=["alone", "supervised"])
def test_a_start_waits_for_the_server_and_says_so(
    tmp_path: Path, server: Cluster, flags: tuple[str, ...]
) -> None:
    server.stop()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Gateway(tmp_path, "--database", server.url(), *flags, port=port) as gateway:
        assert get(url, "/health/liveness").status_code == 200
        wait_until(lambda: "not there yet" in get(url, "/health/readiness").text)
        ready = get(url, "/health/readiness")
        assert (ready.status_code, ready.json()["status"]) == (503, "starting")
        for path in ("/health", "/metrics"):
            answer = get(url, path)
            assert (answer.status_code, "not there yet" in answer.text) == (503, True)
        refused = httpx.post(f"{url}{PATH}", json=chat(), trust_env=False)
        assert (refused.status_code, "not there yet" in refused.text) == (503, True)
        assert int(refused.headers["retry-after"]) > 0
        assert "listening" not in gateway.output
        server.start()
        with client(gateway) as http:
            assert get(url, "/health/readiness").status_code == 200
            assert wait_done(http, submit(http, chat()))["status"] == "completed"
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        assert server.password not in gateway.output
        assert gateway.output.count("waiting up to 60 s for the database") == 1


def test_a_start_that_waits_can_be_stopped(tmp_path: Path, server: Cluster) -> None:
    server.stop()
    port = free_port()
    with Gateway(tmp_path, "--database", server.url(), port=port) as gateway:
        assert get(f"http://127.0.0.1:{port}", "/health/liveness").status_code == 200
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        assert "Traceback" not in gateway.output
    server.start()


def test_a_start_waits_no_longer_than_it_was_told(tmp_path: Path, server: Cluster) -> None:
    server.stop()
    config = {"hermod": {"database_wait_s": 0.5}}
    with Gateway(tmp_path, "--database", server.url(), config=config) as gateway:
        assert gateway.wait_exit() == 2
        last = gateway.output.splitlines()[-1]
        assert last.startswith("hermod: the database cannot be reached: ")
        assert last.endswith("Waited 0.5 s for it (hermod.database_wait_s)")
        assert "Traceback" not in gateway.output
    server.start()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("database", 'database "nowhere" does not exist'),
        ("password", "password authentication failed"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("--processes", "2")], ids=["alone", "supervised"])
def test_what_no_waiting_heals_stops_the_start_at_once(
    tmp_path: Path, server: Cluster, flags: tuple[str, ...], wrong: str, says: str
) -> None:
    url = server.url("nowhere")
    if wrong == "password":
        url = server.url().replace(server.password, f"not {server.password}".replace(" ", "%20"))
    with Gateway(tmp_path, "--database", url, *flags) as gateway:
        assert gateway.wait_exit() == 2
        (said,) = (line for line in gateway.output.splitlines() if line.startswith("hermod: "))
        assert says in said
        assert server.password not in gateway.output
        assert "waiting" not in gateway.output


def test_probes_of_a_frozen_server_are_answered(tmp_path: Path, server: Cluster) -> None:
    with Gateway(tmp_path, "--database", server.url()) as gateway, client(gateway) as http:
        assert wait_done(http, submit(http, chat()))["status"] == "completed"
        server.freeze()
        try:
            for path in ("/health", "/health/readiness", "/metrics"):
                assert http.get(path, timeout=PROBE_S).status_code == 503, path
            assert http.get("/health/liveness").status_code == 200
        finally:
            server.thaw()
        wait_until(lambda: http.get("/health/readiness").status_code == 200, timeout_s=30)
        assert wait_done(http, submit(http, chat()))["status"] == "completed"


def test_sigterm_is_over_in_time_while_the_server_is_frozen(
    tmp_path: Path, server: Cluster
) -> None:
    config = {"hermod": {"drain_s": 2}}
    with Gateway(tmp_path, "--database", server.url(), config=config) as gateway:
        with client(gateway) as http:
            jobs = [submit(http, chat(model="mock/slow?seconds=3")) for _ in range(5)]
            server.freeze()
            try:
                gateway.send(signal.SIGTERM)
                # A statement that nobody answers is given up after ten seconds, not before.
                assert gateway.wait_exit(timeout_s=7) == 0
            finally:
                server.thaw()
        assert "Traceback" not in gateway.output
    with Gateway(tmp_path, "--database", server.url()) as gateway, client(gateway) as http:
        assert [wait_done(http, each)["status"] for each in jobs] == ["completed"] * len(jobs)


def test_an_outage_is_told_in_few_lines_and_no_job_is_lost(tmp_path: Path, server: Cluster) -> None:
    config = {"hermod": {"upkeep_s": 0.1}}
    with Gateway(tmp_path, "--database", server.url(), config=config) as gateway:
        with client(gateway) as http:
            jobs = [submit(http, chat(model="mock/slow?seconds=1")) for _ in range(30)]
            server.stop("immediate")
            wait_until(lambda: http.get("/health/readiness").status_code == 503, timeout_s=30)
            wait_until(lambda: "the store fails" in gateway.output)
            refused = http.post(PATH, json=chat())
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            server.start()
            wait_until(lambda: http.get("/health/readiness").status_code == 200, timeout_s=5)
            for job_id in jobs:
                assert wait_done(http, job_id)["status"] == "completed"
            # Their answers came while nobody could write them, and were kept.
            sql = "SELECT count(*), max(n) FROM hermod.attempt WHERE job_id = ANY ($1::uuid[])"
            assert server.execute(sql, jobs) == [(len(jobs), 1)]
            wait_until(lambda: "the store works again" in gateway.output, timeout_s=30)
            told = gateway.output.splitlines()
            assert len([line for line in told if "the store fails" in line]) == 1
            assert len([line for line in told if " WARNING " in line or " ERROR " in line]) < 8, (
                told
            )
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
