"""What holds for every conversation that crosses a bridge, and for every reply."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.providers.adapter import Answered, CannotCarry, Dialect
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.bridge.bridge import responses_over
from tests.providers.bridging import (
    KIND_OF,
    OVER_CHAT,
    OVER_RESPONSES,
    TEXTS_OVER_CHAT,
    Json,
    answer,
    chat,
    chunk,
    is_event,
    is_response,
    lines,
    opened,
    outgoing,
    read,
    sent,
    told,
)

NAMES = tuple(
    """
    type role content text messages model id name call_id tool_call_id tool_calls function custom
    arguments input output index delta choices choice message finish_reason logprobs usage status
    reasoning reasoning_details reasoning_content summary signature data encrypted_content refusal
    annotations url_citation start_index token logprob top_logprobs bytes error code param response
    item output_index content_index prompt_tokens prompt_tokens_details cached_tokens input_tokens
    service_tier created created_at incomplete_details reason tools tool_choice format json_schema
    schema image_url url file file_data input_audio thinking format mode function_call stream
    """.split()  # noqa: SIM905
)
WORDS = tuple(
    """
    user assistant tool system developer message function_call function_call_output reasoning
    custom_tool_call item_reference input_text output_text refusal text thinking input_image
    reasoning.text reasoning.encrypted reasoning.summary function custom auto required allowed_tools
    stop length tool_calls error content_filter completed incomplete failed in_progress url_citation
    response.created response.output_text.delta response.output_item.added response.completed
    response.output_item.done response.failed response.incomplete json_schema json_object
    hermod:e30=
    response.function_call_arguments.delta response.reasoning_summary_text.delta rate_limit_exceeded
    """.split()  # noqa: SIM905
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=10,
)


def holding(*names: str) -> st.SearchStrategy[Json]:
    """An object with these members, so that a bridge goes into it."""
    inner = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6)
    deeper = st.lists(inner | JSON, max_size=3) | inner | JSON
    members = st.fixed_dictionaries(dict.fromkeys(names, deeper))
    return st.builds(lambda more, said: more | said, inner, members)


CHOICES = st.lists(holding("message", "delta", "finish_reason"), min_size=1, max_size=2)
REPLIES = st.builds(lambda reply, choices: reply | {"choices": choices}, holding(), CHOICES)
EVENTS = st.builds(
    lambda event, kind: event | {"type": kind},
    holding("item", "response", "delta", "output_index"),
    st.sampled_from(WORDS),
)

# Conversations

TEXTS = st.text(min_size=1, max_size=12)
CALLS = st.lists(
    st.builds(
        lambda name, text: {"type": "function", "function": {"name": name, "arguments": text}},
        TEXTS,
        st.text(max_size=12),
    ),
    max_size=3,
)
TURNS = st.lists(st.tuples(TEXTS, st.text(max_size=12), CALLS, TEXTS), min_size=1, max_size=3)


def conversation(turns: list[tuple[str, str, list[Json], str]]) -> list[Json]:
    """Each turn: what the user says, what the assistant answers and calls, and what comes back."""
    found: list[Json] = [{"role": "system", "content": "rules"}]
    for number, (asked, answered, called, result) in enumerate(turns):
        calls = [{"id": f"c{number}_{index}", **call} for index, call in enumerate(called)]
        found.append({"role": "user", "content": asked})
        turn: Json = {"role": "assistant", "content": answered or (None if calls else "")}
        found.append(turn | {"tool_calls": calls} if calls else turn)
        found += [{"role": "tool", "tool_call_id": c["id"], "content": result} for c in calls]
    # An assistant that says nothing has no counterpart among the items of an input.
    return [each for each in found if each["content"] != "" or each["role"] == "tool"]


@settings(deadline=None)
@given(TURNS)
def test_a_conversation_that_crosses_both_bridges_is_the_same(
    turns: list[tuple[str, str, list[Json], str]],
) -> None:
    messages = conversation(turns)
    there = sent(OVER_RESPONSES, {"messages": messages})
    back = sent(OVER_CHAT, {"input": there["input"]})
    assert back["messages"] == messages


THOUGHTS = st.lists(
    st.builds(lambda text, seal: [text, seal], st.text(max_size=8), st.text(max_size=8)),
    max_size=3,
)


@settings(deadline=None)
@given(st.text(max_size=12), THOUGHTS, CALLS)
def test_what_a_response_gives_can_be_sent_again(
    text: str, thoughts: list[list[str]], given_calls: list[Json]
) -> None:
    details: list[Json] = []
    for thought, seal in thoughts:
        if thought and seal:
            details.append({"type": "reasoning.text", "text": thought, "signature": seal})
        elif seal:
            details.append({"type": "reasoning.encrypted", "data": seal})
    calls = [{"id": f"c{index}", **call} for index, call in enumerate(given_calls)]
    message: Json = {"content": text, "tool_calls": calls, "reasoning_details": details}
    found = answer(OVER_CHAT, {"input": "x"}, chat(message))
    is_response(found)
    again = sent(OVER_CHAT, {"input": found["output"]})["messages"]
    if not (text or calls):
        # Thoughts that led to nothing are not an assistant's message.
        assert again == []
        return
    assert (again[0].get("content") or "") == text
    assert again[0].get("tool_calls", []) == calls
    assert again[0].get("reasoning_details", []) == details


DELTAS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "content": st.text(max_size=5),
            "refusal": st.text(max_size=5),
            "reasoning": st.text(max_size=5),
            "reasoning_details": st.lists(
                st.fixed_dictionaries(
                    {"type": st.sampled_from(["reasoning.text", "reasoning.encrypted"])},
                    optional=dict.fromkeys(("text", "signature", "data"), st.text(max_size=5))
                    | {"index": st.integers(0, 2)},
                ),
                max_size=2,
            ),
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {"index": st.integers(0, 2)},
                    optional={
                        "id": st.sampled_from(["a", "b"]),
                        "function": st.fixed_dictionaries(
                            {}, optional=dict.fromkeys(("name", "arguments"), st.text(max_size=5))
                        ),
                    },
                ),
                max_size=2,
            ),
        },
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=30)
@given(DELTAS, st.sampled_from(["stop", "length", "tool_calls"]))
def test_every_stream_is_one_of_openais_and_says_all_that_was_said(
    deltas: list[Json], reason: str
) -> None:
    chunks = [chunk(delta) for delta in deltas]
    events = told(OVER_CHAT, {"input": "x"}, *chunks, chunk({}, reason))
    for event in events:
        is_event(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    response = events[-1]["response"]
    done = {e["output_index"]: e["item"] for e in events if e["type"].endswith("item.done")}
    assert [done[index] for index in range(len(done))] == response["output"]
    said = [delta.get("content") or "" for delta in deltas]
    parts = [part for item in response["output"] for part in item.get("content", [])]
    assert "".join(part.get("text", "") for part in parts) == "".join(said)
    arguments = [
        call.get("function", {}).get("arguments", "")
        for delta in deltas
        for call in delta.get("tool_calls", [])
    ]
    written = "".join(item.get("arguments", "") for item in response["output"])
    assert sorted(written) == sorted("".join(arguments))


# Anything


@settings(deadline=None, max_examples=30)
@given(REPLIES)
def test_any_reply_of_a_chat_is_an_answer_or_a_failure(reply: Json) -> None:
    for bridge in (OVER_CHAT, TEXTS_OVER_CHAT):
        found = read(bridge, {"input": "x", "prompt": "x"}, reply)
        assert isinstance(found, Answered | Failure)
        if isinstance(found, Answered) and bridge is OVER_CHAT:
            is_response(json.loads(found.body))


@settings(deadline=None, max_examples=30)
@given(holding("output", "usage", "status"))
def test_any_response_is_an_answer_or_a_failure(reply: Json) -> None:
    assert isinstance(read(OVER_RESPONSES, {"messages": []}, reply), Answered | Failure)


@settings(deadline=None, max_examples=30)
@given(st.lists(REPLIES | EVENTS | JSON, max_size=6), st.integers(1, 50))
def test_any_stream_is_taken_in_any_pieces(said: list[Any], size: int) -> None:
    stream = lines(*said)
    for bridge in (OVER_CHAT, TEXTS_OVER_CHAT, OVER_RESPONSES):
        translator = opened(bridge, {"input": "x", "prompt": "x"})
        for start in range(0, len(stream), size):
            translator.feed(stream[start : start + size])
        translator.end()
        assert translator.usage is None or translator.usage.input_tokens >= 0


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=80))
def test_any_bytes_are_taken(stream: bytes) -> None:
    for bridge in (OVER_CHAT, TEXTS_OVER_CHAT, OVER_RESPONSES):
        translator = opened(bridge, {"input": "x", "prompt": "x"})
        translator.feed(stream)
        translator.feed(b"\n\ndata: " + stream + b"\n\n")
        translator.end()
        assert isinstance(read(bridge, {"input": "x", "prompt": "x"}, stream), Answered | Failure)


ITEMS = st.lists(
    st.builds(
        lambda item, kind: item | {"type": kind},
        holding("content", "summary", "output", "role", "call_id", "name"),
        st.sampled_from(WORDS),
    ),
    min_size=1,
    max_size=3,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["tools", "text", "reasoning", "tool_choice", "response_format", "top_k"]),
    JSON | st.lists(holding("type", "function"), max_size=2),
    max_size=4,
)


@settings(deadline=None, max_examples=30)
@given(ITEMS, MEMBERS, st.booleans())
def test_any_request_is_carried_or_refused(items: list[Json], more: Json, drop: bool) -> None:
    claude = responses_over(anthropic.DIALECT)
    asked = {**more, "input": items, "messages": items, "prompt": "x"}
    bridges: list[tuple[Dialect, str]] = [
        (OVER_CHAT, OVER_CHAT.name),
        (claude, OVER_CHAT.name),
        (TEXTS_OVER_CHAT, TEXTS_OVER_CHAT.name),
        (OVER_RESPONSES, OVER_RESPONSES.name),
    ]
    for bridge, name in bridges:
        carried = {each: value for each, value in asked.items() if each != "prompt"}
        request = asked if name == TEXTS_OVER_CHAT.name else carried
        try:
            prepared = bridge.build(KIND_OF[name], outgoing(request, drop=drop))
        except CannotCarry as error:
            assert error.message
        else:
            assert json.loads(prepared.body)["model"] == "upstream-model"
