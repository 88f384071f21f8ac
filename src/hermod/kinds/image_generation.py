"""Image generations (wire-contract 1.11)."""

from collections.abc import Container
from typing import Annotated, Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import (
    ABSENT,
    Documented,
    Integer,
    Strings,
    Text,
    is_empty_text,
    is_strings,
    wrong_type,
)

_FALLBACKS: Final = "array<str> | array<object> | null"


class _Fallback(msgspec.Struct, frozen=True, gc=False):
    provider: str | None = None
    model: str | None = None


class _Generation(Body, frozen=True, gc=False):
    prompt: Text = ABSENT
    # Bifrost's code takes strings here, its documentation says objects.
    fallbacks: Annotated[msgspec.Raw, Documented(_FALLBACKS)] = ABSENT
    n: Integer = None
    size: str | None = None
    quality: str | None = None
    style: str | None = None
    response_format: str | None = None
    background: str | None = None
    moderation: str | None = None
    partial_images: Integer = None
    output_compression: Integer = None
    output_format: str | None = None
    user: str | None = None
    negative_prompt: Text = ABSENT
    seed: Integer = None
    num_inference_steps: Integer = None
    stream: bool | None = None
    input_images: Strings = ABSENT
    aspect_ratio: str | None = None


_READER: Final = Reader(_Generation)
_fallbacks_of: Final = msgspec.json.Decoder(list[_Fallback]).decode


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    if not _is_fallbacks(asked.fallbacks):
        raise wrong_type(_FALLBACKS, "$.fallbacks")
    checked = split_model(asked.model, known_providers)
    if is_empty_text(asked.prompt):
        raise bad_request("prompt cannot be empty")
    return checked._replace(stream=True) if asked.stream else checked


def _is_fallbacks(raw: msgspec.Raw) -> bool:
    if is_strings(raw):
        return True
    try:
        _fallbacks_of(raw)
    except msgspec.ValidationError:
        return False
    return True


IMAGE_GENERATION: Final = JsonKind(
    path="images/generations",
    request_type="image_generation",
    struct=_Generation,
    plural="image generations",
    check=_check,
    example={"model": "openai/gpt-image-1", "prompt": "A lighthouse in the fog"},
    reply=Reply(essential="data"),
)
