"""Images on Amazon Bedrock: Amazon's and Stability's formats, through InvokeModel.

Source: Amazon Nova user guide, "Request and response structure for image generation"; Amazon
Bedrock user guide, "Amazon Titan Image Generator G1 models", "Stable Image Core request and
response".
"""

import re
from math import gcd
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds import json_guard
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.bedrock import dialect as bedrock
from hermod.providers.bedrock.model import name_of, path_of
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import items, text

_DEPTH_MAX: Final = 32
_is_size: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})").fullmatch
_PREMIUM: Final = frozenset({"high", "hd", "premium"})
_USUAL: Final[dict[str, object]] = {
    "background": "auto",
    "moderation": "auto",
    "quality": "auto",
    "response_format": "b64_json",
    "size": "auto",
}
_RATIOS: Final = frozenset({"16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"})


class _Made(msgspec.Struct, gc=False):
    images: list[str | None] = []


_read_made: Final = msgspec.json.Decoder(_Made).decode


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    cargo = Cargo(kind, outgoing)
    prompt = cargo.take("prompt")
    cargo.pass_over(name for name, usual in _USUAL.items() if cargo.members.get(name) == usual)
    make = _stability if "stability" in name_of(outgoing, cargo.members) else _amazon
    sent = make(cargo, text(prompt)) | cargo.unknown()
    path = path_of(outgoing, "invoke")
    dropped = cargo.finish(_USUAL)
    return Prepared("application/json", msgspec.json.encode(sent), path, dropped=dropped)


def _amazon(cargo: Cargo, prompt: str) -> dict[str, Any]:
    words = {"text": prompt}
    negative = cargo.take("negative_prompt")
    if negative:
        words["negativeText"] = negative
    config: dict[str, object] = {}
    count = cargo.take("n")
    if count is not None:
        config["numberOfImages"] = int(count)
    size = cargo.members.get("size")
    if size not in (None, "auto"):
        config["width"], config["height"] = _sides(cargo.take("size"))
    quality = cargo.members.get("quality")
    if quality not in (None, "auto"):
        cargo.take("quality")
        config["quality"] = "premium" if quality in _PREMIUM else "standard"
    seed = cargo.take("seed")
    if seed is not None:
        config["seed"] = int(seed)
    return {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": words,
        **({"imageGenerationConfig": config} if config else {}),
    }


def _stability(cargo: Cargo, prompt: str) -> dict[str, Any]:
    sent: dict[str, Any] = {"prompt": prompt}
    if cargo.members.get("n") == 1:
        cargo.take("n")
    for name in ("negative_prompt", "output_format", "aspect_ratio"):
        value = cargo.take(name)
        if value:
            sent[name] = value
    seed = cargo.take("seed")
    if seed is not None:
        sent["seed"] = int(seed)
    if cargo.members.get("size") not in (None, "auto") and "aspect_ratio" not in sent:
        width, height = _sides(cargo.take("size"))
        shared = gcd(width, height)
        ratio = f"{width // shared}:{height // shared}"
        if ratio not in _RATIOS:
            raise CannotCarry(f"size: {ratio} is none of this model's ratios", "size")
        sent["aspect_ratio"] = ratio
    return sent


def _sides(size: str) -> tuple[int, int]:
    found = _is_size(size)
    if found is None:
        raise CannotCarry("size: expected <width>x<height>", "size")
    return int(found[1]), int(found[2])


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`. What was made and filtered away is no answer.

    Amazon's models give the images that passed, beside an `error` for those that did not.
    """
    images = _images_in(body)
    if images:
        answer = {"created": outgoing.now_s, "data": [{"b64_json": image} for image in images]}
        return Answered(msgspec.json.encode(answer))
    told = replies.object_in(content_type, body)
    if isinstance(told, Failure):
        return told
    why = next((each for each in items(told.get("finish_reasons")) if isinstance(each, str)), "")
    if why:
        return Failure(
            why[:200], status_code=400, error_type="content_filter", code="content_filter"
        )
    return replies.invalid(replies.UNREADABLE, "there is no image")


def _images_in(body: bytes) -> list[str]:
    if json_guard.problem(body, _DEPTH_MAX) is not None:
        return []
    try:
        found = _read_made(body).images
    except msgspec.DecodeError:
        return []
    return [image for image in found if image]


DIALECT: Final = Dialect("bedrock_images", build, read, bedrock.refusal)
"""Images on Amazon Bedrock."""
