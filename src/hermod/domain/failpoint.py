"""Places where a harness may have this process die, fail or freeze (reliability.md 4).

`failpoint(name)` stands before and after every store verb and every network step. It does nothing
unless `enable` was called, which `hermod serve` does when HERMOD_FAILPOINTS is set: for tests and
torture only, as any of its actions may lose a user's time, though never an accepted job.
"""

import itertools
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hermod.domain.errors import StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

WRITES: Final = (
    "submit_job",
    "put_chunk",
    "drop_chunk",
    "claim_jobs",
    "claim_suspects",
    "renew_leases",
    "begin_attempt",
    "put_back",
    "reserve",
    "record_handle",
    "finish_job",
    "cancel_job",
    "release_worker",
    "recover_lost_leases",
    "expire_overdue",
    "delete_expired",
    "delete_orphans",
    "settle_leftovers",
    "change_documents",
    "reseal_jobs",
)
"""The verbs of store/api.py that write, and the two that large bodies are made of."""

READS: Final = (
    "read_job",
    "read_attempts",
    "read_request",
    "read_meters",
    "documents_revision",
    "read_documents",
    "read_audit",
    "read_sealed_jobs",
    "due_lanes",
    "suspects_due_at",
    "counts",
)
"""The verbs of store/api.py that only read."""

NETWORK: Final = (
    "net.connect.before",
    "net.connect.after",
    "net.request_half_sent",
    "net.request_sent",
    "net.waiting",
    "net.reply_half_read",
    "net.reply_read",
)
"""The steps of an upstream call. `request_half_sent`: the kernel took a part of it, and no more
for now; `waiting`: as `request_sent`, for actions with a delay."""

OTHERS: Final = (
    "migration.before",
    "migration.before_commit",
    "migration.after",
    "http.reply_before",
    "worker.answer_before_finish",
    "upkeep.before",
    "upkeep.before_bury",
    "upkeep.after",
)
"""`http.reply_before`: the job is committed, its 202 has not left."""

NAMES: Final = (
    *(f"{verb}.{step}" for verb in WRITES for step in ("before", "before_commit", "after_commit")),
    *(f"{verb}.{step}" for verb in READS for step in ("before", "after")),
    *NETWORK,
    *OTHERS,
)
"""Every failpoint there is."""

_SPEC: Final = re.compile(r"([a-z_.]+)(?:@([1-9]\d*))?=([a-z]+)(?::(\d+(?:\.\d+)?))?")
_GRAMMAR: Final = "NAME[@N]=ACTION[:SECONDS]"

Act = Callable[[str, float], None]


@dataclass(slots=True)
class _Armed:
    action: str
    seconds: float
    only_hit: int | None
    """Which hit acts, counted from one; None for every one."""
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Atomic, as points are hit on several threads."""
    hits: int = 0


# The one exception to "no globals": what is done here is done to the process.
_armed: Final[dict[str, _Armed]] = {}


def failpoint(name: str) -> None:
    """Do what was enabled for this point: as a rule nothing."""
    if _armed:
        _hit(name)


def enable(spec: str) -> None:
    """Arm points: `NAME[@N]=ACTION[:SECONDS]`, separated by `;`. `@N`: at the N-th hit only.

    Actions: `kill` (SIGKILL, with SECONDS so much later), `abort`, `pause` (SIGSTOP), `raise` (at
    a network step OSError, else StoreUnavailable), `full` (StoreFull), `sleep` (blocks the
    thread), `count` (nothing, see `hits`). Raises ValueError saying what is wrong, having armed
    nothing.
    """
    found: dict[str, _Armed] = {}
    for part in filter(None, (part.strip() for part in spec.split(";"))):
        match = _SPEC.fullmatch(part)
        if match is None:
            raise ValueError(f"failpoint {part!r}: expected {_GRAMMAR}")
        name, only_hit, action, seconds = match.groups()
        if name not in NAMES:
            raise ValueError(f"failpoint {part!r}: there is no point {name!r}")
        if action not in _ACTIONS:
            known = ", ".join(_ACTIONS)
            raise ValueError(f"failpoint {part!r}: unknown action {action!r}; known: {known}")
        if (action == "sleep") > (seconds is not None):
            raise ValueError(f"failpoint {part!r}: sleep needs its seconds, as in sleep:0.5")
        if name in found:
            raise ValueError(f"failpoint {part!r}: {name} is given twice")
        found[name] = _Armed(action, float(seconds or 0), int(only_hit) if only_hit else None)
    _armed.update(found)


def disable() -> None:
    """Have every point do nothing again."""
    _armed.clear()


def hits() -> Mapping[str, int]:
    """How often each armed point was reached."""
    return {name: armed.hits for name, armed in _armed.items()}


def _hit(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.hits = hit = next(armed.counter)
    if armed.only_hit in {None, hit}:
        if armed.action != "count":
            log.warning("failpoint %s: %s at hit %d", name, armed.action, hit)
        _ACTIONS[armed.action](name, armed.seconds)


def _kill(_name: str, seconds: float) -> None:
    if seconds:
        later = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        later.daemon = True
        later.start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _abort(_name: str, _seconds: float) -> None:
    os.abort()


def _pause(_name: str, _seconds: float) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise(name: str, _seconds: float) -> None:
    if name in NETWORK:
        raise OSError(f"failpoint {name}")
    raise StoreUnavailable(f"failpoint {name}")


def _full(name: str, _seconds: float) -> None:
    raise StoreFull(f"failpoint {name}")


def _sleep(_name: str, seconds: float) -> None:
    time.sleep(seconds)


def _count(_name: str, _seconds: float) -> None:
    pass


_ACTIONS: Final[Mapping[str, Act]] = {
    "kill": _kill,
    "abort": _abort,
    "pause": _pause,
    "raise": _raise,
    "full": _full,
    "sleep": _sleep,
    "count": _count,
}
