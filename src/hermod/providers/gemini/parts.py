"""Pieces of a chat message as Gemini's parts (Gemini API reference, `Content` and `Part`)."""

import re
from base64 import b64encode
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from hermod.providers.adapter import CannotCarry
from hermod.providers.lenient import items, members, text

Part = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_PCM: Final = "audio/L16;rate=24000"
"""OpenAI's `pcm16`."""
_TYPES: Final = {
    "image": {"png", "jpeg", "gif", "webp", "heic", "heif", "bmp"},
    "audio": {"mp3", "wav", "flac", "ogg", "aac", "aiff"},
    "video": {"mp4", "mpeg", "webm", "wmv", "3gpp"},
    "text": {"html", "css", "csv", "xml", "rtf"},
    "application": {"pdf", "json"},
}
"""Suffixes that are their own subtypes, as Google's pages on each kind of input write them."""
_TYPE_OF: Final = {name: f"{kind}/{name}" for kind, names in _TYPES.items() for name in names} | {
    "jpg": "image/jpeg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "mpga": "audio/mp3",
    "m4a": "audio/mp4",
    "mpg": "video/mpeg",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "flv": "video/x-flv",
    "3gp": "video/3gpp",
    "txt": "text/plain",
    "htm": "text/html",
    "md": "text/md",
    "js": "text/javascript",
    "py": "text/x-python",
}
_IMAGE: Final = "image/jpeg"
"""Of an address that does not say: a type must be given, and the picture itself is looked at."""
_SHOWN: Final = 40
"""Characters of a strange value in its refusal."""
_REMOTE: Final = ("https://", "http://", "gs://")


def mime_type_of(name: str) -> str | None:
    """The media type that a file's name or address speaks of, in Google's words."""
    path = name.partition("?")[0].partition("#")[0]
    return _TYPE_OF.get(path.rpartition(".")[2].lower()) if "." in path else None


def inline(mime_type: str, data: str) -> Part:
    """A part with the thing itself; `data` is base64."""
    return {"inlineData": {"mimeType": mime_type, "data": data}}


def content_parts(content: object, where: str) -> list[Part]:
    """The parts of a message's content: a text, or an array of content blocks.

    `where` names the content in refusals. Empty texts vanish: Gemini takes none.

    Raises:
        CannotCarry: a block of a type that has no counterpart, or with nothing in it.
    """
    if isinstance(content, str):
        return [{"text": content}] if content else []
    parts: list[Part] = []
    for position, block in enumerate(items(content)):
        if isinstance(block, str):
            parts += [{"text": block}] if block else []
        else:
            parts += _block(block, f"{where}[{position}]")
    return parts


def text_of(content: object, where: str) -> str:
    """The text of a content that may hold nothing else. Raises CannotCarry."""
    parts = content_parts(content, where)
    if any("text" not in part for part in parts):
        raise CannotCarry(f"{where}: only text can stand here", where)
    return "\n".join(part["text"] for part in parts)


def _block(block: object, where: str) -> list[Part]:
    fields = members(block)
    match fields.get("type"):
        case "text" | "input_text" | "output_text":
            said = text(fields.get("text"))
            return [{"text": said}] if said else []
        case "refusal":
            said = text(fields.get("refusal"))
            return [{"text": said}] if said else []
        case "image_url" | "video_url" | "audio_url" as kind:
            # The object is OpenAI's; a bare address is a usual shorthand.
            holder = fields.get(kind)
            url = text(holder) or text(members(holder).get("url"))
            default = _IMAGE if kind == "image_url" else f"{kind.partition('_')[0]}/*"
            return [located(url, default, f"{where}.{kind}")]
        case "input_audio":
            sound = members(fields.get("input_audio"))
            return [_sound(text(sound.get("data")), text(sound.get("format")), where)]
        case "file":
            return [_file(members(fields.get("file")), where)]
        case other:
            shown = repr(other)[:_SHOWN]
            raise CannotCarry(f"{where}: a content block of type {shown} is not supported", where)


def located(url: str, default_type: str | None, where: str) -> Part:
    """The part for a data URL, or for the address of a file that Google fetches.

    Raises CannotCarry for anything else, and for an address of which no type is known.
    """
    found = _DATA_URL.match(url)
    if found is not None:
        mime_type = found[1].lower() or default_type or "text/plain"
        data = url[found.end() :]
        if ";base64" not in found[2].lower():
            data = b64encode(unquote_to_bytes(data)).decode()
        return inline(mime_type, data)
    if not url.startswith(_REMOTE):
        raise CannotCarry(f"{where}: expected a data URL, or one with https or gs", where)
    mime_type = mime_type_of(url) or default_type
    file = {"fileUri": url}
    # What Google stored itself, and videos that it shows itself, have a type already.
    if mime_type is not None and not mime_type.endswith("/*"):
        file["mimeType"] = mime_type
    return {"fileData": file}


def _sound(data: str, label: str, where: str) -> Part:
    if not data:
        raise CannotCarry(f"{where}.input_audio: data is missing", where)
    if data.startswith("data:"):
        return located(data, "audio/wav", where)
    kind = label.lower() or "wav"
    if kind == "pcm16":
        return inline(_PCM, data)
    return inline(_TYPE_OF.get(kind, f"audio/{kind}"), data)


def _file(file: dict[str, Any], where: str) -> Part:
    data = text(file.get("file_data"))
    name = text(file.get("filename"))
    said = text(file.get("file_type")) or text(file.get("format"))
    label = said if "/" in said else mime_type_of(f".{said}") or mime_type_of(name)
    if data.startswith("data:"):
        return located(data, label, where)
    if data:
        return inline(label or "application/pdf", data)
    address = text(file.get("file_url")) or text(file.get("file_id"))
    if not address:
        raise CannotCarry(f"{where}.file: neither file_data nor file_url", where)
    return located(address, label, where)


def image_blocks(parts: list[Part]) -> list[dict[str, Any]]:
    """Pictures that a model drew, as the content blocks that clients know from requests."""
    return [
        {
            "type": "image_url",
            "image_url": {"url": f"data:{blob['mimeType']};base64,{blob['data']}"},
            "index": index,
        }
        for index, blob in enumerate(part["inlineData"] for part in parts)
    ]
