"""Text completions over a chat model (OpenAI's API reference, "Completions")."""

import json
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.providers.adapter import CannotCarry
from tests.providers.bridging import (
    NOW_S,
    TEXTS_OVER_CHAT,
    Json,
    answer,
    chat,
    chunk,
    is_completion,
    judge,
    lines,
    opened,
    read,
    sent,
    streamed,
    told,
)

ASKED: Json = {"prompt": "Once upon"}
USAGE: Json = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
LOGPROBS: list[Json] = [
    {"token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": []},
    {
        "token": " you",
        "bytes": None,
        "logprob": -1.0,
        "top_logprobs": [{"token": " you", "bytes": None, "logprob": -1.0}],
    },
]


@pytest.mark.parametrize("prompt", ["Once upon", ["Once upon"]])
def test_a_prompt_is_what_the_user_says(prompt: Any) -> None:
    assert sent(TEXTS_OVER_CHAT, {"prompt": prompt}) == {
        "model": "upstream-model",
        "messages": [{"role": "user", "content": "Once upon"}],
    }


SETTINGS: list[tuple[Json, Json]] = [
    ({"max_tokens": 9}, {"max_completion_tokens": 9}),
    ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
    ({"stop": ["a"], "seed": 1, "user": "u"}, {"stop": ["a"], "seed": 1, "user": "u"}),
    (
        {"frequency_penalty": 0, "presence_penalty": 1},
        {"frequency_penalty": 0, "presence_penalty": 1},
    ),
    ({"logit_bias": {"1": 2}}, {"logit_bias": {"1": 2}}),
    ({"logprobs": 0}, {"logprobs": True}),
    ({"logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"n": 1, "best_of": 1, "echo": False, "suffix": ""}, {}),
    ({"top_k": 5}, {"top_k": 5}),
]


@pytest.mark.parametrize(("setting", "becomes"), SETTINGS)
def test_each_setting_has_its_counterpart(setting: Json, becomes: Json) -> None:
    body = sent(TEXTS_OVER_CHAT, {**ASKED, **setting})
    assert body == {**sent(TEXTS_OVER_CHAT, ASKED), **becomes}
    judge(CompletionCreateParamsNonStreaming, body)


REFUSED: list[tuple[Json, str]] = [
    ({"prompt": ["a", "b"]}, "prompt: a chat model answers one prompt at a time"),
    ({"n": 2}, "n: not supported by"),
    ({"best_of": 2}, "best_of: not supported by"),
    ({"suffix": "end"}, "suffix: not supported by"),
    ({"echo": True, "logprobs": 1}, "logprobs: a chat model tells none of an echoed prompt"),
]


@pytest.mark.parametrize(("asked", "why"), REFUSED)
def test_what_a_chat_model_cannot_do_is_refused(asked: Json, why: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        sent(TEXTS_OVER_CHAT, {**ASKED, **asked})
    assert caught.value.message.startswith(why)


def test_a_chat_is_a_completion_again() -> None:
    found = answer(TEXTS_OVER_CHAT, ASKED, chat({"content": "a time 😀"}, usage=USAGE))
    completion = is_completion(found)
    assert (completion.id, completion.object, completion.model) == (
        "cmpl-77",
        "text_completion",
        "upstream-model",
    )
    assert [choice.text for choice in completion.choices] == ["a time 😀"]
    assert found["usage"] == USAGE


@pytest.mark.parametrize(
    ("reason", "becomes"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("eos", "stop")],
)
def test_a_completion_ends_for_a_reason_that_it_knows(reason: str, becomes: str) -> None:
    found = is_completion(answer(TEXTS_OVER_CHAT, ASKED, chat({"content": "a"}, reason)))
    assert found.choices[0].finish_reason == becomes


def test_a_refusal_is_the_text() -> None:
    found = answer(TEXTS_OVER_CHAT, ASKED, chat({"content": None, "refusal": "No."}))
    assert found["choices"][0]["text"] == "No."


def test_the_prompt_is_echoed_if_asked_for() -> None:
    found = answer(TEXTS_OVER_CHAT, {**ASKED, "echo": True}, chat({"content": " a time"}))
    assert found["choices"][0]["text"] == "Once upon a time"


def test_log_probabilities_are_told_in_four_lists() -> None:
    reply = chat({"content": "Hi you"})
    reply["choices"][0]["logprobs"] = {"content": LOGPROBS}
    found = is_completion(answer(TEXTS_OVER_CHAT, {**ASKED, "logprobs": 1}, reply))
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.token_logprobs) == (["Hi", " you"], [-0.5, -1.0])
    assert (logprobs.top_logprobs, logprobs.text_offset) == ([{}, {" you": -1.0}], [0, 2])


def test_what_is_no_answer_of_a_chat_is_no_completion() -> None:
    assert isinstance(read(TEXTS_OVER_CHAT, ASKED, b'{"choices":[]}'), Failure)


def test_an_answer_without_a_time_gets_one() -> None:
    reply = chat({"content": "a"}, created=None)
    assert answer(TEXTS_OVER_CHAT, ASKED, reply)["created"] == NOW_S


# In pieces

STREAM = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "a "}),
    chunk({"content": "time 😀"}),
    chunk({}, "stop"),
    chunk({}, usage=USAGE) | {"choices": []},
)


def test_a_stream_of_a_chat_is_one_of_a_completion() -> None:
    found = told(TEXTS_OVER_CHAT, ASKED, *STREAM)
    choices = [each["choices"][0] for each in found if each["choices"]]
    assert "".join(choice["text"] for choice in choices) == "a time 😀"
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]
    assert {each["object"] for each in found} == {"text_completion"}
    assert found[-1]["usage"] == USAGE
    is_completion(found[-2])


def test_a_streams_last_word_is_passed_on() -> None:
    assert streamed(TEXTS_OVER_CHAT, ASKED, lines(*STREAM)).endswith(b"data: [DONE]\n\n")


def test_a_stream_that_breaks_off_has_no_last_word() -> None:
    whole = lines(*STREAM[:2], done=False)
    assert b"[DONE]" not in streamed(TEXTS_OVER_CHAT, ASKED, whole)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_stream_may_be_cut_anywhere(size: int) -> None:
    whole = lines(*STREAM)
    asked = {**ASKED, "echo": True}
    assert streamed(TEXTS_OVER_CHAT, asked, whole, size) == streamed(TEXTS_OVER_CHAT, asked, whole)


def test_the_prompt_is_echoed_once_in_a_stream() -> None:
    found = told(TEXTS_OVER_CHAT, {**ASKED, "echo": True}, *STREAM)
    texts = [each["choices"][0]["text"] for each in found if each["choices"]]
    assert "".join(texts) == "Once upona time 😀"


def test_an_error_in_a_stream_is_passed_on() -> None:
    error = {"error": {"message": "gone", "code": "500"}}
    found = told(TEXTS_OVER_CHAT, ASKED, *STREAM[:2], error)
    assert found[-1]["error"]["message"] == "gone"


def test_the_usage_of_a_stream_is_metered() -> None:
    translator = opened(TEXTS_OVER_CHAT, ASKED)
    translator.feed(lines(*STREAM))
    assert translator.usage == Usage(2, 3)


def test_a_stream_carries_the_wish_for_its_usage() -> None:
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    body = sent(TEXTS_OVER_CHAT, asked, stream=True)
    assert json.dumps(body["stream_options"]) == '{"include_usage": true}'
