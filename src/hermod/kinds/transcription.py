"""Transcriptions (wire-contract 1.10)."""

from collections.abc import Container
from typing import Final

from hermod.domain.errors import bad_request
from hermod.kinds.form import Form
from hermod.kinds.kind import (
    Checked,
    FieldType,
    FormField,
    FormKind,
    Holds,
    Reply,
    asks_for_stream,
    form_model,
)

_FIELDS: Final = {
    "model": FormField(FieldType.TEXT, required=True),
    "file": FormField(FieldType.FILE, required=True),
    "language": FormField(FieldType.TEXT),
    "prompt": FormField(FieldType.TEXT),
    "response_format": FormField(FieldType.TEXT),
    "stream": FormField(FieldType.BOOLEAN),
    "file_format": FormField(FieldType.TEXT),
    "fallbacks": FormField(FieldType.TEXTS),
}


def _check(form: Form, known_providers: Container[str]) -> Checked:
    checked = form_model(form, known_providers)
    if not form.named("file"):
        raise bad_request("file is required")
    return checked._replace(stream=asks_for_stream(form))


TRANSCRIPTION: Final = FormKind(
    path="audio/transcriptions",
    request_type="transcription",
    fields=_FIELDS,
    plural="transcriptions",
    check=_check,
    example={"model": "openai/whisper-1", "file": "speech.mp3"},
    # Silence has an empty transcription, and `text`, `srt` and `vtt` come as plain text.
    reply=Reply(essential="text", holds=Holds.TEXT, may_be_empty=True, text_as="text"),
)
