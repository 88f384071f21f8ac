"""From ended jobs to a verdict: what completed, and whether input and answer belong together."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from tests.realtext.jobs import Ended

NOT_SHOWN: Final = (
    "Behaviour towards a slow, failing or rate-limiting upstream, TLS, images and tools: "
    "this upstream is local, well and speaks plain HTTP.",
    "Real models: the weights are random and an answer has 24 words.",
    "Speed: the upstream answers one request at a time and sets the pace; `make bench` measures.",
    "A fault that the upstream shows to the gateway and to a direct call alike.",
)
_LISTED: Final = 20
_LEAST_TOLD_APART: Final = 0.99


class Run(NamedTuple):
    """All jobs of a gateway, and what store and upstream know of them."""

    ended: Sequence[Ended]
    attempts: Sequence[tuple[str, str, int]]
    """Kind, state and number, from the store."""
    read_tokens: int
    """By the upstream's counters, like the next."""
    said_tokens: int
    seconds: float
    """From the first submit to the last poll."""
    exit_code: int
    """Of the gateway after SIGTERM."""


def objections(ended: Iterable[Ended]) -> list[str]:
    """A line for every job whose answer is missing or is not that of its text."""
    return [
        f"{each.task.kind.name} {each.job_id} {each.task.text!r:.60}: {objection}"
        for each in ended
        if (objection := each.objection(each.answer))
    ]


def told_apart(ended: Iterable[Ended]) -> tuple[int, int]:
    """How many of the wrong answers the check would have found, and how many it was offered.

    Every job is offered the answer of the job whose text is next in length, the hardest to tell
    from its own. Without this, a check that lets everything pass would look like a success.
    """
    found = offered = 0
    for of_kind in _by_kind(ended).values():
        in_length = sorted(of_kind, key=lambda each: len(each.task.text.encode()))
        for one, other in pairwise(in_length):
            offered += 1
            found += bool(one.objection(other.answer))
    return found, offered


def figures(run: Run, direct_seconds: float) -> dict[str, Any]:
    """Everything worth keeping, as JSON."""
    ended = run.ended
    made: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for kind, state, n in run.attempts:
        made[kind][state] = n
    by_kind = {name: _of_kind(each, made[name]) for name, each in _by_kind(ended).items()}
    found, offered = told_apart(ended)
    objected = objections(ended)
    texts = {each.task.text for each in ended}
    return {
        "texts": len(texts),
        "texts_beyond_ascii": sum(not text.isascii() for text in texts),
        "different_letters": len({letter for text in texts for letter in text}),
        "bytes": sum(len(text.encode()) for text in texts),
        "jobs": len(ended),
        "completed": sum(each.status == "completed" for each in ended),
        "failed": sum(each.status == "failed" for each in ended),
        "unfinished": sum(each.status == "unfinished" for each in ended),
        "answers_not_of_their_text": len(objected),
        "objections": objected[:_LISTED],
        "wrong_answers_offered": offered,
        "wrong_answers_found": found,
        "upstream_read_bytes": run.read_tokens,
        "upstream_said_tokens": run.said_tokens,
        "sent_bytes": sum(len(each.task.text.encode()) for each in ended),
        "asked_tokens": sum(each.task.kind.said_tokens for each in ended),
        "attempts": sum(sum(each.values()) for each in made.values()),
        "seconds": round(run.seconds, 2),
        "jobs_per_s": round(len(ended) / run.seconds, 1),
        "direct_seconds": round(direct_seconds, 2),
        "direct_calls_per_s": round(len(ended) / direct_seconds, 1),
        "gateway_exit_code": run.exit_code,
        "kinds": by_kind,
        "not_shown": NOT_SHOWN,
    }


def faults(figures: Mapping[str, Any]) -> list[str]:
    """Why the run is no success."""
    found: list[str] = []
    if figures["completed"] != figures["jobs"]:
        found.append(f"{figures['jobs'] - figures['completed']} jobs did not complete")
    if wrong := figures["answers_not_of_their_text"]:
        found.append(f"{wrong} answers are missing or not those of their text")
    if figures["wrong_answers_found"] < _LEAST_TOLD_APART * figures["wrong_answers_offered"]:
        found.append("the check cannot tell a right answer from a wrong one")
    if figures["attempts"] == figures["jobs"] and not (
        _alike(figures["upstream_read_bytes"], figures["sent_bytes"])
        and _alike(figures["upstream_said_tokens"], figures["asked_tokens"])
    ):
        found.append("one attempt for each job, but the upstream was given more, or less, to do")
    if code := figures["gateway_exit_code"]:
        found.append(f"the gateway ended with {code}")
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The verdict in Markdown."""
    lines = [
        "| kind | jobs | completed | failed | attempts | p50 s, waiting included | max s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {of['jobs']} | {of['completed']} | {of['failed']} |"
        f" {', '.join(f'{n} {state}' for state, n in of['attempts'].items())} |"
        f" {of['took_p50_s']} | {of['took_max_s']} |"
        for name, of in figures["kinds"].items()
    ]
    lines += [
        "",
        f"- upstream: {figures['upstream']}",
        f"- texts: {figures['texts']}, {figures['texts_beyond_ascii']} of them beyond ASCII,"
        f" {figures['different_letters']} different characters, {figures['bytes']} bytes",
        f"- time: {figures['seconds']} s, {figures['jobs_per_s']} jobs/s"
        f" (the upstream called directly: {figures['direct_calls_per_s']} calls/s)",
        f"- input and answer belong together: {figures['jobs']} jobs,"
        f" {figures['answers_not_of_their_text']} objections",
        f"- the check itself: of {figures['wrong_answers_offered']} wrong answers it was offered"
        f" it found {figures['wrong_answers_found']}",
        f"- by the upstream's own counters it read {figures['upstream_read_bytes']} bytes of"
        f" {figures['sent_bytes']} sent and said {figures['upstream_said_tokens']} tokens of"
        f" {figures['asked_tokens']} asked for: {figures['attempts']} attempts for"
        f" {figures['jobs']} jobs",
        "",
        "Not shown:",
        *(f"- {each}" for each in figures["not_shown"]),
    ]
    return "\n".join(lines)


def _alike(counted: int, exact: int) -> bool:
    """The same in the six digits that the upstream shows of its counters."""
    return f"{counted:.6g}" == f"{exact:.6g}"


def _by_kind(ended: Iterable[Ended]) -> dict[str, list[Ended]]:
    found: defaultdict[str, list[Ended]] = defaultdict(list)
    for each in ended:
        found[each.task.kind.name].append(each)
    return dict(found)


def _of_kind(ended: Sequence[Ended], attempts: Mapping[str, int]) -> dict[str, Any]:
    took = [each.took_s for each in ended if each.answer]
    return {
        "jobs": len(ended),
        "completed": sum(each.status == "completed" for each in ended),
        "failed": sum(each.status == "failed" for each in ended),
        "attempts": attempts,
        "different_answers": len({each.answer.value for each in ended if each.answer}),
        "took_p50_s": round(statistics.median(took), 2) if took else None,
        "took_max_s": round(max(took), 2) if took else None,
    }
