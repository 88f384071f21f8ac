"""Where a job goes next after a call that failed: decisions without I/O.

Within one target (a provider and a model) `domain.retry` decides; here the keys of a target and
the targets of a job take turns (product.md M2, M3; wire-contract 8.4, 8.5):

- 429: another key if there is one, otherwise a wait; 401, 402 and 403: another key at once.
- A target that is given up makes room for the next fallback, which has tries of its own.
- A wait that would not keep the worker's slot is no reason to wait as long as there are other
  targets: the target is put off and comes again after them, with what is left of its tries.
- When all have failed, the job ends with the error of its own provider.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, cast

from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Retryable
from hermod.domain.retry import PATIENCE_S, GiveUp, RetryPolicy, decide

_EXHAUSTED: Final = "upstream_credentials_exhausted"
_ERROR_BYTES: Final = 64 * 1024
_NO_FALLBACK: Final = frozenset({"request_cancelled", "secrets_unreadable"})
_NO_FALLBACK_TYPES: Final = frozenset({"missing_required_headers"})


class Turn(NamedTuple):
    """What a target has been given of its tries. They are not given a second time."""

    at: int
    spent: int
    waits: int


class Progress(NamedTuple):
    """How far a job has come. Stored with the job while it waits, as JSON."""

    at: int = 0
    """The target: 0 is the job's own provider and model, n its n-th fallback."""
    spent: int = 0
    """How many of this target's tries are used up."""
    waits: int = 0
    """How many of its attempts used up none."""
    dead: tuple[str, ...] = ()
    """Keys of this target that were refused, by id."""
    tired: str | None = None
    """The key that was told to slow down last: another one is better."""
    seen: tuple[int, ...] = ()
    """Targets that have been given up."""
    put_off: tuple[Turn, ...] = ()
    """Targets that had to wait while there were others, in the order of the last time."""
    first: Failure | None = None
    """The error of the job's own provider."""

    @property
    def comes_again(self) -> bool:
        """Whether the target's turn was given to others before."""
        return any(turn.at == self.at for turn in self.put_off)

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
                spent=int(members.get("spent", 0)),
                waits=int(members.get("waits", 0)),
                dead=tuple(map(str, members.get("dead", ()))),
                tired=None if tired is None else str(tired),
                seen=tuple(map(int, members.get("seen", ()))),
                put_off=tuple(Turn(*map(int, each)) for each in members.get("put_off", ())),
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
    key_id: str | None
    """The key that was used."""
    targets: Collection[int]
    """Those that can be called, in order: 0 is the job's own, n its n-th fallback."""
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
    spent, waits = progress.spent, progress.waits
    tired = progress._replace(tired=around.key_id, waits=waits + 1)
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
        return _given_up(fault, progress, around)
    if decision.spent:
        tired = tired._replace(spent=spent + 1, waits=waits)
    here = Again(decision.delay_s, decision.spent, tired)
    if fault.retryable is Retryable.HELD:
        return _held_back(fault, here, around, stays=decision.keeps_slot)
    if decision.keeps_slot:
        return here
    if not around.waits:
        return _given_up(fault, progress, around)
    return _put_off(fault, here, around)


def _held_back(fault: Fault, here: Again, around: Surroundings, *, stays: bool) -> End | Again:
    """After an attempt that came to no call. Our own caution refuses nobody: it only delays."""
    progress = here.progress
    fresh, again = _others(progress, around)
    if fresh:
        return _turned(fault, progress, fresh[0])
    if stays and (around.waits or progress.comes_again):
        return here
    if around.waits:
        return _put_off(fault, here, around)
    if progress.comes_again:
        return _given_up(fault, progress, around)
    # The caller cannot wait, and all were held back: from now on they are asked all the same.
    return _turned(fault, progress, (again or [progress.at])[0])


def _put_off(fault: Fault, here: Again, around: Surroundings) -> Again:
    """Rather elsewhere at once than here after a while; and after the while elsewhere too, so that
    no target that stays away keeps a job from the others."""
    progress = here.progress
    fresh, again = _others(progress, around)
    others = fresh or again
    if not others:
        return here
    at_once = fresh or not progress.comes_again
    delay_s = 0.0 if at_once else min(here.delay_s, PATIENCE_S)
    return replace(_turned(fault, progress, others[0]), delay_s=delay_s, spent=here.spent)


def _other_key(fault: Fault, progress: Progress, around: Surroundings) -> End | Again:
    dead = progress.dead if around.key_id is None else (*progress.dead, around.key_id)
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
    return _given_up(fault, progress, around)


def _given_up(fault: Fault, progress: Progress, around: Surroundings) -> End | Again:
    """On to another target for good, or the end."""
    if fault.job_deadline:
        return End(fault.failure)
    fresh, again = _others(progress, around)
    turned = _turned(fault, progress, (fresh or again or [progress.at])[0])
    if (
        not (fresh or again)
        or around.remaining_s <= 0
        or fault.failure.error_type in _NO_FALLBACK
        or fault.failure.type in _NO_FALLBACK_TYPES
    ):
        return End(turned.progress.first or fault.failure)
    put_off = tuple(turn for turn in turned.progress.put_off if turn.at != progress.at)
    seen = (*progress.seen, progress.at)
    spent = fault.retryable is not Retryable.OTHER_KEY and not _says_when(fault)
    return replace(
        turned, spent=spent, progress=turned.progress._replace(seen=seen, put_off=put_off)
    )


def _others(progress: Progress, around: Surroundings) -> tuple[list[int], list[int]]:
    """The other targets that are left: those that had no turn yet, and those put off."""
    put_off = [turn.at for turn in progress.put_off]
    left = [n for n in around.targets if n not in progress.seen and n != progress.at]
    fresh = [n for n in left if n not in put_off]
    return fresh, [n for n in put_off if n in left]


def _turned(fault: Fault, progress: Progress, to: int) -> Again:
    """To another target at once; this one is put off."""
    asked = progress.at == 0 and fault.retryable is not Retryable.HELD
    others = tuple(turn for turn in progress.put_off if turn.at != progress.at)
    put_off = (*others, Turn(progress.at, progress.spent, progress.waits))
    before = next((turn for turn in put_off if turn.at == to), Turn(to, 0, 0))
    turned = Progress(
        at=to,
        spent=before.spent,
        waits=before.waits,
        seen=progress.seen,
        put_off=put_off,
        first=fault.failure if asked else progress.first,
    )
    return Again(0.0, spent=False, progress=turned)


def _says_when(fault: Fault) -> bool:
    return fault.retryable is Retryable.RATE_LIMITED and fault.retry_after_s is not None
