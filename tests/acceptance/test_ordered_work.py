"""An upstream that takes work and is asked for it: it is ordered once, whatever happens (design.md
8, 18)."""

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import attempts_of, rows
from tests.support.program import Gateway, chat, client, submit, wait_done
from tests.support.waiting import wait_until

MODEL = "replicate/meta/some-model"


class Predictions:
    """Takes predictions as Replicate does, and has them ready when it is told."""

    def __init__(self) -> None:
        self.ordered: list[Any] = []
        self.asked = 0
        self.cancelled: list[str] = []
        self.breaks = 0
        """So many questions are answered with an error."""
        self.shown: set[str | None] = set()
        """How whoever came proved themselves."""
        self.ready = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def config(self) -> dict[str, Any]:
        """A config file with it as `replicate`."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        key = {"name": "main", "value": "r8-secret", "weight": 1}
        network = {"base_url": url, "retry_backoff_initial": 1, "retry_backoff_max": 10}
        return {
            "providers": {"replicate": {"keys": [key], "network_config": network}},
            "hermod": {"lease_s": 3, "renew_s": 0.5, "upkeep_s": 0.3},
        }

    def prediction(self) -> dict[str, Any]:
        """How far it is."""
        if not self.ready.is_set():
            return {"id": "p1", "status": "processing", "output": None}
        return {"id": "p1", "status": "succeeded", "output": ["he", "llo"]}

    def close(self) -> None:
        """Serve nobody any more."""
        self._server.shutdown()
        self.thread.join()
        self._server.server_close()


def _handler(predictions: Predictions) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            predictions.shown.add(self.headers["authorization"])
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            if self.path.endswith("/cancel"):
                predictions.cancelled.append(self.path)
            else:
                predictions.ordered.append(json.loads(body))
            self._answer(201)

        def do_GET(self) -> None:
            predictions.shown.add(self.headers["authorization"])
            predictions.asked += 1
            broken = predictions.asked <= predictions.breaks
            self._answer(502 if broken else 200)

        def _answer(self, status: int) -> None:
            told = json.dumps(predictions.prediction()).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing: it would be noise."""

    return Handler


@pytest.fixture
def upstream() -> Iterator[Predictions]:
    """A new one."""
    predictions = Predictions()
    predictions.thread.start()
    yield predictions
    predictions.close()


def test_the_work_is_asked_for_until_it_is_done(tmp_path: Path, upstream: Predictions) -> None:
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        upstream.ready.set()
        job = wait_done(http, job_id)
        assert job["result"]["choices"][0]["message"]["content"] == "hello"
        assert len(upstream.ordered) == 1
        assert attempts_of(tmp_path, job_id) == [(1, "succeeded", None)]


def test_work_that_was_ordered_before_a_crash_is_not_ordered_again(
    tmp_path: Path, upstream: Predictions
) -> None:
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        gateway.kill()
    upstream.ready.set()
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        job = wait_done(http, job_id)
    assert job["result"]["choices"][0]["message"]["content"] == "hello"
    assert len(upstream.ordered) == 1
    assert [state for _, state, _ in attempts_of(tmp_path, job_id)] == ["unknown", "succeeded"]


def test_work_is_not_ordered_again_however_often_we_die_while_we_ask_for_it(
    tmp_path: Path, upstream: Predictions
) -> None:
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        gateway.kill()
    with Gateway(tmp_path, config=upstream.config) as gateway:
        asked = upstream.asked
        wait_until(lambda: upstream.asked > asked + 1, timeout_s=20)
        gateway.kill()
    upstream.ready.set()
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"
    assert len(upstream.ordered) == 1


ORDER_USD = 0.7
ORDER = 700_000_000


def governed(upstream: Predictions, allowed: int) -> dict[str, Any]:
    """Its config, with a budget in dollars and a limit of requests."""
    config = upstream.config
    config["hermod"] |= {"drain_s": 0.1, "prices": {"replicate/*": {"request_usd": ORDER_USD}}}
    per_day = {"request_max_limit": allowed, "request_reset_duration": "1d"}
    config["governance"] = {
        "providers": [{"name": "replicate", "rate_limit_id": "few", "budget_id": "dollars"}],
        "rate_limits": [{"id": "few", **per_day}],
        "budgets": [{"id": "dollars", "max_limit": allowed, "reset_duration": "1d"}],
    }
    return config


@pytest.mark.parametrize(("end", "allowed"), [("kill", 9), ("kill", 1), ("stop", 9)])
def test_work_that_is_fetched_after_a_restart_counts_once(
    tmp_path: Path, upstream: Predictions, end: str, allowed: int
) -> None:
    """Also where it is all that the limits allow: it is paid for, and fetched."""
    config = governed(upstream, allowed)
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        if end == "kill":
            gateway.kill()
        else:
            gateway.send(signal.SIGTERM)
            assert gateway.wait_exit() == 0
    assert {row[1:] for row in meters_of(tmp_path)} == {(0, 1, 0), (0, ORDER, 0)}
    upstream.ready.set()
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"
    assert len(upstream.ordered) == 1
    assert {row[1:] for row in meters_of(tmp_path)} == {(1, 0, 1), (ORDER, 0, ORDER)}


def test_an_error_in_answer_to_the_question_is_no_failure_of_the_work(
    tmp_path: Path, upstream: Predictions
) -> None:
    upstream.breaks = 2
    with Gateway(tmp_path, config=governed(upstream, 1)) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 3, timeout_s=30)
        upstream.ready.set()
        assert wait_done(http, job_id)["status"] == "completed"
    assert len(upstream.ordered) == 1
    states = [state for _, state, _ in attempts_of(tmp_path, job_id)]
    assert states == ["failed", "failed", "succeeded"]
    assert {row[1:] for row in meters_of(tmp_path)} == {(1, 0, 1), (ORDER, 0, ORDER)}


def test_work_that_nobody_may_fetch_any_more_is_charged_as_estimated(
    tmp_path: Path, upstream: Predictions
) -> None:
    upstream.breaks = 99
    with Gateway(tmp_path, config=governed(upstream, 9)) as gateway, client(gateway) as http:
        job = wait_done(http, submit(http, chat(model=MODEL)))
    assert job["status"] == "failed"
    assert len(upstream.ordered) == 1
    assert {row[1:] for row in meters_of(tmp_path)} == {(1, 0, 1), (ORDER, 0, ORDER)}


def meters_of(app_dir: Path) -> list[tuple[str, int, int, int]]:
    """What is used, reserved, and used in total, of each."""
    return rows(app_dir, "SELECT id, used, reserved, total FROM meter")


@pytest.mark.parametrize(
    ("point", "orders"), [("before", 2), ("before_commit", 2), ("after_commit", 1)]
)
def test_a_crash_while_the_order_is_noted_leaves_a_job_that_ends(
    tmp_path: Path, upstream: Predictions, point: str, orders: int
) -> None:
    deadly = {"HERMOD_FAILPOINTS": f"record_handle.{point}=kill"}
    with Gateway(tmp_path, config=upstream.config, environ=deadly) as gateway:
        with client(gateway) as http:
            job_id = submit(http, chat(model=MODEL))
        gateway.wait_exit()
    upstream.ready.set()
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"
    assert len(upstream.ordered) == orders


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_crash_while_the_order_is_looked_up_orders_nothing(
    tmp_path: Path, upstream: Predictions, point: str
) -> None:
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        gateway.kill()
    deadly = {"HERMOD_FAILPOINTS": f"read_attempts.{point}=kill"}
    with Gateway(tmp_path, config=upstream.config, environ=deadly) as gateway:
        gateway.wait_exit()
    upstream.ready.set()
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"
    assert len(upstream.ordered) == 1


def test_work_of_a_cancelled_job_is_called_off(tmp_path: Path, upstream: Predictions) -> None:
    with Gateway(tmp_path, config=upstream.config) as gateway, client(gateway) as http:
        body = {"model": MODEL, "input": "hi", "background": True}
        made = http.post("/v1/responses", json=body)
        assert made.status_code == 200, made.text
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        http.post(f"/v1/responses/{made.json()['id']}/cancel")
        wait_until(lambda: upstream.cancelled == ["/v1/predictions/p1/cancel"], timeout_s=10)


def test_a_stop_leaves_the_work_for_the_next_start(tmp_path: Path, upstream: Predictions) -> None:
    config = upstream.config
    config["hermod"]["drain_s"] = 0.1
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        job_id = submit(http, chat(model=MODEL))
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        gateway.process.terminate()
        assert gateway.wait_exit() == 0
    assert upstream.cancelled == []
    upstream.ready.set()
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        assert wait_done(http, job_id)["status"] == "completed"
    assert len(upstream.ordered) == 1


def test_work_that_was_ordered_with_a_callers_key_is_asked_for_and_called_off_with_it(
    tmp_path: Path, upstream: Predictions
) -> None:
    config = upstream.config | {"client": {"allow_direct_keys": True}}
    own = {"authorization": "Bearer r8-the-callers"}
    body = {"model": MODEL, "input": "hi", "background": True}
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        made = http.post("/v1/responses", json=body, headers=own)
        assert made.status_code == 200, made.text
        wait_until(lambda: upstream.asked >= 1, timeout_s=20)
        gateway.kill()
    asked = upstream.asked
    with Gateway(tmp_path, config=config) as gateway, client(gateway) as http:
        wait_until(lambda: upstream.asked > asked, timeout_s=20)
        http.post(f"/v1/responses/{made.json()['id']}/cancel")
        wait_until(lambda: upstream.cancelled == ["/v1/predictions/p1/cancel"], timeout_s=10)
    assert len(upstream.ordered) == 1
    assert upstream.shown == {"Bearer r8-the-callers"}
