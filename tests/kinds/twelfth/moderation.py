"""Moderations: a request type that exists only in tests."""

from collections.abc import Container
from typing import Final

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import ABSENT, TextOrStrings, is_null


class _Moderation(Body, frozen=True, gc=False):
    input: TextOrStrings = ABSENT


_READER: Final = Reader(_Moderation)


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    checked = split_model(asked.model, known_providers)
    if is_null(asked.input):
        raise bad_request("input is required for moderation")
    return checked


MODERATION: Final = JsonKind(
    path="moderations",
    request_type="moderation",
    struct=_Moderation,
    check=_check,
    example={"model": "openai/omni-moderation-latest", "input": "Good morning."},
    reply=Reply(essential="results"),
)
