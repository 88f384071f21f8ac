"""Pictures from Gemini's image models (Gemini API, "Image generation") and from Imagen
(`:predict`; Vertex AI, "Generate images").

Imagen is gone from the Gemini API since August 2026; there its requests are still written, for
addresses that serve it.
"""

import math
import re
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.cargo import Cargo
from hermod.providers.gemini.answer import Spoken, block_reason, parts_of, refusal_of
from hermod.providers.gemini.config import add_own
from hermod.providers.gemini.parts import located
from hermod.providers.gemini.speech import filtered
from hermod.providers.gemini.usage import details_of_input, token_usage, usage_in
from hermod.providers.lenient import Members, items, members, text

_SIZE: Final = re.compile(r"(\d{2,5})x(\d{2,5})")
_RATIOS: Final = ((1, 1), (2, 3), (3, 2), (3, 4), (4, 3), (4, 5), (5, 4), (9, 16), (16, 9), (21, 9))
_RATIO_TOLERANCE: Final = 0.03
"""OpenAI's 1792x1024 is meant as 16:9."""
_LARGEST: Final = ((1792, None), (2048, "2K"), (4096, "4K"))
"""Longer sides, and the names of the sizes that have them; None for the models' own."""
_USUAL: Final[dict[str, object]] = {
    "quality": "auto",
    "background": "auto",
    "moderation": "auto",
    "style": None,
    "partial_images": 0,
}
_NO_IMAGE: Final = "NO_IMAGE"
_FORMATS: Final = {"png", "jpeg", "webp"}
_PARAMETERS: Final = {
    "person_generation": "personGeneration",
    "add_watermark": "addWatermark",
    "enhance_prompt": "enhancePrompt",
    "guidance_scale": "guidanceScale",
    "safety_setting": "safetySetting",
    "include_rai_reason": "includeRaiReason",
    "language": "language",
    "storage_uri": "storageUri",
}
"""Imagen's own, in either spelling."""


def is_imagen(model: str) -> bool:
    """Whether a model answers to `:predict` only."""
    return model.startswith(("imagen", "imagegeneration"))


def image_request(
    kind: AnyKind, outgoing: Outgoing, *, chooses_format: bool
) -> tuple[Members, tuple[str, ...]]:
    """The `GenerateContentRequest` of an image, and what was dropped.

    `chooses_format` where the model can be told the format of the file (Vertex AI).

    Raises:
        CannotCarry: a size of no known shape, or a field that has no counterpart.
    """
    cargo = Cargo(kind, outgoing)
    parts: list[Members] = [{"text": text(cargo.take("prompt"))}]
    for position, url in enumerate(items(cargo.take("input_images"))):
        parts.append(located(text(url), "image/jpeg", f"input_images[{position}]"))
    shape: Members = {}
    _add_shape(cargo, shape, "imageSize")
    file = _file_options(cargo) if chooses_format else {}
    if file:
        shape["imageOutputOptions"] = file
    config: Members = {"responseModalities": ["IMAGE"]}
    if shape:
        config["imageConfig"] = shape
    wanted = cargo.take("n")
    if wanted is not None and wanted != 1:
        config["candidateCount"] = int(wanted)
    seed = cargo.take("seed")
    if seed is not None:
        config["seed"] = int(seed)
    cargo.pass_over(("response_format", "partial_images"))
    body: Members = {"contents": [{"role": "user", "parts": parts}]}
    add_own(cargo, body, config)
    usual = _USUAL if chooses_format else {**_USUAL, "output_format": "png"}
    return body | {"generationConfig": config}, cargo.finish(usual)


def predict_request(kind: AnyKind, outgoing: Outgoing) -> tuple[Members, tuple[str, ...]]:
    """Imagen's request, and what was dropped. Raises CannotCarry."""
    cargo = Cargo(kind, outgoing)
    parameters: Members = {"sampleCount": int(cargo.take("n") or 1)}
    _add_shape(cargo, parameters, "sampleImageSize")
    file = _file_options(cargo)
    if file:
        parameters["outputOptions"] = file
    seed = cargo.take("seed")
    if seed is not None:
        parameters["seed"] = int(seed)
    unwanted = text(cargo.take("negative_prompt"))
    if unwanted:
        parameters["negativePrompt"] = unwanted
    given = cargo.unknown()
    for ours, theirs in _PARAMETERS.items():
        for name in (ours, theirs):
            if given.get(name) is not None:
                parameters[theirs] = given[name]
    prompt = text(cargo.take("prompt"))
    cargo.pass_over(("response_format", "partial_images"))
    body = {"instances": [{"prompt": prompt}], "parameters": parameters}
    return body, cargo.finish(_USUAL)


def _add_shape(cargo: Cargo, out: Members, size_name: str) -> None:
    size = text(cargo.take("size"))
    ratio = text(cargo.take("aspect_ratio"))
    if size and size != "auto":
        found = _SIZE.fullmatch(size)
        if found is None:
            raise CannotCarry("size: expected WIDTHxHEIGHT, or auto", "size")
        width, height = int(found[1]), int(found[2])
        ratio = ratio or _ratio_of(width, height)
        longer = max(width, height)
        fitting = [name for most, name in _LARGEST if longer <= most]
        if not fitting:
            raise CannotCarry("size: larger than any picture that can be made", "size")
        if fitting[0] is not None:
            out[size_name] = fitting[0]
    if ratio and ratio != "auto":
        out["aspectRatio"] = ratio


def _ratio_of(width: int, height: int) -> str:
    """The nearest shape that has a name. Raises CannotCarry where none is near."""

    def distance(ratio: tuple[int, int]) -> float:
        return abs(math.log(width * ratio[1] / (height * ratio[0])))

    nearest = min(_RATIOS, key=distance) if width and height else (1, 1)
    if not width or not height or distance(nearest) > _RATIO_TOLERANCE:
        known = ", ".join(f"{a}:{b}" for a, b in _RATIOS)
        raise CannotCarry(f"size: only shapes near {known} can be made", "size")
    return f"{nearest[0]}:{nearest[1]}"


def _file_options(cargo: Cargo) -> Members:
    options: Members = {}
    wanted = text(cargo.take("output_format"))
    if wanted:
        if wanted not in _FORMATS:
            raise CannotCarry("output_format: not one of jpeg, png, webp", "output_format")
        options["mimeType"] = f"image/{wanted}"
    quality = cargo.take("output_compression")
    if quality is not None:
        options["compressionQuality"] = int(quality)
    return options


def read_image(outgoing: Outgoing, reply: Members) -> Answered | Failure:
    """The pictures of every candidate, in order."""
    found: list[Members] = []
    why = reason = ""
    for candidate in map(members, items(reply.get("candidates"))):
        said = Spoken(parts_of(candidate), "")
        found += [part["inlineData"] for part in said.pictures]
        reason = reason or text(candidate.get("finishReason"))
        why = why or text(candidate.get("finishMessage")) or said.text or reason
    if found:
        return _answer(outgoing, reply, found)
    blocked = block_reason(reply)
    if blocked:
        return filtered(refusal_of(blocked, reply), blocked)
    if why:
        code = reason if reason not in {"", "STOP"} else _NO_IMAGE
        return filtered(f"no picture was made: {why}", code)
    return replies.invalid(replies.UNREADABLE, "there are no candidates")


def read_predictions(outgoing: Outgoing, reply: Members) -> Answered | Failure:
    """Imagen's pictures, without those that were filtered out."""
    found: list[Members] = []
    why = ""
    for prediction in map(members, items(reply.get("predictions"))):
        why = why or text(prediction.get("raiFilteredReason"))
        if text(prediction.get("bytesBase64Encoded")):
            found.append(
                {
                    "data": prediction["bytesBase64Encoded"],
                    "mimeType": text(prediction.get("mimeType")),
                    "prompt": text(prediction.get("prompt")),
                }
            )
    if found:
        return _answer(outgoing, reply, found)
    if why or isinstance(reply.get("predictions"), list) or not reply:
        return filtered(f"no picture was made: {why or 'all were filtered out'}", _NO_IMAGE)
    return replies.invalid(replies.UNREADABLE, "there are no predictions")


def _answer(outgoing: Outgoing, reply: Members, found: list[Members]) -> Answered:
    asked = members(msgspec.json.decode(outgoing.body))
    as_url = asked.get("response_format") == "url"
    data: list[Members] = []
    for index, blob in enumerate(found):
        # Nobody keeps the pictures: an address that holds the picture itself is the only one.
        shown: Members = (
            {"url": f"data:{blob['mimeType'] or 'image/png'};base64,{blob['data']}"}
            if as_url
            else {"b64_json": blob["data"]}
        )
        if blob.get("prompt"):
            shown["revised_prompt"] = blob["prompt"]
        data.append({**shown, "index": index})
    answer: Members = {"created": outgoing.now_s, "data": data}
    kind = found[0]["mimeType"].partition("/")[2]
    if kind in _FORMATS:
        answer["output_format"] = kind
    usage = usage_in(reply)
    if usage is not None:
        details = details_of_input(reply, "image")
        answer["usage"] = {**token_usage(usage), "input_tokens_details": details}
    return Answered(msgspec.json.encode(answer), usage=usage)
