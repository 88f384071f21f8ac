"""Processes that only accept jobs, and processes that only run them, meet in the store."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.places import PLACES, Place, config_for
from tests.support.postgres import Cluster
from tests.support.program import Gateway, MockUpstream, chat, client, submit, wait_done
from tests.support.waiting import wait_until
from tests.support.wire import refusal

PATH = "/v1/async/chat/completions"
PROBES = ("/health", "/health/liveness", "/health/liveliness", "/health/readiness", "/metrics")
RARE: dict[str, Any] = {"upkeep_s": 3000}
"""No look for work within the time of a test, unless somebody is woken."""
OFTEN: dict[str, Any] = {"upkeep_s": 0.2}


@pytest.fixture(params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, start_cluster: Callable[[], Cluster]
) -> Iterator[Place]:
    """A database for gateways of several roles."""
    with request.param.new(tmp_path, start_cluster) as found:
        yield found


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockUpstream]:
    """An upstream that thinks for a second."""
    record = tmp_path_factory.mktemp("slow") / "calls"
    with MockUpstream("--echo", "--latency-ms", "1000", "--record", str(record)) as found:
        yield found


@pytest.fixture(scope="module")
def silent() -> Iterator[MockUpstream]:
    """An upstream that takes every call and answers none."""
    with MockUpstream("--latency-ms", "3600000") as found:
        yield found


def api(place: Place, **ours: Any) -> Gateway:
    return place.start("api", config_for({"role": "api", **ours}))


def worker(place: Place, name: str = "worker", **ours: Any) -> Gateway:
    return place.start(name, config_for({"role": "worker", **ours}))


def end(*gateways: Gateway) -> None:
    """SIGTERM, and a clean exit."""
    for gateway in gateways:
        gateway.send(signal.SIGTERM)
    for gateway in gateways:
        assert gateway.wait_exit() == 0, gateway.output
        assert "Traceback" not in gateway.output
        assert "ERROR" not in gateway.output, gateway.output


def test_an_idle_worker_is_woken_by_a_job_that_another_process_accepted(place: Place) -> None:
    with api(place, **RARE) as front, worker(place, **RARE) as back:
        back.wait_ready()
        with client(front) as http:
            for _ in range(3):
                job_id = submit(http, chat())
                assert wait_done(http, job_id)["status"] == "completed"
                assert place.attempts_of(job_id) == [(1, "succeeded", None)]
        end(front, back)


def test_a_job_waits_for_a_worker(place: Place) -> None:
    with api(place) as front, client(front) as http:
        assert http.get("/health/readiness").status_code == 200
        job_id = submit(http, chat())
        assert http.get(f"{PATH}/{job_id}").json()["status"] == "pending"
        with worker(place) as back:
            assert wait_done(http, job_id)["status"] == "completed"
            end(front, back)


def test_without_any_worker_jobs_and_results_expire_all_the_same(place: Place) -> None:
    with api(place, queue_wait_s=1, **OFTEN) as front, client(front) as http:
        ttl = {"x-bf-async-job-result-ttl": "1"}
        kept, gone = (submit(http, chat()), http.post(PATH, json=chat(), headers=ttl).json()["id"])
        ended = wait_done(http, kept)
        assert ended["status"] == "failed"
        assert "queue deadline" in json.dumps(ended)
        wait_until(lambda: http.get(f"{PATH}/{gone}").status_code == 404)
        wait_until(lambda: 'state="expired"} 1.0' in http.get("/metrics").text)
        end(front)


def test_a_gateway_makes_the_calls_of_its_own_callers_and_leaves_jobs_alone(
    tmp_path: Path,
) -> None:
    with Gateway(tmp_path, "--role", "api") as gateway, client(gateway) as http:
        job_id = submit(http, chat())
        assert "role       api" in gateway.output
        called = http.post("/v1/chat/completions", json=chat())
        assert called.status_code == 200
        assert called.json()["choices"]
        # Made at the same time and never claimed, or it would have been done first.
        assert http.get(f"{PATH}/{job_id}").json()["status"] == "pending"


def test_a_worker_answers_health_and_metrics_and_nothing_else(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--role", "worker") as gateway, client(gateway) as http:
        assert "role       worker" in gateway.output
        assert "curl" not in gateway.output
        for path in PROBES:
            assert http.get(path).status_code == 200, path
        assert "hermod_jobs" in http.get("/metrics").text
        for path in (PATH, f"{PATH}/01890000-0000-7000-8000-000000000000", "/openapi.json", "/"):
            for answer in (http.get(path), http.post(path, json=chat())):
                assert (answer.status_code, answer.content) == (
                    404,
                    refusal(404, "route not found"),
                )


def test_a_worker_on_all_addresses_needs_no_token(tmp_path: Path) -> None:
    with Gateway(tmp_path, "--role", "worker", "--host", "0.0.0.0") as gateway:
        gateway.wait_ready()
        assert "HERMOD_ADMIN_TOKEN" not in gateway.output


def test_the_job_of_a_worker_that_was_killed_is_run_by_the_next(
    place: Place, slow: MockUpstream
) -> None:
    ours = {"role": "worker", **OFTEN}
    with api(place) as front, client(front) as http:
        with place.start("worker", config_for(ours, openai=slow)) as back:
            job_id = submit(http, chat("hello", "openai/any"))
            wait_until(lambda: place.attempts_of(job_id) == [(1, "sending", None)])
            back.kill()
        with place.start("worker", config_for(ours, openai=slow)) as back:
            assert wait_done(http, job_id)["status"] == "completed"
            end(front, back)
    assert place.attempts_of(job_id) == [(1, "unknown", "worker_died"), (2, "succeeded", None)]


def test_a_worker_that_is_told_to_leave_hands_its_job_to_the_other(
    place: Place, silent: MockUpstream, slow: MockUpstream
) -> None:
    leaving = config_for({"role": "worker", "drain_s": 0.2, **RARE}, openai=silent)
    staying = config_for({"role": "worker", **RARE}, openai=slow)
    with api(place) as front, client(front) as http, place.start("leaving", leaving) as first:
        job_id = submit(http, chat("hello", "openai/any"))
        wait_until(lambda: place.attempts_of(job_id) == [(1, "sending", None)])
        with place.start("staying", staying) as second:
            second.wait_ready()
            end(first)
            assert wait_done(http, job_id)["status"] == "completed"
            end(front, second)
    assert place.attempts_of(job_id) == [(1, "unknown", "drained"), (2, "succeeded", None)]
