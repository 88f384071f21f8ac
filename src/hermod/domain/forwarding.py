"""Which of a caller's headers reach the upstream, and whose word counts (wire-contract 2.4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from hermod.domain.headers import (
    CONNECTION_HEADERS,
    CREDENTIAL_HEADERS,
    HEADER_NAME,
    UNSENDABLE,
)

NEVER_FORWARDED: Final = (
    CONNECTION_HEADERS
    | CREDENTIAL_HEADERS
    | {
        "content-encoding",
        "content-type",
        "proxy-connection",
        "x-bf-api-key",
        "x-bf-api-key-id",
        "x-bf-direct-key",
    }
)
"""What a caller can never set on an upstream request: its framing, and who the gateway is there."""
_OURS: Final = ("x-bf-", "x-hermod-")
"""Headers to the gateway itself."""


@dataclass(frozen=True, slots=True)
class Names:
    """Header names in lower case, some of them given by their beginning (`anthropic-*`)."""

    exact: frozenset[str] = frozenset()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """From an operator's list, where a `*` may stand for the end of a name."""
        lowered = {pattern.strip().lower() for pattern in patterns}
        return cls(
            frozenset(name for name in lowered if not name.endswith("*")),
            tuple(sorted(name[:-1] for name in lowered if name.endswith("*"))),
        )

    def __contains__(self, name: str) -> bool:
        return name in self.exact or name.startswith(self.beginnings)

    def __bool__(self) -> bool:
        return bool(self.exact or self.beginnings)


@dataclass(frozen=True, slots=True)
class HeaderFilter:
    """`client.header_filter_config`. Refusing wins over allowing."""

    allowed: Names = Names()
    """When there are any, no others are forwarded, and these are even without `x-bf-eh-`."""
    denied: Names = Names()

    def admits(self, name: str, value: str) -> bool:
        """Whether a header that the caller wants forwarded is. `name` is in lower case."""
        return (
            name not in NEVER_FORWARDED
            and (not self.allowed or name in self.allowed)
            and name not in self.denied
            and HEADER_NAME.fullmatch(name) is not None
            and UNSENDABLE.search(value) is None
        )

    def admits_unasked(self, name: str, value: str) -> bool:
        """Whether a header is forwarded under its own name, because the operator listed it."""
        return name in self.allowed and not name.startswith(_OURS) and self.admits(name, value)


def merged(*groups: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers of all groups, where a name in an earlier group leaves no place for the same
    name in a later one. Repeats within a group are kept.

    For an upstream request: the adapter's own, the operator's (`network_config.extra_headers`), the
    caller's, and last what stands in when nobody named it, such as `User-Agent`.
    """
    kept: list[tuple[str, str]] = []
    taken: set[str] = set()
    for group in groups:
        kept += [header for header in group if header[0].lower() not in taken]
        taken.update(name.lower() for name, _ in group)
    return tuple(kept)
