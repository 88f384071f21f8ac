"""After `kill -9` every accepted job comes to its end (wire-contract 12, points 15 and 18)."""

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.test_contract_results import ECHOED
from tests.faults.places import Place, config_for
from tests.support.program import Gateway, MockUpstream, client
from tests.support.waiting import wait_until
from tests.support.wire import CHATTING, KINDS, Wire, completed, failed

NEVER_MS = "3600000"
LANES = ("openai", "cohere", "mistral")


@pytest.fixture(scope="module")
def silent() -> Iterator[MockUpstream]:
    """An upstream that takes every call and answers none."""
    with MockUpstream("--latency-ms", NEVER_MS) as running:
        yield running


def config(upstream: MockUpstream) -> dict[str, Any]:
    """All kinds at one upstream, each lane with room for one job of each kind it has."""
    whole = config_for({"upkeep_s": 0.2}, **dict.fromkeys(LANES, upstream))
    for name, provider in whole["providers"].items():
        slots = sum(kind.upstream == name for kind in KINDS)
        provider["concurrency_and_buffer_size"] = {"concurrency": slots}
    return whole


def stop(gateway: Gateway) -> None:
    """A clean end."""
    gateway.send(signal.SIGTERM)
    assert gateway.wait_exit() == 0, gateway.output
    assert "Traceback" not in gateway.output


def test_jobs_of_every_kind_end_after_a_kill(
    place: Place, silent: MockUpstream, mock_upstream: MockUpstream
) -> None:
    """Points 15 and 18: one of each kind done, one running, one waiting, one not to be repeated."""
    once = {"x-hermod-on-unknown": "fail"}
    with place.start("gateway", config(mock_upstream)) as first, client(first) as http:
        wire = Wire(http)
        done = {kind: wire.run(kind, kind.at_upstream("echo"))["id"] for kind in KINDS}
        before = {kind: wire.get(kind, job_id).content for kind, job_id in done.items()}
        first.kill()
    with place.start("gateway", config(silent)) as second, client(second) as http:
        wire = Wire(http)
        wait_until(lambda: in_hand(silent) == 0)
        running = {kind: wire.submit(kind, kind.at_upstream("echo")) for kind in KINDS}
        wait_until(lambda: in_hand(silent) == len(KINDS), timeout_s=30)
        waiting = {kind: wire.submit(kind, kind.at_upstream("echo")) for kind in KINDS}
        for jobs, status in ((running, "processing"), (waiting, "pending")):
            for kind, job in jobs.items():
                assert wire.get(kind, job["id"]).json() == job | {"status": status}
        # The other lanes are full; this one is of the gateway itself.
        unrepeated = wire.submit(CHATTING, "mock/slow?seconds=600", headers=once)
        wait_until(lambda: place.attempts_of(unrepeated["id"]) == [(1, "sending", None)])
        second.kill()
    with place.start("gateway", config(mock_upstream)) as third, client(third) as http:
        wire = Wire(http)
        for jobs in (running, waiting):
            for kind, job in jobs.items():
                ended = wire.ended(kind, job["id"])
                ECHOED[kind.request_type](completed(ended))
                assert ended["created_at"] == job["created_at"]
        unknown, succeeded = (1, "unknown", "worker_died"), "succeeded"
        for kind in KINDS:
            assert attempts(place, running[kind]) == [unknown, (2, succeeded, None)]
            assert attempts(place, waiting[kind]) == [(1, succeeded, None)]
            assert wire.get(kind, done[kind]).content == before[kind]
        error = failed(wire.ended(CHATTING, unrepeated["id"]), 500)
        assert error["type"] == "outcome_unknown"
        assert attempts(place, unrepeated) == [unknown]
        stop(third)


def attempts(place: Place, job: dict[str, Any]) -> list[tuple[int, str, str | None]]:
    """What was tried of a job."""
    return place.attempts_of(job["id"])


def in_hand(silent: MockUpstream) -> int:
    """How many calls it has in its hands."""
    return httpx.get(f"{silent.url}/stats", trust_env=False).json()["in_flight"]
