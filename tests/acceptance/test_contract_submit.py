"""Submitting a job (wire-contract 12, points 1 to 3, 8 and 10; 1.2, 2.1, 2.5)."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import DEFAULT_TTL_S, Served
from tests.support.upstream import Reply, Upstream
from tests.support.wire import (
    BY_TYPE,
    CHATTING,
    KINDS,
    Kind,
    assert_refused,
    completed,
    each_kind,
    failed,
    instant,
)

TTL = "x-bf-async-job-result-ttl"
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "frame-ancestors 'none'",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
JSON = SECURITY | {"content-type": "application/json"}
STREAMED = [kind for kind in KINDS if kind.streamed]
UNSTREAMED = [kind for kind in KINDS if not kind.streamed]

each_streamed = pytest.mark.parametrize("kind", STREAMED, ids=lambda kind: kind.request_type)
each_unstreamed = pytest.mark.parametrize("kind", UNSTREAMED, ids=lambda kind: kind.request_type)


def headers_of(response: httpx.Response) -> dict[str, str]:
    """All but the two that differ from answer to answer."""
    found = dict(response.headers)
    assert int(found.pop("content-length")) == len(response.content)
    assert found.pop("date").endswith(" GMT")
    return found


def kept_s(job: dict[str, str]) -> float:
    """How long after its end a job can be fetched."""
    return (instant(job["expires_at"]) - instant(job["completed_at"])).total_seconds()


@each_kind
def test_a_minimal_body_is_accepted(served: Served, kind: Kind) -> None:
    """Point 1."""
    response = served.wire.post(kind, kind.at_upstream("hello"))
    assert response.status_code == 202
    job = response.json()
    assert list(job) == ["id", "status", "created_at"]
    assert str(uuid.UUID(job["id"])) == job["id"]
    assert uuid.UUID(job["id"]).version == 7
    assert job["status"] == "pending"
    instant(job["created_at"])
    assert response.content.endswith(b"}\n")
    assert headers_of(response) == JSON | {
        "cache-control": "no-store",
        "retry-after": "1",
        "location": f"/v1/async/{kind.path}/{job['id']}",
    }


def test_every_answer_has_the_security_headers(served: Served) -> None:
    """Section 2.5."""
    wire = served.wire
    job_id = wire.submit(CHATTING)["id"]
    wire.ended(CHATTING, job_id)
    no_store = {"cache-control": "no-store"}
    done = wire.get(CHATTING, job_id)
    assert headers_of(done) == JSON | no_store
    assert done.content.endswith(b"}\n")
    refused = (
        wire.post(CHATTING, "no-prefix"),
        wire.get(CHATTING, "no-such-job"),
        served.http.get("/v1/nothing-here"),
        served.http.delete("/v1/async/chat/completions"),
    )
    assert [each.status_code for each in refused] == [400, 404, 404, 405]
    for each in refused:
        assert each.content.endswith(b"}\n")
        assert headers_of(each).items() >= JSON.items()


@each_kind
def test_a_ttl_counts_from_the_end_and_is_announced_at_once(served: Served, kind: Kind) -> None:
    """Points 2 and 3."""
    accepted = served.wire.submit(kind, headers={TTL: "60"})
    assert list(accepted) == ["id", "status", "expires_at", "created_at"]
    announced = instant(accepted["expires_at"]) - instant(accepted["created_at"])
    assert announced == timedelta(seconds=60)
    job = served.wire.ended(kind, accepted["id"])
    assert kept_s(job) == 60
    assert instant(job["expires_at"]) >= instant(accepted["expires_at"])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("+60", 60), ("0060", 60), (str(2**63 - 1), 365 * 100 * 86_400)],
)
def test_a_ttl_may_be_written_in_several_ways(served: Served, value: str, seconds: int) -> None:
    """Points 2 and 3. Beyond a century a result is kept for a century."""
    accepted = served.wire.submit(CHATTING, headers={TTL: value})
    assert "expires_at" in accepted
    assert kept_s(served.wire.ended(CHATTING, accepted["id"])) == seconds


@pytest.mark.parametrize(
    "value",
    [None, "", "0", "-5", "1.5", "abc", "60s", "1e3", "6 0", "0x10", "9" * 19, "9" * 99],
)
def test_a_ttl_that_is_no_positive_integer_means_the_default(
    served: Served, value: str | None
) -> None:
    """Points 2 and 3."""
    accepted = served.wire.submit(CHATTING, headers=None if value is None else {TTL: value})
    assert "expires_at" not in accepted
    assert kept_s(served.wire.ended(CHATTING, accepted["id"])) == DEFAULT_TTL_S


def test_the_ttl_of_a_failed_job_counts_too(served: Served, upstream: Upstream) -> None:
    """Point 3."""
    upstream.plan("ttl-failed", Reply(400, b"{}"))
    job = served.wire.run(CHATTING, "once/ttl-failed", headers={TTL: "60"})
    failed(job, 400)
    assert kept_s(job) == 60


# Streaming (point 8)


@each_streamed
def test_a_stream_is_refused(served: Served, kind: Kind) -> None:
    """Point 8."""
    assert kind.streamed
    field, value, message = kind.streamed
    changes: dict[str, Any] = {field: value}
    assert_refused(served.wire.post(kind, **changes), 400, message)


@each_streamed
def test_a_stream_that_is_off_is_accepted(served: Served, kind: Kind) -> None:
    """Point 8."""
    assert kind.streamed
    field, value, _ = kind.streamed
    off: list[object] = [False, None]
    if kind.is_form:
        # Only the exact word counts (1.4).
        off = ["false", "", "True", "1"]
    elif isinstance(value, str):
        off = ["audio", None]
    for each in off:
        changes: dict[str, Any] = {field: each}
        assert served.wire.post(kind, **changes).status_code == 202, each


@each_unstreamed
def test_a_kind_that_cannot_stream_does_not_look_at_stream(served: Served, kind: Kind) -> None:
    """Point 8."""
    job = served.wire.run(kind, kind.at_upstream("hello"), stream="true" if kind.is_form else True)
    completed(job)


def test_speech_does_not_look_at_stream(served: Served) -> None:
    """Point 8: it has a field of its own for that."""
    kind = BY_TYPE["speech"]
    completed(served.wire.run(kind, "openai/hello", stream=True))


# What is accepted (point 10, and 1.4)


def test_a_message_may_have_a_role_and_nothing_else(served: Served) -> None:
    """Point 10."""
    job = served.wire.run(CHATTING, "openai/gpt-4", messages=[{"role": "assistant"}])
    completed(job)


@pytest.mark.parametrize(
    ("request_type", "changes"),
    [
        ("text_completion", {"prompt": ""}),
        ("text_completion", {"prompt": []}),
        ("responses", {"input": ""}),
        ("embedding", {"input": ""}),
        ("embedding", {"input": []}),
        ("embedding", {"input": [1, 2]}),
        ("embedding", {"input": [[1], [2]]}),
        ("speech", {"voice": [{"speaker": "a", "voice": "b"}]}),
        ("image_generation", {"fallbacks": [{"provider": "openai", "model": "x"}]}),
        ("image_generation", {"n": 99, "size": "7x7"}),
        ("image_edit", {"prompt": ..., "type": "background_removal"}),
        ("image_edit", {"n": "99", "size": "7x7"}),
        ("rerank", {"max_tokens_per_doc": 0}),
        ("chat_completion", {"stop": "END", "fallbacks": ["nonsense", "", "nope/x"]}),
        ("chat_completion", {"temperature": 9.5, "top_logprobs": 99, "verbosity": "loud"}),
    ],
    ids=str,
)
def test_what_is_empty_odd_or_out_of_range_is_accepted(
    served: Served, request_type: str, changes: dict[str, Any]
) -> None:
    """Points 8 and 10: what the contract leaves to the upstream (1.4)."""
    assert served.wire.post(BY_TYPE[request_type], **changes).status_code == 202


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_the_content_type_of_json_is_not_looked_at(served: Served, content_type: str) -> None:
    """Section 1.3."""
    body, _ = CHATTING.encoded()
    headers = {"content-type": content_type}
    path = f"/v1/async/{CHATTING.path}"
    assert served.http.post(path, content=body, headers=headers).status_code == 202


def test_the_images_of_a_form_may_come_under_either_name(served: Served) -> None:
    """Point 16, the other way round: `image[]`, and several of them."""
    kind = BY_TYPE["image_edit"]
    (image,) = kind.files
    files = [image._replace(field="image[]", filename=name) for name in ("1.png", "2.png")]
    result = completed(served.wire.run(kind, "openai/echo", files=files))
    told = result["data"][0]["revised_prompt"].splitlines()[1:]
    assert told == [each.told() for each in files]
