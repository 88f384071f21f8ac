"""Every text as a job: submitted all at once, polled until it has ended, its answer kept. Some are
streamed to a caller who waits instead.

Beside it stands the answer that the upstream gave without a gateway between.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from tests.realtext.kinds import Answer, Kind
from tests.realtext.upstream import MODEL, Upstream
from tests.support.program import submit, wait_done

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
    """`completed` or `failed`; `unfinished` when patience ended first. Of a streamed call: whether
    its last event came."""
    answer: Answer | None = None
    """What came back through the gateway, when it completed and has the kind's shape."""
    detail: str = ""
    """What was wrong with it otherwise."""
    took_s: float = 0.0
    """From `created_at` to `completed_at`; of a streamed call, until its end was there."""

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
        kind = task.kind.direct or task.kind
        return kind.answer(upstream.call(f"/v1/{kind.path}", kind.body(task.text)))

    return _side_by_side(ask, wanted)


def run(
    http: httpx.Client, wanted: Sequence[Task], expected: Sequence[Answer], patience_s: float
) -> list[Ended]:
    """Submit everything, then follow each job to its end or to the end of patience."""

    def post(task: Task) -> str | _Heard:
        body = {"model": f"{task.kind.provider}/{MODEL}", **task.kind.body(task.text)}
        if task.kind.streams:
            return _heard(http, task.kind.path, body)
        return submit(http, body, task.kind.path)

    posted = _side_by_side(post, wanted)
    ends_at = time.monotonic() + patience_s
    ended: list[Ended] = []
    for task, answer, job_id in zip(wanted, expected, posted, strict=True):
        if isinstance(job_id, _Heard):
            ended.append(Ended(task, answer, "", *job_id))
            continue
        left_s = max(0.0, ends_at - time.monotonic())
        try:
            job = wait_done(http, job_id, task.kind.path, timeout_s=left_s)
        except AssertionError as error:
            ended.append(Ended(task, answer, job_id, "unfinished", detail=str(error)))
        else:
            ended.append(_ended(task, answer, job))
    return ended


class _Heard(NamedTuple):
    """What came of a call whose answer came in pieces; see `Ended`."""

    status: str
    answer: Answer | None
    detail: str
    took_s: float


def _heard(http: httpx.Client, path: str, body: dict[str, Any]) -> _Heard:
    """Call, and put the pieces together."""
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    began, said, usage, events = time.monotonic(), "", {}, list[str]()
    with http.stream("POST", f"/v1/{path}", json=asked) as reply:
        events += [line[6:] for line in reply.iter_lines() if line.startswith("data: ")]
    took_s = time.monotonic() - began
    if reply.status_code != 200 or events[-1:] != ["[DONE]"]:
        return _Heard("failed", None, f"{reply.status_code}, {events[-1:]!r:.200}", took_s)
    for event in events[:-1]:
        chunk = json.loads(event)
        usage = chunk.get("usage") or usage
        said += "".join(each["delta"].get("content") or "" for each in chunk["choices"])
    answer = Answer(said, usage["prompt_tokens"], usage["completion_tokens"])
    return _Heard("completed", answer, "", took_s)


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
