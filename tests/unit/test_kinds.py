"""What holds for every request type (wire-contract 1.1, 1.3 and 1.4)."""

import json

import pytest

from hermod.domain.errors import Refused
from hermod.kinds.form import Form
from hermod.kinds.kind import AnyKind, Checked, FormKind, JsonKind
from hermod.kinds.registry import KIND_BY_PATH, KIND_BY_TYPE, KINDS
from tests.kinds.minimal import (
    BAD,
    FORMS,
    JSON_KINDS,
    MODEL_MESSAGE,
    PROVIDERS,
    body_of,
    check,
    check_form,
    each_json_kind,
    each_kind,
    form_of,
    form_refusal,
    json_kind,
    message_of,
    of_each_form_type,
    of_each_json_type,
    refusal,
)
from tests.kinds.recorded import EXAMPLES, recorded


def checked_example(kind: AnyKind) -> Checked:
    """The kind's judgement of its recorded request."""
    recording = recorded(kind)
    if isinstance(kind, JsonKind):
        return kind.check(recording.body, PROVIDERS | {"cohere", "mistral"})
    assert recording.form is not None
    return kind.check(recording.form, PROVIDERS)


@each_kind
def test_every_kind_is_found_by_its_path_and_its_type(kind: AnyKind) -> None:
    assert KIND_BY_PATH[kind.path] is kind
    assert KIND_BY_TYPE[kind.request_type] is kind


def test_the_eleven_kinds_have_the_contracts_paths_types_and_bodies() -> None:
    assert {(kind.path, kind.request_type, type(kind)) for kind in KINDS} == {
        ("completions", "text_completion", JsonKind),
        ("chat/completions", "chat_completion", JsonKind),
        ("responses", "responses", JsonKind),
        ("embeddings", "embedding", JsonKind),
        ("audio/speech", "speech", JsonKind),
        ("audio/transcriptions", "transcription", FormKind),
        ("images/generations", "image_generation", JsonKind),
        ("images/edits", "image_edit", FormKind),
        ("images/variations", "image_variation", FormKind),
        ("rerank", "rerank", JsonKind),
        ("ocr", "ocr", JsonKind),
    }
    assert len(KINDS) == 11


def test_the_kinds_that_can_stream_have_the_contracts_plurals() -> None:
    assert {kind.request_type: kind.plural for kind in KINDS if kind.plural} == {
        "text_completion": "text completions",
        "chat_completion": "chat completions",
        "responses": "responses",
        "speech": "speech",
        "transcription": "transcriptions",
        "image_generation": "image generations",
        "image_edit": "image edits",
    }


@each_kind
def test_every_kind_accepts_its_recorded_example(kind: AnyKind) -> None:
    checked = checked_example(kind)
    assert f"{checked.provider}/{checked.model}" == recorded(kind).model
    assert checked.stream is False


@each_kind
def test_a_recorded_example_has_documented_fields_only(kind: AnyKind) -> None:
    recording = recorded(kind)
    names = set(recording.request)
    if recording.form is not None:
        names = {name for name, _ in recording.form.fields}
        names |= {file.name for file in recording.form.files}
    assert names <= kind.known_fields


def test_there_is_one_recorded_example_for_each_kind() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(KIND_BY_TYPE)


@each_json_kind
def test_the_example_in_the_description_is_accepted(kind: JsonKind) -> None:
    provider, _, model = str(kind.example["model"]).partition("/")
    body = json.dumps(dict(kind.example)).encode()
    assert kind.check(body, {provider}) == Checked(provider, model)


@each_json_kind
def test_what_a_kind_describes_is_one_of_its_fields(kind: JsonKind) -> None:
    assert set(kind.described) <= kind.known_fields


MODELS = pytest.mark.parametrize(
    ("model", "provider", "rest"),
    [
        ("openai/gpt-4", "openai", "gpt-4"),
        ("openrouter/meta-llama/llama-3", "openrouter", "meta-llama/llama-3"),
        ("mock/slow?seconds=2", "mock", "slow?seconds=2"),
        ("openai//x", "openai", "/x"),
        ("openai/émoji😀", "openai", "émoji😀"),
    ],
)


@of_each_json_type
@MODELS
def test_a_model_is_split_at_its_first_slash(
    request_type: str, model: str, provider: str, rest: str
) -> None:
    assert check(request_type, model=model) == Checked(provider, rest)


@of_each_form_type
@MODELS
def test_a_model_in_a_form_is_split_at_its_first_slash(
    request_type: str, model: str, provider: str, rest: str
) -> None:
    assert check_form(request_type, form_of(request_type, model=model)) == Checked(provider, rest)


NO_MODELS = [
    "gpt-4",
    "/",
    "/gpt-4",
    "openai/",
    "nope/gpt-4",
    "OpenAI/gpt-4",
    " openai/gpt-4",
    "openai/a\x00b",
    "openai/" + "m" * 2049,
]


@of_each_json_type
@pytest.mark.parametrize("model", [None, "", *NO_MODELS])
def test_a_model_without_a_known_provider_and_a_name_is_refused(
    request_type: str, model: str | None
) -> None:
    assert refusal(request_type, model=model) == MODEL_MESSAGE


@of_each_form_type
@pytest.mark.parametrize("model", NO_MODELS)
def test_a_model_in_a_form_without_a_known_provider_and_a_name_is_refused(
    request_type: str, model: str
) -> None:
    assert form_refusal(request_type, form_of(request_type, model=model)) == MODEL_MESSAGE


@each_json_kind
def test_a_missing_model_is_refused_before_anything_else_that_is_missing(kind: JsonKind) -> None:
    with pytest.raises(Refused) as refused:
        kind.check(b"{}", PROVIDERS)
    assert message_of(refused.value) == MODEL_MESSAGE


@pytest.mark.parametrize("request_type", FORMS)
def test_a_form_without_a_model_is_refused_with_words_of_its_own(request_type: str) -> None:
    assert form_refusal(request_type, Form((), ())) == "model is required"
    assert form_refusal(request_type, form_of(request_type, model="")) == "model is required"
    assert form_refusal(request_type, form_of(request_type, without="model")) == "model is required"


def test_a_wrong_type_is_refused_before_a_missing_model() -> None:
    assert refusal("chat_completion", model=None, temperature="warm").startswith(BAD)


def test_a_missing_required_field_is_refused_even_of_a_stream() -> None:
    message = refusal("chat_completion", messages=[], stream=True)
    assert message == "messages is required for chat completion"


STREAMING = ["text_completion", "chat_completion", "responses", "image_generation"]


@pytest.mark.parametrize("request_type", STREAMING)
def test_a_stream_is_asked_for_with_true(request_type: str) -> None:
    assert check(request_type, stream=True).stream is True
    assert check(request_type, stream=False).stream is False
    assert check(request_type, stream=None).stream is False


@pytest.mark.parametrize("request_type", ["embedding", "speech", "rerank", "ocr"])
@pytest.mark.parametrize("stream", [True, False, None, "yes"])
def test_the_other_kinds_do_not_look_at_stream(request_type: str, stream: object) -> None:
    assert check(request_type, stream=stream).stream is False


@of_each_json_type
def test_unknown_fields_are_never_an_error(request_type: str) -> None:
    check(request_type, **{"x": [{"y": [None]}], "": 1, "модель": 2, "_model": 3, "MODEL": 4})


@of_each_json_type
def test_numbers_of_any_size_are_accepted_where_they_are_not_interpreted(
    request_type: str,
) -> None:
    body = json.dumps(body_of(request_type)).encode()
    numbers = b',"a":1e999999,"b":-0.0,"c":[1E-9],"d":%s}' % (b"7" * 1_000_000)
    json_kind(request_type).check(body[:-1] + numbers, PROVIDERS)


@pytest.mark.parametrize("fallbacks", [["nonsense"], ["openai/"], ["nope/x", "openai/gpt-4"], []])
@of_each_json_type
def test_fallbacks_that_name_nothing_are_no_error(request_type: str, fallbacks: list[str]) -> None:
    check(request_type, fallbacks=fallbacks)


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
    for kind in JSON_KINDS:
        with pytest.raises(Refused) as refused:
            kind.check(body, PROVIDERS)
        message = message_of(refused.value)
        # A number that a kind does not interpret may be of any size: then the model is missing.
        assert message.startswith(BAD) or (b"999" in body and message == MODEL_MESSAGE)


@of_each_json_type
def test_of_duplicate_members_the_last_one_counts(request_type: str) -> None:
    body = json.dumps(body_of(request_type)).encode()
    again = body[:-1] + b',"model":"mock/hello"}'
    assert json_kind(request_type).check(again, PROVIDERS) == Checked("mock", "hello")
