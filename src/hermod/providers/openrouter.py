"""OpenRouter's transcriptions: a JSON object with the audio in base64 instead of a form.

Format: OpenRouter's API reference, "Create transcription" (`STTRequest` of its OpenAPI
description): `input_audio` with `data` and `format`; the reply is OpenAI's, `usage.cost` included.
"""

from typing import Final

import msgspec

from hermod.kinds.kind import AnyKind, FormKind
from hermod.providers import form_as_json, openai_shaped
from hermod.providers.adapter import Dialect, Outgoing, Prepared

_LACKS: Final = ("prompt", "stream")
_SUFFIX: Final = {
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/webm": "webm",
    "audio/aac": "aac",
}
_USUAL: Final = "wav"


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    assert isinstance(kind, FormKind)
    form = form_as_json.contents_of(outgoing)
    sent = form_as_json.members_of(kind, outgoing, form, numbers=("temperature",))
    dropped: tuple[str, ...] = ()
    file_format = sent.pop("file_format", None)
    for name in _LACKS:
        if sent.pop(name, None):
            dropped += form_as_json.refuse(outgoing, name)
    file = next(each for each in form.files if each.part.name == "file")
    suffix = (file.part.filename or "").rpartition(".")
    sent["input_audio"] = {
        "data": form_as_json.base64_of(file),
        "format": file_format
        or (suffix[2].lower() if suffix[1] else None)
        or _SUFFIX.get(file.part.content_type or "", _USUAL),
    }
    return Prepared("application/json", msgspec.json.encode(sent), dropped=dropped)


DIALECT: Final = Dialect("openrouter_transcription", build, openai_shaped.read)
"""Transcriptions as OpenRouter takes them."""
