"""Clients whose jobs carry nonces, and the judgement on what they, the upstream and the store saw.

A scenario submits, lets the fault happen, settles, and judges:

    clients = Clients(gateway.url)
    await clients.submit_many(50, "openai/any")
    ...
    await clients.settle()
    clients.judge([upstream], await place.stored())
"""

import asyncio
import hashlib
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp

from tests.faults.checking import (
    Blow,
    Call,
    Dump,
    History,
    Read,
    Reply,
    Submit,
    Terms,
    check,
    fingerprint,
)
from tests.faults.places import Place

PATH = "/v1/async/chat/completions"
BROKEN = (aiohttp.ClientError, OSError, TimeoutError)
_NONCE = re.compile(rb"nonce:([\w-]+)")
_POLLERS = 8


class Witness(Protocol):
    """An upstream that remembers."""

    def calls(self) -> list[Call]:
        """Every call it received."""
        ...

    def replies(self) -> list[Reply]:
        """How they ended."""
        ...


class Clients:
    """Any number of clients of one or more gateways, and all they saw."""

    def __init__(self, session: aiohttp.ClientSession, *urls: str) -> None:
        self.urls = list(urls)
        self.submits: list[Submit] = []
        self.reads: list[Read] = []
        self.accepted: list[str] = []
        self._ended: dict[str, Read] = {}
        self._session = session
        self._tag = uuid.uuid4().hex[:8]
        self._number = 0

    async def submit(
        self, model: str, *, text: str = "", to: str | None = None, **headers: str
    ) -> str | None:
        """The id of a job that was accepted; None when it was refused or the connection broke."""
        self._number += 1
        nonce = f"{self._tag}-{self._number}"
        url = to or self.urls[self._number % len(self.urls)]
        said = f"nonce:{nonce} {text}"
        body = {"model": model, "messages": [{"role": "user", "content": said}]}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        called_s = time.monotonic()
        status, job_id = None, None
        try:
            async with self._session.post(url + PATH, json=body, headers=named) as response:
                answer = await response.read()
                status = response.status
                if status in {503, 507}:
                    assert int(response.headers["retry-after"]) > 0
            if status == 202:
                job_id = json.loads(answer)["id"]
        except aiohttp.ClientConnectorError:
            return None
        except BROKEN:
            pass
        self.submits.append(Submit(nonce, called_s, time.monotonic(), status, job_id))
        if job_id is not None:
            self.accepted.append(job_id)
        return job_id

    async def submit_many(self, count: int, *models: str, text: str = "") -> list[str]:
        """The ids of those that were accepted, of so many submitted a few at a time."""
        found: list[str] = []
        left = iter(range(count))

        async def one_by_one() -> None:
            for n in left:
                job_id = await self.submit(models[n % len(models)], text=text)
                if job_id is not None:
                    found.append(job_id)

        await asyncio.gather(*(one_by_one() for _ in range(_POLLERS)))
        return found

    async def submit_until(self, stop: asyncio.Event, model: str, every_s: float) -> None:
        """Submit at that pace, whatever comes of it."""
        while not stop.is_set():
            await self.submit(model)
            await asyncio.sleep(every_s)

    async def read(self, job_id: str, *, of: str | None = None) -> Read | None:
        """One poll, kept; None when no answer came."""
        url = of or self.urls[len(self.reads) % len(self.urls)]
        called_s = time.monotonic()
        try:
            async with self._session.get(f"{url}{PATH}/{job_id}") as response:
                body = await response.read()
                status = response.status
        except BROKEN:
            return None
        if status == 503:
            return None
        whole: dict[str, Any] = json.loads(body)
        state = whole.get("status")
        answer = None
        if state == "completed":
            whole["result"].pop("extra_fields", None)
            answer = fingerprint(whole["result"])
        error: dict[str, Any] = whole.get("error") or {}
        seen = Read(
            job_id,
            called_s,
            time.monotonic(),
            status,
            state,
            hashlib.sha256(body).hexdigest()[:16],
            tuple(sorted({nonce.decode() for nonce in _NONCE.findall(body)})),
            answer,
            error.get("type") if state == "failed" else None,
        )
        self.reads.append(seen)
        if status == 200:
            self._ended[job_id] = seen
        return seen

    async def end_of(self, job_id: str, within_s: float = 40.0) -> Read:
        """The job's last state, once it has ended."""
        await self.settle(within_s, [job_id])
        assert job_id in self._ended, f"{job_id} has not ended within {within_s} s"
        return self._ended[job_id]

    async def settle(self, within_s: float = 40.0, job_ids: Sequence[str] | None = None) -> None:
        """Read every accepted job to its end; the judgement names those that have none."""
        left = [i for i in job_ids or self.accepted if i not in self._ended]
        give_up_s = time.monotonic() + within_s

        async def follow() -> None:
            while left and time.monotonic() < give_up_s:
                job_id = left.pop(0)
                await self.read(job_id)
                if job_id not in self._ended:
                    left.append(job_id)
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(follow() for _ in range(_POLLERS)))

    def ends(self) -> Counter[str | None]:
        """How many accepted jobs ended how."""
        return Counter(self._ended[i].wire_state if i in self._ended else None
                       for i in self.accepted)  # fmt: skip

    def judge(
        self,
        upstreams: Sequence[Witness],
        stored: Dump,
        blows: Sequence[Blow] = (),
        max_retries: int = 3,
    ) -> History:
        """The whole history, in which no promise was broken."""
        history = History(
            stored,
            Terms(max_retries=max_retries),
            submits=self.submits,
            reads=self.reads,
            calls=[call for upstream in upstreams for call in upstream.calls()],
            replies=[
                *(reply for upstream in upstreams for reply in upstream.replies()),
                *self._replies_from_inside(stored),
            ],
            blows=blows,
        )
        violations = check(history)
        assert not violations, "\n".join(map(str, violations[:30]))
        return history

    def _replies_from_inside(self, stored: Dump) -> list[Reply]:
        """The mock provider leaves no record: its answers are taken as they were read."""
        inside = {job.job_id: job.attempt for job in stored.jobs if job.lane == "mock"}
        return [
            Reply(read.called_s, job_id, inside[job_id], read.answer)
            for job_id, read in self._ended.items()
            if job_id in inside
        ]


@asynccontextmanager
async def clients_of(*urls: str) -> AsyncGenerator[Clients]:
    """Clients of the gateways at these addresses."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Clients(session, *urls)


async def fault_of(clients: Clients, place: Place, model: str) -> tuple[str | None, str]:
    """How one job of that model ended, and what its only attempt says."""
    job_id = await clients.submit(model)
    assert job_id is not None
    end = await clients.end_of(job_id)
    ((_, _, error_type),) = place.attempts_of(job_id)
    return end.wire_state, error_type or ""
