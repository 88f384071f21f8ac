"""What every translated provider does alike: one table of requests and answers for all of them."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from hermod.domain.outcome import Retryable
from hermod.providers.upstream_errors import retryable
from tests.providers.vendors import USER, VENDORS, Said, Vendor

every_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {}}}},
}
LOOK = {"type": "function", "function": {"name": "look"}}
PNG = "data:image/png;base64,iVBORw0KGgo="


def call(call_id: str = "c1", arguments: Any = "{}", name: str = "look") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def called(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(call_id: str | None = "c1", content: Any = "seen") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def part(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


# Requests


@every_vendor
def test_every_text_of_a_conversation_reaches_the_model_in_its_order(vendor: Vendor) -> None:
    messages = [
        {"role": "system", "content": "text-1"},
        {"role": "developer", "content": [{"type": "text", "text": "text-2"}]},
        {"role": "user", "content": "text-3", "name": "Rán"},
        {"role": "assistant", "content": "text-4"},
        {"role": "user", "content": [{"type": "text", "text": f"text-{n}"} for n in (5, 6)]},
        {"role": "assistant", "content": None, "refusal": "text-7"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "text-8"},
        {"role": "assistant", "content": [{"type": "text", "text": "text-9"}]},
    ]
    sent = vendor.sent(messages=messages)
    parts = [sent.get("system"), sent.get("systemInstruction"), sent.get("messages")]
    told = json.dumps([*parts, sent.get("contents")])
    places = [told.find(f"text-{n}") for n in range(1, 10)]
    assert -1 not in places
    assert places == sorted(places)


@every_vendor
def test_calls_and_results_in_another_order_stay_together(vendor: Vendor) -> None:
    messages = [
        USER,
        called(call("c1", '{"at": 1.50}'), call("c2", ""), call("c3", '{"at":'), call("c4", "[1]")),
        result("c3", "three"),
        result("c2", [{"type": "text", "text": "two"}]),
        result("c1", '{"seen": "one"}'),
        result("c4", ""),
        {"role": "user", "content": "And now?"},
    ]
    sent = vendor.sent(messages=messages, tools=[TOOL])
    broken = [("c3", "look", {"INVALID_JSON": '{"at":'}), ("c4", "look", {"INVALID_JSON": "[1]"})]
    assert vendor.calls_in(sent) == [("c1", "look", {"at": 1.5}), ("c2", "look", {}), *broken]
    results = vendor.results_in(sent)
    assert list(results) == ["c3", "c2", "c1", "c4"]
    for call_id, word in (("c1", "one"), ("c2", "two"), ("c3", "three")):
        assert word in results[call_id]


@every_vendor
def test_instructions_alone_are_something_to_answer(vendor: Vendor) -> None:
    messages = [{"role": "system", "content": "Tell a tale."}]
    sent = vendor.sent(messages=messages)
    (turn,) = sent.get("messages") or sent["contents"]
    assert turn["role"] == "user"
    assert "Tell a tale." in json.dumps(turn)
    assert not sent.keys() & {"system", "systemInstruction"}


@every_vendor
def test_an_image_reaches_the_model(vendor: Vendor) -> None:
    sent = vendor.sent(**part({"type": "image_url", "image_url": {"url": PNG}}))
    assert "iVBORw0KGgo=" in json.dumps(sent)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"messages": [{"role": "user", "content": None}]}),
    ("messages", {"messages": [{"role": "user"}]}),
    ("messages[1]", {"messages": [USER, {"role": "critic", "content": "x"}]}),
    ("messages[0].content[0]", part({"type": "hologram"})),
    ("messages[0].content[0]", part({})),
    ("messages[0].content[0].image_url", part({"type": "image_url", "image_url": {}})),
    ("messages[0].content[0].image_url", part({"type": "image_url", "image_url": "/etc/passwd"})),
    ("messages[2].tool_call_id", {"messages": [USER, called(call()), result(None)]}),
    ("messages[1].tool_calls[0]", {"messages": [USER, called(call(name="")), result()]}),
    (
        "messages[1].tool_calls[0]",
        {"messages": [USER, called({"id": "c1", "type": "custom", "custom": {}}), result()]},
    ),
    (
        "messages[1].tool_calls[0].function.arguments",
        {"messages": [USER, called(call(arguments=5)), result()]},
    ),
    ("messages[1].audio", {"messages": [USER, {"role": "assistant", "audio": {"id": "a"}}]}),
    ("tools[0]", {"tools": [{"type": "custom", "custom": {"name": "look"}}]}),
    ("tools[0].function.name", {"tools": [{"type": "function", "function": {}}]}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": "soon"}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": {"type": "function", "function": {}}}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": {"type": "function", "name": "jump"}}),
    ("tool_choice", {"tool_choice": "required"}),
]


@every_vendor
@pytest.mark.parametrize(("param", "asked"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_carried_is_refused_with_its_place(
    vendor: Vendor, param: str, asked: dict[str, Any]
) -> None:
    assert vendor.refused(**asked) == param


LOST: list[tuple[str, Any]] = [
    ("function_call", "auto"),
    ("functions", [{"name": "look"}]),
    ("logit_bias", {"5": 1}),
    ("response_format", {"type": "grammar"}),
    ("truncation", "auto"),
]
AT_SOME: dict[str, tuple[Any, set[str]]] = {
    "audio": ({"voice": "x", "format": "wav"}, {"claude", "bedrock", "cohere"}),
    "modalities": (["text", "audio"], {"claude", "bedrock", "cohere"}),
    "n": (2, {"claude", "bedrock", "cohere"}),
    "web_search_options": ({}, {"claude", "bedrock", "cohere"}),
    "seed": (7, {"claude", "bedrock"}),
}


@every_vendor
@pytest.mark.parametrize(("name", "value"), LOST, ids=lambda value: str(value)[:15])
def test_a_field_without_a_counterpart_is_refused_or_dropped_and_named(
    vendor: Vendor, name: str, value: Any
) -> None:
    assert vendor.refused(**{name: value}) == name
    found = vendor.prepared(**{name: value}, drop=True)
    assert found.dropped == (name,)
    assert json.loads(found.body) == vendor.sent()


@every_vendor
@pytest.mark.parametrize("name", AT_SOME)
def test_a_field_is_carried_or_else_never_lost_without_a_word(vendor: Vendor, name: str) -> None:
    value, where = AT_SOME[name]
    if vendor.family not in where:
        speaks = {"modalities": ["audio"]} if name == "audio" else {}
        assert vendor.sent(**{name: value}, **speaks) != vendor.sent()
        return
    assert vendor.refused(**{name: value}) == name
    assert vendor.prepared(**{name: value}, drop=True).dropped == (name,)


@every_vendor
def test_one_call_at_a_time_is_said_or_refused(vendor: Vendor) -> None:
    assert vendor.sent(parallel_tool_calls=False) == vendor.sent()
    assert vendor.sent(parallel_tool_calls=True, tools=[TOOL]) == vendor.sent(tools=[TOOL])
    if "claude" in vendor.name:
        body = json.dumps(vendor.sent(parallel_tool_calls=False, tools=[TOOL]))
        assert '"disable_parallel_tool_use": true' in body
        return
    assert vendor.refused(parallel_tool_calls=False, tools=[TOOL]) == "parallel_tool_calls"
    found = vendor.prepared(parallel_tool_calls=False, tools=[TOOL], drop=True)
    assert found.dropped == ("parallel_tool_calls",)


@every_vendor
def test_what_asks_for_nothing_changes_nothing(vendor: Vendor) -> None:
    nothing = {
        "fallbacks": ["openai/gpt-5"],
        "function_call": "none",
        "functions": [],
        "logit_bias": {},
        "logprobs": False,
        "metadata": {"saga": "Njáls"},
        "modalities": ["text"],
        "n": 1,
        "parallel_tool_calls": True,
        "prediction": {"type": "content", "content": "x"},
        "prompt_cache_key": "k",
        "response_format": {"type": "text"},
        "service_tier": "flex" if vendor.family != "bedrock" else "default",
        "stop": [],
        "store": True,
        "tool_choice": "auto",
        "top_logprobs": 0,
        "truncation": "disabled",
        "verbosity": "low",
    }
    assert vendor.sent(**nothing) == vendor.sent()


@every_vendor
def test_unknown_members_stay_behind_unless_they_shall_go_along(vendor: Vendor) -> None:
    asked = {"zork": 1, "n": 2, "functions": [{"name": "look"}], "top_k": 3}
    assert json.loads(vendor.prepared(forward=False, **asked).body) == vendor.sent()
    if vendor.family != "gemini":  # it would refuse a request with a strange member
        assert '"zork": 1' in json.dumps(vendor.sent(zork=1))


THE_SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"stop": "x"}, {"stop": ["x"]}),
    ({"max_tokens": 5000}, {"max_completion_tokens": 5000}),
    ({"max_tokens": 5000}, {"max_completion_tokens": 5000, "max_tokens": 7}),
    ({"reasoning": {"enabled": False}}, {"reasoning_effort": "none"}),
    ({"tool_choice": {"type": "auto"}, "tools": [TOOL]}, {"tool_choice": "auto", "tools": [TOOL]}),
    ({"tool_choice": {"type": "none"}, "tools": [TOOL]}, {"tool_choice": "none", "tools": [TOOL]}),
    ({"tool_choice": "any", "tools": [TOOL]}, {"tool_choice": "required", "tools": [TOOL]}),
    (
        {"tool_choice": {"type": "function", "name": "look"}, "tools": [TOOL]},
        {"tool_choice": LOOK, "tools": [TOOL]},
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [LOOK]}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [LOOK]}}},
    ),
    ({"tools": [{"function": TOOL["function"]}]}, {"tools": [TOOL]}),
]


@every_vendor
@pytest.mark.parametrize(("one", "other"), THE_SAME, ids=range(len(THE_SAME)))
def test_two_ways_to_say_it_are_one(
    vendor: Vendor, one: dict[str, Any], other: dict[str, Any]
) -> None:
    tools = {"tools": [TOOL]} if "tool_choice" in one else {}
    assert vendor.sent(**tools | one) == vendor.sent(**tools | other)


@every_vendor
@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh"])
def test_every_effort_is_understood_wherever_it_stands(vendor: Vendor, effort: str) -> None:
    if vendor.name == "cohere":
        assert vendor.sent(reasoning_effort=effort)["thinking"]["type"] in ("enabled", "disabled")
    asked = vendor.sent(reasoning_effort=effort, max_tokens=60_000)
    assert asked == vendor.sent(reasoning={"effort": effort}, max_tokens=60_000)
    # Some models do not think unless they are asked to.
    assert effort == "none" or asked != vendor.sent(max_tokens=60_000)


@every_vendor
def test_a_schema_is_asked_for_with_all_its_parts(vendor: Vendor) -> None:
    schema = {
        "type": "object",
        "properties": {"ship": {"$ref": "#/$defs/ship"}},
        "$defs": {"ship": {"type": "object", "properties": {"oars": {"type": "integer"}}}},
    }
    asked = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    told = json.dumps(vendor.sent(response_format=asked)).replace("\\", "").replace(" ", "")
    assert '{"$ref":"#/$defs/ship"}' in told
    assert '"oars":{"type":"integer"}' in told
    if vendor.family in ("claude", "bedrock"):  # both refuse an object that is open
        assert told.count('"additionalProperties":false') == 2


@every_vendor
def test_the_seal_of_another_vendor_stays_behind(vendor: Vendor) -> None:
    details = [
        {"type": "reasoning.encrypted", "data": "seal-1", "format": "openai-responses-v1"},
        {"type": "reasoning.text", "text": "", "signature": "seal-2", "format": "xai-responses-v1"},
    ]
    messages = [USER, called(call(), reasoning_details=details), result()]
    assert "seal-" not in json.dumps(vendor.sent(messages=messages, tools=[TOOL]))


# Answers


SAID = [
    Said("Óðinn rides."),
    Said("Óðinn ri", end="length"),
    Said("", (("c1", "look", '{"at":1}'), ("c2", "wait", "{}")), "Who? ", "tool_calls"),
    Said("Let me look.", (("c1", "look", '{"at":1}'),), end="tool_calls", usage=(1, 0, 2)),
]
every_answer = pytest.mark.parametrize("said", SAID, ids=["text", "cut", "calls", "both"])


@every_vendor
@every_answer
def test_an_answer_is_openais(vendor: Vendor, said: Said) -> None:
    answer = vendor.answer(said, tools=[TOOL])
    parsed = ChatCompletion.model_validate(answer, strict=True)
    (choice,) = parsed.choices
    assert choice.message.content == (said.text or None)
    assert choice.finish_reason == said.end
    found = [
        (each.id, each.function.name, json.loads(each.function.arguments))
        for each in choice.message.tool_calls or ()
        if each.type == "function"
    ]
    assert found == [(i, name, json.loads(arguments)) for i, name, arguments in said.calls]
    assert answer["choices"][0]["message"].get("reasoning", "") == said.thought
    fresh, cached, written = said.usage
    usage = parsed.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (fresh + cached, written)
    assert usage.total_tokens == sum(said.usage)
    details = usage.prompt_tokens_details
    assert ((details and details.cached_tokens) or 0) == cached


@every_vendor
@every_answer
@pytest.mark.parametrize("size", [None, 5])
def test_the_pieces_of_a_stream_are_the_answer(
    vendor: Vendor, said: Said, size: int | None
) -> None:
    wire = b"".join(vendor.pieces(said))
    pieces = [wire] if size is None else [wire[at : at + size] for at in range(0, len(wire), size)]
    *events, last = vendor.streamed(pieces, stream_options={"include_usage": True})
    assert last == {}
    chunks = [ChatCompletionChunk.model_validate(each, strict=True) for each in events]
    assert len({(each.id, each.created, each.model) for each in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    *spoken, counted = chunks
    assert all(each.usage is None for each in spoken)
    assert counted.choices == []
    assert counted.usage is not None
    assert counted.usage.total_tokens == sum(said.usage)
    assert [each.choices[0].finish_reason for each in spoken if each.choices[0].finish_reason] == [
        said.end
    ]
    assert "".join(each.choices[0].delta.content or "" for each in spoken) == said.text
    calls = [piece for each in spoken for piece in each.choices[0].delta.tool_calls or ()]
    assert [(each.index, each.id) for each in calls if each.id] == [
        (index, call_id) for index, (call_id, _, _) in enumerate(said.calls)
    ]
    for index, (_, name, arguments) in enumerate(said.calls):
        of_it = [each.function for each in calls if each.index == index and each.function]
        assert "".join(each.name or "" for each in of_it) == name
        assert json.loads("".join(each.arguments or "" for each in of_it)) == json.loads(arguments)


@every_vendor
def test_usage_is_streamed_to_who_asks_for_it_alone(vendor: Vendor) -> None:
    *events, last = vendor.streamed(vendor.pieces(SAID[0]))
    assert last == {}
    assert all("usage" not in each and each["choices"] for each in events)


@every_vendor
def test_no_piece_of_a_stream_says_nothing(vendor: Vendor) -> None:
    events = vendor.streamed(vendor.pieces(SAID[2]))[1:-1]
    for each in events:
        (choice,) = each["choices"]
        assert choice["delta"] or choice["finish_reason"]


@every_vendor
def test_a_stream_that_breaks_off_has_no_last_event(vendor: Vendor) -> None:
    pieces = vendor.pieces(SAID[0])
    events = vendor.streamed(pieces[:-3])
    assert {} not in events
    assert not any("error" in each for each in events)


@every_vendor
def test_an_event_that_nobody_can_read_is_an_error_and_not_a_gap(vendor: Vendor) -> None:
    first, *rest = vendor.pieces(SAID[0])
    *_, last = vendor.streamed([first, vendor.garbled(), *rest])
    assert last["error"]["message"]


@every_vendor
def test_an_answer_goes_back_with_what_was_sealed(vendor: Vendor) -> None:
    message = vendor.answer(SAID[2], tools=[TOOL])["choices"][0]["message"]
    messages = [USER, message, result("c2"), result("c1")]
    sent = vendor.sent(messages=messages, tools=[TOOL])
    assert [each[0] for each in vendor.calls_in(sent)] == ["c1", "c2"]
    told = json.dumps(sent)
    assert "Who? " in told if vendor.family == "cohere" else "c2VhbA==" in told


@every_vendor
def test_an_error_is_told_with_its_words_its_status_and_its_id(vendor: Vendor) -> None:
    busy, wrong = vendor.error(429, "slow down"), vendor.error(400, "what is that?")
    assert (busy.message, busy.status_code) == ("slow down", 429)
    assert retryable(busy) is Retryable.RATE_LIMITED
    assert (wrong.message, wrong.status_code) == ("what is that?", 400)
    assert retryable(wrong) is Retryable.NO
    if vendor.family in ("claude", "cohere"):  # of the others it is in a header
        assert wrong.event_id == "r1"


# Responses, over all that


@every_vendor
@every_answer
def test_a_response_is_made_of_any_answer(vendor: Vendor, said: Said) -> None:
    found = Response.model_validate(vendor.answer(said, "responses"))
    assert found.output_text == said.text
    calls = [each for each in found.output if each.type == "function_call"]
    assert [(each.call_id, each.name) for each in calls] == [each[:2] for each in said.calls]
    assert found.status == ("incomplete" if said.end == "length" else "completed")
    assert found.usage is not None
    assert found.usage.total_tokens == sum(said.usage)


@every_vendor
@every_answer
def test_a_response_is_made_of_any_stream(vendor: Vendor, said: Said) -> None:
    *_, last = vendor.streamed(vendor.pieces(said), "responses")
    found = Response.model_validate(last["response"])
    assert found.output_text == said.text
    assert len([each for each in found.output if each.type == "function_call"]) == len(said.calls)
    assert found.usage is not None
    assert found.usage.total_tokens == sum(said.usage)
