"""What is refused at once, in the contract's words (wire-contract 12, points 9, 11 and 16)."""

import json
from typing import Any

import pytest

from tests.acceptance.conftest import Served
from tests.support.wire import (
    BY_TYPE,
    IMAGE,
    KINDS,
    NO_MODEL,
    Kind,
    assert_refused,
    each_kind,
    refusal,
)

JSON_KINDS = [kind for kind in KINDS if not kind.is_form]
FORM_KINDS = [kind for kind in KINDS if kind.is_form]
NO_MODEL_IN_FORM = "model is required"

each_json_kind = pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.request_type)
each_form_kind = pytest.mark.parametrize("kind", FORM_KINDS, ids=lambda kind: kind.request_type)

NO_PROMPT = "prompt is required for text completion"
NO_MESSAGES = "messages is required for chat completion"
NO_INPUT = "input is required for responses"
NOT_EMBEDDED = "input is required for embeddings"
UNSAID = "input is required for speech completion"
VOICELESS = "voice is required for speech completion"
UNPAINTED = "prompt cannot be empty"
NO_QUERY = "query is required for rerank"
NO_DOCUMENTS = "documents are required for rerank"
NO_TYPE = "document type is required for ocr"
NO_DOCUMENT_URL = "document_url is required when document type is document_url"
NO_IMAGE_URL = "image_url is required when document type is image_url"
NO_IMAGE = "at least one image is required"

INCOMPLETE: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("text_completion", {"prompt": ...}, NO_PROMPT),
    ("text_completion", {"prompt": None}, NO_PROMPT),
    ("chat_completion", {"messages": ...}, NO_MESSAGES),
    ("chat_completion", {"messages": None}, NO_MESSAGES),
    ("chat_completion", {"messages": []}, NO_MESSAGES),
    ("responses", {"input": ...}, NO_INPUT),
    ("responses", {"input": None}, NO_INPUT),
    ("responses", {"input": []}, NO_INPUT),
    ("embedding", {"input": ...}, NOT_EMBEDDED),
    ("embedding", {"input": None}, NOT_EMBEDDED),
    ("speech", {"input": ...}, UNSAID),
    ("speech", {"input": None}, UNSAID),
    ("speech", {"input": ""}, UNSAID),
    ("speech", {"input": ..., "voice": ...}, UNSAID),
    ("speech", {"voice": ...}, VOICELESS),
    ("speech", {"voice": None}, VOICELESS),
    ("speech", {"voice": []}, VOICELESS),
    ("image_generation", {"prompt": ...}, UNPAINTED),
    ("image_generation", {"prompt": None}, UNPAINTED),
    ("image_generation", {"prompt": ""}, UNPAINTED),
    ("rerank", {"query": ...}, NO_QUERY),
    ("rerank", {"query": ""}, NO_QUERY),
    ("rerank", {"query": " \t\n"}, NO_QUERY),
    ("rerank", {"query": ..., "documents": ...}, NO_QUERY),
    ("rerank", {"documents": ...}, NO_DOCUMENTS),
    ("rerank", {"documents": []}, NO_DOCUMENTS),
    (
        "rerank",
        {"documents": [{"text": "a"}, {"text": " "}, {"text": ""}]},
        "document text is required for rerank at index 1",
    ),
    ("rerank", {"documents": [{}]}, "document text is required for rerank at index 0"),
    ("rerank", {"top_n": 0}, "top_n must be at least 1"),
    ("rerank", {"top_n": -1}, "top_n must be at least 1"),
    ("ocr", {"document": ...}, NO_TYPE),
    ("ocr", {"document": None}, NO_TYPE),
    ("ocr", {"document": {}}, NO_TYPE),
    ("ocr", {"document": {"type": ""}}, NO_TYPE),
    ("ocr", {"document": {"type": "document_url"}}, NO_DOCUMENT_URL),
    ("ocr", {"document": {"type": "document_url", "document_url": ""}}, NO_DOCUMENT_URL),
    ("ocr", {"document": {"type": "document_url", "image_url": "x"}}, NO_DOCUMENT_URL),
    ("ocr", {"document": {"type": "image_url"}}, NO_IMAGE_URL),
    ("transcription", {"files": ()}, "file is required"),
    ("transcription", {"files": (IMAGE,)}, "file is required"),
    ("transcription", {"files": (), "file": "a text"}, "file is required"),
    ("image_edit", {"files": ()}, NO_IMAGE),
    ("image_edit", {"files": (IMAGE._replace(field="mask"),)}, NO_IMAGE),
    ("image_edit", {"prompt": ...}, "prompt is required"),
    ("image_edit", {"prompt": ""}, "prompt is required"),
    ("image_edit", {"prompt": ..., "type": "inpainting"}, "prompt is required"),
    ("image_variation", {"files": ()}, NO_IMAGE),
)
"""What is missing, and what is said (1.5 to 1.15)."""

MALFORMED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("responses", {"input": 7}, "invalid responses request input"),
    ("responses", {"input": ["a"]}, "invalid responses request input"),
    ("embedding", {"input": {}}, "unsupported embedding input shape"),
    ("embedding", {"input": [1, "a"]}, "unsupported embedding input shape"),
    ("embedding", {"input": [1.5]}, "unsupported embedding input shape"),
    ("speech", {"voice": [{"speaker": "a"}]}, "voice config has empty voice field"),
    ("speech", {"voice": [{"speaker": "a", "voice": ""}]}, "voice config has empty voice field"),
    (
        "chat_completion",
        {"reasoning_effort": "low", "reasoning": {"effort": "low"}},
        "both reasoning_effort and reasoning.effort cannot be present at the same time",
    ),
    ("chat_completion", {"messages": "hi"}, ""),
    ("text_completion", {"prompt": 1}, ""),
    ("image_generation", {"prompt": 1}, ""),
    ("rerank", {"documents": "x"}, ""),
    ("ocr", {"document": "x"}, ""),
    *((kind.request_type, {"model": 1}, "") for kind in JSON_KINDS),
)
"""A field of the wrong type, and the end of what is said after `invalid request format: `."""

NO_INTEGER = {
    "image_edit": ("n", "partial_images", "num_inference_steps", "seed", "output_compression"),
    "image_variation": ("n",),
}


@each_kind
def test_a_model_without_a_known_provider_is_refused(served: Served, kind: Kind) -> None:
    """Points 9 and 11."""
    for model in ("gpt-4", "nope/gpt-4", "openai/", "/gpt-4", "/", "OPENAI/gpt-4", "openai"):
        assert_refused(served.wire.post(kind, model), 400, NO_MODEL)


@each_kind
def test_a_request_needs_a_model(served: Served, kind: Kind) -> None:
    """Point 9."""
    message = NO_MODEL_IN_FORM if kind.is_form else NO_MODEL
    for model in (..., "") if kind.is_form else (..., "", None):
        assert_refused(served.wire.post(kind, model), 400, message)


@pytest.mark.parametrize(("request_type", "changes", "message"), INCOMPLETE, ids=str)
def test_what_is_required_is_asked_for(
    served: Served, request_type: str, changes: dict[str, Any], message: str
) -> None:
    """Points 9 and 16; the model is looked at before it, a stream after it (1.4)."""
    kind = BY_TYPE[request_type]
    wire = served.wire
    assert_refused(wire.post(kind, **changes), 400, message)
    assert_refused(wire.post(kind, "nope/x", **changes), 400, NO_MODEL)
    if kind.streamed:
        field, value, _ = kind.streamed
        assert_refused(wire.post(kind, **changes, **{field: value}), 400, message)


@pytest.mark.parametrize(("request_type", "changes", "ending"), MALFORMED, ids=str)
def test_a_field_of_the_wrong_type_is_refused(
    served: Served, request_type: str, changes: dict[str, Any], ending: str
) -> None:
    """Point 9."""
    model = changes.get("model", "mock/hello")
    rest = {name: value for name, value in changes.items() if name != "model"}
    response = served.wire.post(BY_TYPE[request_type], model, **rest)
    assert response.status_code == 400, response.text
    message = response.json()["error"]["message"]
    assert message.startswith("invalid request format: ")
    assert message.endswith(ending)
    assert_refused(response, 400, message)


@each_json_kind
def test_a_body_that_is_no_json_object_is_refused(served: Served, kind: Kind) -> None:
    """Point 9."""
    for body in (b'{"model":', b"", b"[]", b"hi", b"{} {}"):
        response = served.http.post(f"/v1/async/{kind.path}", content=body)
        assert response.status_code == 400
        message = response.json()["error"]["message"]
        assert message.startswith("invalid request format: ")
        assert_refused(response, 400, message)


@each_form_kind
def test_a_body_that_is_no_form_is_refused(served: Served, kind: Kind) -> None:
    """Points 9 and 16."""
    body, content_type = kind.encoded()
    boundary = content_type.partition("boundary=")[2]
    good = f"multipart/form-data; boundary={boundary}"
    broken: tuple[tuple[bytes, str | None], ...] = (
        (json.dumps({"model": "mock/hello"}).encode(), "application/json"),
        (body, "application/x-www-form-urlencoded"),
        (body, "multipart/form-data"),
        (body, "multipart/mixed; boundary=" + boundary),
        (body, None),
        (body, good + "x"),
        (body[:-10], good),
        (b"", good),
        (b"\0" * 100, good),
    )
    for content, label in broken:
        headers = {} if label is None else {"content-type": label}
        response = served.http.post(f"/v1/async/{kind.path}", content=content, headers=headers)
        assert response.status_code == 400, (label, response.text)
        message = response.json()["error"]["message"]
        assert message.startswith("failed to parse multipart form: ")
        assert_refused(response, 400, message)


@pytest.mark.parametrize(
    ("request_type", "field"),
    [(request_type, field) for request_type, fields in NO_INTEGER.items() for field in fields],
)
def test_an_integer_of_a_form_has_to_be_one(served: Served, request_type: str, field: str) -> None:
    """Point 16."""
    kind = BY_TYPE[request_type]
    for value in ("abc", "1.5", "1e3", "0x1", "9" * 30, " "):
        changes: dict[str, Any] = {field: value}
        response = served.wire.post(kind, **changes)
        assert response.status_code == 400, value
        message = response.json()["error"]["message"]
        assert message.startswith(f"invalid {field} value: ")
        assert_refused(response, 400, message)


@each_kind
def test_a_synchronous_call_is_refused_in_the_same_words(served: Served, kind: Kind) -> None:
    """Point 9: one validation for both (1.1)."""
    response = served.http.post(f"/v1/{kind.path}", **kind.request("nope/x"))
    assert response.status_code == 400
    assert response.content == refusal(400, NO_MODEL)


def test_a_refused_request_leaves_nothing_behind(served: Served) -> None:
    """Point 9."""
    before = served.place.rows("SELECT count(*) FROM job")
    for kind in KINDS:
        assert served.wire.post(kind, "nope/x").status_code == 400
        if kind.streamed:
            field, value, _ = kind.streamed
            assert served.wire.post(kind, **{field: value}).status_code == 400
    assert served.place.rows("SELECT count(*) FROM job") == before
