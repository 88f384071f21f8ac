"""What a call is asked for, and what came of it.

What is made for each call is a Struct: its members are read in a fraction of a named tuple's time.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from hermod.domain.live import Live
from hermod.domain.options import Options
from hermod.domain.outcome import Outcome
from hermod.domain.retry import STAY_S, RetryPolicy
from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import Outgoing
from hermod.providers.adapters import Way


class CallSpec(msgspec.Struct, frozen=True):
    """What to call, and how long it may take."""

    kind: str
    provider: str
    model: str
    body: bytes
    options: str | None
    job_id: str
    attempt: int
    remaining_s: float
    """Until the job's deadline."""
    live: Live | None = None
    """Who waits for the answer, and may take it in pieces."""
    dead: tuple[str, ...] = ()
    """Keys that were refused for this job, by id."""
    tired: str | None = None
    """The id of a key that was told to slow down."""
    is_fallback: bool = False
    """Not the provider that the job was sent to: what it says of keys is about another."""
    key_ids: tuple[str, ...] | None = None
    """The only keys that may be used, by id or name; None for all."""
    handle: str | None = None
    """Work that an earlier attempt ordered and did not get: it is asked for, not ordered again."""
    note_handle: Callable[[str], Awaitable[object]] | None = None
    """Keeps the handle of work that was ordered."""
    patience_s: float = STAY_S
    """How long it may wait for its turn, before anything is sent."""
    insists: bool = False
    """It is made although the upstream may be down or out of room; not beyond what it may have at
    once."""


class Called(msgspec.Struct, frozen=True):
    """What came of it, and with which key."""

    outcome: Outcome
    key_name: str | None = None
    other_keys: int = 0
    """How many other keys could have been used."""
    handle: str | None = None
    """Work that is still to be had, though this call failed."""
    key_id: str | None = None


class CallSettings(NamedTuple):
    """The operator's word on calls, where a provider has none of its own."""

    forward_unknown_fields: bool
    attempt_timeout_s: float
    retry_policy: RetryPolicy
    mock: bool
    text_to_chat: bool = False
    """`client.compat.convert_text_to_chat`"""
    chat_to_responses: bool = False
    """`client.compat.convert_chat_to_responses`"""
    drop_unsupported: bool = False
    """`client.compat.should_drop_params`"""
    strict_prices: bool = False
    """Whether a model without a known price is refused."""


class OneCall(msgspec.Struct, frozen=True):
    """One call, with what was looked up for it."""

    kind: AnyKind
    spec: CallSpec
    options: Options
    way: Way
    outgoing: Outgoing
    started_s: float
    ordered: list[str]
    """Handles of the work that the upstream does for it, the last one counts."""
