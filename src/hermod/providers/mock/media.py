"""The mock's audio, images and transcriptions: OpenAI's shapes around real, tiny files.

A file's bytes are a function of the text it is made from and of its size. They are a block that
repeats, so that 20 MB of them cost milliseconds.
"""

import base64
import hashlib
import re
import struct
import zlib
from typing import Final

from hermod.providers.mock.request import Unreadable, whole_number
from hermod.providers.mock.shapes import Json, Saying, tokens

AUDIO_TYPES: Final[dict[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Content types by `response_format`."""
DEFAULT_AUDIO: Final = 4844
"""Bytes: a tenth of a second as WAV."""
MAX_SIZE: Final = 64 * 1024 * 1024
"""Bytes of media in one reply."""
_BLOCK: Final = 12 * 1024
_BEFORE_FILLING: Final = 42
"""Bytes of an image, or a few more. This and the block are multiples of 3, as base64 wants it."""
_AFTER_FILLING: Final = 256
_HERTZ: Final = 24_000
_BEGINNINGS: Final[dict[str, bytes]] = {
    "mp3": b"\xff\xfb\x90\x00",
    "opus": b"OggS",
    "aac": b"\xff\xf1",
    "flac": b"fLaC",
}
_PLAIN: Final = "text/plain; charset=utf-8"
_QUALITIES: Final = frozenset({"low", "medium", "high", "xhigh", "max"})


def noise(text: str, size: int) -> bytes:
    """`size` bytes that depend on the text."""
    seed = text.encode("utf-8", "surrogatepass")
    block = hashlib.shake_256(seed).digest(min(max(size, 1), _BLOCK))
    return (block * (size // len(block) + 1))[:size]


# Speech


def audio(text: str, response_format: str = "mp3", size: int = DEFAULT_AUDIO) -> bytes:
    """An audio of `size` bytes; from 44 on a WAV is a real one, the others have its beginning."""
    if response_format != "wav":
        beginning = _BEGINNINGS.get(response_format, b"")
        return (beginning + noise(text, max(0, size - len(beginning))))[:size]
    room = max(0, size - 44)
    form = struct.pack("<HHIIHH", 1, 1, _HERTZ, 2 * _HERTZ, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + room) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return (head + b"data" + struct.pack("<I", room) + noise(text, room))[:size]


def speech(saying: Saying) -> tuple[str, bytes]:
    """The content type and the bytes. Raises Unreadable for an unknown format."""
    response_format = saying.asked.fields.get("response_format") or "mp3"
    content_type = AUDIO_TYPES.get(response_format) if isinstance(response_format, str) else None
    if not isinstance(response_format, str) or content_type is None:
        raise Unreadable(f"response_format must be one of: {', '.join(AUDIO_TYPES)}")
    if saying.verbatim:
        return content_type, saying.text.encode("utf-8", "surrogatepass")
    size = DEFAULT_AUDIO if saying.size is None else saying.size
    return content_type, audio(saying.asked.texts[0], response_format, size)


def speech_usage(saying: Saying) -> Json:
    """Tokens of a speech."""
    spent = saying.spent
    return {"input_tokens": spent, "output_tokens": 10 * spent, "total_tokens": 11 * spent}


# Transcription


def transcription(saying: Saying) -> tuple[str, Json | str]:
    """The content type, and an object or plain text. Raises Unreadable for an unknown format."""
    response_format = saying.asked.fields.get("response_format") or "json"
    text, end_s = saying.text, seconds(saying)
    plain = {
        "text": f"{text}\n",
        "srt": f"1\n{_clock(0, ',')} --> {_clock(end_s, ',')}\n{text}\n\n",
        "vtt": f"WEBVTT\n\n{_clock(0, '.')} --> {_clock(end_s, '.')}\n{text}\n\n",
    }
    if response_format == "json":
        return "application/json", {"text": text, "usage": transcription_usage(saying)}
    if response_format == "verbose_json":
        return "application/json", _verbose(saying)
    if response_format not in plain:
        raise Unreadable(f"response_format must be one of: json, verbose_json, {', '.join(plain)}")
    return _PLAIN, plain[str(response_format)]


def seconds(saying: Saying) -> float:
    """How long the files would last, at 16 kB a second."""
    return round(sum(len(file.content) for file in saying.asked.files) / 16_000, 3)


def transcription_usage(saying: Saying) -> Json:
    """Tokens of a transcription."""
    heard, spent, given = int(10 * seconds(saying)), saying.spent, saying.given
    return {
        "type": "tokens",
        "input_tokens": spent + heard,
        "input_token_details": {"text_tokens": spent, "audio_tokens": heard},
        "output_tokens": given,
        "total_tokens": spent + heard + given,
    }


def _verbose(saying: Saying) -> Json:
    text, end_s, fields = saying.text, seconds(saying), saying.asked.fields
    segment: Json = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": end_s,
        "text": text,
        "tokens": list(range(min(tokens([text]), 100))),
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    }
    whole: Json = {
        "task": "transcribe",
        "language": fields.get("language") or "english",
        "duration": end_s,
        "text": text,
        "segments": [segment],
        "usage": {"type": "duration", "seconds": end_s},
    }
    if fields.get("timestamp_granularities[]") == "word":
        words = text.split()
        step_s = end_s / max(1, len(words))
        whole["words"] = [
            {"word": word, "start": round(n * step_s, 3), "end": round((n + 1) * step_s, 3)}
            for n, word in enumerate(words)
        ]
    return whole


def _clock(at_s: float, point: str) -> str:
    at_s, part_ms = divmod(round(at_s * 1000), 1000)
    at_min, rest_s = divmod(at_s, 60)
    hours, minutes = divmod(at_min, 60)
    return f"{hours:02}:{minutes:02}:{rest_s:02}{point}{part_ms:03}"


# Images


def image(prompt: str, index: int = 0, size: int | None = None) -> bytes:
    """A PNG of 8 × 8 pixels, number `index` of a prompt; filled up to `size` bytes if that is more.

    A PNG cannot be smaller than some hundred bytes: a smaller size cuts it.
    """
    pixels = noise(f"{index} {prompt}", 24)
    head = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    tail = _png_chunk(b"IDAT", zlib.compress(8 * (b"\0" + pixels), 0)) + _png_chunk(b"IEND", b"")
    if size is None:
        return head + tail
    room = size - len(head) - len(tail) - 12
    if room < 0:
        return (head + tail)[:size]
    # A private chunk that decoders skip (PNG 3rd edition, 5.4).
    return head + _png_chunk(b"heRm", noise(f"{index} {prompt}", room)) + tail


def _png_chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
    return b"".join((struct.pack(">I", len(content)), name, content, check))


def image_text(saying: Saying, index: int) -> str:
    """Image number `index` of an answer, in base64: of the prompt that came, or of none."""
    content = image(saying.asked.texts[0] if saying.asked.texts else "", index, saying.size)
    return _base64(content).decode()


def _base64(content: bytes) -> bytes:
    """Of an image: its filling repeats, and so does its base64, in a fraction of the time."""
    times = (len(content) - _BEFORE_FILLING - _AFTER_FILLING) // _BLOCK
    if times < 1:
        return base64.b64encode(content)
    start, end = _BEFORE_FILLING, _BEFORE_FILLING + times * _BLOCK
    parts = (content[:start], content[start : start + _BLOCK], content[end:])
    before, once, after = map(base64.b64encode, parts)
    return b"".join((before, once * times, after))


def images(saying: Saying) -> Json:
    """One image, or `n`, in OpenAI's shape. Raises Unreadable for too many bytes."""
    asked = saying.asked
    count = whole_number(asked.fields, "n", 1, 1, 10)
    if count * (saying.size or 0) > MAX_SIZE:
        raise Unreadable(f"n times the size must not exceed {MAX_SIZE} bytes")
    as_url = asked.fields.get("response_format") == "url"
    data: list[Json] = []
    for index in range(count):
        content = image_text(saying, index)
        if as_url:
            name = hashlib.sha256(content.encode()).hexdigest()[:32]
            shown: Json = {"url": f"https://images.mock.invalid/{name}.png"}
        else:
            shown = {"b64_json": content}
        data.append(shown | {"revised_prompt": saying.text})
    return {
        "created": saying.created,
        "background": "opaque",
        "data": data,
        "output_format": "png",
        **image_looks(saying),
        "usage": image_usage(saying, count),
    }


def image_looks(saying: Saying) -> Json:
    """The size and quality that were asked for, as the answer repeats them."""
    size, quality = map(saying.asked.fields.get, ("size", "quality"))
    known_size = isinstance(size, str) and re.fullmatch(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}", size)
    return {
        "size": size if known_size else "1024x1024",
        "quality": quality if isinstance(quality, str) and quality in _QUALITIES else "low",
    }


def image_usage(saying: Saying, count: int) -> Json:
    """Tokens of `count` images."""
    text, files, given = saying.spent, 100 * len(saying.asked.files), 272 * count
    return {
        "input_tokens": text + files,
        "input_tokens_details": {"text_tokens": text, "image_tokens": files},
        "output_tokens": given,
        "total_tokens": text + files + given,
    }
