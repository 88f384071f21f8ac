"""The parts of a message's content, and thoughts that come back, as Converse's content blocks.

Source: Amazon Bedrock API reference, "ContentBlock", "ImageBlock", "DocumentBlock", "VideoBlock",
"AudioBlock", "CachePointBlock" and "ReasoningContentBlock". Bytes are base64 in JSON.
"""

import re
from typing import Any, Final

from hermod.providers.adapter import CannotCarry
from hermod.providers.lenient import items, members, text

Block = dict[str, Any]

_IMAGES: Final = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "gif": "gif", "webp": "webp"}
_VIDEOS: Final = {
    **{name: name for name in ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv")},
    "x-matroska": "mkv",
    "quicktime": "mov",
    "x-flv": "flv",
    "x-ms-wmv": "wmv",
    "3gpp": "three_gp",
    "3gp": "three_gp",
}
_AUDIOS: Final = {
    **{name: name for name in ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "webm")},
    "mpeg": "mp3",
    "x-wav": "wav",
    "pcm16": "pcm",
    "pcm": "pcm",
}
_OFFICE: Final = "vnd.openxmlformats-officedocument."
_DOCUMENTS: Final = {
    **{name: name for name in ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")},
    "plain": "txt",
    "markdown": "md",
    "htm": "html",
    "msword": "doc",
    "vnd.ms-excel": "xls",
    f"{_OFFICE}wordprocessingml.document": "docx",
    f"{_OFFICE}spreadsheetml.sheet": "xlsx",
}
"""Converse's word for a format, by a media type's second half and by a file name's ending."""
_CLAUDES: Final = "anthropic"
"""How `format` of reasoning begins that can be a Claude's; Bedrock itself marks nothing."""
_TTLS: Final = ("5m", "1h")
_NAME_MAX: Final = 200
_SHOWN: Final = 60
_not_in_a_name: Final = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_spaces: Final = re.compile(r"\s+")


def cache_point(holder: Block) -> list[Block]:
    """The mark after what `holder` became, if it has a `cache_control`."""
    control = members(holder.get("cache_control"))
    if not control:
        return []
    ttl = text(control.get("ttl"))
    point = {"type": "default", "ttl": ttl} if ttl in _TTLS else {"type": "default"}
    return [{"cachePoint": point}]


def texts(content: object, where: str) -> list[Block]:
    """The texts of a content that may hold nothing else, with their cache points.

    Raises CannotCarry. Blank texts vanish: Bedrock takes none.
    """
    if isinstance(content, str):
        return [{"text": content}] if content.strip() else []
    blocks: list[Block] = []
    for index, part in enumerate(items(content)):
        told = members(part)
        kind = text(told.get("type"))
        said = text(told.get(kind))
        if kind not in ("text", "refusal"):
            place = f"{where}[{index}]"
            raise CannotCarry(
                f"{place}: only texts are supported here, no {kind[:_SHOWN]!r}", place
            )
        if said.strip():
            blocks += [{"text": said}, *cache_point(told)]
    return blocks


class PartReader:
    """Reads the parts of one request: the names of its documents must differ."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def blocks(self, content: object, where: str) -> list[Block]:
        """The blocks of a content. Raises CannotCarry, which names the place."""
        if isinstance(content, str):
            return texts(content, where)
        blocks: list[Block] = []
        for index, part in enumerate(items(content)):
            made = self._block(part, f"{where}[{index}]")
            if made is not None:
                blocks += [made, *cache_point(members(part))]
        return blocks

    def _block(self, part: Any, where: str) -> Block | None:
        told = members(part)
        kind = "text" if isinstance(part, str) else text(told.get("type"))
        match kind:
            case "text":
                said = part if isinstance(part, str) else text(told.get("text"))
                return {"text": said} if said.strip() else None
            case "image_url":
                return _media("image", told.get("image_url"), _IMAGES, f"{where}.image_url")
            case "video_url":
                return _media("video", told.get("video_url"), _VIDEOS, f"{where}.video_url")
            case "input_audio":
                audio = members(told.get("input_audio"))
                place = f"{where}.input_audio"
                form = _format(text(audio.get("format")), _AUDIOS, place)
                return _block("audio", form, {"bytes": _data(text(audio.get("data")), place)})
            case "file":
                return self._document(members(told.get("file")), f"{where}.file")
            case _:
                message = f"{where}: the part type {kind[:_SHOWN]!r} is not supported"
                raise CannotCarry(message, where)

    def _document(self, file: Block, where: str) -> Block:
        data = text(file.get("file_data")) or text(file.get("file_url"))
        if not data:
            raise CannotCarry(f"{where}: Bedrock needs the file itself, in file_data", where)
        stem, _, ending = text(file.get("filename")).rpartition(".")
        media_type, source = _source(data, where)
        half = media_type or ending or data.rpartition(".")[2]
        if media_type.startswith("image/"):
            return _block("image", _format(half, _IMAGES, where), source)
        form = _format(half, _DOCUMENTS, where)
        return {"document": {"format": form, "name": self._name(stem or ending), "source": source}}

    def _name(self, name: str) -> str:
        """The name in the characters that are allowed, unlike those before."""
        plain = _spaces.sub(" ", _not_in_a_name.sub("-", name)).strip(" -")[: _NAME_MAX - 6]
        wanted = plain = plain or "document"
        number = 2
        while wanted in self._names:
            wanted, number = f"{plain} ({number})", number + 1
        self._names.add(wanted)
        return wanted


def thoughts(details: object) -> list[Block]:
    """What the model thought, as it must come back: with its signature, or sealed.

    What bears no signature is no block of theirs and is left out, and so is what another vendor
    sealed. The text of one thought may be in several details, as a stream told it.
    """
    blocks: list[Block] = []
    said = ""
    for each in items(details):
        detail = members(each)
        origin = text(detail.get("format"))
        if origin and not origin.startswith(_CLAUDES):
            continue
        kind, sealed = text(detail.get("type")), text(detail.get("data"))
        if kind == "reasoning.encrypted" and sealed:
            blocks.append({"reasoningContent": {"redactedContent": sealed}})
        elif kind == "reasoning.text":
            said += text(detail.get("text"))
            signature = text(detail.get("signature"))
            if signature:
                thought = {"text": said, "signature": signature}
                blocks.append({"reasoningContent": {"reasoningText": thought}})
                said = ""
    return blocks


def _media(kind: str, value: object, formats: dict[str, str], where: str) -> Block:
    url = value if isinstance(value, str) else text(members(value).get("url"))
    media_type, source = _source(url, where)
    form = _format(media_type or url.rpartition(".")[2], formats, where)
    return _block(kind, form, source)


def _block(kind: str, form: str, source: Block) -> Block:
    return {kind: {"format": form, "source": source}}


def _source(data: str, where: str) -> tuple[str, Block]:
    """The media type, if it is known, and where the bytes are."""
    if data.startswith("s3://"):
        return "", {"s3Location": {"uri": data}}
    if data.startswith(("http://", "https://")):
        message = f"{where}: Bedrock fetches nothing from the web; send a data URL or an s3:// one"
        raise CannotCarry(message, where)
    if not data.startswith("data:"):
        return "", {"bytes": _data(data, where)}
    head, _, encoded = data.partition(",")
    media_type, *parameters = head.removeprefix("data:").lower().split(";")
    if "base64" not in parameters:
        raise CannotCarry(f"{where}: expected a data URL with base64", where)
    return media_type, {"bytes": _data(encoded, where)}


def _data(encoded: str, where: str) -> str:
    if not encoded:
        raise CannotCarry(f"{where}: there is nothing in it", where)
    return encoded


def _format(told: str, formats: dict[str, str], where: str) -> str:
    form = formats.get(told.rpartition("/")[2].lower())
    if form is None:
        known = ", ".join(sorted(set(formats.values())))
        message = f"{where}: Bedrock does not take {told[:_SHOWN]!r}, only {known}"
        raise CannotCarry(message, where)
    return form
