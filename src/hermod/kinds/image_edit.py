"""Image edits (wire-contract 1.12)."""

from collections.abc import Container
from typing import Final

from hermod.domain.errors import bad_request
from hermod.kinds.form import Form
from hermod.kinds.kind import (
    Checked,
    FieldType,
    FormField,
    FormKind,
    Reply,
    asks_for_stream,
    check_images,
    check_integers,
    form_model,
)

_FIELDS: Final = {
    "model": FormField(FieldType.TEXT, required=True),
    # Not with `type=background_removal`.
    "prompt": FormField(FieldType.TEXT, required=True),
    "image": FormField(FieldType.FILES, required=True, or_named="image[]"),
    "mask": FormField(FieldType.FILE),
    "type": FormField(FieldType.TEXT),
    "n": FormField(FieldType.INTEGER),
    "partial_images": FormField(FieldType.INTEGER),
    "num_inference_steps": FormField(FieldType.INTEGER),
    "seed": FormField(FieldType.INTEGER),
    "output_compression": FormField(FieldType.INTEGER),
    "size": FormField(FieldType.TEXT),
    "response_format": FormField(FieldType.TEXT),
    "background": FormField(FieldType.TEXT),
    "input_fidelity": FormField(FieldType.TEXT),
    "quality": FormField(FieldType.TEXT),
    "output_format": FormField(FieldType.TEXT),
    "negative_prompt": FormField(FieldType.TEXT),
    "user": FormField(FieldType.TEXT),
    "stream": FormField(FieldType.BOOLEAN),
    "fallbacks": FormField(FieldType.TEXTS),
}


def _check(form: Form, known_providers: Container[str]) -> Checked:
    checked = form_model(form, known_providers)
    if form.text("type") != "background_removal" and not form.text("prompt"):
        raise bad_request("prompt is required")
    check_images(form)
    check_integers(form, _FIELDS)
    return checked._replace(stream=asks_for_stream(form))


IMAGE_EDIT: Final = FormKind(
    path="images/edits",
    request_type="image_edit",
    fields=_FIELDS,
    plural="image edits",
    check=_check,
    example={"model": "openai/gpt-image-1", "prompt": "Add a boat.", "image": "lighthouse.png"},
    reply=Reply(essential="data"),
)
