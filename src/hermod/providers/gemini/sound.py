"""Sound that Gemini makes: raw samples, to which a header is written where one is asked for.

Gemini API, "Speech generation": `audio/L16;codec=pcm;rate=24000`, one channel, little-endian.
"""

import binascii
import re
import struct
from base64 import b64decode, b64encode
from typing import Any, Final

from hermod.providers.gemini.parts import Part

_RATE: Final = re.compile(r"rate=(\d{4,6})(?!\d)")
_USUAL_RATE: Final = 24_000
_SAMPLE_BYTES: Final = 2
_WAV_FORMAT: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_HEADER_BYTES: Final = 36
"""Of a WAV file after its first two members, without the samples."""
_PCM: Final = 1
_MOST: Final = 2**32 - 1 - _HEADER_BYTES
"""Bytes of samples that a WAV file can count."""


def decoded(parts: list[Part]) -> tuple[str, bytes] | None:
    """The media type and the bytes of sounds, one after the other; None where one is no base64."""
    pieces: list[bytes] = []
    for part in parts:
        try:
            pieces.append(b64decode(part["inlineData"]["data"], validate=True))
        except (binascii.Error, ValueError):
            return None
    return parts[0]["inlineData"]["mimeType"].lower(), b"".join(pieces)


def as_wav(mime_type: str, sound: bytes) -> bytes:
    """A WAV file; what is one already stays as it is."""
    if sound.startswith(b"RIFF"):
        return sound
    found = _RATE.search(mime_type)
    rate = int(found[1]) if found else _USUAL_RATE
    size = min(len(sound), _MOST)
    header = _WAV_FORMAT.pack(
        b"RIFF",
        _HEADER_BYTES + size,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        1,
        rate,
        rate * _SAMPLE_BYTES,
        _SAMPLE_BYTES,
        8 * _SAMPLE_BYTES,
        b"data",
        size,
    )
    return header + sound


def sound_message(
    parts: list[Part], audio_format: str, transcript: str, now_s: int
) -> dict[str, Any] | None:
    """`audio` of a chat message; `pcm16` is as it comes, everything else a WAV file."""
    found = decoded(parts)
    if found is None:
        return None
    mime_type, sound = found
    shown = sound if audio_format == "pcm16" else as_wav(mime_type, sound)
    return {
        "id": f"audio_{now_s}",
        "data": b64encode(shown).decode(),
        "expires_at": now_s,
        "transcript": transcript,
    }
