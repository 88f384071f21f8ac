"""xAI's image edits: a JSON object with the images as URLs instead of a form.

Format: xAI's REST API reference, "Images", `POST /v1/images/edits`: `image` is an object with a
`url`, which may be a data URL; several images go into `images`. There are no masks.
"""

from typing import Final

import msgspec

from hermod.kinds.kind import AnyKind, FormKind
from hermod.providers import form_as_json, openai_shaped
from hermod.providers.adapter import Dialect, Outgoing, Prepared

_IMAGES: Final = ("image", "image[]")


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    assert isinstance(kind, FormKind)
    form = form_as_json.contents_of(outgoing)
    sent = form_as_json.members_of(kind, outgoing, form)
    dropped: tuple[str, ...] = ()
    if any(file.part.name == "mask" for file in form.files):
        dropped += form_as_json.refuse(outgoing, "mask")
    images = [
        {"type": "image_url", "url": form_as_json.data_url_of(file, "image/png")}
        for file in form.files
        if file.part.name in _IMAGES
    ]
    if len(images) == 1:
        sent["image"] = images[0]
    else:
        sent["images"] = images
    return Prepared("application/json", msgspec.json.encode(sent), dropped=dropped)


DIALECT: Final = Dialect("xai_image_edit", build, openai_shaped.read)
"""Image edits as xAI takes them."""
