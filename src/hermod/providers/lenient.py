"""A stranger's JSON, decoded, looked at leniently: what is absent or of another type is empty.

For what upstreams say, and for the inner parts of requests, of which only the outer are checked.
"""

from typing import Any, Final, cast

Members = dict[str, Any]

COUNT_MAX: Final = 2**53
"""More than there is of anything that is counted."""
_NUMBER_MAX: Final = 2**63


def members(value: object) -> Members:
    """The members of an object."""
    return cast("Members", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The values of an array."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """A string."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """A number of something: whole, and not below zero."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= COUNT_MAX else 0


def number(value: object) -> int | float | None:
    """A number that every JSON reader takes; a truth value is none."""
    if type(value) is int or type(value) is float:
        return value if -_NUMBER_MAX < value < _NUMBER_MAX else None
    return None
