"""What the headers of a request do (wire-contract 2.2, 2.4; 1.3 for compressed bodies)."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard

from tests.acceptance.conftest import Served
from tests.support.upstream import Call, Reply, Upstream
from tests.support.wire import (
    BY_TYPE,
    CHATTING,
    KINDS,
    TRANSCRIBING,
    Kind,
    assert_refused,
    completed,
    each_kind,
    failed,
)

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstandard.compress,
}
REFUSED = (
    "proxy-authorization",
    "cookie",
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "x-api-key",
    "x-goog-api-key",
    "x-bf-api-key",
    "x-bf-api-key-id",
    "x-bf-vk",
    "x-bf-direct-key",
)
"""What `x-bf-eh-` never forwards (2.4)."""
EXTRA = {"top_k": 5, "x-extra": {"a": [1]}}


def sent(served: Served, upstream: Upstream, name: str, headers: dict[str, str]) -> Call:
    """The only upstream call of a completed job with these headers."""
    provider, _, model = name.partition("/")
    model = f"{model}-{type(served.place).__name__}"
    completed(served.wire.run(CHATTING, f"{provider}/{model}", headers=headers))
    return upstream.the_call(model)


# Names


@each_kind
def test_the_request_id_is_shown_with_the_job(served: Served, kind: Kind) -> None:
    named = 'id-1 "x" <&>'
    accepted = served.wire.submit(kind, headers={"x-request-id": named})
    assert accepted["request_id"] == named
    assert served.wire.ended(kind, accepted["id"])["request_id"] == named


def test_a_request_id_may_hold_what_a_header_may_hold(served: Served) -> None:
    named = 'id "1" <ü>'
    response = served.http.post(
        f"/v1/async/{CHATTING.path}",
        headers={b"x-request-id": named.encode("latin-1")},
        **CHATTING.request(),
    )
    assert response.json()["request_id"] == named


def test_an_odd_request_id_is_none(served: Served) -> None:
    for value in ("", "x" * 257):
        assert "request_id" not in served.wire.submit(CHATTING, headers={"x-request-id": value})
    assert "request_id" not in served.wire.submit(CHATTING)


def test_headers_that_only_describe_a_request_change_nothing(served: Served) -> None:
    headers = {
        "x-bf-lh-team": "a",
        "x-bf-dim-team": "b",
        "x-bf-prom-team": "c",
        "x-bf-maxim-tag": "d",
        "x-bf-session-id": "s",
        "x-bf-session-ttl": "1h",
        "x-bf-parent-request-id": "p",
        "x-bf-cache-key": "k",
        "x-bf-cache-ttl": "never",
        "x-bf-compat": "?",
        "x-bf-mcp-include-tools": "*",
        "x-bf-nobody-knows": "z",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "baggage": "session-id=1",
    }
    completed(served.wire.run(CHATTING, "openai/hello", headers=headers))


# To the upstream


def test_extra_headers_reach_the_upstream(served: Served, upstream: Upstream) -> None:
    headers = {"x-bf-eh-X-Custom": "one", "x-bf-eh-openai-beta": "assistants=v2"}
    call = sent(served, upstream, "here/extra", headers)
    assert call.headers["x-custom"] == "one"
    assert call.headers["openai-beta"] == "assistants=v2"
    assert not [name for name in call.headers if name.startswith("x-bf-")]


def test_some_extra_headers_never_do(served: Served, upstream: Upstream) -> None:
    canary = {f"x-bf-eh-{name}": "canary" for name in (*REFUSED, "authorization")}
    call = sent(served, upstream, "here/refused", canary)
    assert "canary" not in str(call.headers)
    assert call.headers["authorization"] == "Bearer sk-upstream-secret"


def test_a_caller_cannot_replace_what_the_gateway_says(served: Served, upstream: Upstream) -> None:
    headers = {"x-bf-eh-content-type": "text/plain", "x-bf-eh-x-client-request-id": "mine"}
    call = sent(served, upstream, "here/replaced", headers)
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-client-request-id"] != "mine"


def test_credentials_of_a_caller_stay_here(served: Served, upstream: Upstream) -> None:
    headers = {
        "authorization": "Bearer canary-1",
        "x-api-key": "canary-2",
        "x-goog-api-key": "canary-3",
        "api-key": "canary-4",
        "cookie": "canary=5",
    }
    call = sent(served, upstream, "here/credentials", headers)
    assert "canary" not in str(call.headers)


@pytest.mark.parametrize(
    "header",
    [{"x-bf-api-key": "second"}, {"x-bf-api-key-id": "key-2"}],
    ids=["by name", "by id"],
)
def test_a_caller_chooses_among_the_configured_keys(
    served: Served, upstream: Upstream, header: dict[str, str]
) -> None:
    (name,) = header
    call = sent(served, upstream, f"pair/{name}", header)
    assert call.headers["authorization"] == "Bearer sk-second-secret"


def test_the_id_of_a_key_wins_over_its_name(served: Served, upstream: Upstream) -> None:
    headers = {"x-bf-api-key": "first", "x-bf-api-key-id": "key-2"}
    call = sent(served, upstream, "pair/both", headers)
    assert call.headers["authorization"] == "Bearer sk-second-secret"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"x-bf-api-key": "third"}, 'name "third"'),
        ({"x-bf-api-key-id": "key-3"}, 'id "key-3"'),
        ({"x-bf-api-key": "sk-second-secret"}, 'name "sk-second-secret"'),
    ],
)
def test_a_key_that_there_is_not_fails_the_job(
    served: Served, headers: dict[str, str], wanted: str
) -> None:
    error = failed(served.wire.run(CHATTING, "pair/any", headers=headers), 500)
    message = error["error"]["message"]
    assert message.startswith(f"no supported key found with {wanted}")
    assert error["is_bifrost_error"] is False


# Undocumented fields


@each_kind
def test_undocumented_fields_pass_when_the_request_says_so(served: Served, kind: Kind) -> None:
    more = {"x-extra": "canary", "stranger": "canary"}
    headers = {"x-bf-send-back-raw-request": "true"}
    quiet = completed(served.wire.run(kind, kind.at_upstream("hello"), headers=headers, **more))
    assert "canary" not in json.dumps(quiet["extra_fields"]["raw_request"])
    headers["x-bf-passthrough-extra-params"] = "true"
    open_ = completed(served.wire.run(kind, kind.at_upstream("hello"), headers=headers, **more))
    raw = open_["extra_fields"]["raw_request"]
    if kind.is_form:
        assert raw.count("canary") == 2
    else:
        assert {name: raw[name] for name in more} == more


def test_undocumented_fields_pass_as_they_were_written(served: Served, upstream: Upstream) -> None:
    model = f"passed-{type(served.place).__name__}"
    headers = {"x-bf-passthrough-extra-params": "true"}
    completed(served.wire.run(CHATTING, f"here/{model}", headers=headers, **EXTRA))
    body = json.loads(upstream.the_call(model).body)
    assert body == {"model": model, **CHATTING.fields, **EXTRA}


# Raw requests and replies


@each_kind
def test_what_the_upstream_saw_and_said_is_shown_on_demand(served: Served, kind: Kind) -> None:
    model = kind.at_upstream("hello")
    headers = {"x-bf-send-back-raw-request": "true", "x-bf-send-back-raw-response": "true"}
    shown = completed(served.wire.run(kind, model, headers=headers))["extra_fields"]
    raw: Any = shown["raw_request"]
    if kind.is_form:
        assert 'name="model"\r\n\r\nhello\r\n' in raw
    else:
        assert raw["model"] == "hello"
    assert shown["raw_response"]
    hidden = completed(served.wire.run(kind, model))["extra_fields"]
    assert hidden.keys() & {"raw_request", "raw_response"} == set()


def test_what_the_upstream_said_of_an_error_is_shown_on_demand(
    served: Served, upstream: Upstream
) -> None:
    said: dict[str, Any] = {"error": {"message": "no", "odd": [1]}}
    upstream.plan("raw-error", Reply(400, json.dumps(said).encode()))
    headers = {"x-bf-send-back-raw-response": "true"}
    job = served.wire.run(CHATTING, "once/raw-error", headers=headers)
    assert failed(job, 400)["extra_fields"]["raw_response"] == said


# Compressed bodies


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_may_be_compressed(served: Served, encoding: str) -> None:
    for kind in (CHATTING, TRANSCRIBING, BY_TYPE["image_edit"]):
        body, content_type = kind.encoded(kind.at_upstream("echo"))
        headers = {"content-type": content_type, "content-encoding": encoding}
        response = served.http.post(
            f"/v1/async/{kind.path}", content=PACK[encoding](body), headers=headers
        )
        assert response.status_code == 202, response.text
        result = completed(served.wire.ended(kind, response.json()["id"]))
        assert all(file.told() in json.dumps(result, ensure_ascii=False) for file in kind.files)


def test_an_encoding_that_is_none_is_refused(served: Served) -> None:
    for kind in KINDS:
        body, content_type = kind.encoded()
        headers = {"content-type": content_type, "content-encoding": "gzip"}
        path = f"/v1/async/{kind.path}"
        assert served.http.post(path, content=body, headers=headers).status_code == 400
        headers["content-encoding"] = "rot13"
        assert served.http.post(path, content=body, headers=headers).status_code == 415


# Webhooks, which there are none of yet


@each_kind
def test_a_webhook_that_there_is_not_is_refused(served: Served, kind: Kind) -> None:
    """Section 7.1."""
    message = 'invalid webhook endpoint reference: unknown webhook endpoint with name "nobody"'
    response = served.wire.post(kind, headers={"x-bf-async-webhook": "nobody"})
    assert_refused(response, 400, message)
