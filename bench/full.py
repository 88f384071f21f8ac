"""The verbs of a store that holds a lot, against the same verbs of one that holds little."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from bench.database import has_postgres, server
from bench.fill import Past
from bench.load import percentiles
from bench.machine import SUT_CPU
from bench.processes import Version, run_module
from bench.run import Bench
from bench.verbs import BATCH, CLAIM, Measured, Task

STORES: Final = ("pg", "sqlite")
VERBS: Final = (
    "open",
    "submit",
    "poll_finished",
    "poll_queued",
    "claim_1",
    "claim_100",
    "finish",
    "due_lanes",
    "counts",
    "recover_200",
    "recover_none",
    "expire_overdue_none",
    "delete_expired_200",
    "delete_expired_none",
)
_CALLS: Final = 300
_BATCHES: Final = 20
_FILL_LIMIT_S: Final = 1800.0
_MEASURE_LIMIT_S: Final = 600.0


def verbs(bench: Bench) -> None:
    """Each verb alone, on both stores."""
    versions = [version for version in bench.versions if has_postgres(version)]
    with server() as database:
        bench.results.notes["postgres"] = database.description()
        for version in versions:
            for kind in STORES:
                places: dict[str, str] = {}
                for size in ("few", "many"):
                    name = f"{kind}-{size}-{version.name}"
                    in_file = str(bench.fresh(name) / "hermod.db")
                    places[size] = database.create(name) if kind == "pg" else in_file
                _few_and_many(bench, version, kind, places)


def _few_and_many(bench: Bench, version: Version, kind: str, places: Mapping[str, str]) -> None:
    taken = _BATCHES * BATCH * bench.repetitions
    claimed = (_BATCHES * CLAIM + _CALLS) * bench.repetitions
    # As little as the measurement itself uses up.
    few = Past(taken + 1000, taken, claimed + 1000, taken)
    many = Past(max(bench.finished, few.finished), taken, max(bench.backlog, few.queued), taken)
    pasts = {"few": few, "many": many}
    for size, past in pasts.items():
        bench.say(f"filling {kind}: {past.finished} finished, {past.queued} queued")
        _run(version, "fill", places[size], past, last=False)
    for repetition in range(bench.repetitions):
        last = repetition + 1 == bench.repetitions
        for size, past in pasts.items():
            bench.say(f"verbs {kind} {size} {repetition + 1}/{bench.repetitions} {version.name}")
            measured = _run(version, "measure", places[size], past, last=last)
            for verb, taken_ms in measured.items():
                figures = percentiles(each / 1000 for each in taken_ms)
                name = f"{kind}_{verb}_{size}"
                bench.results.add(version, f"{name}_p50_ms", figures.p50)
                bench.results.add(version, f"{name}_p99_ms", figures.p99)


def _run(
    version: Version, what: Literal["fill", "measure"], place: str, past: Past, *, last: bool
) -> Measured:
    task = Task(what, place, past, _CALLS, _BATCHES, last)
    limit_s = _FILL_LIMIT_S if what == "fill" else _MEASURE_LIMIT_S
    said = run_module(version.python, "bench.verbs", msgspec.json.encode(task), limit_s, SUT_CPU)
    return msgspec.json.decode(said, type=Measured)
