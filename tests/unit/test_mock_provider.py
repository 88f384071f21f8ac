"""The mock provider is a pure function: the same call, the same reply."""

import base64
import hashlib
import json
import math
import struct
from typing import Any

import pytest

from hermod.providers.mock import mock
from hermod.providers.mock import request as mock_request
from tests.support.mock_requests import (
    AUDIO,
    FILES,
    NOW_AT,
    SAID,
    STREAMED,
    ask,
    form,
    send,
    whole,
)

CHAT, TEXT = mock_request.CHAT, mock_request.TEXT
RESPONSES, EMBEDDING = mock_request.RESPONSES, mock_request.EMBEDDING
KINDS = mock_request.KINDS
SPOKEN = (CHAT, TEXT, RESPONSES)


def spoken(kind: str, reply: mock.MockReply) -> list[str]:
    """What each choice of a reply says."""
    answer = whole(reply)
    if kind == RESPONSES:
        return [answer["output"][0]["content"][0]["text"]]
    if kind == TEXT:
        return [choice["text"] for choice in answer["choices"]]
    return [choice["message"]["content"] for choice in answer["choices"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["hello", "echo", "slow", "flaky?fail=0", "429?times=0"])
def test_every_model_answers_every_request_type(kind: str, model: str) -> None:
    reply = ask(kind, model)
    assert reply.status == 200
    assert reply.body
    assert not reply.pieces
    kind_of = "audio/mpeg" if kind == mock_request.SPEECH else "application/json"
    assert reply.headers == (("content-type", kind_of),)


@pytest.mark.parametrize("model", mock.models())
def test_no_model_is_at_a_loss_for_a_kind(model: str) -> None:
    expected = {"timeout": 504, "429": 429, "error": 500}.get(model, 200)
    statuses = {kind: ask(kind, model, job_id="lucky").status for kind in KINDS}
    assert statuses == dict.fromkeys(KINDS, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_call_gets_the_same_reply(kind: str) -> None:
    assert ask(kind, "hello") == ask(kind, "hello")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CHAT, "chat.completion"),
        (TEXT, "text_completion"),
        (RESPONSES, "response"),
        (EMBEDDING, "list"),
    ],
)
def test_an_answer_is_the_object_of_its_kind_under_the_asked_model(kind: str, name: str) -> None:
    answer = whole(ask(kind, "slow?seconds=1"))
    assert (answer["object"], answer["model"]) == (name, "slow?seconds=1")


@pytest.mark.parametrize("kind", [*SPOKEN, EMBEDDING])
def test_the_usage_adds_up(kind: str) -> None:
    usage = whole(ask(kind, "echo"))["usage"]
    spent = usage.get("prompt_tokens", usage.get("input_tokens"))
    given = usage.get("completion_tokens", usage.get("output_tokens", 0))
    assert spent == math.ceil(len(SAID) / 4)
    assert usage["total_tokens"] == spent + given


@pytest.mark.parametrize("kind", SPOKEN)
def test_echo_answers_with_the_text_that_came(kind: str) -> None:
    assert spoken(kind, ask(kind, "echo")) == [SAID]


def test_echo_joins_the_text_blocks_of_a_message() -> None:
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "b"},
    ]
    messages = [{"role": "user", "content": blocks}]
    assert spoken(CHAT, ask(CHAT, "echo", messages=messages)) == ["a\nb"]


def test_echo_answers_each_prompt_in_a_choice_of_its_own() -> None:
    prompt = ["a", "b", [1, 2]]
    assert spoken(TEXT, ask(TEXT, "echo", prompt=prompt)) == ["a", "b", "1 2"]


def test_echo_of_a_form_tells_its_prompt_and_each_file() -> None:
    text = whole(ask(mock_request.TRANSCRIPTION, "echo"))["text"]
    digest = hashlib.sha256(AUDIO).hexdigest()
    told = f"file: hé.wav (audio/wav), {len(AUDIO)} bytes, sha256 {digest}"
    assert text == f"{SAID}\n{told}"


@pytest.mark.parametrize("kind", [mock_request.IMAGE_EDIT, mock_request.IMAGE_VARIATION])
def test_echo_of_an_image_tells_what_was_uploaded_as_its_revised_prompt(kind: str) -> None:
    (drawn,) = whole(ask(kind, "echo"))["data"]
    for name, filename, content in FILES[kind]:
        assert f"{name}: {filename} " in drawn["revised_prompt"]
        assert hashlib.sha256(content).hexdigest() in drawn["revised_prompt"]


def test_echo_speaks_the_text_itself() -> None:
    assert ask(mock_request.SPEECH, "echo").body.decode() == SAID


def test_echo_of_a_rerank_returns_the_documents() -> None:
    results = whole(ask(mock_request.RERANK, "echo"))["results"]
    assert {result["document"]["text"] for result in results} == {"a", "a horse, and a dog"}


def test_echo_of_an_ocr_names_its_document_or_the_hash_of_one_inside() -> None:
    def page(document: dict[str, object]) -> str:
        answer = whole(ask(mock_request.OCR, "echo", document=document))
        text: str = answer["pages"][0]["markdown"]
        return text

    data_url = "data:application/pdf;base64," + "A" * 1000
    assert page({"type": "image_url", "image_url": {"url": "https://a.test"}}) == "https://a.test"
    assert hashlib.sha256(data_url.encode()).hexdigest() in page({"document_url": data_url})


def test_the_time_of_a_reply_is_the_instant_it_was_asked_at() -> None:
    assert whole(ask(CHAT, "hello"))["created"] == NOW_AT // 1_000_000
    assert whole(ask(RESPONSES, "hello"))["created_at"] == NOW_AT // 1_000_000


@pytest.mark.parametrize(
    ("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2), ([], 0)]
)
def test_an_embedding_has_a_vector_for_each_input(given: object, count: int) -> None:
    data = whole(ask(EMBEDDING, "embed?dim=7", input=given))["data"]
    assert [entry["index"] for entry in data] == list(range(count))
    assert all(len(entry["embedding"]) == 7 for entry in data)


def test_a_vector_depends_on_its_text_alone_and_has_length_one() -> None:
    both = whole(ask(EMBEDDING, "embed", input=["a", "b"]))["data"]
    alone = whole(ask(EMBEDDING, "embed", input="b", job_id="another"))["data"]
    assert both[1]["embedding"] == alone[0]["embedding"] != both[0]["embedding"]
    assert math.hypot(*alone[0]["embedding"]) == pytest.approx(1, abs=1e-6)


def test_the_dimensions_of_a_request_win_over_the_option() -> None:
    data = whole(ask(EMBEDDING, "embed?dim=9", input="a", dimensions=5))["data"]
    assert len(data[0]["embedding"]) == 5


def test_base64_holds_the_same_vector_as_floats() -> None:
    floats = whole(ask(EMBEDDING, "embed", input="a"))["data"][0]["embedding"]
    answer = whole(ask(EMBEDDING, "embed", input="a", encoding_format="base64"))
    packed = answer["data"][0]["embedding"]
    assert list(struct.unpack("<16f", base64.b64decode(packed))) == floats


@pytest.mark.parametrize(
    ("model", "status", "delay_s"),
    [
        ("slow", 200, 8),
        ("slow?seconds=0.25", 200, 0.25),
        ("timeout", 504, 3600),
        ("timeout?seconds=2", 504, 2),
        ("hello", 200, 0),
    ],
)
def test_a_delay_is_returned_and_not_waited_for(model: str, status: int, delay_s: float) -> None:
    reply = ask(CHAT, model)
    assert (reply.status, reply.delay_s) == (status, delay_s)


def test_flaky_fails_about_the_share_it_is_told_to() -> None:
    replies = [ask(CHAT, "flaky?fail=0.3", job_id=f"job {n}") for n in range(1000)]
    assert 230 < sum(reply.status == 500 for reply in replies) < 370


def test_flaky_draws_anew_for_each_attempt_and_repeats_itself() -> None:
    def outcomes(model: str) -> list[int]:
        return [ask(CHAT, model, attempt=n).status for n in range(1, 30)]

    assert set(outcomes("flaky?fail=0.5")) == {200, 500}
    assert outcomes("flaky?fail=0.5&seed=1") == outcomes("flaky?fail=0.5&seed=1")
    assert outcomes("flaky?fail=0.5&seed=1") != outcomes("flaky?fail=0.5&seed=2")


@pytest.mark.parametrize("value", ["1", "-1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_the_retry_after_of_a_429_is_sent_as_it_stands(value: str) -> None:
    reply = ask(CHAT, f"429?retry_after={value}")
    assert reply.status == 429
    assert dict(reply.headers)["retry-after"] == value


def test_a_429_without_the_option_has_no_retry_after() -> None:
    assert "retry-after" not in dict(ask(CHAT, "429").headers)


def test_a_429_ends_after_the_attempts_it_is_limited_to() -> None:
    statuses = [ask(CHAT, "429?times=2", attempt=n).status for n in (1, 2, 3)]
    assert statuses == [429, 429, 200]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (500, "server_error"),
        (529, "server_error"),
    ],
)
def test_error_answers_the_code_it_is_told_to(code: int, kind: str) -> None:
    reply = ask(CHAT, f"error?code={code}")
    assert reply.status == code
    assert whole(reply)["error"]["type"] == kind


def test_an_unknown_model_is_a_404_that_names_the_known_ones() -> None:
    reply = ask(CHAT, "gpt-9")
    assert reply.status == 404
    assert whole(reply)["error"]["code"] == "model_not_found"
    assert all(name in whole(reply)["error"]["message"] for name in mock.models())


@pytest.mark.parametrize(
    "model",
    [
        "slow?seconds=x",
        "slow?seconds=nan",
        "slow?seconds=-1",
        "error?code=200",
        "embed?dim=0",
        "invalid?how=nicely",
        "429?retry_after=1%0d%0ax-evil:1",
        "hello?" + "&".join(f"o{n}=1" for n in range(20)),
    ],
)
def test_a_wrong_option_is_a_400(model: str) -> None:
    kind = EMBEDDING if model.startswith("embed") else CHAT
    assert ask(kind, model).status == 400


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 200_000, b'{"input":5,"prompt":5,"messages":5}'],
)
@pytest.mark.parametrize("content_type", [None, "application/json", "multipart/form-data"])
def test_a_body_that_cannot_be_used_is_a_400(
    kind: str, body: bytes, content_type: str | None
) -> None:
    reply = send(kind, "echo", body, content_type)
    assert reply.status == 400
    assert whole(reply)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    "body",
    [
        form({"prompt": "no file"}, [])[0],
        form({"file": "a field", "image": "a field"}, [])[0],
        form({}, [("other", "a.png", b"1")])[0],
        form({}, [("file", "a", b"1"), ("image", "a", b"1")])[0][:-6],
        form({}, [("file", "a", b"1"), ("image", "a", b"1")], "another")[0],
        b"--b0undary\r\nContent-Disposition: \xff\r\n\r\n1\r\n--b0undary--\r\n",
        b"--b0undary\r\n\r\nnameless\r\n--b0undary--\r\n",
    ],
)
def test_a_form_that_cannot_be_used_is_a_400(kind: str, body: bytes) -> None:
    assert send(kind, "hello", body, "multipart/form-data; boundary=b0undary").status == 400


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (EMBEDDING, {"input": ["a"] * 2048, "dimensions": 4096}),
        (TEXT, {"prompt": ["a"] * 2049}),
        (mock_request.RERANK, {"documents": ["a"] * 2049}),
        (mock_request.RERANK, {"documents": []}),
        (mock_request.RERANK, {"documents": [{"txt": "a"}]}),
        (mock_request.RERANK, {"top_n": 0}),
        (mock_request.OCR, {"document": {"type": "document_url"}}),
        (mock_request.OCR, {"pages": 1}),
        (mock_request.OCR, {"pages": [0] * 1001}),
        (mock_request.SPEECH, {"response_format": "midi"}),
        (mock_request.SPEECH, {"response_format": ["mp3"]}),
        (mock_request.TRANSCRIPTION, {"response_format": "docx"}),
        (mock_request.IMAGE_GENERATION, {"n": 11}),
        (mock_request.IMAGE_EDIT, {"n": "two"}),
        (mock_request.IMAGE_GENERATION, {"n": True}),
        (mock_request.IMAGE_GENERATION, {"stream": True, "partial_images": 4}),
    ],
)
def test_a_field_that_cannot_be_used_is_a_400(kind: str, fields: dict[str, Any]) -> None:
    assert ask(kind, "hello", **fields).status == 400


@pytest.mark.parametrize("value", [None, True, 5, -1.5, "x", "\ud800", [], [[]], {}, {"a": [{}]}])
def test_no_value_of_a_field_makes_it_raise(value: object) -> None:
    fields: dict[str, Any]
    names = "messages input prompt query documents document pages tools tool_choice stream n size"
    names += " quality response_format stream_options dimensions partial_images"
    for kind in KINDS:
        for name in names.split():
            shown = str(value) if kind in FILES else value
            fields = {**STREAMED.get(kind, {}), name: shown}
            for model in ("echo", "tool", "stream"):
                assert ask(kind, model, **fields).status in (200, 400)


@pytest.mark.parametrize("how", ["html", "truncated", "empty", "utf8"])
def test_these_invalid_replies_are_no_json(how: str) -> None:
    reply = ask(CHAT, f"invalid?how={how}")
    assert reply.status == 200
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of the two decoders refuses
        json.loads(reply.body)


def test_these_invalid_replies_are_json_for_lenient_readers_only() -> None:
    assert b"NaN" in ask(CHAT, "invalid?how=nan").body
    assert b'"\\ud800"' in ask(CHAT, "invalid?how=surrogate").body
    with pytest.raises(RecursionError):
        whole(ask(CHAT, "invalid?how=deep"))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (CHAT, "choices"),
        (TEXT, "choices"),
        (RESPONSES, "output"),
        (EMBEDDING, "data"),
        (mock_request.IMAGE_GENERATION, "data"),
        (mock_request.RERANK, "results"),
        (mock_request.OCR, "pages"),
    ],
)
def test_an_invalid_reply_can_lack_its_answer(kind: str, field: str) -> None:
    assert whole(ask(kind, "invalid?how=choices"))[field] == []


def test_a_transcription_without_its_answer_has_no_text() -> None:
    assert "text" not in whole(ask(mock_request.TRANSCRIPTION, "invalid?how=choices"))


def test_an_invalid_speech_is_json_where_audio_should_be() -> None:
    reply = ask(mock_request.SPEECH, "invalid?how=error")
    assert (reply.status, reply.headers) == (200, (("content-type", "application/json"),))
    assert set(whole(reply)) == {"error"}


def test_an_invalid_reply_can_be_of_another_type() -> None:
    assert isinstance(whole(ask(CHAT, "invalid?how=array")), list)
    assert set(whole(ask(CHAT, "invalid?how=error"))) == {"error"}


@pytest.mark.parametrize("how", mock.INVALID)
@pytest.mark.parametrize("asked", [{}, STREAMED])
def test_every_invalid_reply_has_status_200(how: str, asked: dict[str, dict[str, Any]]) -> None:
    model = f"invalid?how={how}"
    statuses = {kind: ask(kind, model, **asked.get(kind, {})).status for kind in KINDS}
    assert statuses == dict.fromkeys(KINDS, 200)
