"""How long, how hard, and by which dice. Everything here follows from the plan alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

LANES: Final = ("openai", "mistral")
"""Providers that answer, but for a few errors."""
BUSY: Final = "groq"
"""One that refuses some jobs at first."""
AWAY: Final = "cerebras"
"""One that fails, or is not there for a while; its jobs have fallbacks."""
_EDGE = 0.02
"""Share of the jobs before the first blow and after the last."""
_DELAY_S = 0.4
"""A blow comes up to this long after the job that calls for it was accepted."""
_TERM_SHARE = 0.1
"""Of the kills of our processes: how many more are done as a SIGTERM."""
_AWAY_SHARE = 0.15
"""Of the kills of one among several machines: it stays away until its leases have ended."""


@dataclass(frozen=True)
class Plan:
    """What the user asked for."""

    jobs: int = 5000
    """To be accepted at least; submitting goes on until the last blow."""
    kills: int = 20
    """`kill -9`, or a stop of the database."""
    freezes: int = 0
    """A SIGSTOP for longer than the lease, then a SIGCONT."""
    gateways: int = 1
    workers: int = 0
    """With none, gateways run the jobs themselves."""
    kills_database: bool = False
    shared_app_dir: bool = True
    """One machine; otherwise every process has an app dir of its own, like a machine."""
    seed: int = 1
    rate: float = 150.0
    """Submits per second, all clients together."""
    clients: int = 16
    latency: str = "lognormal:60,400"
    """Of the upstream: median and 99th percentile in ms."""
    error_share: float = 0.01
    """Calls that the upstream answers with 500."""
    large_share: float = 0.02
    """Jobs whose bodies do not fit into a row."""
    fail_share: float = 0.02
    """Jobs with `x-hermod-on-unknown: fail`."""
    busy_share: float = 0.04
    """Jobs for the provider that is busy, which refuses a quarter of them once."""
    away_share: float = 0.03
    """Jobs for the provider that is away, with fallbacks."""
    lease_s: float = 30.0
    patience_s: float = 180.0
    """Without any progress, after which the run ends and the checker says what is missing."""

    @property
    def call_s(self) -> float:
        """How long a call lasts on average, about: a few take long."""
        sort, _, times = self.latency.rpartition(":")
        return float(times.split(",")[0]) / 1000 * (1.4 if sort else 1.0)

    @property
    def upkeep_s(self) -> float:
        """Between two looks of a worker for lost leases."""
        return min(5.0, self.lease_s / 6)

    def has_spare(self, group: str) -> bool:
        """Whether another machine can go on without one of this group, and nobody on its own
        machine would notice its death sooner than by its leases."""
        members = [name for name, other in self.processes if other == group]
        return not self.shared_app_dir and group != "gateway" and len(members) > 1

    @property
    def processes(self) -> tuple[tuple[str, str], ...]:
        """Name and group of each process of the program."""
        first = "gateway" if self.workers else "all"
        return (
            *((f"{first}-{n}", first) for n in range(1, self.gateways + 1)),
            *((f"worker-{n}", "worker") for n in range(1, self.workers + 1)),
        )


class Planned(NamedTuple):
    """A blow to come."""

    accepted: int
    """Once so many jobs have been accepted …"""
    delay_s: float
    """… and so much later."""
    sort: str
    """`kill`, `term` or `freeze`."""
    group: str
    draw: float
    """From 0 to 1: which process of the group."""
    away_s: float
    """How long until it comes back."""


def schedule(plan: Plan) -> list[Planned]:
    """The blows of a plan, in order: the same for the same plan."""
    dice = random.Random(f"{plan.seed}/blows")  # noqa: S311 - dice, not secrets
    groups = sorted({group for _, group in plan.processes})
    everybody = [*groups, "database"] if plan.kills_database else groups
    workers = [group for group in groups if group != "gateway"]
    sorts = ["kill"] * plan.kills + ["freeze"] * plan.freezes
    sorts += ["term"] * round(plan.kills * _TERM_SHARE)
    dice.shuffle(sorts)
    decks = {
        "kill": _deal(everybody, dice),
        "term": _deal(groups, dice),
        "freeze": _deal(workers, dice),
    }
    marks = sorted(dice.uniform(_EDGE, 1 - _EDGE) for _ in sorts)
    return [
        _planned(plan, int(mark * plan.jobs), sort, next(decks[sort]), dice)
        for mark, sort in zip(marks, sorts, strict=True)
    ]


def _planned(plan: Plan, accepted: int, sort: str, group: str, dice: random.Random) -> Planned:
    delay_s, draw, away = dice.uniform(0, _DELAY_S), dice.random(), dice.random()
    away_s = dice.uniform(0, 0.5)
    if sort == "freeze":
        away_s += plan.lease_s * 1.2 + plan.upkeep_s
    elif group == "database":
        away_s += dice.uniform(0, 2.0)
    elif sort == "kill" and plan.has_spare(group) and away < _AWAY_SHARE:
        away_s += plan.lease_s * 1.2
    return Planned(accepted, delay_s, sort, group, draw, away_s)


def _deal(cards: list[str], dice: random.Random) -> Iterator[str]:
    """Each card equally often, in no order."""
    while True:
        yield from dice.sample(cards, len(cards))
