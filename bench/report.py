"""From figures to a table: targets of design.md section 6, and what each row does not show."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bench.rows import Results


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
)


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
    if results.doubts:
        lines += ["", "Doubts", *(f"  {doubt}" for doubt in dict.fromkeys(results.doubts))]
    return "\n".join(lines).lstrip("\n")


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
