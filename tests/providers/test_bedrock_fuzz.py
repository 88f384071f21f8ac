"""Bedrock's dialects read any bytes and any JSON, and build or refuse any request."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing
from hermod.providers.bedrock import dialect as bedrock
from hermod.providers.bedrock import embed as bedrock_embed
from hermod.providers.bedrock import images as bedrock_images
from hermod.providers.bedrock import rerank as bedrock_rerank

CHAT = KIND_BY_TYPE["chat_completion"]
MODELS = [
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "anthropic.claude-opus-5-5",
    "us.amazon.nova-2-lite-v1:0",
]


def outgoing(asked: dict[str, Any], model: str = MODELS[0], *, drop: bool = False) -> Outgoing:
    body = json.dumps({"model": f"bedrock/{model}", **asked}).encode()
    return Outgoing(body, None, model, True, "", drop_unsupported=drop, now_s=1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = [
    "output",
    "message",
    "content",
    "text",
    "toolUse",
    "toolUseId",
    "name",
    "input",
    "reasoningContent",
    "reasoningText",
    "signature",
    "redactedContent",
    "stopReason",
    "usage",
    "inputTokens",
    "serviceTier",
    "type",
    "trace",
    "embedding",
    "embeddings",
    "float",
    "inputTextTokenCount",
    "images",
    "finish_reasons",
    "results",
    "index",
    "relevance_score",
    "image",
    "source",
    "bytes",
    "format",
    "citationsContent",
]
shaped = st.recursive(
    json_values,
    lambda inner: (
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=5) | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)
ASKED: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "chat_completion": (bedrock.DIALECT, {"messages": [{"role": "user", "content": "Hello"}]}),
    "embedding": (bedrock_embed.DIALECT, {"input": "x"}),
    "rerank": (bedrock_rerank.DIALECT, {"query": "q", "documents": [{"text": "a"}]}),
    "image_generation": (bedrock_images.DIALECT, {"prompt": "x"}),
}


@pytest.mark.parametrize("request_type", ASKED)
@settings(max_examples=50, deadline=None)
@given(value=shaped | st.fixed_dictionaries({"output": shaped, "stopReason": shaped}))
def test_no_json_makes_reading_raise(request_type: str, value: Any) -> None:
    dialect, asked = ASKED[request_type]
    body = json.dumps(value).encode()
    found = dialect.read(KIND_BY_TYPE[request_type], outgoing(asked), "application/json", body)
    assert isinstance(found, Answered | Failure)
    assert bedrock.refusal(500, "application/json", body).message


@pytest.mark.parametrize("request_type", ASKED)
@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=60))
def test_no_bytes_make_reading_raise(request_type: str, body: bytes) -> None:
    dialect, asked = ASKED[request_type]
    found = dialect.read(KIND_BY_TYPE[request_type], outgoing(asked), None, body)
    assert isinstance(found, Failure)
    assert bedrock.refusal(400, None, body).message


ROLES = st.sampled_from(["user", "assistant", "system", "tool", "developer", "function"])
PART_NAMES = [
    "type",
    "text",
    "image_url",
    "url",
    "file",
    "file_data",
    "filename",
    "input_audio",
    "data",
    "format",
    "tool_calls",
    "id",
    "function",
    "name",
    "arguments",
    "reasoning_details",
    "signature",
    "cache_control",
    "ttl",
    "video_url",
    "refusal",
    "tool_call_id",
    "json_schema",
    "schema",
    "enabled",
    "effort",
    "max_tokens",
]
parts = st.recursive(
    json_values | st.sampled_from(["text", "image_url", "file", "input_audio", "function"]),
    lambda inner: (
        st.dictionaries(st.sampled_from(PART_NAMES), inner, max_size=5)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)
message = st.fixed_dictionaries(
    {"role": ROLES, "content": st.none() | st.text(max_size=5) | st.lists(parts, max_size=3)},
    optional=dict.fromkeys(("tool_calls", "reasoning_details", "cache_control"), parts),
)


@settings(max_examples=50, deadline=None)
@given(
    messages=st.lists(message, min_size=1, max_size=3),
    members=st.dictionaries(
        st.sampled_from(["response_format", "tool_choice", "reasoning"]),
        st.dictionaries(st.sampled_from(PART_NAMES), parts, max_size=4),
    ),
    tools=st.lists(st.dictionaries(st.sampled_from(PART_NAMES), parts), max_size=2),
    model=st.sampled_from(MODELS),
)
def test_a_request_of_any_inner_shape_is_built_or_refused(
    messages: list[Any], members: dict[str, Any], tools: list[Any], model: str
) -> None:
    asked = {"messages": messages, "tools": tools, **members}
    try:
        made = bedrock.build(CHAT, outgoing(asked, model, drop=True))
    except CannotCarry as error:
        assert error.message
    else:
        assert json.loads(made.body)["messages"]
