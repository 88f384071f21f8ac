"""Speech (wire-contract 1.9). It streams with `stream_format: sse`; `stream` is not looked at."""

from collections.abc import Container
from typing import Annotated, Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, Holds, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import (
    ABSENT,
    Documented,
    Number,
    Text,
    begins,
    is_empty_array,
    is_empty_text,
    is_null,
    wrong_type,
)

_VOICE: Final = "str | array<object> | object | null"
_VOICELESS: Final = frozenset({"elevenlabs"})
"""Providers with models that make sounds and have no voice."""


class _Voice(msgspec.Struct, frozen=True, gc=False):
    speaker: str | None = None
    voice: str | None = None


class _Locator(msgspec.Struct, frozen=True, gc=False):
    pronunciation_dictionary_id: str | None = None
    version_id: str | None = None


class _Speech(Body, frozen=True, gc=False):
    input: Text = ABSENT
    # Documented as a string or an array; OpenAI's own API takes an object with an id too.
    voice: Annotated[msgspec.Raw, Documented(_VOICE)] = ABSENT
    stream_format: str | None = None
    instructions: Text = ABSENT
    language_code: str | None = None
    response_format: str | None = None
    speed: Number = None
    pronunciation_dictionary_locators: list[_Locator] | None = None
    enable_logging: bool | None = None
    optimize_streaming_latency: bool | None = None
    with_timestamps: bool | None = None


_READER: Final = Reader(_Speech)
_voices_of: Final = msgspec.json.Decoder(list[_Voice]).decode


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    _check_voice(asked.voice)
    checked = split_model(asked.model, known_providers)
    if is_empty_text(asked.input):
        raise bad_request("input is required for speech completion")
    # An empty text is a voice, an empty array is none.
    without = is_null(asked.voice) or is_empty_array(asked.voice)
    if without and checked.provider not in _VOICELESS:
        raise bad_request("voice is required for speech completion")
    return checked._replace(stream=asked.stream_format == "sse")


def _check_voice(raw: msgspec.Raw) -> None:
    if begins(raw) in 'n"{':
        return
    try:
        voices = _voices_of(raw)
    except msgspec.ValidationError:
        raise wrong_type(_VOICE, "$.voice") from None
    if not all(each.voice for each in voices):
        raise bad_request("invalid request format: voice config has empty voice field")


SPEECH: Final = JsonKind(
    path="audio/speech",
    request_type="speech",
    struct=_Speech,
    plural="speech",
    described={
        "voice": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {
                            "speaker": {"type": ["string", "null"]},
                            "voice": {"type": "string", "minLength": 1},
                        },
                        "required": ["voice"],
                    },
                },
                {"type": "object"},
            ]
        }
    },
    check=_check,
    example={"model": "openai/gpt-4o-mini-tts", "input": "Good morning.", "voice": "alloy"},
    reply=Reply(essential="audio", holds=Holds.TEXT, binary_as="audio"),
)
