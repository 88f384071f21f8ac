"""Upstreams that take work and are asked for it until it is done. Nothing is sent here.

A handle names the work; it is kept with the attempt, so that after a crash it is asked for again
and not ordered, and paid for, twice (design.md 8, 18).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Pending(NamedTuple):
    """The upstream has taken the work and is still at it."""

    handle: str
    """What it calls the work. Never an address: what a reply says must not decide where the key
    goes."""
    after_s: float
    """How long to wait before it is asked."""


class Asking(NamedTuple):
    """A request about work that was taken, ready to be sent but for its address and credential.

    It has no body, and the headers that every request of this provider has.
    """

    method: str
    path: str
    """Below the provider's root."""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Polling:
    """How a dialect is asked for its work."""

    pending: Callable[[str | None, bytes], Pending | None]
    """Whether a reply with a status of success (content type, body) is none yet. Never raises.

    What is not pending is for `Dialect.read`.
    """
    ask: Callable[[str], Asking]
    """How to ask for the work with this handle. The reply has the form of the first one."""
    cancel: Callable[[str], Asking]
    """How to say that nobody wants it any more. Its reply says nothing of interest."""
