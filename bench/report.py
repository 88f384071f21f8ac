"""From figures to a table: targets of design.md section 6, and what each row does not show."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bench.adapters import CALLED, PROVIDERS
from bench.full import STORES, VERBS
from bench.machine import PROCESSORS
from bench.run import Results

_ATS: Final = ("p50", "p99")
_BUSY: Final = f"busy processors, all programs, of {PROCESSORS}"


class Figure(NamedTuple):
    """A line of the table."""

    name: str
    title: str
    unit: str = ""
    digits: int = 0
    at_least: float | None = None
    at_most: float | None = None


class Row(NamedTuple):
    """Lines that belong together."""

    title: str
    figures: tuple[Figure, ...]
    not_shown: str


ROWS: Final = (
    Row(
        "Submit",
        (
            Figure("submit_ceiling_per_s", "constant 202, same server", "/s"),
            Figure("submit_per_s", "durable submits", "/s"),
            Figure("submit_ratio", "durable ÷ constant", "", 2, at_least=0.6),
            Figure("submit_ceiling_cpu_us", "CPU per constant 202", "µs"),
            Figure("submit_cpu_us", "CPU per submit", "µs"),
            Figure("submit_cpu_ratio", "the same ratio by CPU", "", 2),
        ),
        "Nothing runs meanwhile: a submit beside running jobs shares its core with them.",
    ),
    Row(
        "Who submits",
        (
            Figure("callers_open_cpu_us", "CPU per submit, no credential", "µs"),
            Figure("callers_key_cpu_us", "CPU per submit, virtual key", "µs"),
            Figure("callers_key_ratio", "virtual key ÷ none", "", 3, at_most=1.05),
            Figure("callers_limited_ratio", "virtual key with limits ÷ none", "", 3, at_most=1.05),
            Figure("callers_dummy_ratio", "a dummy that is no credential ÷ none", "", 3),
        ),
        "Submits only: the limits of a key are judged when its jobs run.",
    ),
    Row(
        "Whole jobs, closed loop",
        (
            Figure("jobs_per_s", "completed jobs", "/s", at_least=1500),
            Figure("cpu_ms_per_job", "CPU per job", "ms", 3, at_most=0.75),
            Figure("polls_per_job", "polls per job", "", 2),
            Figure("busy_share", "of its processor the gateway used", "", 2),
            Figure("half_load_cpu_ms_per_job", "CPU per job at half load", "ms", 3),
        ),
        "Small texts, no TLS, no errors, seconds instead of days; half load pays for the polls of "
        "the observer too, and batches less.",
    ),
    Row(
        "Synchronous calls, closed loop",
        (
            Figure("sync_per_s", "answered calls", "/s"),
            Figure("sync_cpu_ms", "CPU per call", "ms", 3),
            Figure("sync_added_p50_ms", "latency beyond the upstream's 50 ms, p50", "ms", 2),
            Figure("sync_added_p99_ms", "the same, p99", "ms", 2),
        ),
        "Answers that come whole; a saturated gateway adds what it makes its callers wait.",
    ),
    Row(
        "Polls of completed jobs",
        (
            Figure("poll_ceiling_per_s", "constant 200, same server", "/s"),
            Figure("poll_per_s", "polls", "/s"),
            Figure("poll_ratio", "polls ÷ constant 200", "", 2, at_least=0.7),
            Figure("poll_ceiling_cpu_us", "CPU per constant 200", "µs"),
            Figure("poll_cpu_us", "CPU per poll", "µs"),
            Figure("poll_cpu_ratio", "the same ratio by CPU", "", 2),
        ),
        "A thousand jobs that fit every cache; a million old rows may read slower.",
    ),
    Row(
        "Latency at half load, open loop",
        (
            Figure("submit_p50_ms", "submit p50", "ms", 2),
            Figure("submit_p99_ms", "submit p99", "ms", 2, at_most=15),
            Figure("lag_p50_ms", "completion → visible p50", "ms", 2),
            Figure("lag_p99_ms", "completion → visible p99", "ms", 2, at_most=20),
        ),
        "Arrivals at even intervals: bursts wait longer. The lag has few samples, so its p99 is "
        "nearly its worst, and it contains the observer's poll and up to 1 ms between polls.",
    ),
    Row(
        "Memory",
        (
            Figure("rss_idle_mb", "RSS idle", "MB", 1, at_most=110),
            Figure("rss_busy_mb", "RSS under closed loop", "MB", 1),
            Figure("rss_few_mb", "RSS with few queued", "MB", 1),
            Figure("rss_many_mb", "RSS with the backlog queued", "MB", 1),
            Figure("rss_growth_mb", "backlog over idle", "MB", 1, at_most=20),
        ),
        "One process for everything; pages of the database in the system's cache are not counted.",
    ),
    Row(
        "Speed with a backlog",
        (
            Figure("pending_polls_few_per_s", "pending polls, few queued", "/s"),
            Figure("pending_polls_many_per_s", "pending polls, backlog", "/s"),
            Figure("pending_polls_backlog_ratio", "backlog ÷ few", "", 2),
            Figure("drain_few_per_s", "claim + call + finish, few queued", "/s"),
            Figure("drain_many_per_s", "claim + call + finish, backlog", "/s"),
            Figure("drain_backlog_ratio", "backlog ÷ few", "", 2),
        ),
        "One provider, one owner, one priority; measured once per version.",
    ),
    Row(
        "Recovery after kill -9",
        (
            Figure("ready_s", "start → ready", "s", 2),
            Figure(
                "running_again_s",
                "start → all killed jobs at the upstream again",
                "s",
                2,
                at_most=5,
            ),
        ),
        "The same machine and app dir; what another machine does is not measured here.",
    ),
    Row(
        "PostgreSQL: submit, one process",
        (
            Figure("pg_submit_ceiling_per_s", "constant 202, same server", "/s"),
            Figure("pg_submit_per_s", "durable submits", "/s"),
            Figure("pg_submit_ratio", "durable ÷ constant", "", 2, at_least=0.6),
            Figure("pg_submit_ceiling_cpu_us", "CPU per constant 202", "µs"),
            Figure("pg_submit_gateway_cpu_us", "CPU per submit: gateway", "µs"),
            Figure("pg_submit_database_cpu_us", "CPU per submit: PostgreSQL", "µs"),
            Figure("pg_submit_cpu_ratio", "the same ratio by CPU of the gateway", "", 2),
            Figure(
                "pg_submit_processors", f"busy processors, all programs, of {PROCESSORS}", "", 2
            ),
        ),
        "PostgreSQL shares its processors with the load: on another machine it would be faster, "
        "and the way to it longer.",
    ),
    Row(
        "PostgreSQL: one process, whole jobs",
        (
            Figure("pg_one_jobs_per_s", "completed jobs", "/s"),
            Figure("pg_one_jobs_gateway_cpu_us", "CPU per job: gateway", "µs"),
            Figure("pg_one_jobs_database_cpu_us", "CPU per job: PostgreSQL", "µs"),
            Figure("pg_one_polls_per_job", "polls per job", "", 2),
            Figure(
                "pg_one_jobs_processors", f"busy processors, all programs, of {PROCESSORS}", "", 2
            ),
            Figure("pg_one_submit_p50_ms", "submit p50 at half load", "ms", 2),
            Figure("pg_one_submit_p99_ms", "submit p99 at half load", "ms", 2, at_most=15),
            Figure("pg_one_lag_p50_ms", "completion → visible p50", "ms", 2),
            Figure("pg_one_lag_p99_ms", "completion → visible p99", "ms", 2, at_most=20),
            Figure("pg_one_rss_idle_mb", "RSS idle", "MB", 1, at_most=110),
            Figure("pg_disk_per_job_kb", "tables and indexes per finished job", "KB", 2),
        ),
        "Seconds, not days: no vacuum of old jobs runs beside it.",
    ),
    Row(
        "PostgreSQL: two gateways and two workers, whole jobs",
        (
            Figure("pg_four_jobs_per_s", "completed jobs", "/s"),
            Figure("pg_four_ratio", "÷ one process", "", 2, at_least=1.6),
            Figure("pg_four_jobs_gateway_cpu_us", "CPU per job: gateways", "µs"),
            Figure("pg_four_jobs_worker_cpu_us", "CPU per job: workers", "µs"),
            Figure("pg_four_jobs_database_cpu_us", "CPU per job: PostgreSQL", "µs"),
            Figure("pg_four_polls_per_job", "polls per job", "", 2),
            Figure(
                "pg_four_jobs_processors", f"busy processors, all programs, of {PROCESSORS}", "", 2
            ),
            Figure("pg_four_submit_p50_ms", "submit p50 at half load", "ms", 2),
            Figure("pg_four_submit_p99_ms", "submit p99 at half load", "ms", 2, at_most=15),
            Figure("pg_four_lag_p50_ms", "completion → visible p50", "ms", 2),
            Figure("pg_four_lag_p99_ms", "completion → visible p99", "ms", 2, at_most=20),
            Figure("pg_gateway_rss_idle_mb", "RSS of a gateway, idle", "MB", 1),
            Figure("pg_worker_rss_idle_mb", "RSS of a worker, idle", "MB", 1),
        ),
        "Five programs, the load and the mock share the processors: once all of those are busy, "
        "the ratio says what the machine has left, and CPU per job what more machines would give.",
    ),
    Row(
        "Wake-up: submit at a gateway → call from an idle worker in another process",
        (
            Figure("wake_pg_p50_ms", "PostgreSQL p50", "ms", 2),
            Figure("wake_pg_p99_ms", "PostgreSQL p99", "ms", 2),
            Figure("wake_pg_submit_p50_ms", "the submit itself, p50", "ms", 2),
            Figure("wake_sqlite_p50_ms", "SQLite p50", "ms", 2),
            Figure("wake_sqlite_p99_ms", "SQLite p99", "ms", 2),
            Figure("wake_sqlite_submit_p50_ms", "the submit itself, p50", "ms", 2),
        ),
        "One machine, ten calls a second: no network between gateway, database and worker.",
    ),
    Row(
        "Providers: CPU of a whole call, from the stored request to its outcome",
        (
            Figure("call_openai_cpu_us", "OpenAI's shape", "µs"),
            *(
                Figure(f"call_{provider}_ratio", f"{provider}, ÷ OpenAI's shape", "", 2)
                for provider in CALLED[1:]
            ),
            Figure("adapter_most_us", "request and reply, slowest of all", "µs", at_most=1000),
        ),
        "Answers of 1.4 KB that come whole over plain HTTP; no store, no streams, no tools.",
    ),
    Row(
        "SQLite: --processes N, whole jobs",
        tuple(
            figure
            for n in (1, 2, 4)
            for figure in (
                Figure(f"sqlite_{n}_jobs_per_s", f"completed jobs, N = {n}", "/s"),
                Figure(f"sqlite_{n}_cpu_ms_per_job", f"CPU per job, N = {n}", "ms", 3),
            )
        ),
        "Free to use all processors, which the load and the mock need, too.",
    ),
)


class Grid(NamedTuple):
    """Lines of several figures each."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    """A title, and a figure for each column; printed with two digits."""
    not_shown: str


_ADAPTERS: Final = Grid(
    "Adapters: CPU per request built and reply read, chat where it is offered, µs",
    ("build", "read", "any type ≤"),
    tuple(
        (provider, tuple(f"adapter_{provider}_{what}_us" for what in ("build", "read", "most")))
        for provider in PROVIDERS
    ),
    "Recorded calls with texts of 0.2 KB and 1.4 KB, in one process, the fastest of many rounds.",
)

_VERBS: Final = tuple(
    Grid(
        f"One verb after the other, {title}, ms",
        ("few: p50", "p99", "many: p50", "p99"),
        tuple(
            (
                verb.replace("_", " "),
                tuple(f"{store}_{verb}_{size}_{at}_ms" for size in ("few", "many") for at in _ATS),
            )
            for verb in VERBS
        ),
        "One caller; with many, a statement carries the calls of all. The p99 of a verb that is "
        "called seldom (open, 100 and 200 at a time) is its worst.",
    )
    for store, title in zip(STORES, ("PostgreSQL", "SQLite"), strict=True)
)

GRIDS: Final = (_ADAPTERS, *_VERBS)


class Line(NamedTuple):
    """A figure of a version, ready to print."""

    title: str
    median: str
    spread: str
    target: str
    verdict: str
    ratio: str


def summary(results: Results, version: str) -> dict[str, dict[str, float]]:
    """Median, least and most of every figure of a version."""
    return {
        figure: {"median": statistics.median(all_), "min": min(all_), "max": max(all_)}
        for figure, by_version in results.values.items()
        if (all_ := by_version.get(version))
    }


def table(results: Results, versions: Sequence[str]) -> str:
    """The readable end of a run; the first of two versions is held against the second."""
    first = summary(results, versions[0])
    other = summary(results, versions[1]) if len(versions) > 1 else {}
    lines: list[str] = []
    for row in ROWS:
        found = [_line(figure, first, other) for figure in row.figures if figure.name in first]
        if not found:
            continue
        lines += ["", row.title]
        lines += [
            f"  {line.title:<46}{line.median:>11}  {line.spread:<19}{line.target:<10}"
            f"{line.verdict:<8}{line.ratio}".rstrip()
            for line in found
        ]
        lines.append(f"  Not shown: {row.not_shown}")
    for grid in GRIDS:
        lines += _grid(grid, first)
    if results.doubts:
        lines += ["", "Doubts", *(f"  {doubt}" for doubt in dict.fromkeys(results.doubts))]
    return "\n".join(lines).lstrip("\n")


def _grid(grid: Grid, values: Mapping[str, Mapping[str, float]]) -> list[str]:
    found = [
        f"  {title:<30}" + "".join(f"{values[name]['median']:>12,.2f}" for name in names)
        for title, names in grid.lines
        if all(name in values for name in names)
    ]
    if not found:
        return []
    head = " " * 32 + "".join(f"{column:>12}" for column in grid.columns)
    return ["", grid.title, head, *found, f"  Not shown: {grid.not_shown}"]


def _line(
    figure: Figure,
    first: Mapping[str, Mapping[str, float]],
    other: Mapping[str, Mapping[str, float]],
) -> Line:
    mine = first[figure.name]
    median = mine["median"]

    def shown(value: float) -> str:
        return f"{value:,.{figure.digits}f}"

    target, met = "", True
    if figure.at_least is not None:
        target, met = f"≥ {figure.at_least:g}", median >= figure.at_least
    elif figure.at_most is not None:
        target, met = f"≤ {figure.at_most:g}", median <= figure.at_most
    theirs = other.get(figure.name, {}).get("median")
    return Line(
        figure.title,
        f"{shown(median)} {figure.unit}".strip(),
        f"({shown(mine['min'])}-{shown(mine['max'])})",
        target,
        "" if not target else "met" if met else "MISSED",
        f"{median / theirs:.2f} of the other" if theirs else "",
    )
