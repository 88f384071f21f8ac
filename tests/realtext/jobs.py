"""Every text as a job: submitted all at once, polled until it has ended, its answer kept.

Beside it stands the answer that the upstream gave without a gateway between.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx

from tests.realtext.kinds import Answer, Kind
from tests.realtext.upstream import MODEL, Upstream
from tests.support.program import submit, wait_done

PROVIDER: Final = "llama"
_CLIENTS: Final = 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Task:
    """A text to be sent as a job of a kind."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task whose job has ended, or has not in time."""

    task: Task
    expected: Answer
    """The upstream's own answer."""
    job_id: str
    status: str
    """`completed` or `failed`; `unfinished` when patience ended first."""
    answer: Answer | None = None
    """What came back through the gateway, when it completed and has the kind's shape."""
    detail: str = ""
    """What was wrong with it otherwise."""
    took_s: float = 0.0
    """From `created_at` to `completed_at`."""

    def objection(self, answer: Answer | None) -> str:
        """Why an answer does not belong to this text; empty when it does."""
        sent = len(self.task.text.encode())
        if answer is None:
            return self.detail or self.status
        if answer.read_tokens != sent:
            return f"the upstream read {answer.read_tokens} bytes, the text has {sent}"
        if answer != self.expected:
            return f"{answer.value!r:.60} instead of {self.expected.value!r:.60}"
        return ""


def tasks(texts: Sequence[str], kinds: Sequence[Kind]) -> list[Task]:
    """Text by text, so that jobs of all kinds are in flight together."""
    return [
        Task(kind, text) for n, text in enumerate(texts) for kind in kinds if n % kind.every == 0
    ]


def ask_directly(upstream: Upstream, wanted: Sequence[Task]) -> list[Answer]:
    """The answers that the jobs will have to bring. Raises httpx.HTTPStatusError."""

    def ask(task: Task) -> Answer:
        return task.kind.answer(upstream.call(f"/v1/{task.kind.path}", task.kind.body(task.text)))

    return _side_by_side(ask, wanted)


def run(
    http: httpx.Client, wanted: Sequence[Task], expected: Sequence[Answer], patience_s: float
) -> list[Ended]:
    """Submit everything, then follow each job to its end or to the end of patience."""

    def post(task: Task) -> str:
        body = {"model": f"{PROVIDER}/{MODEL}", **task.kind.body(task.text)}
        return submit(http, body, task.kind.path)

    ids = _side_by_side(post, wanted)
    ends_at = time.monotonic() + patience_s
    ended: list[Ended] = []
    for task, answer, job_id in zip(wanted, expected, ids, strict=True):
        left_s = max(0.0, ends_at - time.monotonic())
        try:
            job = wait_done(http, job_id, task.kind.path, timeout_s=left_s)
        except AssertionError as error:
            ended.append(Ended(task, answer, job_id, "unfinished", detail=str(error)))
        else:
            ended.append(_ended(task, answer, job))
    return ended


def _ended(task: Task, expected: Answer, job: dict[str, Any]) -> Ended:
    answer, detail = None, ""
    if job["status"] == "completed":
        try:
            answer = task.kind.answer(job["result"])
        except (LookupError, TypeError) as error:
            detail = f"{error!r} in {job['result']!r:.200}"
    else:
        detail = f"{job['error']!r:.200}"
    began, done = (datetime.fromisoformat(job[name]) for name in ("created_at", "completed_at"))
    took_s = (done - began).total_seconds()
    return Ended(task, expected, job["id"], job["status"], answer, detail, took_s)


def _side_by_side(call: Callable[[Task], _T], wanted: Sequence[Task]) -> list[_T]:
    with ThreadPoolExecutor(_CLIENTS) as clients:
        return list(clients.map(call, wanted))
