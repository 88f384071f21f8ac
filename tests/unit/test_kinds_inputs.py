"""What the JSON request types require, and what they refuse (wire-contract 1.5 to 1.15)."""

import json
from typing import Any

import pytest

from hermod.domain.errors import Refused
from hermod.kinds.kind import Checked
from tests.kinds.minimal import BAD, PROVIDERS, body_of, check, json_kind, message_of, refusal

URL = "https://example.org/a.pdf"
REQUIRED: list[tuple[str, str, list[Any], str]] = [
    ("chat_completion", "messages", [None, []], "messages is required for chat completion"),
    ("text_completion", "prompt", [None], "prompt is required for text completion"),
    ("responses", "input", [None, []], "input is required for responses"),
    ("embedding", "input", [None], "input is required for embeddings"),
    ("speech", "input", [None, ""], "input is required for speech completion"),
    ("speech", "voice", [None, []], "voice is required for speech completion"),
    ("image_generation", "prompt", [None, ""], "prompt cannot be empty"),
    ("rerank", "query", [None, "", " \t\n", "\u3000\u2003\x0b"], "query is required for rerank"),
    ("rerank", "documents", [None, []], "documents are required for rerank"),
    ("ocr", "document", [None, {}, {"type": None}, {"type": ""}, {"document_url": URL}],
     "document type is required for ocr"),
]  # fmt: skip


@pytest.mark.parametrize(("request_type", "field", "values", "message"), REQUIRED)
def test_a_missing_required_field_is_named(
    request_type: str, field: str, values: list[Any], message: str
) -> None:
    for value in values:
        assert refusal(request_type, **{field: value}) == message


@pytest.mark.parametrize(
    ("request_type", "field", "message"),
    [(request_type, field, message) for request_type, field, _, message in REQUIRED],
)
def test_an_absent_field_is_refused_like_a_null(
    request_type: str, field: str, message: str
) -> None:
    body = body_of(request_type)
    del body[field]
    with pytest.raises(Refused) as refused:
        json_kind(request_type).check(json.dumps(body).encode(), PROVIDERS)
    assert message_of(refused.value) == message


VOICES = [{"speaker": "Ada", "voice": "nova"}, {"voice": "alloy"}]
ACCEPTED: list[tuple[str, str, Any]] = [
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
    ("speech", "input", " "),
    ("speech", "input", "\u0000"),
    ("speech", "voice", ""),
    ("speech", "voice", VOICES),
    ("speech", "voice", [{"speaker": None, "voice": "nova", "x": 1}]),
    ("speech", "voice", {"id": "voice_1"}),
    ("image_generation", "prompt", " "),
    ("image_generation", "input_images", ["data:image/png;base64,iVBORw0KGgo="]),
    ("rerank", "query", "\u00e9"),
    ("rerank", "query", ' \n"'),
    ("rerank", "documents", [{"text": "\u3000x"}, {"text": "\\", "id": "1", "meta": {"a": [1]}}]),
    ("rerank", "documents", [{"text": "a", "id": None, "meta": None, "more": 1}] * 10_000),
    ("rerank", "top_n", 1),
    ("rerank", "top_n", 10**9),
    ("rerank", "max_tokens_per_doc", -1),
    ("ocr", "document", {"type": "document_url", "document_url": URL}),
    ("ocr", "document", {"type": "image_url", "image_url": "data:,", "document_url": ""}),
    ("ocr", "document", {"type": "file", "file_id": "f"}),
    ("ocr", "pages", [0, -1]),
]


@pytest.mark.parametrize(("request_type", "field", "value"), ACCEPTED)
def test_these_inputs_are_accepted(request_type: str, field: str, value: Any) -> None:
    assert check(request_type, **{field: value}) == Checked("openai", "gpt-4")


OTHER_INPUTS: list[object] = [
    *(5, True, {}, [{}], [None], [True], [1.5]),
    *([1, "a"], ["a", 1], ["a", ["b"]], [1, [2]], [[1], 2], [[1], -2], [[1], [], "a"]),
    *([["a"]], [[[1]]], [[None]], [["a", []]], [[1.5]]),
]


@pytest.mark.parametrize("value", OTHER_INPUTS)
def test_other_embedding_inputs_are_refused(value: object) -> None:
    assert refusal("embedding", input=value) == f"{BAD}unsupported embedding input shape"


@pytest.mark.parametrize("value", [5, True, {}, ["a"], [5], [None], [{}, "a"]])
def test_other_responses_inputs_are_refused(value: object) -> None:
    assert refusal("responses", input=value) == f"{BAD}invalid responses request input"


@pytest.mark.parametrize(
    ("request_type", "field", "value", "place"),
    [
        ("speech", "input", 5, "$.input"),
        ("speech", "voice", 5, "$.voice"),
        ("speech", "voice", True, "$.voice"),
        ("speech", "voice", ["alloy"], "$.voice"),
        ("speech", "voice", [None], "$.voice"),
        ("speech", "voice", [{"voice": 5}], "$.voice"),
        ("speech", "voice", [{"voice": "nova", "speaker": {}}], "$.voice"),
        ("image_generation", "prompt", ["A cat"], "$.prompt"),
        ("rerank", "query", ["Which?"], "$.query"),
        ("rerank", "documents", "This.", "$.documents"),
        ("rerank", "documents", ["This."], "$.documents"),
        ("rerank", "documents", [{"text": "This."}, None], "$.documents"),
        ("rerank", "documents", [{"text": " "}, {"text": 5}], "$.documents[1].text"),
        ("rerank", "documents", [{"text": "a", "id": 1}], "$.documents"),
        ("rerank", "documents", [{"text": "a", "meta": []}], "$.documents"),
        ("ocr", "document", URL, "$.document"),
        ("ocr", "document", {"type": 1}, "$.document.type"),
        ("ocr", "document", {"type": "image_url", "image_url": {"url": URL}},
         "$.document.image_url"),
        ("ocr", "document", {"type": "image_url", "image_url": URL, "document_url": 5},
         "$.document.document_url"),
    ],
)  # fmt: skip
def test_other_shapes_of_a_required_field_are_refused(
    request_type: str, field: str, value: object, place: str
) -> None:
    # Types come before everything that is missing.
    message = refusal(request_type, **{"model": None, field: value})
    assert message.startswith(BAD + "Expected `")
    assert place in message


@pytest.mark.parametrize("voices", [[{}], [{"voice": ""}], [{"voice": None}], [*VOICES, {}]])
def test_an_empty_voice_among_several_is_refused_before_the_model(voices: object) -> None:
    message = refusal("speech", voice=voices, model=None)
    assert message == f"{BAD}voice config has empty voice field"


def test_elevenlabs_has_models_without_a_voice() -> None:
    checked = check("speech", voice=None, model="elevenlabs/eleven_text_to_sound_v2")
    assert checked == Checked("elevenlabs", "eleven_text_to_sound_v2")
    message = refusal("speech", voice=None, input="", model="elevenlabs/eleven_text_to_sound_v2")
    assert message == "input is required for speech completion"


def test_speech_streams_when_its_format_is_sse() -> None:
    assert check("speech", stream_format="sse").stream is True
    for other in ("audio", "SSE", "", None):
        assert check("speech", stream_format=other).stream is False


def test_speech_asks_for_the_input_before_the_voice() -> None:
    assert refusal("speech", input="", voice=None) == "input is required for speech completion"


@pytest.mark.parametrize("blank", ["", " ", "\n\t\r\x0b\x0c", "\u00a0\u2028\u3000", None])
def test_a_blank_document_is_named_by_its_index(blank: str | None) -> None:
    documents = [{"text": "This."}, {"text": "\u00e9"}, {"text": blank}, {}]
    message = refusal("rerank", documents=documents)
    assert message == "document text is required for rerank at index 2"


@pytest.mark.parametrize("top_n", [0, -1, -(10**30), -1.0])
def test_a_ranking_of_none_is_refused(top_n: float) -> None:
    assert refusal("rerank", top_n=top_n) == "top_n must be at least 1"


def test_rerank_asks_for_query_documents_texts_and_top_n_in_this_order() -> None:
    wrong: dict[str, Any] = {"query": " ", "documents": [], "top_n": 0}
    assert refusal("rerank", **wrong) == "query is required for rerank"
    wrong["query"] = "Which?"
    assert refusal("rerank", **wrong) == "documents are required for rerank"
    wrong["documents"] = [{"text": ""}]
    assert refusal("rerank", **wrong) == "document text is required for rerank at index 0"
    wrong["documents"] = [{"text": "This."}]
    assert refusal("rerank", **wrong) == "top_n must be at least 1"


@pytest.mark.parametrize("type_", ["document_url", "image_url"])
@pytest.mark.parametrize("address", [None, "", ...])
def test_an_ocr_document_needs_the_address_of_its_type(type_: str, address: object) -> None:
    document: dict[str, Any] = {"type": type_, "document_url": URL, "image_url": URL}
    if address is ...:
        del document[type_]
    else:
        document[type_] = address
    message = refusal("ocr", document=document)
    assert message == f"{type_} is required when document type is {type_}"


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
