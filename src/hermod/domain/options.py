"""What a job keeps of its request beside the body: whatever matters when it runs."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, cast

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_write: Final = json.JSONEncoder(default=dict, ensure_ascii=False, separators=(",", ":")).encode


class Options(NamedTuple):
    """Most requests have none. Stored with the job as JSON text, as long as the job."""

    passthrough: bool | None = None
    """Whether fields of the body that nobody documented go upstream
    (`x-bf-passthrough-extra-params`); None leaves it to the settings."""
    content_type: str | None = None
    """Of a multipart body, with its boundary."""
    forward: tuple[tuple[str, str], ...] = ()
    """Headers for the upstream, in the order they came, names in lower case, repeats kept. Not
    stored as they are where there is a key to seal them with."""
    labels: Mapping[str, str] = _NONE
    """Metadata of the job (`x-bf-lh-<label>`, `client.logging_headers`)."""
    dimensions: Mapping[str, str] = _NONE
    """Labels for metrics (`x-bf-dim-<label>`, `x-bf-prom-<label>`)."""
    key_name: str | None = None
    """The provider key to use, by its name (`x-bf-api-key`)."""
    key_id: str | None = None
    """The same by its id (`x-bf-api-key-id`), which wins over the name."""
    session_id: str | None = None
    """Calls of one session use one key (`x-bf-session-id`)."""
    session_ttl_s: float | None = None
    """How long they do (`x-bf-session-ttl`)."""
    parent_request_id: str | None = None
    """`x-bf-parent-request-id`"""
    raw_request: bool | None = None
    """Whether the upstream's request is shown in the result; None leaves it to the settings."""
    raw_response: bool | None = None
    """Likewise the upstream's reply."""
    store_raw: bool | None = None
    """`x-bf-store-raw-request-response`"""
    disable_content_logging: bool | None = None
    missing_headers: tuple[str, ...] = ()
    """Of those that every request must have (`client.required_headers`), what it lacked."""
    traceparent: str | None = None
    """W3C Trace Context."""
    baggage: str | None = None
    """W3C Baggage."""
    background: bool = False
    """Whether it is one of OpenAI's background responses."""
    door: str | None = None
    """The integration route that made the job; None for our own."""
    fallbacks: tuple[str, ...] = ()
    """Where else a model without a prefix may go, as `provider/model`: chosen when it was asked
    for, and used if the request names none itself."""
    sealed: str | None = None
    """What nobody may read in the store (`JobSecrets`)."""

    def encode(self) -> str | None:
        """As JSON text, None when everything is as usual."""
        if self is NO_OPTIONS or self == NO_OPTIONS:
            return None
        given = {
            name: value
            for name, value, usual in zip(self._fields, self, NO_OPTIONS, strict=True)
            if value != usual
        }
        return _write(given)

    @staticmethod
    def decode(text: str | None) -> "Options":
        """What `encode` wrote, in this release or another one.

        A member that is unknown here, or means something else here, is passed over. Raises
        ValueError for a text that is not JSON.
        """
        if text is None:
            return NO_OPTIONS
        stored: object = json.loads(text)
        if not isinstance(stored, dict):
            return NO_OPTIONS
        given: dict[str, object] = {}
        for name, value in cast("dict[str, object]", stored).items():
            read = _READ.get(name)
            if read is not None and (known := read(value)) is not None:
                given[name] = known
        return Options(**given)  # pyright: ignore[reportArgumentType]


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _texts(value: object) -> tuple[str, ...] | None:
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = tuple(item for item in items if isinstance(item, str))
    return texts if len(texts) == len(items) else None


def _pairs(value: object) -> tuple[tuple[str, str], ...] | None:
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    pairs = [pair for item in items if (pair := _texts(item)) is not None and len(pair) == 2]
    return tuple((name, text) for name, text in pairs) if len(pairs) == len(items) else None


def _by_label(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    found = cast("dict[str, object]", value).items()
    return {label: text for label, text in found if isinstance(text, str)}


_READ: Final[Mapping[str, Callable[[object], object]]] = {
    "passthrough": _flag,
    "content_type": _text,
    "forward": _pairs,
    "labels": _by_label,
    "dimensions": _by_label,
    "key_name": _text,
    "key_id": _text,
    "session_id": _text,
    "session_ttl_s": _seconds,
    "parent_request_id": _text,
    "raw_request": _flag,
    "raw_response": _flag,
    "store_raw": _flag,
    "disable_content_logging": _flag,
    "missing_headers": _texts,
    "traceparent": _text,
    "baggage": _text,
    "background": _flag,
    "door": _text,
    "fallbacks": _texts,
    "sealed": _text,
}
"""How each member is read; None for a value of another type."""

NO_OPTIONS: Final = Options()
"""What most requests have."""
