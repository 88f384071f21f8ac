"""What reaches the upstream, what comes back, and what happens when the upstream fails."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import custom
from tests.support.database import attempts_of
from tests.support.program import Gateway, client, submit, wait_done
from tests.support.upstream import Reply, Upstream, exactly
from tests.support.wire import CHAT, RESPONSES, ROUTES, Route

every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.request_type)

UNAUTHORIZED = "authentication failed: unauthorized (401) - check your API key"
FORBIDDEN = "access forbidden (403) - your API key may not have permission for this operation"
HTML = "HTML response received from provider"
UNREADABLE = "failed to unmarshal response from provider API"

AS_WRITTEN = (
    '{ "zeta" : 1.0, "model":"MODEL" ,\t"alpha":[1e2, 1E+2, -0, -0.0, 0.10, '
    "12345678901234567890123, 1e400, 0.1000000000000000055511151231257827],\n"
    '"é€😀":"é\\u00e9\\/\\ud83d\\ude00\\n<>&","nested":{"b":1,"a":{"b":2,"b":3}},"empty":{},'
    '"null":null, FIELD }'
)
"""Undocumented fields with numbers, orders, escapes and repetitions that a careless copy loses."""


def as_written(route: Route, model: str) -> str:
    """A body of that kind with all those fields."""
    field = f'"{route.field}":{json.dumps(route.value)}'
    return AS_WRITTEN.replace("MODEL", model).replace("FIELD", field)


def finished(
    http: httpx.Client,
    body: str | bytes,
    route: Route = CHAT,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """The last poll of a job with this body."""
    content = body.encode() if isinstance(body, str) else body
    response = http.post(f"/v1/async/{route.path}", content=content, headers=headers)
    assert response.status_code == 202, response.text
    job_id = response.json()["id"]
    wait_done(http, job_id, route.path)
    return http.get(f"/v1/async/{route.path}/{job_id}")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[httpx.Client]:
    """A client of a gateway that forwards documented fields only."""
    config = {
        "providers": {"here": custom(upstream.url)},
        "hermod": {"forward_unknown_fields": False},
    }
    app_dir = tmp_path_factory.mktemp("strict") / "data"
    with Gateway(app_dir, config=config) as running, client(running) as opened:
        yield opened


# To the upstream


@every_route
def test_a_body_reaches_the_upstream_as_it_was_written(
    http: httpx.Client, upstream: Upstream, route: Route
) -> None:
    model = f"verbatim-{route.request_type}"
    assert finished(http, as_written(route, f"here/{model}"), route).json()["status"] == "completed"
    call = upstream.the_call(model)
    assert call.path == f"/v1/{route.path}"
    assert exactly(call.body) == exactly(as_written(route, model))


def test_the_upstream_gets_the_providers_key_and_never_the_callers(
    http: httpx.Client, upstream: Upstream
) -> None:
    callers = {
        "Authorization": "Bearer canary-1",
        "x-api-key": "canary-2",
        "x-goog-api-key": "canary-3",
        "api-key": "canary-4",
        "Cookie": "canary=5",
        "x-base-url": "http://canary-6.example",
        "api-base": "http://canary-7.example",
    }
    body = json.dumps(CHAT.body("here/headers"))
    job_id = finished(http, body, headers=callers).json()["id"]
    call = upstream.the_call("headers")
    assert call.headers["authorization"] == "Bearer sk-upstream-secret"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-client-request-id"] == f"{job_id}/1"
    assert call.headers["host"] == upstream.url.removeprefix("http://")
    assert "canary" not in str(call.headers)
    assert "canary" not in call.body.decode()


def test_what_follows_the_first_slash_is_the_upstreams_model(
    http: httpx.Client, upstream: Upstream
) -> None:
    body = CHAT.body("here/openai/gpt-4/x y?z=é")
    assert wait_done(http, submit(http, body))["status"] == "completed"
    assert upstream.calls("openai/gpt-4/x y?z=é")


def test_fallbacks_and_background_are_for_the_gateway(
    http: httpx.Client, upstream: Upstream
) -> None:
    more = {"background": True, "fallbacks": ["openai/gpt-4"]}
    finished(http, json.dumps(RESPONSES.body("here/responses-own", **more)), RESPONSES)
    assert set(json.loads(upstream.the_call("responses-own").body)) == {"model", "input"}
    finished(http, json.dumps(CHAT.body("here/chat-own", **more)))
    sent = json.loads(upstream.the_call("chat-own").body)
    assert set(sent) == {"model", "messages", "background"}


def test_of_a_repeated_field_the_last_one_counts_and_goes_on_alone(
    http: httpx.Client, upstream: Upstream
) -> None:
    body = (
        '{"model":"nope/x","user":"a","messages":[],"model":"here/repeated",'
        '"messages":[{"role":"user"}],"user":"b"}'
    )
    assert finished(http, body).json()["status"] == "completed"
    sent = upstream.the_call("repeated").body
    assert sorted(exactly(sent)) == [
        ("messages", [[("role", "user")]]),
        ("model", "repeated"),
        ("user", "b"),
    ]


@every_route
def test_undocumented_fields_can_be_kept_back(
    strict: httpx.Client, upstream: Upstream, route: Route
) -> None:
    model = f"kept-back-{route.request_type}"
    body = route.body(f"here/{model}", top_k=5, user="u") | {"x-extra": 1}
    for value in ("false", ""):
        headers = {"x-bf-passthrough-extra-params": value}
        job = finished(strict, json.dumps(body), route, headers).json()
        assert job["status"] == "completed"
    for call in upstream.calls(model):
        sent = json.loads(call.body)
        sent.pop("user", None)  # documented for three of the four
        assert sent == {"model": model, route.field: route.value}


@every_route
def test_a_header_lets_undocumented_fields_pass_again(
    strict: httpx.Client, upstream: Upstream, route: Route
) -> None:
    model = f"let-pass-{route.request_type}"
    headers = {"x-bf-passthrough-extra-params": "true"}
    finished(strict, as_written(route, f"here/{model}"), route, headers)
    assert exactly(upstream.the_call(model).body) == exactly(as_written(route, model))


def test_a_large_body_arrives_whole(http: httpx.Client, upstream: Upstream) -> None:
    text = "".join(chr(0x1F600 + number % 64) + f"{number:08}" for number in range(200_000))
    body = CHAT.body("here/large") | {"messages": [{"role": "user", "content": text}]}
    assert finished(http, json.dumps(body, ensure_ascii=False)).json()["status"] == "completed"
    sent = json.loads(upstream.the_call("large").body)
    assert sent["messages"] == body["messages"]


# From the upstream


@every_route
def test_a_result_is_what_the_upstream_said_plus_extra_fields(
    http: httpx.Client, upstream: Upstream, route: Route
) -> None:
    said = (
        '{ "zeta":1.0,"' + route.essential + '":[{"b":1e2,"a":-0.0,"n":12345678901234567890123,'
        '"t":"é\\u00e9\\/\\ud83d\\ude00<>&","r":1,"r":2}],\n"created":1e400,"null":null}\n'
    )
    model = f"said-{route.request_type}"
    upstream.plan(model, Reply(body=said.encode()))
    job = dict(exactly(finished(http, json.dumps(route.body(f"here/{model}")), route).content))
    *members, (name, extra) = job["result"]
    assert members == exactly(said)
    assert name == "extra_fields"
    assert dict(extra)["model_requested"] == model


def test_a_large_result_comes_back_whole(http: httpx.Client, upstream: Upstream) -> None:
    vectors = [{"index": n, "embedding": [n / 7] * 1536} for n in range(150)]
    said = {"object": "list", "data": vectors}
    upstream.plan("large-result", Reply(body=json.dumps(said).encode()))
    job_id = submit(http, {"model": "here/large-result", "input": "x"}, "embeddings")
    result = wait_done(http, job_id, "embeddings")["result"]
    result.pop("extra_fields")
    assert result == said


# Upstreams that fail (wire-contract 4.6)


@pytest.mark.parametrize(
    ("name", "reply", "status", "message"),
    [
        ("e400", Reply(400, b'{"error":{"message":"bad"}}'), 400, "bad"),
        ("e401", Reply(401, b""), 401, UNAUTHORIZED),
        ("e403", Reply(403, b""), 403, FORBIDDEN),
        ("e404", Reply(404, b""), 404, "resource not found (404)"),
        ("e418", Reply(418, b""), 418, "empty response received from provider (HTTP 418)"),
        ("e429", Reply(429, b""), 429, "rate limit exceeded (429)"),
        ("e500", Reply(500, b""), 500, "provider server error (500)"),
        ("e503", Reply(503, b"<html>x", "text/html"), 503, HTML),
        ("text", Reply(502, b"oops", "text/plain"), 502, "provider API error: oops"),
        ("html", Reply(200, b"<html>x", "text/html"), 500, HTML),
        ("half", Reply(200, b'{"choices":['), 500, UNREADABLE),
        ("void", Reply(200, b""), 500, "empty response received from provider"),
        ("none", Reply(200, b'{"choices":[]}'), 500, "empty response received from provider"),
        ("moved", Reply(302, b"", headers={"location": "/"}), 500, "unexpected redirect"),
    ],
)
def test_an_upstreams_failure_becomes_the_jobs(
    http: httpx.Client, upstream: Upstream, name: str, reply: Reply, status: int, message: str
) -> None:
    upstream.plan(name, reply)
    job = wait_done(http, submit(http, CHAT.body(f"once/{name}")))
    assert (job["status"], job["status_code"]) == ("failed", status)
    assert "result" not in job
    error = job["error"]
    assert error["is_bifrost_error"] is False
    assert error.get("status_code", 500) == status
    assert error["error"]["message"] == message
    assert error["extra_fields"] == {
        "provider": "once",
        "model_requested": name,
        "request_type": "chat_completion",
    }
    assert len(upstream.calls(name)) == 1


@every_route
def test_a_provider_that_nobody_configured_fails_the_job(http: httpx.Client, route: Route) -> None:
    job = wait_done(http, submit(http, route.body("cohere/command"), route.path), route.path)
    assert (job["status"], job["status_code"]) == ("failed", 500)
    text = "failed to get config for provider: not found"
    assert job["error"] == {
        "is_bifrost_error": False,
        "error": {"message": text, "error": text},
        "extra_fields": {
            "provider": "cohere",
            "model_requested": "command",
            "request_type": route.request_type,
        },
    }


def test_an_upstream_that_cannot_be_reached_fails_the_job_after_its_retries(
    http: httpx.Client, gateway: Gateway
) -> None:
    job = wait_done(http, submit(http, CHAT.body("nobody/x")))
    assert (job["status"], job["status_code"]) == ("failed", 500)
    assert job["error"]["error"]["message"] == (
        "network error occurred while connecting to provider API "
        "(DNS lookup, connection refused, etc.)"
    )
    attempts = attempts_of(gateway.app_dir, job["id"])
    assert attempts == [(1, "failed", "network_error"), (2, "failed", "network_error")]


def test_an_attempt_that_takes_too_long_is_a_504_and_not_tried_again(
    http: httpx.Client, gateway: Gateway
) -> None:
    job = wait_done(http, submit(http, CHAT.body("brief/slow?seconds=60")))
    assert (job["status"], job["status_code"]) == ("failed", 504)
    error = job["error"]
    assert (error["is_bifrost_error"], error["status_code"]) == (True, 504)
    assert error["error"]["type"] == "request_timed_out"
    assert "default_request_timeout_in_seconds" in error["error"]["message"]
    assert attempts_of(gateway.app_dir, job["id"]) == [(1, "unknown", "request_timed_out")]


# Trying again


def outcome(http: httpx.Client, model: str) -> dict[str, Any]:
    """A chat job with that model, ended."""
    return wait_done(http, submit(http, CHAT.body(model)))


def test_a_429_that_says_when_to_come_back_is_waited_out_as_long_as_it_takes(
    http: httpx.Client, upstream: Upstream, gateway: Gateway
) -> None:
    limited = Reply(429, b"{}", headers={"retry-after": "0"})
    upstream.plan("patient", *[limited] * 6, Reply())
    job = outcome(http, "here/patient")  # max_retries is 2
    assert job["status"] == "completed"
    assert len(upstream.calls("patient")) == 7
    assert [state for _, state, _ in attempts_of(gateway.app_dir, job["id"])] == [
        *["failed"] * 6,
        "succeeded",
    ]


def test_the_next_call_comes_no_sooner_than_the_upstream_asked(
    http: httpx.Client, upstream: Upstream
) -> None:
    upstream.plan("later", Reply(429, b"{}", headers={"retry-after": "1"}), Reply())
    assert outcome(http, "here/later")["status"] == "completed"
    first, second = upstream.calls("later")
    assert second.at_s - first.at_s >= 1.0


def test_a_429_without_that_spends_the_retries(http: httpx.Client, upstream: Upstream) -> None:
    upstream.plan("limit", Reply(429, b'{"error":{"message":"slow down"}}'))
    job = outcome(http, "here/limit")
    assert (job["status_code"], job["error"]["error"]["message"]) == (429, "slow down")
    assert len(upstream.calls("limit")) == 3


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
def test_a_failure_that_may_pass_is_tried_again(
    http: httpx.Client, upstream: Upstream, status: int
) -> None:
    model = f"passing-{status}"
    upstream.plan(model, Reply(status, b"{}"), Reply(status, b"{}"), Reply())
    assert outcome(http, f"here/{model}")["status"] == "completed"
    tags = [call.headers["x-client-request-id"] for call in upstream.calls(model)]
    assert [tag.partition("/")[2] for tag in tags] == ["1", "2", "3"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 501])
def test_a_failure_that_will_not_pass_is_not(
    http: httpx.Client, upstream: Upstream, status: int
) -> None:
    model = f"lasting-{status}"
    upstream.plan(model, Reply(status, b'{"error":{"message":"no"}}'))
    assert outcome(http, f"here/{model}")["status_code"] == status
    assert len(upstream.calls(model)) == 1


@pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}], ids=["bare", "retry-after"])
@pytest.mark.parametrize("status", [429, 503])
def test_without_retries_the_first_failure_is_the_last(
    http: httpx.Client, upstream: Upstream, status: int, headers: dict[str, str]
) -> None:
    model = f"no-retries-{status}-{len(headers)}"
    upstream.plan(model, Reply(status, b"{}", headers=headers), Reply())
    assert outcome(http, f"once/{model}")["status_code"] == status
    assert len(upstream.calls(model)) == 1


def test_the_mock_upstream_counts_the_attempts_of_a_job(http: httpx.Client) -> None:
    assert outcome(http, "openai/429?times=2&retry_after=0")["status"] == "completed"


def test_a_key_that_may_not_use_the_model_fails_the_job(tmp_path: Path) -> None:
    keys = [{"name": "a", "value": "sk-a", "models": ["gpt-4"]}]
    nothing: dict[str, Any] = {"keys": []}
    config = {"providers": {"openai": {"keys": keys}, "groq": nothing}}
    with Gateway(tmp_path / "data", config=config) as running, client(running) as http:
        messages = {
            "openai/gpt-5": "no keys found that support model: gpt-5",
            "groq/llama": "no keys found for provider: groq and model: llama",
        }
        for model, message in messages.items():
            job = outcome(http, model)
            assert (job["status"], job["status_code"]) == ("failed", 500)
            assert job["error"]["error"]["message"] == message


@every_route
def test_a_header_keeps_undocumented_fields_back(
    http: httpx.Client, upstream: Upstream, route: Route
) -> None:
    model = f"kept-{route.request_type}"
    body = json.dumps(route.body(f"here/{model}") | {"x-extra": 1})
    finished(http, body, route, {"x-bf-passthrough-extra-params": "false"})
    assert json.loads(upstream.the_call(model).body) == {"model": model, route.field: route.value}


def test_a_caller_may_name_its_agent(http: httpx.Client, upstream: Upstream) -> None:
    body = json.dumps(CHAT.body("here/agent"))
    finished(http, body, headers={"x-bf-eh-user-agent": "theirs/1"})
    assert upstream.the_call("agent").headers["user-agent"] == "theirs/1"
