"""Whatever comes, a door answers: with a translation, or with a refusal of the request."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.domain.job import State
from hermod.doors import (
    anthropic_reply,
    anthropic_request,
    genai_embedding,
    genai_reply,
    genai_request,
    openai,
)
from hermod.doors.anthropic_events import Events
from hermod.doors.genai_chunks import Chunks
from tests.doors.clients import KNOWN

NAMES = tuple(
    """
    type role content text messages model system tools input_schema name id tool_use_id source
    media_type data url title thinking signature budget_tokens tool_choice output_config format
    schema metadata user_id stream max_tokens contents parts inlineData mimeType fileData fileUri
    functionCall functionResponse args response functionDeclarations parameters nullable enum
    properties items anyOf generationConfig responseSchema responseMimeType thinkingConfig
    thinkingBudget toolConfig functionCallingConfig mode allowedFunctionNames requests thought
    outputDimensionality output choices delta message tool_calls function arguments index usage
    finish_reason logprobs error status incomplete_details reason item output_index summary
    encrypted_content embedding code prompt_tokens input_tokens top_logprobs
    """.split()  # noqa: SIM905
)
WORDS = tuple(
    """
    user assistant model text image document base64 tool_use tool_result thinking function
    enabled json_schema auto any tool OBJECT ANY message reasoning function_call output_text
    refusal completed incomplete stop response.created response.output_text.delta
    response.output_item.added response.output_item.done response.completed response.failed
    response.function_call_arguments.delta error application/json image/png {} {
    """.split()  # noqa: SIM905
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=25,
)


def block(kinds: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """An object that says what it is, so that a translator goes into it."""
    members = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
    return st.builds(lambda kind, more: more | {"type": kind}, st.sampled_from(kinds), members)


BLOCKS = st.lists(block(["text", "image", "document", "tool_use", "tool_result"]), max_size=3)
ANTHROPIC = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "assistant"]), "content": BLOCKS | JSON}
            ),
            min_size=1,
            max_size=3,
        )
    },
    optional=dict.fromkeys(("system", "tools", "tool_choice", "thinking", "metadata"), JSON),
)
GOOGLE = st.fixed_dictionaries(
    {
        "contents": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "parts": st.lists(JSON, max_size=3)}),
            max_size=3,
        )
    },
    optional=dict.fromkeys(("tools", "toolConfig", "generationConfig", "content"), JSON),
)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def answers(translate: Any, *arguments: Any, **named: Any) -> None:
    """It gives JSON or refuses."""
    try:
        json.loads(translate(*arguments, **named))
    except Refused as refused:
        assert refused.failure.status_code == 400


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=20) | (JSON | ANTHROPIC | GOOGLE).map(encoded))
def test_any_request_is_translated_or_refused(body: bytes):
    answers(anthropic_request.to_responses, body, KNOWN)
    answers(genai_request.to_chat, "m", body, KNOWN)
    answers(anthropic_request.to_responses, body, KNOWN, lambda model, api: True)
    answers(genai_request.to_chat, "m", body, KNOWN, speaks=lambda model, api: True)
    for batch in (False, True):
        answers(genai_embedding.to_embedding, "m", body, KNOWN, batch=batch)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=20) | JSON.map(encoded))
def test_any_result_is_shown(result: bytes):
    json.loads(anthropic_reply.from_response(result, "m"))
    json.loads(anthropic_reply.error(result))
    json.loads(genai_reply.from_chat(result))
    json.loads(genai_reply.error(result))
    for batch in (False, True):
        json.loads(genai_embedding.from_embedding(result, batch=batch))
    for state in State:
        whole = openai.background_response(
            state,
            job_id="0198c0de-0000-7000-8000-00000000abcd",
            created_at_s=1,
            completed_at_s=2,
            model="m",
            result=result if state is State.COMPLETED else None,
            error=result,
            request=result,
        )
        assert json.loads(whole)["status"]


EVENT = block([word for word in WORDS if word.startswith(("response.", "error"))]) | JSON
STREAM = st.lists(
    st.binary(max_size=10) | EVENT.map(lambda value: b"data: " + encoded(value) + b"\n\n"),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(STREAM)
def test_any_stream_is_translated_to_its_end(pieces: list[bytes]):
    for translator in (Events("m"), Chunks(as_events=True), Chunks(as_events=False)):
        out = b"".join(map(translator.feed, pieces)) + translator.end()
        assert out
        out.decode()
        assert translator.end() == b""
