"""The wire contract over HTTP: submitting, polling, refusing, expiring (its section 12)."""

import json
import signal
import threading
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import custom
from tests.support.database import rows
from tests.support.program import Gateway, client, submit, wait_done
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import (
    CHAT,
    EMBEDDINGS,
    NO_MODEL,
    NO_SUCH_JOB,
    RESPONSES,
    ROUTES,
    TEXT,
    Route,
    assert_refused,
    instant,
)

DEFAULT_TTL = timedelta(seconds=1234)
"""`client.async_job_result_ttl` of the shared gateway."""
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "frame-ancestors 'none'",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
JSON_HEADERS = SECURITY_HEADERS | {"content-type": "application/json"}
TWO_AT_ONCE = {"concurrency": 2}
RANK = {"pending": 0, "processing": 1, "completed": 2, "failed": 2}

every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.request_type)


def headers_of(response: httpx.Response) -> dict[str, str]:
    """All but the two that differ from answer to answer."""
    found = dict(response.headers)
    assert int(found.pop("content-length")) == len(response.content)
    assert found.pop("date").endswith(" GMT")
    return found


# Submitting


@every_route
def test_a_minimal_body_is_accepted(http: httpx.Client, route: Route) -> None:
    response = http.post(f"/v1/async/{route.path}", json=route.body())
    assert response.status_code == 202
    job = response.json()
    assert list(job) == ["id", "status", "created_at"]
    assert uuid.UUID(job["id"]).version == 7
    assert str(uuid.UUID(job["id"])) == job["id"]
    assert job["status"] == "pending"
    instant(job["created_at"])
    assert response.content.endswith(b"}\n")
    assert headers_of(response) == JSON_HEADERS | {
        "cache-control": "no-store",
        "retry-after": "1",
        "location": f"/v1/async/{route.path}/{job['id']}",
    }


@every_route
def test_a_job_completes_with_the_answer(http: httpx.Client, route: Route) -> None:
    job_id = submit(http, route.body("openai/hello"), route.path)
    job = wait_done(http, job_id, route.path)
    assert list(job) == [
        "id",
        "status",
        "expires_at",
        "created_at",
        "completed_at",
        "status_code",
        "result",
    ]
    assert (job["id"], job["status"], job["status_code"]) == (job_id, "completed", 200)
    assert job["result"][route.essential]
    assert job["result"]["extra_fields"] | {"latency": 0} == {
        "request_type": route.request_type,
        "provider": "openai",
        "model_requested": "hello",
        "original_model_requested": "hello",
        "resolved_model_used": "hello",
        "latency": 0,
        "chunk_index": 0,
    }
    response = http.get(f"/v1/async/{route.path}/{job_id}")
    assert headers_of(response) == JSON_HEADERS | {"cache-control": "no-store"}


def test_a_message_may_have_a_role_and_nothing_else(http: httpx.Client) -> None:
    body = {"model": "openai/gpt-4", "messages": [{"role": "assistant"}]}
    assert wait_done(http, submit(http, body))["status"] == "completed"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_the_content_type_is_not_looked_at(http: httpx.Client, content_type: str) -> None:
    body = json.dumps(CHAT.body()).encode()
    response = http.post(
        "/v1/async/chat/completions", content=body, headers={"content-type": content_type}
    )
    assert response.status_code == 202


def test_the_request_id_stays_with_the_job(http: httpx.Client) -> None:
    named = 'id "1" <ü>'
    headers = {b"x-request-id": named.encode("latin-1")}
    response = http.post("/v1/async/chat/completions", json=CHAT.body(), headers=headers)
    assert response.json()["request_id"] == named
    assert wait_done(http, response.json()["id"])["request_id"] == named


def test_an_excessive_request_id_is_dropped(http: httpx.Client) -> None:
    headers = {"x-request-id": "x" * 257}
    response = http.post("/v1/async/chat/completions", json=CHAT.body(), headers=headers)
    assert response.status_code == 202
    assert "request_id" not in response.json()


# Refusing: order of checks and messages (wire-contract 1.4 to 1.8)


@every_route
@pytest.mark.parametrize(
    "model", [None, "", "gpt-4", "nope/gpt-4", "openai/", "/gpt-4", "/", "OPENAI/gpt-4", "openai"]
)
def test_a_model_without_a_known_provider_is_refused(
    http: httpx.Client, route: Route, model: str | None
) -> None:
    body = route.body() | {"model": model}
    assert_refused(http.post(f"/v1/async/{route.path}", json=body), 400, NO_MODEL)


@every_route
def test_an_absent_model_is_refused_before_what_else_is_missing(
    http: httpx.Client, route: Route
) -> None:
    for body in ({}, {"stream": True}, {route.field: route.value, "stream": True}):
        assert_refused(http.post(f"/v1/async/{route.path}", json=body), 400, NO_MODEL)


@every_route
def test_an_absent_required_field_is_refused_before_streaming(
    http: httpx.Client, route: Route
) -> None:
    for more in ({}, {"stream": True}, {route.field: None}, {route.field: None, "stream": True}):
        body = {"model": "openai/gpt-4", **more}
        assert_refused(http.post(f"/v1/async/{route.path}", json=body), 400, route.missing)


@pytest.mark.parametrize("route", [CHAT, RESPONSES], ids=["messages", "input"])
def test_an_empty_array_is_refused_where_something_must_be_said(
    http: httpx.Client, route: Route
) -> None:
    body: dict[str, Any] = route.body() | {route.field: []}
    assert_refused(http.post(f"/v1/async/{route.path}", json=body), 400, route.missing)


@pytest.mark.parametrize(
    ("route", "value"),
    [(TEXT, ""), (TEXT, []), (RESPONSES, ""), (EMBEDDINGS, ""), (EMBEDDINGS, [])],
)
def test_what_is_empty_but_there_is_accepted_elsewhere(
    http: httpx.Client, route: Route, value: Any
) -> None:
    body = route.body() | {route.field: value}
    assert http.post(f"/v1/async/{route.path}", json=body).status_code == 202


@pytest.mark.parametrize(
    ("route", "value", "message"),
    [
        (RESPONSES, 7, "invalid request format: invalid responses request input"),
        (RESPONSES, ["a"], "invalid request format: invalid responses request input"),
        (EMBEDDINGS, {}, "invalid request format: unsupported embedding input shape"),
        (EMBEDDINGS, [1, "a"], "invalid request format: unsupported embedding input shape"),
        (EMBEDDINGS, [1.5], "invalid request format: unsupported embedding input shape"),
    ],
)
def test_an_input_of_another_shape_is_refused(
    http: httpx.Client, route: Route, value: Any, message: str
) -> None:
    body = route.body() | {route.field: value}
    assert_refused(http.post(f"/v1/async/{route.path}", json=body), 400, message)


@pytest.mark.parametrize("route", [CHAT, TEXT, RESPONSES], ids=lambda route: route.request_type)
def test_streaming_is_refused(http: httpx.Client, route: Route) -> None:
    assert route.streaming is not None
    response = http.post(f"/v1/async/{route.path}", json=route.body(stream=True))
    assert_refused(response, 400, route.streaming)


@every_route
def test_a_stream_that_is_off_is_accepted(http: httpx.Client, route: Route) -> None:
    for value in (False, None):
        response = http.post(f"/v1/async/{route.path}", json=route.body(stream=value))
        assert response.status_code == 202


def test_embeddings_do_not_look_at_stream(http: httpx.Client) -> None:
    response = http.post("/v1/async/embeddings", json=EMBEDDINGS.body(stream=True))
    assert response.status_code == 202


@every_route
def test_a_body_that_is_no_json_is_refused(http: httpx.Client, route: Route) -> None:
    response = http.post(f"/v1/async/{route.path}", content=b'{"model":')
    assert response.status_code == 400
    whole = response.json()
    message = whole["error"].pop("message")
    assert message.startswith("invalid request format: ")
    assert whole == {
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {},
        "extra_fields": {},
    }


def test_ranges_and_enumerations_are_the_upstreams_business(http: httpx.Client) -> None:
    body = CHAT.body(
        temperature=9.5, top_logprobs=99, stop=["a"] * 9, verbosity="loud", tool_choice="maybe"
    )
    assert http.post("/v1/async/chat/completions", json=body).status_code == 202


def test_stop_may_be_a_string_and_fallbacks_may_be_nonsense(http: httpx.Client) -> None:
    body = CHAT.body(stop="END", fallbacks=["nonsense", "", "nope/x"])
    assert wait_done(http, submit(http, body))["status"] == "completed"


# Polling


@every_route
def test_a_job_is_only_there_on_its_own_route(http: httpx.Client, route: Route) -> None:
    job_id = submit(http, route.body(), route.path)
    for other in ROUTES:
        response = http.get(f"/v1/async/{other.path}/{job_id}")
        if other is route:
            assert response.status_code in (200, 202)
        else:
            assert_refused(response, 404, NO_SUCH_JOB)
    for unknown in (str(uuid.uuid4()), "no-uuid", job_id + "x"):
        assert_refused(http.get(f"/v1/async/{route.path}/{unknown}"), 404, NO_SUCH_JOB)


def test_polls_go_from_pending_over_processing_to_completed_and_never_back(
    http: httpx.Client, upstream: Upstream
) -> None:
    answered = threading.Event()
    upstream.plan("sequence", Reply(held=answered))
    response = http.post("/v1/async/chat/completions", json=CHAT.body("here/sequence"))
    job_id, created_at = response.json()["id"], response.json()["created_at"]
    seen = [response]

    def is_now(status: str) -> bool:
        seen.append(http.get(f"/v1/async/chat/completions/{job_id}"))
        return seen[-1].json()["status"] == status

    wait_until(lambda: is_now("processing"), every_s=0.001)
    answered.set()
    wait_until(lambda: is_now("completed"), every_s=0.001)
    assert all(is_now("completed") for _ in range(3))
    ranks = [RANK[each.json()["status"]] for each in seen]
    assert ranks[0] == RANK["pending"]
    assert ranks == sorted(ranks)
    for each in seen[1:]:
        job = each.json()
        assert (job["id"], job["created_at"]) == (job_id, created_at)
        if each.status_code == 202:
            assert list(job) == ["id", "status", "created_at"]
            assert headers_of(each) == JSON_HEADERS | {
                "cache-control": "no-store",
                "retry-after": "1",
            }
    assert len({each.content for each in seen if each.status_code == 200}) == 1


def test_a_job_that_waits_for_its_next_attempt_is_never_pending_again(
    http: httpx.Client, upstream: Upstream
) -> None:
    upstream.plan("waits", Reply(429, b"{}", headers={"retry-after": "1"}), Reply())
    job_id = submit(http, CHAT.body("here/waits"))
    wait_until(lambda: upstream.calls("waits"))
    statuses: list[str] = []

    def done() -> bool:
        response = http.get(f"/v1/async/chat/completions/{job_id}")
        statuses.append(response.json()["status"])
        return response.status_code == 200

    wait_until(done)
    assert set(statuses) <= {"processing", "completed"}


def test_a_failed_job_polls_as_200_with_the_upstreams_error(
    http: httpx.Client, upstream: Upstream
) -> None:
    body = (
        b'{"error":{"message":"rate limit exceeded","type":"rate_limit_error",'
        b'"code":1302,"param":{"a":[1]}},"event_id":"evt_1"}'
    )
    upstream.plan("limited", Reply(429, body))
    job_id = submit(http, CHAT.body("once/limited"))
    job = wait_done(http, job_id)
    assert list(job) == [
        "id",
        "status",
        "expires_at",
        "created_at",
        "completed_at",
        "status_code",
        "error",
    ]
    assert (job["status"], job["status_code"]) == ("failed", 429)
    assert job["error"] == {
        "event_id": "evt_1",
        "is_bifrost_error": False,
        "status_code": 429,
        "error": {
            "type": "rate_limit_error",
            "code": "1302",
            "message": "rate limit exceeded",
            "param": {"a": [1]},
            "event_id": "evt_1",
        },
        "extra_fields": {
            "provider": "once",
            "model_requested": "limited",
            "request_type": "chat_completion",
        },
    }


# How long a result stays (wire-contract 2.1, 3.4, 3.5)


@pytest.mark.parametrize("ttl", ["60", "+60", "0060"])
def test_a_ttl_counts_from_completion_and_is_announced_at_once(
    http: httpx.Client, upstream: Upstream, ttl: str
) -> None:
    answered = threading.Event()
    upstream.plan(f"ttl-{ttl}", Reply(held=answered))
    response = http.post(
        "/v1/async/chat/completions",
        json=CHAT.body(f"here/ttl-{ttl}"),
        headers={"x-bf-async-job-result-ttl": ttl},
    )
    job = response.json()
    assert list(job) == ["id", "status", "expires_at", "created_at"]
    announced = job["expires_at"]
    assert instant(announced) - instant(job["created_at"]) == timedelta(seconds=60)
    assert http.get(response.headers["location"]).json()["expires_at"] == announced
    answered.set()
    job = wait_done(http, job["id"])
    assert instant(job["expires_at"]) - instant(job["completed_at"]) == timedelta(seconds=60)
    assert instant(job["expires_at"]) > instant(announced)


@pytest.mark.parametrize(
    "ttl", [None, "", "0", "-5", "1.5", "abc", "60s", "1e3", "6 0", "0x10", "9" * 19, "9" * 99]
)
def test_a_ttl_that_is_no_positive_integer_means_the_default(
    http: httpx.Client, ttl: str | None
) -> None:
    headers = {} if ttl is None else {"x-bf-async-job-result-ttl": ttl}
    response = http.post("/v1/async/chat/completions", json=CHAT.body(), headers=headers)
    assert "expires_at" not in response.json()
    job = wait_done(http, response.json()["id"])
    assert instant(job["expires_at"]) - instant(job["completed_at"]) == DEFAULT_TTL


def test_a_ttl_beyond_a_century_is_a_century(http: httpx.Client) -> None:
    headers = {"x-bf-async-job-result-ttl": str(2**63 - 1)}
    response = http.post("/v1/async/chat/completions", json=CHAT.body(), headers=headers)
    job = wait_done(http, response.json()["id"])
    kept = instant(job["expires_at"]) - instant(job["completed_at"])
    assert kept == timedelta(days=365 * 100)


def test_the_ttl_of_a_failed_job_counts_too(http: httpx.Client) -> None:
    headers = {"x-bf-async-job-result-ttl": "60"}
    body = CHAT.body("cohere/not-configured")
    response = http.post("/v1/async/chat/completions", json=body, headers=headers)
    job = wait_done(http, response.json()["id"])
    assert job["status"] == "failed"
    assert instant(job["expires_at"]) - instant(job["completed_at"]) == timedelta(seconds=60)


def test_an_expired_job_is_gone_for_the_client_and_soon_from_the_disk(
    http: httpx.Client, gateway: Gateway
) -> None:
    body = CHAT.body("openai/echo") | {"messages": [{"role": "user", "content": "x" * 100_000}]}
    kept = submit(http, body)
    headers = {"x-bf-async-job-result-ttl": "1"}
    gone = http.post("/v1/async/chat/completions", json=body, headers=headers).json()["id"]
    tables = (
        "SELECT (SELECT count(*) FROM job WHERE id = ?1)"
        " + (SELECT count(*) FROM payload_chunk WHERE job_id = ?1)"
    )

    def rows_of(job_id: str) -> int:
        ((count,),) = rows(gateway.app_dir, tables, uuid.UUID(job_id).bytes)
        return count

    wait_until(lambda: http.get(f"/v1/async/chat/completions/{gone}").status_code == 404)
    assert_refused(http.get(f"/v1/async/chat/completions/{gone}"), 404, NO_SUCH_JOB)
    wait_until(lambda: rows_of(gone) == 0)
    assert wait_done(http, kept)["status"] == "completed"
    assert rows_of(kept) == 3  # the job, its large request and its large result


# Restarting


def test_after_a_kill_every_job_ends_and_looks_the_same(tmp_path: Path, upstream: Upstream) -> None:
    answered = threading.Event()
    upstream.plan("restart", Reply(held=answered))
    config = {
        "providers": {"here": custom(upstream.url) | {"concurrency_and_buffer_size": TWO_AT_ONCE}},
        "hermod": {"upkeep_s": 0.2},
    }
    submitted: dict[str, dict[str, Any]] = {}
    with Gateway(tmp_path, config=config) as first, client(first) as http:
        port = first.port
        for model in ("here/hello", *["here/restart"] * 10):
            job = http.post("/v1/async/chat/completions", json=CHAT.body(model)).json()
            submitted[job["id"]] = job
            if model == "here/hello":
                wait_done(http, job["id"])
        before = {each: http.get(f"/v1/async/chat/completions/{each}") for each in submitted}
        statuses = [each.json()["status"] for each in before.values()]
        assert statuses == ["completed", *["processing"] * 2, *["pending"] * 8]
        first.kill()
    answered.set()
    with Gateway(tmp_path, config=config, port=port) as second, client(second) as http:
        for job_id, job in submitted.items():
            after = wait_done(http, job_id)
            assert after["status"] == "completed"
            assert after["created_at"] == job["created_at"]
        done_id = next(iter(submitted))
        again = http.get(f"/v1/async/chat/completions/{done_id}")
        assert again.content == before[done_id].content
        second.send(signal.SIGTERM)
        assert second.wait_exit() == 0
        assert "Traceback" not in second.output
