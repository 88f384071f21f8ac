"""The smallest request of each type, and its judgement with some of it changed."""

import json
from typing import Any

import pytest

from hermod.domain.errors import Refused
from hermod.kinds.form import FilePart, Form
from hermod.kinds.kind import Checked, FormKind, JsonKind
from hermod.kinds.registry import KIND_BY_TYPE, KINDS

PROVIDERS = frozenset({"openai", "openrouter", "elevenlabs", "mock"})
MODEL = "openai/gpt-4"
MODEL_MESSAGE = "model should be in provider/model format"
BAD = "invalid request format: "

BODIES: dict[str, dict[str, Any]] = {
    "chat_completion": {"messages": [{"role": "assistant"}]},
    "text_completion": {"prompt": "Once"},
    "responses": {"input": "Hello"},
    "embedding": {"input": "Hello"},
    "speech": {"input": "Hello", "voice": "alloy"},
    "image_generation": {"prompt": "A cat"},
    "rerank": {"query": "Which?", "documents": [{"text": "This."}]},
    "ocr": {"document": {"type": "image_url", "image_url": "https://example.org/a.png"}},
}
"""What is required of the JSON kinds beside a model."""
FORMS: dict[str, dict[str, str]] = {
    "transcription": {"file": "a.mp3"},
    "image_edit": {"prompt": "Add a boat.", "image": "a.png"},
    "image_variation": {"image": "a.png"},
}
"""Likewise of the forms; of a file its name."""
JSON_KINDS = tuple(kind for kind in KINDS if isinstance(kind, JsonKind))
FORM_KINDS = tuple(kind for kind in KINDS if isinstance(kind, FormKind))

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.request_type)
each_json_kind = pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.request_type)
each_form_kind = pytest.mark.parametrize("kind", FORM_KINDS, ids=lambda kind: kind.request_type)
of_each_json_type = pytest.mark.parametrize("request_type", BODIES)
of_each_form_type = pytest.mark.parametrize("request_type", FORMS)


def json_kind(request_type: str) -> JsonKind:
    """The kind of that type."""
    kind = KIND_BY_TYPE[request_type]
    assert isinstance(kind, JsonKind)
    return kind


def form_kind(request_type: str) -> FormKind:
    """The kind of that type."""
    kind = KIND_BY_TYPE[request_type]
    assert isinstance(kind, FormKind)
    return kind


def body_of(request_type: str, **changes: Any) -> dict[str, Any]:
    """The minimal JSON request of that type with these members changed."""
    return {"model": MODEL, **BODIES[request_type], **changes}


def form_of(request_type: str, *more: tuple[str, str], without: str = "", **changes: str) -> Form:
    """The minimal form of that type: fields changed, then added, and one thing left out."""
    fields: list[tuple[str, str]] = [("model", MODEL)]
    files: list[FilePart] = []
    for name, value in FORMS[request_type].items():
        if name in ("file", "image"):
            files.append(FilePart(name, value, "application/octet-stream", 1))
        else:
            fields.append((name, value))
    fields = [pair for pair in fields if pair[0] not in (without, *changes)]
    fields += [*changes.items(), *more]
    return Form(tuple(fields), tuple(file for file in files if file.name != without))


def check(request_type: str, **changes: Any) -> Checked:
    """The minimal request of a JSON kind, checked with these members changed."""
    body = json.dumps(body_of(request_type, **changes)).encode()
    return json_kind(request_type).check(body, PROVIDERS)


def check_form(request_type: str, form: Form) -> Checked:
    """A form, checked."""
    return form_kind(request_type).check(form, PROVIDERS)


def refusal(request_type: str, **changes: Any) -> str:
    """The message with which a request of a JSON kind is refused."""
    with pytest.raises(Refused) as refused:
        check(request_type, **changes)
    return message_of(refused.value)


def form_refusal(request_type: str, form: Form) -> str:
    """The message with which a form is refused."""
    with pytest.raises(Refused) as refused:
        check_form(request_type, form)
    return message_of(refused.value)


def message_of(refused: Refused) -> str:
    """What it says, with a 400."""
    assert refused.failure.status_code == 400
    return refused.failure.message
