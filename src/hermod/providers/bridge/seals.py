"""What a response calls `encrypted_content`, and what a chat's details of reasoning say beside it.

A client hands it back as it came. So where a detail says more than its text and its signature
(whose it is, which call it belongs to), all of it travels in there.
"""

import base64
import binascii
from typing import Final

import msgspec

from hermod.providers.bridge.pieces import Json, written
from hermod.providers.lenient import members, text

_MARK: Final = "hermod:"
_MORE: Final = ("format", "id")


def more_in(detail: Json) -> Json:
    """What a detail says beside its text and its seal."""
    return {name: detail[name] for name in _MORE if text(detail.get(name))}


def sealed(seal: str, more: Json) -> str:
    """What the client is to keep: the seal itself, where there is nothing more."""
    if not seal or not more:
        return seal
    return _MARK + base64.urlsafe_b64encode(written({**more, "seal": seal})).decode()


def opened(content: str) -> tuple[str, Json]:
    """The seal, and what was said beside it."""
    if content.startswith(_MARK):
        try:
            found = members(msgspec.json.decode(base64.urlsafe_b64decode(content[len(_MARK) :])))
        except (binascii.Error, ValueError, RecursionError):
            return content, {}
        if text(found.get("seal")):
            return text(found["seal"]), more_in(found)
    return content, {}
