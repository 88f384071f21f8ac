"""Where a job goes next after a call that failed: decisions without I/O.

Within one target (a provider and a model) `domain.retry` decides; here the keys of a target and
the targets of a job take turns (product.md M2, M3; wire-contract 8.4, 8.5):

- 429: another key if there is one, otherwise a wait; 401, 402 and 403: another key at once.
- A target that is given up makes room for the next fallback, which has tries of its own.
- A wait that would not keep the worker's slot is no reason to wait as long as there are other
  targets: the target is put off once and comes again after them.
- When all have failed, the job ends with the error of its own provider.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, cast

from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Retryable
from hermod.domain.retry import GiveUp, RetryPolicy, decide

_EXHAUSTED: Final = "upstream_credentials_exhausted"
_ERROR_BYTES: Final = 64 * 1024
_NO_FALLBACK: Final = frozenset({"request_cancelled", "secrets_unreadable"})
_NO_FALLBACK_TYPES: Final = frozenset({"missing_required_headers"})


class Progress(NamedTuple):
    """How far a job has come. Stored with the job while it waits, as JSON."""

    at: int = 0
    """The target: 0 is the job's own provider and model, n its n-th fallback."""
    spent_before: int = 0
    """The job's spent attempts when this target's turn began; its own are those beyond."""
    attempts_before: int = 0
    """The same for all attempts."""
    dead: tuple[str, ...] = ()
    """Keys of this target that were refused, by name."""
    tired: str | None = None
    """The key that was told to slow down last: another one is better."""
    seen: tuple[int, ...] = ()
    """Targets that have been given up."""
    put_off: tuple[int, ...] = ()
    """Targets whose turn was given to others once."""
    first: Failure | None = None
    """The error of the job's own provider."""

    @property
    def comes_again(self) -> bool:
        """Whether the target's turn was given to others before."""
        return self.at in self.put_off

    def encode(self) -> str | None:
        """As JSON text, None when there is nothing to remember."""
        members = {
            name: value
            for name, value, usual in zip(self._fields, self, _START, strict=True)
            if value != usual
        }
        if self.first is not None:
            whole = self.first.to_json()
            if len(whole) > _ERROR_BYTES:
                # It lies beside what every claim looks at: without what was sent and what came.
                whole = replace(self.first, raw_request=None, raw_response=None).to_json()
            members["first"] = json.loads(whole)
        return json.dumps(members, separators=(",", ":")) if members else None

    @staticmethod
    def decode(text: str | None) -> "Progress":
        """What `encode` wrote. Raises ValueError for what it did not."""
        if text is None:
            return _START
        try:
            members = cast("dict[str, Any]", json.loads(text))
            tired, first = members.get("tired"), members.get("first")
            return Progress(
                at=int(members.get("at", 0)),
                spent_before=int(members.get("spent_before", 0)),
                attempts_before=int(members.get("attempts_before", 0)),
                dead=tuple(map(str, members.get("dead", ()))),
                tired=None if tired is None else str(tired),
                seen=tuple(map(int, members.get("seen", ()))),
                put_off=tuple(map(int, members.get("put_off", ()))),
                first=None if first is None else Failure.of_json(first),
            )
        except (AttributeError, TypeError, ValueError, RecursionError):
            raise ValueError("no progress of a job") from None


_START: Final = Progress()


class Surroundings(NamedTuple):
    """What the decision needs to know beside the fault."""

    policy: RetryPolicy
    """Of the target that failed."""
    other_keys: int
    """How many other keys of this target could be used, those refused not counted."""
    key_name: str | None
    """The key that was used."""
    targets: Collection[int]
    """Those that can be called, in order: 0 is the job's own, n its n-th fallback."""
    spent: int
    """Attempts of the job before this one that used up a try."""
    attempt: int
    """The number of this attempt, from 1."""
    remaining_s: float
    """To the job's deadline."""
    chance: float
    """In [0, 1): the jitter."""
    waits: bool = True
    """Whether the job may give its slot back and come again: not while its caller waits."""


@dataclass(frozen=True, slots=True)
class End:
    """The job ends with this failure."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt after `delay_s`."""

    delay_s: float
    spent: bool
    """Whether the attempt that failed used up one of the tries."""
    progress: Progress


def next_step(fault: Fault, progress: Progress, around: Surroundings) -> End | Again:
    """What follows a call that failed."""
    if fault.retryable is Retryable.OTHER_KEY:
        return _other_key(fault, progress, around)
    spent = around.spent - progress.spent_before
    waits = max(around.attempt - 1 - progress.attempts_before - spent, 0)
    tired = progress._replace(tired=around.key_name)
    if _says_when(fault) and waits < around.other_keys and around.policy.max_retries:
        # Once per key; after a round of them the wait is worth waiting.
        return Again(0.0, spent=False, progress=tired)
    decision = decide(
        fault,
        around.policy,
        spent=spent,
        waits=waits,
        remaining_s=around.remaining_s,
        chance=around.chance,
    )
    if isinstance(decision, GiveUp):
        return _next_target(fault, progress, around, ended=True)
    held = fault.retryable is Retryable.HELD
    stays = decision.keeps_slot and not (held and not progress.comes_again)
    if not stays and not (around.waits and progress.comes_again):
        # Rather elsewhere at once than here after a while.
        ended = not around.waits and (progress.comes_again or not held)
        elsewhere = _next_target(fault, progress, around, ended=ended)
        if isinstance(elsewhere, Again) or ended:
            return elsewhere
        if not around.waits:
            # Nobody was asked, and nobody is left to ask: our own caution refuses nobody.
            put_off = (*progress.put_off, progress.at)
            return Again(0.0, spent=False, progress=progress._replace(put_off=put_off))
    return Again(decision.delay_s, decision.spent, tired)


def _other_key(fault: Fault, progress: Progress, around: Surroundings) -> End | Again:
    dead = progress.dead if around.key_name is None else (*progress.dead, around.key_name)
    progress = progress._replace(dead=dead)
    if around.other_keys:
        return Again(0.0, spent=False, progress=progress)
    if len(dead) > 1:
        failure = Failure(
            f"every key was rejected; the last one with: {fault.failure.message}",
            status_code=502,
            error_type=_EXHAUSTED,
            code=_EXHAUSTED,
            provider=fault.failure.provider,
            model=fault.failure.model,
            request_type=fault.failure.request_type,
        )
        fault = replace(fault, failure=failure)
    return _next_target(fault, progress, around, ended=True)


def _next_target(
    fault: Fault, progress: Progress, around: Surroundings, *, ended: bool
) -> End | Again:
    """On to another target; `ended` says whether this one is given up or only put off."""
    at = progress.at
    first = progress.first if at else fault.failure
    if fault.retryable is Retryable.HELD and at == 0:
        first = progress.first  # nobody was asked
    if fault.job_deadline:
        return End(fault.failure)
    if (
        around.remaining_s <= 0
        or fault.failure.error_type in _NO_FALLBACK
        or fault.failure.type in _NO_FALLBACK_TYPES
    ):
        return End(first or fault.failure)
    put_off, seen = progress.put_off, progress.seen
    if ended:
        seen = (*seen, at)
    else:
        put_off = (*put_off, at)
    fresh = [n for n in around.targets if n not in seen and n not in put_off]
    again = [n for n in put_off if n not in seen and n != at]
    if not fresh and not again:
        return End(first or fault.failure)
    spent_now = around.spent + (0 if _free(fault) else 1)
    return Again(
        0.0,
        spent=not _free(fault),
        progress=Progress(
            at=(fresh or again)[0],
            spent_before=spent_now,
            attempts_before=around.attempt,
            seen=seen,
            put_off=put_off,
            first=first,
        ),
    )


def _free(fault: Fault) -> bool:
    """Whether the attempt costs no try: nothing was sent, or the upstream said when to come."""
    return fault.retryable in {Retryable.HELD, Retryable.OTHER_KEY} or _says_when(fault)


def _says_when(fault: Fault) -> bool:
    return fault.retryable is Retryable.RATE_LIMITED and fault.retry_after_s is not None
