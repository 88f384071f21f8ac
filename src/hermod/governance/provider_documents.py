"""A provider that was made over the API, as the store keeps it: secrets apart, sealed as one text.

The body is `{"members": …, "sealed": …, "created_at": …, "updated_at": …}`: what was given, with a
mask in place of each secret, and the secrets by their place, sealed for `provider:<name>`. Pure.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, cast

from hermod.domain.document import Document

TYPE: Final = "provider"

Members = dict[str, object]
"""A JSON object."""
Place = tuple[str | int, ...]

_ANY: Final = "*"
_SECRETS: Final[tuple[tuple[str, ...], ...]] = (
    ("keys", _ANY, "value"),
    ("keys", _ANY, "azure_key_config", "client_secret"),
    ("keys", _ANY, "bedrock_key_config", "access_key"),
    ("keys", _ANY, "bedrock_key_config", "secret_key"),
    ("keys", _ANY, "bedrock_key_config", "session_token"),
    ("keys", _ANY, "vertex_key_config", "auth_credentials"),
    ("network_config", "extra_headers", _ANY),
    ("proxy_config", "url"),
    ("proxy_config", "username"),
    ("proxy_config", "password"),
)
"""Where secrets stand; `*` is any member or element."""
_STARS: Final = "*" * 24
_SHOWN: Final = 4
_SHORT: Final = 24
"""Of a secret shorter than this nothing is shown."""


class Stored(NamedTuple):
    """The body of a document."""

    members: Members
    """With masks."""
    sealed: str
    """Empty where there is no secret."""
    created_at: int
    updated_at: int


def about(name: str) -> str:
    """What the secrets of a provider are bound to."""
    return f"{TYPE}:{name}"


def encode(name: str, stored: Stored, version: int) -> Document:
    """The document that replaces this version; 0 for a new one."""
    body = json.dumps(stored._asdict(), separators=(",", ":")).encode()
    return Document(TYPE, name, name, None, body, version)


def decode(document: Document) -> Stored:
    """What a document says. Raises ValueError when it says something else."""
    body: object = json.loads(document.body)
    told = cast("Members", body) if isinstance(body, dict) else {}
    members, sealed = told.get("members"), told.get("sealed")
    if not isinstance(members, dict) or not isinstance(sealed, str):
        raise ValueError("not a provider")
    return Stored(
        cast("Members", members), sealed, _instant(told, "created_at"), _instant(told, "updated_at")
    )


def _instant(told: Members, name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0


def mask(secret: str) -> str:
    """What is shown of a secret: enough to tell it from another, and Bifrost's way to do so."""
    if len(secret) < _SHORT:
        return _STARS
    return f"{secret[:_SHOWN]}{_STARS}{secret[-_SHOWN:]}"


def is_mask(text: str) -> bool:
    """Whether a text is what `mask` shows instead of a secret."""
    return _STARS in text


def taken_apart(members: Mapping[str, object]) -> tuple[Members, bytes]:
    """The members with masks, and the secrets for sealing; empty where there are none."""
    copy = _copied(members)
    secrets: dict[str, str] = {}
    for place in _places(copy):
        text = _text_at(copy, place)
        if text:
            secrets[json.dumps(place)] = text
            _put(copy, place, mask(text))
    return copy, json.dumps(secrets, sort_keys=True).encode() if secrets else b""


def put_together(members: Mapping[str, object], secrets: bytes) -> Members:
    """The inverse. Raises ValueError where the two do not belong together."""
    copy = _copied(members)
    told: object = json.loads(secrets) if secrets else {}
    if not isinstance(told, dict):
        raise ValueError("no secrets")
    for where, text in cast("Members", told).items():
        place = tuple(cast("list[str | int]", json.loads(where)))
        if _text_at(copy, place) is None:
            raise ValueError("a secret without a place")
        _put(copy, place, text)
    return copy


def with_kept(new: Mapping[str, object], old: Mapping[str, object]) -> tuple[Members, list[str]]:
    """The new members, with the old secret wherever its mask was sent back; and the places of masks
    that belong to no secret. `old` has its secrets in it.

    Keys are told by their ids, then by their names.
    """
    copy = _copied(new)
    lost: list[str] = []
    for place in _places(copy):
        text = _text_at(copy, place)
        if text is None or not is_mask(text):
            continue
        kept = _text_at(old, _old_place(copy, old, place))
        if kept and mask(kept) == text:
            _put(copy, place, kept)
        else:
            lost.append(".".join(map(str, place)))
    return copy, lost


def _old_place(new: Mapping[str, object], old: Mapping[str, object], place: Place) -> Place:
    if place[0] != "keys":
        return place
    key = _at(new, place[:2])
    for member in ("id", "name"):
        wanted = cast("Members", key).get(member) if isinstance(key, dict) else None
        for index, other in enumerate(keys_of(old)):
            if wanted and other.get(member) == wanted:
                return ("keys", index, *place[2:])
    return ()


def keys_of(members: Mapping[str, object]) -> list[Members]:
    """The objects of `keys`."""
    keys = members.get("keys")
    found = cast("list[object]", keys) if isinstance(keys, list) else []
    return [cast("Members", key) for key in found if isinstance(key, dict)]


def _copied(members: Mapping[str, object]) -> Members:
    return cast("Members", json.loads(json.dumps(members)))


def _places(members: Mapping[str, object]) -> Iterator[Place]:
    for pattern in _SECRETS:
        yield from _matches(members, pattern, ())


def _matches(value: object, pattern: tuple[str, ...], place: Place) -> Iterator[Place]:
    if not pattern:
        yield place
        return
    first, *rest = pattern
    for step in _steps(value, first):
        yield from _matches(_at(value, (step,)), tuple(rest), (*place, step))


def _steps(value: object, wanted: str) -> list[str | int]:
    """Which members or elements a pattern means."""
    if isinstance(value, dict):
        members = cast("Members", value)
        return [name for name in members if wanted in (_ANY, name)]
    if isinstance(value, list) and wanted == _ANY:
        return list(range(len(cast("list[object]", value))))
    return []


def _at(value: object, place: Place) -> object:
    for step in place:
        if isinstance(value, dict) and isinstance(step, str):
            value = cast("Members", value).get(step)
        elif isinstance(value, list) and isinstance(step, int):
            items = cast("list[object]", value)
            value = items[step] if step < len(items) else None
        else:
            return None
    return value


def _text_at(members: Mapping[str, object], place: Place) -> str | None:
    """The secret at a place, as a text or as Bifrost's `{value, env_var, from_env}`."""
    found = _at(members, place)
    if isinstance(found, dict) and not cast("Members", found).get("from_env"):
        found = cast("Members", found).get("value")
    return found if isinstance(found, str) else None


def _put(members: Mapping[str, object], place: Place, value: object) -> None:
    *path, last = place
    holder = _at(members, tuple(path))
    if isinstance(holder, dict) and isinstance(last, str):
        cast("Members", holder)[last] = value
    elif isinstance(holder, list) and isinstance(last, int):
        cast("list[object]", holder)[last] = value
