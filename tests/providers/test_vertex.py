"""Where requests to Vertex AI go, and who reads the answers."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.gemini import vertex
from hermod.providers.registry import endpoint
from tests.providers.recorded import key_of, settings_of

ACCOUNT = json.dumps({"type": "service_account", "project_id": "of-the-account"})


def outgoing(model: str, vertex_key: dict[str, Any] | None = None, **asked: Any) -> Outgoing:
    body = {"model": f"vertex/{model}", "messages": [{"role": "user", "content": "Hi"}], **asked}
    config = {"project_id": "p", "region": "europe-west4"} if vertex_key is None else vertex_key
    key = key_of("vertex", value="", vertex_key_config=config)
    encoded = json.dumps(body).encode()
    return Outgoing(encoded, None, model, True, "", settings_of("vertex"), key)


def url_of(asked: Outgoing, request_type: str = "chat_completion") -> str | None:
    assert asked.provider is not None
    kind = {"chat_completion": CHAT_COMPLETION, "embedding": EMBEDDING}[request_type]
    path = vertex.build(kind, asked).path
    return endpoint(asked.provider, request_type, asked.key, model=asked.model, path=path)


@pytest.mark.parametrize(
    ("region", "root"),
    [
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("", "https://aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_each_region_has_its_address(region: str, root: str) -> None:
    where = f"/v1/projects/p/locations/{region or 'global'}"
    asked = outgoing("gemini-3.8-flash", {"project_id": "p", "region": region})
    path = "/publishers/google/models/gemini-3.8-flash:generateContent"
    assert url_of(asked) == root + where + path


@pytest.mark.parametrize(
    ("model", "whole", "streamed"),
    [
        (
            "google/gemini-3.8-flash",
            "publishers/google/models/gemini-3.8-flash:generateContent",
            "publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
        ),
        (
            "claude-haiku-4-5@20251001",
            "publishers/anthropic/models/claude-haiku-4-5@20251001:rawPredict",
            "publishers/anthropic/models/claude-haiku-4-5@20251001:streamRawPredict",
        ),
        (
            "mistralai/codestral-2",
            "publishers/mistralai/models/codestral-2:rawPredict",
            "publishers/mistralai/models/codestral-2:streamRawPredict",
        ),
        (
            "deepseek-ai/deepseek-v3.2-maas",
            "endpoints/openapi/chat/completions",
            "endpoints/openapi/chat/completions",
        ),
        (
            "1234567890123456789",
            "endpoints/1234567890123456789:generateContent",
            "endpoints/1234567890123456789:streamGenerateContent?alt=sse",
        ),
    ],
)
def test_each_publisher_has_its_paths(model: str, whole: str, streamed: str) -> None:
    asked = outgoing(model)
    where = "/v1/projects/p/locations/europe-west4/"
    assert vertex.build(CHAT_COMPLETION, asked).path == where + whole
    assert vertex.build(CHAT_COMPLETION, asked._replace(stream=True)).path == where + streamed


def test_the_project_of_a_service_account_stands_in() -> None:
    asked = outgoing("gemini-3.8-flash", {"auth_credentials": ACCOUNT})
    path = vertex.build(CHAT_COMPLETION, asked).path
    assert path is not None
    assert path.startswith("/v1/projects/of-the-account/locations/global/")


def test_without_a_project_nothing_is_sent() -> None:
    asked = outgoing("gemini-3.8-flash", {"region": "us-east5"})
    with pytest.raises(CannotCarry, match="project_id is missing"):
        vertex.build(CHAT_COMPLETION, asked)


def test_a_name_cannot_leave_its_path() -> None:
    asked = outgoing("gemini-x/../../y?z=1#")
    path = vertex.build(CHAT_COMPLETION, asked).path
    assert path == "/v1/projects/p/locations/europe-west4/endpoints/openapi/chat/completions"
    named = vertex.build(CHAT_COMPLETION, outgoing("gemini ?#%")).path
    assert named is not None
    assert named.endswith("/models/gemini%20%3F%23%25:generateContent")


def test_embeddings_of_other_publishers_keep_their_publisher() -> None:
    asked = outgoing("intfloat/e5-large-maas", input="one")
    where = "/v1/projects/p/locations/europe-west4/publishers/intfloat/models/"
    assert vertex.build(EMBEDDING, asked).path == f"{where}e5-large-maas:embedContent"


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "claude-opus-4-6", "mistral-small", "x/y"])
def test_a_stream_of_each_family_is_told_in_openais_words(model: str) -> None:
    events = {
        "gemini-3.8-flash": [
            {
                "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2},
            }
        ],
        "claude-opus-4-6": [
            {
                "type": "message_start",
                "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1}},
            },
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "Hi"},
            },
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 2},
            },
            {"type": "message_stop"},
        ],
    }
    plain = [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ]
    told = [json.dumps(each) for each in events.get(model, plain)]
    stream = "".join(f"data: {each}\n\n" for each in told)
    if model not in events:
        stream += "data: [DONE]\n\n"
    translator = vertex.open_stream(CHAT_COMPLETION, outgoing(model))
    out = translator.feed(stream.encode()) + translator.end()
    chunks = [json.loads(line[6:]) for line in out.split(b"\n\n")[:-2]]
    pieces = [each["choices"][0]["delta"] for each in chunks if each["choices"]]
    assert out.endswith(b"data: [DONE]\n\n")
    assert "".join(each.get("content") or "" for each in pieces) == "Hi"
    assert translator.usage is not None
    assert (translator.usage.input_tokens, translator.usage.output_tokens) == (1, 2)


def test_claude_is_asked_in_anthropics_words() -> None:
    asked = outgoing("claude-haiku-4-5", max_tokens=9)
    body = json.loads(vertex.build(CHAT_COMPLETION, asked).body)
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in body
    assert body["messages"][0]["role"] == "user"


@settings(max_examples=50, deadline=None)
@given(
    body=st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b'{"error": 1}']),
    model=st.sampled_from(["gemini-3", "claude-4", "mistral-small", "a/b", "text-embedding-005"]),
)
def test_no_bytes_make_reading_raise(body: bytes, model: str) -> None:
    asked = outgoing(model, input=["a"])
    for kind in (CHAT_COMPLETION, EMBEDDING):
        assert isinstance(vertex.read(kind, asked, None, body), Failure)
    translator = vertex.open_stream(CHAT_COMPLETION, asked)
    translator.feed(b"data: " + body + b"\n\n")
    translator.end()
