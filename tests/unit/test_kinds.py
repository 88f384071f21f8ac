"""What each request kind accepts and refuses (wire-contract 1.3 to 1.8)."""

import json
from pathlib import Path

import pytest

from hermod.domain.errors import Refused
from hermod.kinds.kind import Checked, Kind
from hermod.kinds.registry import KIND_BY_PATH, KIND_BY_TYPE, KINDS

PROVIDERS = frozenset({"openai", "openrouter", "mock"})
EXAMPLES = Path(__file__).parent.parent / "kinds" / "examples"

MINIMAL: dict[str, dict[str, object]] = {
    "chat_completion": {"model": "openai/gpt-4", "messages": [{"role": "assistant"}]},
    "text_completion": {"model": "openai/gpt-4", "prompt": "Once"},
    "responses": {"model": "openai/gpt-4", "input": "Hello"},
    "embedding": {"model": "openai/gpt-4", "input": "Hello"},
}
MODEL_MESSAGE = "model should be in provider/model format"
BAD = "invalid request format: "

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.request_type)


def check(request_type: str, **changes: object) -> Checked:
    """The minimal request of that type, checked with these members changed."""
    body = MINIMAL[request_type] | changes
    return KIND_BY_TYPE[request_type].check(json.dumps(body).encode(), PROVIDERS)


def refusal(request_type: str, **changes: object) -> str:
    """The message with which it is refused."""
    with pytest.raises(Refused) as refused:
        check(request_type, **changes)
    assert refused.value.failure.status_code == 400
    return refused.value.failure.message


@each_kind
def test_every_kind_is_found_by_its_path_and_its_type(kind: Kind) -> None:
    assert KIND_BY_PATH[kind.path] is kind
    assert KIND_BY_TYPE[kind.request_type] is kind


def test_the_four_kinds_have_the_contracts_paths_and_types() -> None:
    assert {(kind.path, kind.request_type) for kind in KINDS} == {
        ("completions", "text_completion"),
        ("chat/completions", "chat_completion"),
        ("responses", "responses"),
        ("embeddings", "embedding"),
    }


@each_kind
def test_every_kind_accepts_its_recorded_example(kind: Kind) -> None:
    example = json.loads((EXAMPLES / f"{kind.request_type}.json").read_text())
    request = example["request"]
    checked = kind.check(json.dumps(request).encode(), PROVIDERS)
    assert f"{checked.provider}/{checked.model}" == request["model"]
    assert set(request) <= kind.known_fields


def test_there_is_one_recorded_example_for_each_kind() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(KIND_BY_TYPE)


@pytest.mark.parametrize("request_type", MINIMAL)
@pytest.mark.parametrize(
    ("model", "provider", "rest"),
    [
        ("openai/gpt-4", "openai", "gpt-4"),
        ("openrouter/meta-llama/llama-3", "openrouter", "meta-llama/llama-3"),
        ("mock/slow?seconds=2", "mock", "slow?seconds=2"),
        ("openai//x", "openai", "/x"),
        ("openai/émoji😀", "openai", "émoji😀"),
    ],
)
def test_a_model_is_split_at_its_first_slash(
    request_type: str, model: str, provider: str, rest: str
) -> None:
    assert check(request_type, model=model) == Checked(provider, rest)


@pytest.mark.parametrize("request_type", MINIMAL)
@pytest.mark.parametrize(
    "model",
    [
        None,
        "",
        "gpt-4",
        "/",
        "/gpt-4",
        "openai/",
        "nope/gpt-4",
        "OpenAI/gpt-4",
        " openai/gpt-4",
        "openai/a\x00b",
        "openai/" + "m" * 2049,
    ],
)
def test_a_model_without_a_known_provider_and_a_name_is_refused(
    request_type: str, model: str | None
) -> None:
    assert refusal(request_type, model=model) == MODEL_MESSAGE


def test_a_missing_model_is_refused_before_a_missing_message() -> None:
    with pytest.raises(Refused, match=MODEL_MESSAGE):
        KIND_BY_TYPE["chat_completion"].check(b"{}", PROVIDERS)


def test_a_wrong_type_is_refused_before_a_missing_model() -> None:
    assert refusal("chat_completion", model=None, temperature="warm").startswith(BAD)


def test_a_missing_required_field_is_refused_before_a_stream() -> None:
    message = refusal("chat_completion", messages=[], stream=True)
    assert message == "messages is required for chat completion"


@pytest.mark.parametrize(
    ("request_type", "field", "value", "message"),
    [
        ("chat_completion", "messages", None, "messages is required for chat completion"),
        ("chat_completion", "messages", [], "messages is required for chat completion"),
        ("text_completion", "prompt", None, "prompt is required for text completion"),
        ("responses", "input", None, "input is required for responses"),
        ("responses", "input", [], "input is required for responses"),
        ("embedding", "input", None, "input is required for embeddings"),
    ],
)
def test_a_missing_required_field_is_named(
    request_type: str, field: str, value: object, message: str
) -> None:
    assert refusal(request_type, **{field: value}) == message


@pytest.mark.parametrize(
    ("request_type", "field", "message"),
    [
        ("chat_completion", "messages", "messages is required for chat completion"),
        ("text_completion", "prompt", "prompt is required for text completion"),
        ("responses", "input", "input is required for responses"),
        ("embedding", "input", "input is required for embeddings"),
    ],
)
def test_an_absent_field_is_refused_like_a_null(
    request_type: str, field: str, message: str
) -> None:
    body = {name: value for name, value in MINIMAL[request_type].items() if name != field}
    with pytest.raises(Refused) as refused:
        KIND_BY_TYPE[request_type].check(json.dumps(body).encode(), PROVIDERS)
    assert refused.value.failure.message == message


ACCEPTED_INPUTS: list[tuple[str, str, object]] = [
    ("text_completion", "prompt", ""),
    ("text_completion", "prompt", []),
    ("text_completion", "prompt", ["a", 'b"[', ""]),
    ("responses", "input", ""),
    ("responses", "input", [{"role": "user", "content": "hi"}]),
    ("responses", "input", [{"type": "item_reference", "id": "x"}, {}]),
    ("embedding", "input", ""),
    ("embedding", "input", []),
    ("embedding", "input", ["a", "", '"],[']),
    ("embedding", "input", [1, 2, -3]),
    ("embedding", "input", [[1], [2, 3], []]),
    ("embedding", "input", [[]]),
]


@pytest.mark.parametrize(("request_type", "field", "value"), ACCEPTED_INPUTS)
def test_these_inputs_are_accepted(request_type: str, field: str, value: object) -> None:
    assert check(request_type, **{field: value}) == Checked("openai", "gpt-4")


OTHER_INPUTS: list[object] = [
    *(5, True, {}, [{}], [None], [True], [1.5]),
    *([1, "a"], ["a", 1], ["a", ["b"]], [1, [2]], [[1], 2], [[1], -2], [[1], [], "a"]),
    *([["a"]], [[[1]]], [[None]], [["a", []]], [[1.5]]),
]


@pytest.mark.parametrize("value", OTHER_INPUTS)
def test_other_embedding_inputs_are_refused(value: object) -> None:
    message = refusal("embedding", input=value)
    assert message.startswith(BAD)
    assert message.endswith("unsupported embedding input shape")


@pytest.mark.parametrize("value", [5, True, {}, ["a"], [5], [None], [{}, "a"]])
def test_other_responses_inputs_are_refused(value: object) -> None:
    message = refusal("responses", input=value)
    assert message.startswith(BAD)
    assert message.endswith("invalid responses request input")


@pytest.mark.parametrize(
    ("request_type", "message"),
    [
        ("text_completion", "stream is not supported for async text completions"),
        ("chat_completion", "stream is not supported for async chat completions"),
        ("responses", "stream is not supported for async responses"),
    ],
)
def test_a_stream_is_refused(request_type: str, message: str) -> None:
    assert refusal(request_type, stream=True) == message


@pytest.mark.parametrize("request_type", MINIMAL)
@pytest.mark.parametrize("stream", [False, None])
def test_no_stream_is_fine(request_type: str, stream: bool | None) -> None:
    check(request_type, stream=stream)


def test_embeddings_do_not_look_at_stream() -> None:
    check("embedding", stream=True)
    check("embedding", stream="yes")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant"},
        {"role": "no such role"},
        {"role": "user", "content": None},
        {"role": "user", "content": ""},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "tool", "content": "x", "tool_call_id": "1", "anything": {"else": 1}},
    ],
)
def test_these_chat_messages_are_accepted(message: object) -> None:
    check("chat_completion", messages=[message])


@pytest.mark.parametrize(
    "messages",
    [
        "hi",
        {},
        5,
        ["hi"],
        [None],
        [{}],
        [{"content": "hi"}],
        [{"role": None}],
        [{"role": 5}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": True}],
        [{"role": "user"}, {"role": "user", "content": {"type": "text"}}],
    ],
)
def test_other_chat_messages_are_refused(messages: object) -> None:
    assert refusal("chat_completion", messages=messages).startswith(BAD)


OF_TYPE: dict[str, tuple[list[object], list[object]]] = {
    "boolean": ([True, False], ["true", 1, [], {}]),
    "integer": ([0, -5, 10**30, 10.0, 1e3], ["1", 1.5, True, [], {}]),
    "number": ([0, -2.5, 10**30, 1e300], ["1", True, [], {}]),
    "string": (["", "x", "\u0000\u2028😀"], [1, True, [], {}]),
    "object": ([{}, {"a": [1, None]}], ["x", 1, True, []]),
    "string[]": ([[], ["a", ""]], ["x", 1, {}, [1], [None], ["a", []]]),
    "string | string[]": (["", "x", [], ["a"]], [1, {}, True, [1], [None]]),
    "string | object": (["auto", {}, {"type": "any"}], [1, True, []]),
    "object[]": ([[], [{}, {"a": 1}]], ["x", 1, {}, ["x"], [None]]),
}
"""For each type of the contract: what it takes, and what it does not."""

FIELDS: dict[str, dict[str, str]] = {
    "chat_completion": {
        "fallbacks": "string[]",
        "frequency_penalty": "number",
        "presence_penalty": "number",
        "temperature": "number",
        "top_p": "number",
        "logprobs": "boolean",
        "parallel_tool_calls": "boolean",
        "store": "boolean",
        "top_logprobs": "integer",
        "max_completion_tokens": "integer",
        "max_tokens": "integer",
        "seed": "integer",
        "reasoning_max_tokens": "integer",
        "reasoning_effort": "string",
        "prompt_cache_key": "string",
        "prompt_cache_retention": "string",
        "safety_identifier": "string",
        "service_tier": "string",
        "truncation": "string",
        "user": "string",
        "verbosity": "string",
        "logit_bias": "object",
        "metadata": "object",
        "prediction": "object",
        "reasoning": "object",
        "response_format": "object",
        "stream_options": "object",
        "web_search_options": "object",
        "audio": "object",
        "modalities": "string[]",
        "stop": "string | string[]",
        "tool_choice": "string | object",
        "tools": "object[]",
    },
    "text_completion": {
        "fallbacks": "string[]",
        "best_of": "integer",
        "logprobs": "integer",
        "max_tokens": "integer",
        "n": "integer",
        "seed": "integer",
        "echo": "boolean",
        "frequency_penalty": "number",
        "presence_penalty": "number",
        "temperature": "number",
        "top_p": "number",
        "logit_bias": "object",
        "stop": "string | string[]",
        "suffix": "string",
        "user": "string",
        "stream_options": "object",
        "prompt": "string | string[]",
    },
    "responses": {
        "fallbacks": "string[]",
        "background": "boolean",
        "parallel_tool_calls": "boolean",
        "store": "boolean",
        "conversation": "string | object",
        "instructions": "string",
        "previous_response_id": "string",
        "prompt_cache_key": "string",
        "safety_identifier": "string",
        "service_tier": "string",
        "truncation": "string",
        "user": "string",
        "include": "string[]",
        "max_output_tokens": "integer",
        "max_tool_calls": "integer",
        "top_logprobs": "integer",
        "metadata": "object",
        "reasoning": "object",
        "stream_options": "object",
        "temperature": "number",
        "top_p": "number",
        "text": "object",
        "tool_choice": "string | object",
        "tools": "object[]",
    },
    "embedding": {
        "fallbacks": "string[]",
        "encoding_format": "string",
        "dimensions": "integer",
    },
}
"""The documented optional fields (and `prompt`) with their types."""

ROWS = [
    (request_type, field, type_) for request_type in FIELDS
    for field, type_ in FIELDS[request_type].items()
]  # fmt: skip


@pytest.mark.parametrize(("request_type", "field", "type_"), ROWS)
def test_a_documented_field_takes_its_type(request_type: str, field: str, type_: str) -> None:
    for value in OF_TYPE[type_][0]:
        check(request_type, **{field: value})


@pytest.mark.parametrize(("request_type", "field", "type_"), ROWS)
def test_a_documented_field_takes_nothing_else(request_type: str, field: str, type_: str) -> None:
    for value in OF_TYPE[type_][1]:
        message = refusal(request_type, **{field: value})
        assert message.startswith(BAD + "Expected `")
        assert f"$.{field}" in message


@pytest.mark.parametrize("request_type", FIELDS)
def test_every_optional_field_may_be_null(request_type: str) -> None:
    check(request_type, **{field: None for field in FIELDS[request_type] if field != "prompt"})


@pytest.mark.parametrize("request_type", FIELDS)
def test_the_known_fields_are_the_documented_ones(request_type: str) -> None:
    own = {"model", *MINIMAL[request_type]}
    if request_type != "embedding":
        own.add("stream")
    assert KIND_BY_TYPE[request_type].known_fields == own | set(FIELDS[request_type])


@pytest.mark.parametrize("request_type", MINIMAL)
def test_unknown_fields_are_never_an_error(request_type: str) -> None:
    check(request_type, **{"x": [{"y": [None]}], "": 1, "модель": 2, "_model": 3, "MODEL": 4})


@pytest.mark.parametrize("request_type", MINIMAL)
def test_numbers_of_any_size_are_accepted_where_they_are_not_interpreted(
    request_type: str,
) -> None:
    body = json.dumps(MINIMAL[request_type]).encode()
    numbers = b',"a":1e999999,"b":-0.0,"c":[1E-9],"d":%s}' % (b"7" * 1_000_000)
    KIND_BY_TYPE[request_type].check(body[:-1] + numbers, PROVIDERS)


@pytest.mark.parametrize("fallbacks", [["nonsense"], ["openai/"], ["nope/x", "openai/gpt-4"], []])
def test_fallbacks_that_name_nothing_are_no_error(fallbacks: list[str]) -> None:
    check("chat_completion", fallbacks=fallbacks)


@pytest.mark.parametrize(
    ("changes", "twin"),
    [
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, "effort"),
        ({"reasoning_max_tokens": 5, "reasoning": {"max_tokens": 7}}, "max_tokens"),
    ],
)
def test_a_reasoning_setting_given_twice_is_refused(changes: dict[str, object], twin: str) -> None:
    assert refusal("chat_completion", **changes) == (
        f"invalid request format: both reasoning_{twin} and reasoning.{twin} "
        "cannot be present at the same time"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"reasoning_effort": "low", "reasoning": {"max_tokens": 5}},
        {"reasoning_effort": "low", "reasoning": {"effort": None}},
        {"reasoning_effort": None, "reasoning": {"effort": "low"}},
        {"reasoning_effort": "low", "reasoning": None},
        {"reasoning_max_tokens": 5, "reasoning": {"effort": "low"}},
    ],
)
def test_a_reasoning_setting_given_once_is_fine(changes: dict[str, object]) -> None:
    check("chat_completion", **changes)


@pytest.mark.parametrize("reasoning", [{"effort": 5}, {"max_tokens": "many"}, {"max_tokens": 1.5}])
def test_reasoning_settings_have_types(reasoning: object) -> None:
    message = refusal("chat_completion", reasoning=reasoning)
    assert message.startswith(BAD + "Expected `")
    assert "$.reasoning." in message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"{",
        b'{"model":',
        b'{"model":"openai/gpt-4"',
        b'{"model":"openai/gpt-4"} x',
        b'{"model":"openai/gpt-4"}\x00',
        b'{"model":"openai/gpt-4",}',
        b"{'model':'openai/gpt-4'}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"model":"openai/gpt-4","x":NaN}',
        b'{"model":"openai/gpt-4","x":Infinity}',
        b'{"model":"openai/gpt-4","x":01}',
        b'{"model":"openai/gpt-4","x":"\x00"}',
        b'{"model":"openai/gpt-4","x":"\n"}',
        b'{"model":"openai/gpt-4","x":"\\ud800"}',
        b'{"model":"openai/gpt-4","x":"\\u12"}',
        b'{"model":"openai/gpt-4","x":"\xff"}',
        b'{"model":"openai/gpt-4","x":"\xed\xa0\x80"}',
        b'{"model":"openai/gpt-4","\xff":1}',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"x":' * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"max_tokens":' + b"9" * 10_000_000 + b"}",
        b'{"dimensions":' + b"9" * 10_000_000 + b"}",
        b'{"temperature":1e999999,"dimensions":1e999999}',
        b"a=1&b=2",
        b"<html></html>",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_not_a_sound_object_is_refused(body: bytes) -> None:
    for kind in KINDS:
        with pytest.raises(Refused) as refused:
            kind.check(body, PROVIDERS)
        assert refused.value.failure.status_code == 400
        message = refused.value.failure.message
        # A number that a kind does not interpret may be of any size: then the model is missing.
        assert message.startswith(BAD) or (b"999" in body and message == MODEL_MESSAGE)


@pytest.mark.parametrize("request_type", MINIMAL)
def test_of_duplicate_members_the_last_one_counts(request_type: str) -> None:
    body = json.dumps(MINIMAL[request_type]).encode()
    again = body[:-1] + b',"model":"mock/hello"}'
    assert KIND_BY_TYPE[request_type].check(again, PROVIDERS) == Checked("mock", "hello")
