"""Which requests cross a bridge, and what it leaves to the dialect below."""

import json
from typing import Any

import pytest

from hermod.domain.failure import Failure
from hermod.kinds import sse
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers import openai_shaped
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.bridge.bridge import bridged, responses_over
from hermod.providers.registry import parse_rows
from tests.providers.bridging import CHAT, RESPONSES, is_event, is_response, outgoing

DIALECTS = {"openai": openai_shaped.DIALECT, "anthropic": anthropic.DIALECT}
CHAT_ONLY = ("chat_completion",)
RESPONSES_ONLY = ("responses",)
ALL = ("chat_completion", "responses", "text_completion")


def way(
    request_type: str, *paths: str, text_to_chat: bool = True, chat_to_responses: bool = True
) -> tuple[str, str] | None:
    """The name of the dialect, and whose path."""
    table = "\n".join(f'{path} = "/{path}"' for path in paths)
    head = '[xai]\nbase_url = "https://x.example"\nkey_env = ["X_KEY"]\n[xai.paths]\n'
    row = parse_rows(head + table)["xai"]
    found = bridged(
        row,
        request_type,
        DIALECTS,
        text_to_chat=text_to_chat,
        chat_to_responses=chat_to_responses,
    )
    return None if found is None else (found[0].name, found[1])


def test_responses_go_over_chat() -> None:
    found = way("responses", *CHAT_ONLY, text_to_chat=False, chat_to_responses=False)
    assert found == ("responses over openai", "chat_completion")


def test_text_completions_go_over_chat_only_if_the_operator_says_so() -> None:
    assert way("text_completion", *CHAT_ONLY, text_to_chat=False) is None
    found = way("text_completion", *CHAT_ONLY)
    assert found == ("text_completion over openai", "chat_completion")


def test_a_chat_goes_over_responses_only_if_the_operator_says_so() -> None:
    assert way("chat_completion", *RESPONSES_ONLY, chat_to_responses=False) is None
    found = way("chat_completion", *RESPONSES_ONLY)
    assert found == ("chat_completion over openai", "responses")


@pytest.mark.parametrize("request_type", ALL)
def test_what_a_provider_offers_crosses_no_bridge(request_type: str) -> None:
    assert way(request_type, *ALL) is None


@pytest.mark.parametrize("request_type", sorted(KIND_BY_TYPE.keys() - set(ALL)))
def test_other_types_cross_no_bridge(request_type: str) -> None:
    assert way(request_type, *ALL[:2]) is None


def test_responses_of_a_provider_without_a_chat_go_nowhere() -> None:
    assert way("responses", "embedding") is None


# Over a dialect of its own

CLAUDE = responses_over(anthropic.DIALECT)
ASKED = {
    "input": [
        {"role": "user", "content": "x"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "seal",
        },
        {"type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "toolu_1", "output": "one"},
    ],
    "instructions": "rules",
    "max_output_tokens": 4000,
    "reasoning": {"max_tokens": 2000},
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
}


def test_a_conversation_with_thoughts_reaches_claude_as_claude_gave_it() -> None:
    body = json.loads(CLAUDE.build(RESPONSES, outgoing(ASKED)).body)
    turn = body["messages"][1]["content"]
    assert turn[0] == {"type": "thinking", "thinking": "hm", "signature": "seal"}
    assert (turn[1]["type"], turn[1]["id"], turn[1]["input"]) == ("tool_use", "toolu_1", {"a": 1})
    assert body["messages"][2]["content"][0]["tool_use_id"] == "toolu_1"


REPLY = {
    "id": "msg_01A",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "seal"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {"a": 2}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 7},
}


def test_what_claude_says_is_a_response() -> None:
    body = json.dumps(REPLY).encode()
    found = CLAUDE.read(RESPONSES, outgoing(ASKED), "application/json", body)
    assert isinstance(found, Answered)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.cache_read_tokens) == (13, 4)
    response = is_response(json.loads(found.body))
    output: list[Any] = list(response.output)
    assert [item.type for item in output] == ["reasoning", "reasoning", "message", "function_call"]
    assert (output[0].summary[0].text, output[0].encrypted_content) == ("hm", "seal")
    assert (output[1].encrypted_content, output[3].call_id) == ("secret", "toolu_2")


def claudes_events() -> bytes:
    """The reply in pieces, as the Messages API streams it."""
    starts: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
    ]
    deltas: list[list[dict[str, str]]] = [
        [
            {"type": "thinking_delta", "thinking": "h"},
            {"type": "thinking_delta", "thinking": "m"},
            {"type": "signature_delta", "signature": "seal"},
        ],
        [],
        [{"type": "text_delta", "text": "I "}, {"type": "text_delta", "text": "look"}],
        [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"a":', "2}")],
    ]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**REPLY, "content": [], "stop_reason": None}}
    ]
    for index, (start, pieces) in enumerate(zip(starts, deltas, strict=True)):
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": d} for d in pieces]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": "tool_use", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 7}})
    events.append({"type": "message_stop"})
    return b"".join(sse.written(json.dumps(event).encode(), event["type"]) for event in events)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_claudes_stream_is_a_stream_of_a_response(size: int) -> None:
    assert CLAUDE.open_stream is not None
    translator = CLAUDE.open_stream(RESPONSES, outgoing(ASKED, stream=True))
    stream = claudes_events()
    out = b"".join(
        translator.feed(stream[start : start + size]) for start in range(0, len(stream), size)
    )
    events = [json.loads(event.data) for event in sse.Reader().feed(out + translator.end())]
    for event in events:
        is_event(event)
    whole = CLAUDE.read(RESPONSES, outgoing(ASKED), None, json.dumps(REPLY).encode())
    assert isinstance(whole, Answered)
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"] == json.loads(whole.body)["output"]
    assert translator.usage is not None
    assert translator.usage.output_tokens == 7


def test_errors_are_read_and_paths_named_by_the_dialect_below() -> None:
    def build(kind: Any, asked: Outgoing) -> Prepared:
        return Prepared("application/json", asked.body, "/own", (("x-a", "b"),), ("seed",))

    def read(kind: Any, asked: Outgoing, content_type: str | None, body: bytes) -> Failure:
        return Failure(kind.request_type)

    def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
        return Failure("mine")

    bridge = responses_over(Dialect("own", build, read, refusal))
    prepared = bridge.build(RESPONSES, outgoing({"input": "x"}))
    assert (prepared.path, prepared.headers) == ("/own", (("x-a", "b"),))
    assert prepared.dropped == ("seed",)
    assert bridge.refusal is refusal
    found = bridge.read(RESPONSES, outgoing({"input": "x"}), None, b"{}")
    assert found == Failure(CHAT.request_type)
