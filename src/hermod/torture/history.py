"""What clients, upstream, store and processes saw of a run. Records only; the rules lie beside.

Instants `…_s` are of the machine's monotonic clock, so the records of several processes compare.
The store's own (`…_at`, microseconds) are compared with each other, and with those only through
`Look`, which knows both clocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hermod.store.inspection import Dump, Glance

TERMINAL = frozenset({"completed", "failed", "cancelled", "expired"})
RANK = {"pending": 0, "processing": 1, "completed": 2, "failed": 2}
"""How far along a status on the wire is. It must never decrease."""


@dataclass(frozen=True, slots=True)
class Submit:
    """A POST."""

    nonce: str
    called_s: float
    returned_s: float
    status: int | None
    """None when the connection broke: the job may exist or not."""
    job_id: str | None
    key_id: str = ""
    """Of the virtual key that was shown."""


@dataclass(frozen=True, slots=True)
class Read:
    """A GET that was answered."""

    job_id: str
    called_s: float
    returned_s: float
    status: int
    wire_state: str | None = None
    digest: str = ""
    """Of the whole body."""
    nonces: tuple[str, ...] = ()
    """Those in the body."""
    answer: str | None = None
    """The fingerprint of the result without what the gateway adds to it."""
    error_type: str | None = None
    error_code: int | None = None
    """The status that a synchronous call would have had."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the upstream received."""

    at_s: float
    nonce: str | None
    job_id: str
    attempt: int
    status: int = 200
    """What it answers, when its time comes."""
    says_when: bool = False
    """Whether it says when to come again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a call at the upstream."""

    at_s: float
    job_id: str
    attempt: int
    answer: str | None
    """The fingerprint of the body; None when the caller went away first."""


@dataclass(frozen=True, slots=True)
class Blow:
    """Something done to a process."""

    sort: str
    """`kill` (-9), `term` (SIGTERM), `freeze` (SIGSTOP and SIGCONT) or `stop` (of a database)."""
    victim: str
    group: str
    """`gateway`, `worker`, `all` or `database`."""
    at_s: float
    back_s: float
    """When it was started or continued again."""
    dump: Dump | None = None
    """The store between the two."""
    binding: bool = True
    """Whether those who go on see the same as the dump. Files that several processes use may hold
    one more commit, of which the victim told nobody, and which the others then overwrite."""
    drained: bool = False
    """A SIGTERM of the only worker, which then exited with 0."""


@dataclass(frozen=True, slots=True)
class Life:
    """A process of the program, from its start to its end."""

    name: str
    group: str
    started_s: float
    ready_s: float | None
    """None if it ended before it was ready."""
    ended_s: float
    asked: str | None
    """The signal it ended by, `kill` or `term`; None if it ended by itself."""
    code: int


@dataclass(frozen=True, slots=True)
class Look:
    """A glance at the store, asked for and answered at these instants."""

    asked_s: float
    answered_s: float
    seen: Glance


@dataclass(frozen=True, slots=True)
class Scrape:
    """What a process says of the numbers of jobs at the quiet end, per `lane/state`."""

    process: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget, whose period is longer than the run."""

    name: str
    meter_id: str
    keys: tuple[str, ...]
    """The virtual keys that spend it, by id."""
    cap_nanos: int


@dataclass(frozen=True, slots=True)
class Limit:
    """How many calls a virtual key may have out, or how many requests in a period."""

    meter_id: str
    key_id: str
    most: int
    period_s: float | None = None
    """None: at once."""


@dataclass(frozen=True, slots=True)
class Money:
    """What calls cost, and what was to limit them."""

    prices: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of each request, by provider, in nano-dollars."""
    purses: tuple[Purse, ...] = ()
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What was promised to hold in this run."""

    seed: int = 0
    store: str = "sqlite"
    lease_s: float = 30.0
    upkeep_s: float = 5.0
    max_retries: int = 3
    money: Money = field(default_factory=Money)
    all_answered: bool = False
    """Whether somebody answers every job in the end, and only limits and blows make one fail."""


@dataclass(frozen=True)
class History:
    """A whole run, ended in quiet."""

    final: Dump
    terms: Terms = field(default_factory=Terms)
    submits: Sequence[Submit] = ()
    reads: Sequence[Read] = ()
    calls: Sequence[Call] = ()
    replies: Sequence[Reply] = ()
    blows: Sequence[Blow] = ()
    lives: Sequence[Life] = ()
    looks: Sequence[Look] = ()
    scrapes: Sequence[Scrape] = ()

    @property
    def accepted(self) -> dict[str, str]:
        """The nonce of every job that was answered 202, by job id."""
        return {s.job_id: s.nonce for s in self.submits if s.status == 202 and s.job_id}

    def dumps(self) -> list[tuple[str, Dump]]:
        """Every dump, oldest first, with words for where it is from."""
        found = [
            (f"at blow {number}", blow.dump)
            for number, blow in enumerate(self.blows, 1)
            if blow.dump is not None
        ]
        return [*found, ("at the end", self.final)]

    def binding_dumps(self) -> list[tuple[str, Dump]]:
        """Those of them that nothing may go back behind."""
        whole = [blow if blow.binding else replace(blow, dump=None) for blow in self.blows]
        return replace(self, blows=whole).dumps()


class Violation(NamedTuple):
    """A promise that was broken."""

    rule: str
    """`H1` … as in reliability.md 5, or the name of a rule of ours."""
    what: str
    """In two words."""
    subject: str
    """The job, or whatever else it is about."""
    detail: str

    def __str__(self) -> str:
        return f"{self.rule} {self.what}: {self.subject}: {self.detail}"
