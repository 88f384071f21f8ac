"""ElevenLabs' dialect of speech and transcription.

Format: ElevenLabs' API reference, "Create speech", "Create speech with timing", "Create sound
effect", "Create transcript". A voice is named by its id; a model that makes sounds has none. The
format of the audio stands in the query. OpenAI's `pcm` and `wav` are 16 bits at 24 kHz, so they are
here.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import sse
from hermod.kinds.kind import AnyKind, FormKind
from hermod.providers import replies, upstream_errors
from hermod.providers.adapter import (
    Answered,
    CannotCarry,
    Dialect,
    Outgoing,
    Prepared,
    StreamTranslator,
)
from hermod.providers.cargo import Cargo
from hermod.providers.elevenlabs import transcripts as elevenlabs_transcripts
from hermod.providers.lenient import items, members, text

_FORMATS: Final[Mapping[str, str]] = {
    "mp3": "mp3_44100_128",
    "opus": "opus_48000_128",
    "pcm": "pcm_24000",
    "wav": "wav_24000",
}
_is_theirs: Final = re.compile(r"[a-z0-9]+_[0-9]+(?:_[0-9]+)?").fullmatch
"""A format by their own name: codec, sample rate, bit rate."""
_is_voice: Final = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch
_SETTINGS: Final = ("stability", "similarity_boost", "style", "use_speaker_boost", "clone_strength")
"""Extras that are settings of the voice."""
_USUAL: Final[dict[str, object]] = {"stream_format": "audio"}
_SOUNDS: Final = "text_to_sound"
"""In the names of models that make sounds."""
_JSON: Final = "application/json"


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    if isinstance(kind, FormKind):
        return elevenlabs_transcripts.build(kind, outgoing)
    cargo = Cargo(kind, outgoing)
    with_times = bool(cargo.take("with_timestamps"))
    streams = cargo.take("stream_format") == "sse"
    query: dict[str, str] = {"output_format": _format(cargo.take("response_format"))}
    if (logs := cargo.take("enable_logging")) is not None:
        query["enable_logging"] = "true" if logs else "false"
    sent: dict[str, Any] = {"text": cargo.take("input"), "model_id": outgoing.model}
    voice = cargo.take("voice")
    if with_times and (streams or _SOUNDS in outgoing.model):
        raise CannotCarry("with_timestamps: not for sounds, and not in a stream", "with_timestamps")
    if _SOUNDS in outgoing.model:
        path = "/v1/sound-generation"
    else:
        path = f"/v1/text-to-speech/{_voice(voice)}"
        path += "/with-timestamps" if with_times else "/stream" if streams else ""
        if (faster := cargo.take("optimize_streaming_latency")) is not None:
            query["optimize_streaming_latency"] = "1" if faster else "0"
        for name in ("language_code", "pronunciation_dictionary_locators"):
            if (value := cargo.take(name)) is not None:
                sent[name] = value
    speed = cargo.take("speed")
    extras = cargo.unknown()
    settings = dict(members(extras.pop("voice_settings", None)))
    settings |= {name: extras.pop(name) for name in _SETTINGS if name in extras}
    if speed is not None:
        settings["speed"] = speed
    if settings:
        sent["voice_settings"] = settings
    sent |= extras
    dropped = cargo.finish(_USUAL)
    return Prepared(_JSON, msgspec.json.encode(sent), f"{path}?{urlencode(query)}", dropped=dropped)


def _format(wanted: str | None) -> str:
    found = _FORMATS.get(wanted or "mp3", wanted or "")
    if not _is_theirs(found):
        offered = ", ".join(_FORMATS)
        raise CannotCarry(
            f"response_format: ElevenLabs gives {offered}, or what its own names say "
            "(codec_rate_bitrate)",
            "response_format",
        )
    return found


def _voice(wanted: object) -> str:
    """The voice's id: itself, in an object (OpenAI's `id`), or the only one of an array."""
    several = items(wanted)
    if len(several) > 1:
        raise CannotCarry("voice: ElevenLabs speaks with one voice at a time", "voice")
    about = members(several[0] if several else wanted)
    voice = text(wanted) or text(about.get("id")) or text(about.get("voice"))
    if not _is_voice(voice):
        raise CannotCarry("voice: must be the id of a voice of ElevenLabs", "voice")
    return voice


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`."""
    if isinstance(kind, FormKind):
        return elevenlabs_transcripts.read(outgoing, content_type, body)
    asked = members(msgspec.json.decode(outgoing.body))
    if not asked.get("with_timestamps"):
        return replies.read_answer(kind.reply, content_type, body)
    reply = replies.object_in(content_type, body)
    if isinstance(reply, Failure):
        return reply
    audio = text(reply.pop("audio_base64", None))
    try:
        is_audio = bool(b64decode(audio, validate=True))
    except (Error, ValueError):
        is_audio = False
    if not is_audio:
        return replies.invalid(replies.UNREADABLE, "`audio_base64` is no audio")
    return Answered(msgspec.json.encode({"audio": audio, **reply}))


def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
    """See `Dialect.refusal`: `{"detail": {"status", "message"}}`, the first is a code."""
    failure = upstream_errors.refusal(status, content_type, body)
    reply = replies.object_in(content_type, body)
    detail = members(reply.get("detail")) if not isinstance(reply, Failure) else {}
    code = text(detail.get("code")) or text(detail.get("status"))
    return replace(failure, code=code[:256]) if code and failure.code is None else failure


class SpeechStream:
    """Audio as it comes, in OpenAI's events (its API reference, "Speech audio events")."""

    def __init__(self) -> None:
        self._any = False

    @property
    def usage(self) -> Usage | None:
        """None: it is told in a header, if at all."""
        return None

    def feed(self, piece: bytes) -> bytes:
        """See `StreamTranslator.feed`."""
        if not piece:
            return b""
        self._any = True
        return _event({"type": "speech.audio.delta", "audio": b64encode(piece).decode("ascii")})

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        return _event({"type": "speech.audio.done"}) if self._any else b""


def _event(members: dict[str, object]) -> bytes:
    return sse.written(msgspec.json.encode(members))


def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
    """See `Dialect.open_stream`. Only speech streams."""
    return SpeechStream()


DIALECT: Final = Dialect("elevenlabs", build, read, refusal, open_stream)
"""Speech, sounds and transcripts."""
