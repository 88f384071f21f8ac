"""Replicate's predictions: what is asked of a model, and how work is asked for until it is done."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, ImagesResponse
from openai.types.chat import ChatCompletion

from hermod.domain.failure import Failure
from hermod.domain.outcome import Retryable
from hermod.domain.usage import Usage
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Outgoing, Prepared
from hermod.providers.pending import Asking, Pending
from hermod.providers.replicate import dialect as replicate
from hermod.providers.upstream_errors import retryable
from tests.providers.any_json import any_json

CHAT = KIND_BY_TYPE["chat_completion"]
COMPLETION = KIND_BY_TYPE["text_completion"]
IMAGE = KIND_BY_TYPE["image_generation"]
HELLO = [{"role": "user", "content": "Hello"}]
LLAMA = "meta/meta-llama-3-70b-instruct"
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
POLLING = replicate.DIALECT.polling
assert POLLING is not None


def outgoing(model: str = LLAMA, /, **asked: Any) -> Outgoing:
    body = json.dumps({"model": f"replicate/{model}"} | asked).encode()
    return Outgoing(body, None, model, True, "", now_s=5)


def chat(model: str = LLAMA, /, **asked: Any) -> dict[str, Any]:
    prepared = replicate.build(CHAT, outgoing(model, **({"messages": HELLO} | asked)))
    return json.loads(prepared.body)["input"]


def image(model: str, /, **asked: Any) -> dict[str, Any]:
    prepared = replicate.build(IMAGE, outgoing(model, prompt="A bridge", **asked))
    return json.loads(prepared.body)["input"]


def placed(model: str) -> Prepared:
    return replicate.build(CHAT, outgoing(model, messages=HELLO))


def read(reply: object, kind: Any = CHAT) -> Answered | Failure:
    body = json.dumps(reply).encode()
    return replicate.read(kind, outgoing(messages=HELLO), "application/json", body)


def answered(output: object, kind: Any = CHAT, **more: Any) -> Answered:
    told = {"id": "p1", "status": "succeeded", "error": None, "output": output}
    found = read(told | more, kind)
    assert isinstance(found, Answered), found
    return found


def pending(reply: object) -> Pending | None:
    assert POLLING is not None
    return POLLING.pending("application/json", json.dumps(reply).encode())


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("meta/llama", "/v1/models/meta/llama/predictions", None),
        (f"meta/llama:{VERSION}", "/v1/predictions", VERSION),
        (VERSION, "/v1/predictions", VERSION),
        ("deployments/acme/mine", "/v1/deployments/acme/mine/predictions", None),
    ],
)
def test_a_model_is_found_by_each_of_its_names(model: str, path: str, version: str | None) -> None:
    prepared = placed(model)
    assert prepared.path == path
    assert json.loads(prepared.body).get("version") == version


@pytest.mark.parametrize(
    "model",
    ["llama", "a/b/c", "../b", "a/..", "a/b?c", "a/b:../x", "deployments/a", "/", "a/{model}"],
)
def test_what_names_no_model_leads_nowhere(model: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        placed(model)
    assert caught.value.param == "model"


def test_it_waits_for_the_prediction_as_long_as_it_may() -> None:
    assert placed(LLAMA).headers == (("Prefer", "wait=60"),)


def test_models_without_a_system_prompt_hear_it_first() -> None:
    messages = [{"role": "system", "content": "Be short."}, *HELLO]
    assert chat(messages=messages)["system_prompt"] == "Be short."
    for_r1 = chat("deepseek-ai/deepseek-r1", messages=messages)
    assert for_r1 == {"prompt": "Be short.\n\nHello"}


def test_openais_models_have_a_name_of_their_own_for_the_limit() -> None:
    assert chat(max_tokens=5)["max_tokens"] == 5
    assert chat("openai/gpt-4o", max_tokens=5)["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("tools", {"tools": [{"type": "function", "function": {"name": "x"}}]}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("logprobs", {"logprobs": True}),
        ("n", {"n": 2}),
        ("stop", {"stop": ["a,b"]}),
        ("reasoning", {"reasoning": {"max_tokens": 5}}),
        ("messages", {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "file"}]}]}),
    ],
)
def test_what_predictions_have_no_words_for_is_refused(param: str, asked: dict[str, Any]) -> None:
    with pytest.raises(CannotCarry) as caught:
        chat(**asked)
    assert caught.value.param == param


def test_prompts_come_one_at_a_time() -> None:
    with pytest.raises(CannotCarry):
        replicate.build(COMPLETION, outgoing(prompt=["a", "b"]))


@pytest.mark.parametrize(
    ("model", "asked", "there"),
    [
        ("openai/gpt-image-1", {"n": 2}, {"number_of_images": 2}),
        (
            "stability-ai/sdxl",
            {"n": 2, "size": "512x768"},
            {"num_outputs": 2, "width": 512, "height": 768},
        ),
        ("stability-ai/sdxl", {"n": 1, "size": "auto", "response_format": "url"}, {}),
        ("openai/gpt-image-1", {"output_format": "jpeg"}, {"output_format": "jpeg"}),
        ("black-forest-labs/flux-dev", {"input_images": ["u"]}, {"image": "u"}),
        ("google/nano-banana", {"input_images": ["u", "v"]}, {"input_images": ["u", "v"]}),
    ],
)
def test_a_picture_is_asked_for_in_its_models_words(
    model: str, asked: dict[str, Any], there: dict[str, Any]
) -> None:
    assert image(model, **asked) == {"prompt": "A bridge", **there}


@pytest.mark.parametrize(
    "asked", [{"response_format": "b64_json"}, {"style": "vivid"}, {"size": "large"}]
)
def test_a_picture_that_cannot_be_had_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(CannotCarry):
        image("stability-ai/sdxl", **asked)


@pytest.mark.parametrize("output", ["Hermod", ["Her", "mod"], {"text": "Hermod"}])
def test_a_text_comes_whole_in_pieces_or_in_an_object(output: object) -> None:
    metrics = {"input_token_count": 3, "output_token_count": 2, "predict_time": 0.1}
    found = answered(output, metrics=metrics)
    whole = ChatCompletion.model_validate_json(found.body)
    assert whole.choices[0].message.content == "Hermod"
    assert found.usage == Usage(3, 2)


def test_openais_types_take_the_other_answers() -> None:
    assert Completion.model_validate_json(answered("x", COMPLETION).body).choices[0].text == "x"
    found = ImagesResponse.model_validate_json(answered("https://a/b.png", IMAGE).body)
    assert [each.url for each in found.data or ()] == ["https://a/b.png"]


@pytest.mark.parametrize(
    ("output", "kind"),
    [(None, CHAT), (5, CHAT), ([], CHAT), ([1], CHAT), (None, IMAGE), ([], IMAGE)],
)
def test_an_output_of_another_kind_is_no_answer(output: object, kind: Any) -> None:
    assert isinstance(read({"id": "p", "status": "succeeded", "output": output}, kind), Failure)


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
def test_a_prediction_that_did_not_succeed_is_not_made_again(status: str) -> None:
    found = read({"id": "p", "status": status, "error": "no luck", "output": None})
    assert isinstance(found, Failure)
    assert found.message == "no luck"
    assert retryable(found) is Retryable.NO
    assert isinstance(read({"id": "p", "status": status, "error": None}), Failure)


@pytest.mark.parametrize("status", ["starting", "processing"])
def test_a_prediction_that_has_not_ended_is_asked_for_by_its_id(status: str) -> None:
    elsewhere = {"get": "https://elsewhere.example/p1", "cancel": "https://elsewhere.example/p1"}
    told = {"id": "p1", "status": status, "error": None, "output": None, "urls": elsewhere}
    found = pending(told)
    assert found == Pending("p1", 2.0)
    assert POLLING is not None
    assert found is not None
    assert POLLING.ask(found.handle) == Asking("GET", "/v1/predictions/p1")
    assert POLLING.cancel(found.handle) == Asking("POST", "/v1/predictions/p1/cancel")
    assert isinstance(read(told), Failure)


@pytest.mark.parametrize(
    "reply",
    [
        {"id": "p1", "status": "succeeded", "output": "x"},
        {"id": "p1", "status": "failed", "error": "x"},
        {"id": "../../account", "status": "starting"},
        {"id": "p1?x=1", "status": "starting"},
        {"id": 5, "status": "starting"},
        {"status": "starting"},
        {"id": "p1", "status": ["starting"]},
        [],
    ],
)
def test_nothing_else_is_pending(reply: object) -> None:
    assert pending(reply) is None


REPLIES = any_json(
    "id status output error metrics input_token_count output_token_count text image images url "
    "detail urls get"
)


@given(REPLIES, st.sampled_from([CHAT, COMPLETION, IMAGE]))
def test_no_reply_makes_it_raise(reply: object, kind: Any) -> None:
    for told in (reply, {"id": reply, "status": "succeeded", "output": reply, "metrics": reply}):
        read(told, kind)
        pending(told)


@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert POLLING is not None
    replicate.read(CHAT, outgoing(messages=HELLO), None, body)
    POLLING.pending(None, body)


@given(any_json("type text image_url url refusal content role"))
def test_no_message_makes_it_raise_anything_else(part: object) -> None:
    for role in ("system", "user", "assistant"):
        with suppress(CannotCarry):
            chat(messages=[{"role": role, "content": [part], "tool_calls": None}])
