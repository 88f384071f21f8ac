"""The clients of a run: they submit, read to the end and read again, and note what they saw."""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Callable
from typing import Any, Final

from hermod.domain.clock import Clock
from hermod.domain.fingerprint import fingerprint
from hermod.net.client import HttpClient
from hermod.net.messages import Headers, NetError, Request
from hermod.net.messages import Reply as HttpReply
from hermod.torture.history import TERMINAL, Read, Submit
from hermod.torture.plan import AWAY, BUSY, LANES, Plan
from hermod.torture.purses import Asker, Purses

_PATH: Final = "/v1/async/chat/completions"
_NONCE: Final = re.compile(rb"nonce:([\w-]+)")
_FALLBACKS: Final = (
    [f"{LANES[0]}/any"],
    [f"{LANES[1]}/any"],
    [f"{AWAY}/error?code=404", f"{LANES[1]}/any"],
)
_REFUSES_ONCE: Final = ("429?times=1", "429?times=1&retry_after=0.3")
_AWAY: Final = ("error?code=404", "error?code=500", "429?times=1&retry_after=6")
"""The first keeps it from being taken for broken, which would have jobs wait for its probes in
their slots; the last is worth no wait in a slot, and does not keep a job without money for ever."""
_FILLER: Final = "0123456789abcdef" * 6_000
"""Makes a request, and the answer that echoes it, too large for its row (64 KiB)."""
_REFUSED_SHARE: Final = 0.25
_TIMEOUT_S: Final = 15.0
_READERS: Final = 8
_READ_AGAIN_S: Final = 0.04


def nonce_in(text: bytes) -> str | None:
    """The nonce of a request."""
    found = _NONCE.search(text)
    return found[1].decode() if found else None


class Clients:
    """All of them, and what they have seen so far."""

    def __init__(
        self,
        plan: Plan,
        purses: Purses,
        client: HttpClient,
        clock: Clock,
        gateways: Callable[[], list[str]],
    ) -> None:
        """`gateways`: the addresses that a load balancer would choose from, now."""
        self._plan = plan
        self._purses = purses
        self._client = client
        self._clock = clock
        self._gateways = gateways
        self.submits: list[Submit] = []
        self.reads: list[Read] = []
        self.unreached = 0
        self.accepted: list[str] = []
        self._asked: dict[str, Asker] = {}
        """Who may read each of them."""
        self.may_end = False
        """Whether there have been enough blows: they are to fall under load."""
        self.ended: set[str] = set()
        self._due: asyncio.PriorityQueue[tuple[float, float, str]] = asyncio.PriorityQueue()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """All begin."""
        names = [f"submit-{n}" for n in range(self._plan.clients)]
        work = [self._submit_until_the_end(name, self._dice(name)) for name in names]
        names = [f"read-{n}" for n in range(_READERS)]
        work += [self._read_to_the_end(self._dice(name)) for name in names]
        work.append(self._read_at_random(self._dice("again")))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each) for each in work]

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self._plan.seed}/{name}")  # noqa: S311 - dice, not secrets

    def raise_if_broken(self) -> None:
        """What a client failed with, if one did: a defect of ours."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    async def stop(self) -> None:
        """Nobody asks anything any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def read_everything(self) -> None:
        """Every accepted job once more, in the quiet at the end."""
        left = iter(self.accepted)
        dice = self._dice("everything")

        async def some() -> None:
            for job_id in left:
                await self._read(job_id, dice)

        await asyncio.gather(*(some() for _ in range(_READERS)))

    # Submitting

    async def _submit_until_the_end(self, name: str, dice: random.Random) -> None:
        pause_s = self._plan.clients / self._plan.rate
        number = 0
        while len(self.accepted) < self._plan.jobs or not self.may_end:
            number += 1
            await self._submit(f"s{self._plan.seed}-{name}-{number}", dice)
            await asyncio.sleep(dice.uniform(0.5, 1.5) * pause_s)

    async def _submit(self, nonce: str, dice: random.Random) -> None:
        asker = self._purses.draw(dice)
        request = self._request(nonce, asker, dice)
        called_s = self._clock.monotonic()
        status: int | None = None
        job_id: str | None = None
        try:
            reply = await self._client.send(request, timeout_s=_TIMEOUT_S)
        except NetError as error:
            if not error.sent:
                self.unreached += 1
                return
        else:
            status = reply.status
            if status == 202:
                job_id = str(json.loads(reply.body)["id"])
        returned_s = self._clock.monotonic()
        self.submits.append(Submit(nonce, called_s, returned_s, status, job_id, asker.key_id))
        if job_id is not None:
            self._asked[job_id] = asker
            self.accepted.append(job_id)
            self._due.put_nowait((returned_s, returned_s, job_id))

    def _request(self, nonce: str, asker: Asker, dice: random.Random) -> Request:
        text = f"nonce:{nonce} "
        if dice.random() < self._plan.large_share:
            text += _FILLER
        body = {**self._target(dice), "messages": [{"role": "user", "content": text}]}
        headers: Headers = (("content-type", "application/json"), *asker.headers)
        if dice.random() < self._plan.fail_share:
            headers += (("x-hermod-on-unknown", "fail"),)
        return Request("POST", self._any_gateway(dice) + _PATH, headers, json.dumps(body).encode())

    def _target(self, dice: random.Random) -> dict[str, Any]:
        """Somewhere where the job will be answered in the end."""
        plan, draw = self._plan, dice.random()
        if draw < plan.away_share:
            model = f"{AWAY}/{dice.choice(_AWAY)}"
            return {"model": model, "fallbacks": dice.choice(_FALLBACKS)}
        if draw < plan.away_share + plan.busy_share:
            refused = dice.random() < _REFUSED_SHARE
            return {"model": f"{BUSY}/{dice.choice(_REFUSES_ONCE) if refused else 'any'}"}
        return {"model": f"{dice.choice((LANES[0], *LANES))}/any"}

    def _any_gateway(self, dice: random.Random) -> str:
        return dice.choice(self._gateways())

    # Reading

    async def _read_to_the_end(self, dice: random.Random) -> None:
        while True:
            due_s, since_s, job_id = await self._due.get()
            await asyncio.sleep(max(due_s - self._clock.monotonic(), 0))
            if await self._read(job_id, dice):
                self.ended.add(job_id)
                continue
            now_s = self._clock.monotonic()
            # Who has waited for long need not ask so often: all of them share a few readers.
            pause_s = dice.uniform(0.5, 1.5) * min(max(0.1, (now_s - since_s) / 5), 3.0)
            self._due.put_nowait((now_s + pause_s, since_s, job_id))

    async def _read_at_random(self, dice: random.Random) -> None:
        """Somebody else, who reads what is being read, and what has long been read."""
        while True:
            if self.accepted:
                await self._read(dice.choice(self.accepted), dice)
            await asyncio.sleep(_READ_AGAIN_S)

    async def _read(self, job_id: str, dice: random.Random) -> bool:
        """One read; whether it saw the end."""
        url = f"{self._any_gateway(dice)}{_PATH}/{job_id}"
        request = Request("GET", url, self._asked[job_id].headers)
        called_s = self._clock.monotonic()
        try:
            reply = await self._client.send(request, timeout_s=_TIMEOUT_S)
        except NetError:
            return False
        read = _noted(job_id, called_s, self._clock.monotonic(), reply)
        self.reads.append(read)
        return read.wire_state in TERMINAL


def _noted(job_id: str, called_s: float, returned_s: float, reply: HttpReply) -> Read:
    found = tuple(sorted({nonce.decode() for nonce in _NONCE.findall(reply.body)}))
    digest = hashlib.sha256(reply.body).hexdigest()[:16]
    state: str | None = None
    answer: str | None = None
    error_type: str | None = None
    error_code: int | None = None
    if reply.status in {200, 202}:
        job: dict[str, Any] = json.loads(reply.body)
        state = job.get("status")
        if state == "completed":
            result: dict[str, Any] = job["result"]
            result.pop("extra_fields", None)
            answer = fingerprint(result)
        elif state == "failed":
            error_type, error_code = job["error"].get("type"), job.get("status_code")
    error = error_type, error_code
    return Read(job_id, called_s, returned_s, reply.status, state, digest, found, answer, *error)
