"""Image variations (wire-contract 1.13). `stream` is not looked at (1.4)."""

from collections.abc import Container
from typing import Final

from hermod.kinds.form import Form
from hermod.kinds.kind import (
    Checked,
    FieldType,
    FormField,
    FormKind,
    Reply,
    check_images,
    check_integers,
    form_model,
)

_FIELDS: Final = {
    "model": FormField(FieldType.TEXT, required=True),
    "image": FormField(FieldType.FILES, required=True, or_named="image[]"),
    "n": FormField(FieldType.INTEGER),
    "size": FormField(FieldType.TEXT),
    "response_format": FormField(FieldType.TEXT),
    "user": FormField(FieldType.TEXT),
    "fallbacks": FormField(FieldType.TEXTS),
}


def _check(form: Form, known_providers: Container[str]) -> Checked:
    checked = form_model(form, known_providers)
    check_images(form)
    check_integers(form, _FIELDS)
    return checked


IMAGE_VARIATION: Final = FormKind(
    path="images/variations",
    request_type="image_variation",
    fields=_FIELDS,
    check=_check,
    example={"model": "openai/dall-e-2", "image": "lighthouse.png"},
    reply=Reply(essential="data"),
)
