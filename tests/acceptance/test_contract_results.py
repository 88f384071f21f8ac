"""What becomes of a job (wire-contract 12, points 4, 11 and 13; 1.16, 4.3, 4.6)."""

import base64
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hermod.providers.mock import media as mock_media
from hermod.providers.mock.shapes import DEFAULT_DIM, vector
from tests.acceptance.conftest import Served
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import (
    AUDIO,
    BY_TYPE,
    CHATTING,
    IMAGE,
    KINDS,
    PROMPT,
    Kind,
    completed,
    each_kind,
    failed,
    instant,
)

UNDONE = ["id", "status", "created_at"]
COMPLETED = [
    "id", "status", "expires_at", "created_at", "completed_at", "status_code", "result",
]  # fmt: skip
FAILED = [*COMPLETED[:-1], "error"]
NOT_CONFIGURED = "failed to get config for provider: not found"
TOLD_IMAGE = f"{PROMPT}\n{IMAGE.told()}"
IMAGE_MEMBERS = {"created", "data", "usage"}
MEMBERS = {
    "text_completion": {"id", "object", "choices", "model", "usage"},
    "chat_completion": {"id", "object", "choices", "created", "model", "usage"},
    "responses": {"id", "object", "created_at", "status", "model", "output", "usage", "error"},
    "embedding": {"object", "data", "model", "usage"},
    "speech": {"audio"},
    "transcription": {"text", "usage"},
    "image_generation": IMAGE_MEMBERS,
    "image_edit": IMAGE_MEMBERS,
    "image_variation": IMAGE_MEMBERS,
    "rerank": {"id", "results", "model", "usage"},
    "ocr": {"model", "pages", "usage_info"},
}
"""What a result has beside `extra_fields` (1.16)."""


def _picture(prompt: str, told: str) -> Callable[[Any], None]:
    def check(result: Any) -> None:
        (image,) = result["data"]
        assert base64.b64decode(image["b64_json"]) == mock_media.image(prompt)
        assert image["revised_prompt"] == told

    return check


def _text(result: Any) -> None:
    assert result["object"] == "text_completion"
    (choice,) = result["choices"]
    assert (choice["index"], choice["text"], choice["finish_reason"]) == (0, PROMPT, "stop")


def _chat(result: Any) -> None:
    assert result["object"] == "chat.completion"
    (choice,) = result["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    message = choice["message"]
    assert (message["role"], message["content"]) == ("assistant", PROMPT)
    usage = result["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def _response(result: Any) -> None:
    assert (result["object"], result["status"]) == ("response", "completed")
    assert isinstance(result["created_at"], int)
    (item,) = result["output"]
    assert (item["type"], item["role"], item["content"][0]["text"]) == (
        "message",
        "assistant",
        PROMPT,
    )
    assert result["usage"].keys() >= {"input_tokens", "output_tokens", "total_tokens"}


def _vector(result: Any) -> None:
    assert result["object"] == "list"
    (item,) = result["data"]
    assert (item["object"], item["index"]) == ("embedding", 0)
    assert item["embedding"] == vector(PROMPT, DEFAULT_DIM)


def _audio(result: Any) -> None:
    assert base64.b64decode(result["audio"], validate=True).decode() == PROMPT


def _transcript(result: Any) -> None:
    assert result["text"] == AUDIO.told()


def _ranking(result: Any) -> None:
    results = result["results"]
    assert [each["index"] for each in results] == [1, 0]
    scores = [each["relevance_score"] for each in results]
    assert scores == sorted(scores, reverse=True)


def _pages(result: Any) -> None:
    (page,) = result["pages"]
    assert (page["index"], page["markdown"]) == (0, "https://example.org/ä.png")
    assert result["usage_info"]["pages_processed"] == 1


ECHOED: dict[str, Callable[[Any], None]] = {
    "text_completion": _text,
    "chat_completion": _chat,
    "responses": _response,
    "embedding": _vector,
    "speech": _audio,
    "transcription": _transcript,
    "image_generation": _picture(PROMPT, PROMPT),
    "image_edit": _picture(PROMPT, TOLD_IMAGE),
    "image_variation": _picture("", IMAGE.told()),
    "rerank": _ranking,
    "ocr": _pages,
}
"""What the minimal request gets from the model `echo`."""


def extra_fields(kind: Kind, provider: str, model: str) -> dict[str, Any]:
    """Those of a result, its latency aside."""
    return {
        "request_type": kind.request_type,
        "provider": provider,
        "model_requested": model,
        "original_model_requested": model,
        "resolved_model_used": model,
        "chunk_index": 0,
    }


def error_fields(kind: Kind, provider: str, model: str) -> dict[str, str]:
    """Those of an error (4.1)."""
    return {
        "provider": provider,
        "model_requested": model,
        "request_type": kind.request_type,
    }


# Completed


@each_kind
@pytest.mark.parametrize("built_in", [False, True], ids=["over HTTP", "built in"])
def test_a_job_completes_with_a_result_of_its_kind(
    served: Served, kind: Kind, built_in: bool
) -> None:
    """Point 4, and section 1.16."""
    provider = "mock" if built_in else kind.upstream
    job = served.wire.run(kind, f"{provider}/echo")
    assert list(job) == COMPLETED
    assert instant(job["created_at"]) <= instant(job["completed_at"]) < instant(job["expires_at"])
    result = completed(job)
    assert result.keys() >= MEMBERS[kind.request_type]
    extra = result.pop("extra_fields")
    latency_ms = extra.pop("latency")
    assert isinstance(latency_ms, int)
    assert latency_ms >= 0
    cost = {"cost_usd_nanos": 0} if built_in else {}
    assert extra == extra_fields(kind, provider, "echo") | cost
    ECHOED[kind.request_type](result)


@pytest.mark.parametrize("response_format", [None, "wav", "opus"])
def test_speech_is_base64_of_the_bytes_the_upstream_sent(
    served: Served, response_format: str | None
) -> None:
    """Section 1.16, and the same bytes as they are on the synchronous route."""
    speech = BY_TYPE["speech"]
    more: dict[str, Any] = {} if response_format is None else {"response_format": response_format}
    expected = mock_media.audio(PROMPT, response_format or "mp3", 100_000)
    result = completed(served.wire.run(speech, "openai/speech?bytes=100000", **more))
    assert result.keys() == {"audio", "extra_fields"}
    assert base64.b64decode(result["audio"], validate=True) == expected
    request = speech.request("openai/speech?bytes=100000", **more)
    response = served.http.post("/v1/audio/speech", **request)
    assert response.content == expected
    assert response.headers["content-type"].startswith("audio/")


@pytest.mark.parametrize(
    ("response_format", "begins"),
    [("text", "file: "), ("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT\n\n")],
)
def test_a_transcription_in_plain_text_becomes_a_result_in_json(
    served: Served, response_format: str, begins: str
) -> None:
    """Section 1.16."""
    transcription = BY_TYPE["transcription"]
    job = served.wire.run(transcription, "openai/echo", response_format=response_format)
    result = completed(job)
    assert result["text"].startswith(begins)
    assert AUDIO.told() in result["text"]


def test_embeddings_may_come_in_base64(served: Served) -> None:
    """Section 1.16."""
    embedding = BY_TYPE["embedding"]
    job = served.wire.run(embedding, "openai/echo", encoding_format="base64")
    assert isinstance(completed(job)["data"][0]["embedding"], str)


def test_a_rerank_returns_the_documents_that_were_asked_for(served: Served) -> None:
    """Section 1.16: as they came, with what the upstream never saw."""
    documents = [{"text": "Nichts", "id": "a"}, {"text": PROMPT, "id": "b", "meta": {"x": 1}}]
    job = served.wire.run(
        BY_TYPE["rerank"], "cohere/rerank", documents=documents, return_documents=True, top_n=1
    )
    (best,) = completed(job)["results"]
    assert (best["index"], best["document"]) == (1, documents[1])


# While it runs


def test_a_job_that_runs_is_a_202_and_never_goes_back(served: Served, upstream: Upstream) -> None:
    """Points 4 and 18."""
    answered = threading.Event()
    model = f"runs-{type(served.place).__name__}"
    upstream.plan(model, Reply(held=answered))
    accepted = served.wire.submit(CHATTING, f"here/{model}")
    seen: list[str] = [accepted["status"]]

    def sees(status: str) -> bool:
        response = served.wire.get(CHATTING, accepted["id"])
        job = response.json()
        seen.append(job["status"])
        assert (job["id"], job["created_at"]) == (accepted["id"], accepted["created_at"])
        if job["status"] in ("pending", "processing"):
            assert response.status_code == 202
            assert list(job) == UNDONE
            assert response.headers["retry-after"] == "1"
            assert response.headers["cache-control"] == "no-store"
        else:
            assert response.status_code == 200
            assert list(job) == COMPLETED
            assert "retry-after" not in response.headers
        return job["status"] == status

    wait_until(lambda: sees("processing"), every_s=0.001)
    answered.set()
    wait_until(lambda: sees("completed"), every_s=0.001)
    rank = {"pending": 0, "processing": 1, "completed": 2}
    assert [rank[each] for each in seen] == sorted(rank[each] for each in seen)


def test_a_running_job_of_every_kind_is_a_202(served: Served) -> None:
    """Point 4, for every kind at once: it takes a moment."""
    wire = served.wire
    accepted = [
        (kind, wire.submit(kind, kind.at_upstream("slow?seconds=1"))["id"]) for kind in KINDS
    ]
    for kind, job_id in accepted:
        response = wire.get(kind, job_id)
        assert response.status_code == 202
        assert list(response.json()) == UNDONE
    for kind, job_id in accepted:
        completed(wire.ended(kind, job_id))


def test_a_job_that_waits_for_its_next_attempt_is_never_pending_again(
    served: Served, upstream: Upstream
) -> None:
    """Point 4."""
    model = f"waits-{type(served.place).__name__}"
    upstream.plan(model, Reply(429, b"{}", headers={"retry-after": "1"}), Reply())
    job_id = served.wire.submit(CHATTING, f"here/{model}")["id"]
    wait_until(lambda: upstream.calls(model))
    statuses: set[str] = set()

    def is_done() -> bool:
        response = served.wire.get(CHATTING, job_id)
        statuses.add(response.json()["status"])
        return response.status_code == 200

    wait_until(is_done)
    assert statuses == {"processing", "completed"}


# Failed


@each_kind
def test_an_upstreams_429_is_a_poll_of_200(served: Served, kind: Kind) -> None:
    """Point 4."""
    job_id = served.wire.submit(kind, kind.at_upstream("429"))["id"]
    job = served.wire.ended(kind, job_id)
    assert served.wire.get(kind, job_id).status_code == 200
    assert list(job) == FAILED
    assert failed(job, 429) == {
        "is_bifrost_error": False,
        "status_code": 429,
        "error": {
            "type": "rate_limit_error",
            "code": "rate_limit_exceeded",
            "message": "Rate limit reached, as the mock was told to.",
        },
        "extra_fields": error_fields(kind, kind.upstream, "429"),
    }


def test_everything_an_upstream_says_of_its_error_is_kept(
    served: Served, upstream: Upstream
) -> None:
    """Point 4, and section 4.1: a code is a text, a parameter anything."""
    body = (
        b'{"error":{"message":"rate limit exceeded","type":"rate_limit_error",'
        b'"code":1302,"param":{"a":[1]}},"event_id":"evt_1"}'
    )
    upstream.plan("limited", Reply(429, body))
    assert failed(served.wire.run(CHATTING, "once/limited"), 429) == {
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
        "extra_fields": error_fields(CHATTING, "once", "limited"),
    }


@each_kind
def test_a_reply_of_another_kind_fails_the_job(served: Served, kind: Kind) -> None:
    """Section 4.6: a 200 that is no answer never completes a job."""
    job = served.wire.run(kind, kind.at_upstream("invalid?how=html"))
    error = failed(job, 500)
    assert error["error"]["message"] == "HTML response received from provider"


@each_kind
def test_a_known_provider_that_nobody_configured_fails_the_job(served: Served, kind: Kind) -> None:
    """Point 11."""
    job = served.wire.run(kind, "bedrock/command")
    assert failed(job, 500) == {
        "is_bifrost_error": False,
        "error": {"message": NOT_CONFIGURED, "error": NOT_CONFIGURED},
        "extra_fields": error_fields(kind, "bedrock", "command"),
    }


def test_a_synchronous_call_of_such_a_provider_is_a_400_with_the_same_words(
    served: Served,
) -> None:
    """Point 11, and section 4.2."""
    for kind in KINDS:
        response = served.http.post(f"/v1/{kind.path}", **kind.request("bedrock/command"))
        assert response.status_code == 400
        assert response.json() == {
            "is_bifrost_error": False,
            "error": {"message": NOT_CONFIGURED, "error": NOT_CONFIGURED},
            "extra_fields": error_fields(kind, "bedrock", "command"),
        }


def test_a_request_type_the_provider_does_not_offer_fails_the_job(served: Served) -> None:
    """Section 4.3."""
    error = failed(served.wire.run(BY_TYPE["rerank"], "openai/hello"), 500)
    assert error["error"]["code"] == "unsupported_operation"
    assert error["error"]["message"] == "rerank is not supported by openai provider"


def test_an_upstream_that_is_too_slow_is_a_timeout(served: Served) -> None:
    """Point 13, for every kind at once: it takes a second."""
    wire = served.wire
    accepted = [(kind, wire.submit(kind, "brief/slow?seconds=60")["id"]) for kind in KINDS]
    for kind, job_id in accepted:
        error = failed(wire.ended(kind, job_id), 504)
        assert (error["is_bifrost_error"], error["status_code"]) == (True, 504)
        assert error["error"]["type"] == "request_timed_out"
        assert "default_request_timeout_in_seconds" in error["error"]["message"]
        assert error["extra_fields"] == error_fields(kind, "brief", "slow?seconds=60")
        assert served.place.attempts_of(job_id) == [(1, "unknown", "request_timed_out")]
