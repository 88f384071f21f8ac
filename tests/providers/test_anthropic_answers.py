"""What Claude's replies become. Anthropic's SDK reads the replies, OpenAI's the answers."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.domain.outcome import Retryable
from hermod.domain.usage import Usage
from hermod.providers import upstream_errors
from hermod.providers.adapter import Answered
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.upstream_errors import retryable
from tests.providers.claude import CHAT, NOW_S, answer, message, outgoing, read, said
from tests.providers.recorded import EXAMPLES

TEXT = {"type": "text", "text": "Hermod."}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "depth", "input": {"n": 1.5}}
THOUGHT = {"type": "thinking", "thinking": "Who?", "signature": "c2ln"}


def test_a_completion_says_when_it_was_made_and_of_which_model() -> None:
    found = answer(message(TEXT))
    assert (found["created"], found["model"]) == (NOW_S, "claude-sonnet-4-5-20250929")
    assert found["id"] == "msg_01"


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_every_reason_to_stop_has_its_word(stop: str, finish: str) -> None:
    assert answer(message(TEXT, stop=stop))["choices"][0]["finish_reason"] == finish


def test_a_reason_that_is_new_is_an_end_like_others() -> None:
    reply = {**message(TEXT), "stop_reason": "something_new"}
    assert answer(reply)["choices"][0]["finish_reason"] == "stop"
    reply = {**message(CALL), "stop_reason": None}
    assert answer(reply)["choices"][0]["finish_reason"] == "tool_calls"


def test_texts_are_one_text_and_thoughts_stand_apart() -> None:
    other = {**THOUGHT, "thinking": "Him."}
    found = said(message(THOUGHT, TEXT, other, {**TEXT, "text": " Yes."}))
    assert found["content"] == "Hermod. Yes."
    assert found["reasoning"] == "Who?\n\nHim."
    assert [each["index"] for each in found["reasoning_details"]] == [0, 1]


def test_thinking_whose_text_is_kept_back_still_has_its_signature() -> None:
    found = said(message({**THOUGHT, "thinking": ""}, TEXT))
    assert "reasoning" not in found
    assert found["reasoning_details"][0]["signature"] == "c2ln"


def test_a_call_alone_has_no_text() -> None:
    found = said(message(CALL, stop="tool_use"))
    assert found["content"] is None
    assert json.loads(found["tool_calls"][0]["function"]["arguments"]) == {"n": 1.5}


def test_nothing_to_say_is_an_empty_text() -> None:
    assert said(message())["content"] == ""


def test_a_refusal_without_a_reason_is_one_all_the_same() -> None:
    found = said(message(TEXT, stop="refusal"))
    assert found["refusal"]
    assert found["content"] == "Hermod."


def test_tokens_of_caches_are_part_of_the_input() -> None:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    found = read(message(TEXT, usage=usage))
    assert isinstance(found, Answered)
    assert found.usage == Usage(123, 7, 100, 20, 4)
    shown = json.loads(found.body)["usage"]
    assert (shown["prompt_tokens"], shown["total_tokens"]) == (123, 130)


def test_a_citation_of_a_document_has_no_counterpart() -> None:
    place = {
        "type": "char_location",
        "cited_text": "a",
        "document_index": 0,
        "start_char_index": 0,
        "end_char_index": 1,
    }
    assert "annotations" not in said(message({**TEXT, "citations": [place]}))


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"content": []},
        {"content": "text", "stop_reason": "end_turn"},
        {"content": None, "stop_reason": "end_turn"},
        {"content": [7], "stop_reason": "end_turn"},
        {"content": [{"text": "no type"}], "stop_reason": "end_turn"},
        {"choices": [{"message": {"content": "OpenAI's"}}]},
        {"type": "error", "error": {"type": "api_error", "message": "Internal"}},
        [],
        b"",
        b"<html>sign in</html>",
        b"\xff",
        b'{"content":[{"type":"text","text":"\\ud800"}]}',
        b'{"content":[{"type":"tool_use","input":{"n":1e999}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_no_answer(reply: Any) -> None:
    found = read(reply)
    assert isinstance(found, Failure)
    assert found.error_type == "upstream_invalid"


# Errors


def refusal(status: int, body: bytes) -> Failure:
    return upstream_errors.refusal(status, "application/json", body)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (429, "rate_limit_error", Retryable.RATE_LIMITED),
        (529, "overloaded_error", Retryable.BACKOFF),
        (500, "api_error", Retryable.BACKOFF),
        (504, "timeout_error", Retryable.BACKOFF),
        (400, "invalid_request_error", Retryable.NO),
    ],
)
def test_an_error_says_whether_a_retry_can_help(
    status: int, kind: str, expected: Retryable
) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "req_1"}
    failure = refusal(status, json.dumps(error).encode())
    assert (failure.error_type, failure.message, failure.event_id) == (kind, "m", "req_1")
    assert retryable(failure) is expected


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"request_id":7}', b'{"request_id":""}', b"[" * 100_000]
)
def test_an_error_without_the_requests_id_is_one_too(body: bytes) -> None:
    assert refusal(500, body).event_id is None


# Any JSON

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDED = [
    json.loads(path.read_text("utf-8"))["reply"]["body"]
    for path in sorted((EXAMPLES / "anthropic").glob("*.json"))
]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A recorded reply with some of its values replaced by anything."""
    whole = json.loads(json.dumps(draw(st.sampled_from(RECORDED))))
    for _ in range(draw(st.integers(1, 4))):
        at: Any = whole
        while True:
            places = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(at[place], dict | list) and at[place] and draw(st.booleans()):
                at = at[place]
                continue
            at[place] = draw(JSON)
            break
    return whole


@settings(max_examples=150, deadline=None)
@given(damaged() | JSON)
def test_no_reply_raises_and_every_answer_has_its_choice(reply: Any) -> None:
    found = read(json.dumps(reply).encode())
    if isinstance(found, Answered):
        assert len(answer(reply)["choices"]) == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(400, 599))
def test_no_bytes_raise(body: bytes, status: int) -> None:
    anthropic.read(CHAT, outgoing(), None, body)
    refusal(status, body)
