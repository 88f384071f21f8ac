"""Jobs under fire: a gateway that is killed with `kill -9` while clients submit and poll.

    python -m tests.support.torture --jobs 5000 --kills 10 --seed 1

One upstream, one gateway on a fixed port, many clients. Whenever a random number of jobs has been
accepted the gateway is killed and started again at once. In the end every accepted job has been
read to its end, and `history.check` judges what everybody saw.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.support.database import NONCE, copy_database, read_stored
from tests.support.history import (
    Call,
    History,
    Kill,
    Read,
    Submit,
    Violation,
    check,
    extra_calls,
    failures,
    recoveries,
)
from tests.support.program import Gateway, MockUpstream
from tests.support.waiting import wait_until

_PATH = "/v1/async/chat/completions"
_FILLER = "0123456789abcdef" * 6_000
"""Makes a request, and the answer that echoes it, too large for its row (64 KiB)."""
_UNFINISHED = re.compile(
    r'^hermod_jobs\{.*state="(?:queued|running|waiting)"\} (\S+)$', re.MULTILINE
)
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True)
class Plan:
    """How long, how hard, and by which dice."""

    jobs: int = 5000
    """To be accepted."""
    kills: int = 10
    gentle: int = 0
    """How many of the kills are only a SIGTERM."""
    beside: int = 0
    """How many more gateways run on the app dir, and are never killed."""
    seed: int = 1
    rate: float = 400.0
    """Submits per second, all clients together."""
    clients: int = 16
    latency: str = "lognormal:60,200"
    """Of the upstream: median and 99th percentile in ms."""
    large_share: float = 0.02
    fail_share: float = 0.02
    """Jobs with `x-hermod-on-unknown: fail`."""
    delay_s: float = 0.4
    """A kill comes up to this long after the job that calls for it was accepted."""
    patience_s: float = 180.0
    """From the last submit to the end of the last job."""


class Result(NamedTuple):
    """What came of a run."""

    history: History
    violations: list[Violation]
    report: str


class _End(NamedTuple):
    """Of a gateway that is to come back."""

    killed_s: float
    restarted_s: float
    copy: Path
    drained: bool


@dataclass
class _Run:
    plan: Plan
    folder: Path
    port: int
    upstream: MockUpstream
    dice: random.Random
    session: aiohttp.ClientSession
    submits: list[Submit] = field(default_factory=list[Submit])
    unreached: int = 0
    reads: list[Read] = field(default_factory=list[Read])
    accepted: list[str] = field(default_factory=list[str])
    ended: set[str] = field(default_factory=set[str])
    ends: list[_End] = field(default_factory=list[_End])
    gateway: Gateway | None = None
    others: list[Gateway] = field(default_factory=list[Gateway])
    due: "asyncio.PriorityQueue[tuple[float, str]]" = field(
        default_factory=asyncio.PriorityQueue[tuple[float, str]]
    )

    # The gateway

    def start_gateway(self) -> None:
        providers = {name: self.upstream.provider() for name in ("openai", "mistral")}
        self.gateway = Gateway(self.folder / "app", config={"providers": providers}, port=self.port)

    async def kill_and_restart(self, accepted: float, wait_s: float, *, gently: bool) -> None:
        """Once so many jobs have been accepted, and a moment more."""
        while len(self.accepted) < accepted:
            await asyncio.sleep(0.005)
        await asyncio.sleep(wait_s)
        gateway = self.gateway
        assert gateway is not None
        assert gateway.process.poll() is None, f"the gateway ended by itself:\n{gateway.output}"
        killed_s = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
        code = await asyncio.to_thread(gateway.wait_exit)
        # A SIGTERM ends Python like any program until the gateway listens to it.
        assert code in ({0, -signal.SIGTERM} if gently else {-signal.SIGKILL}), gateway.output
        copy = self.folder / f"end-{len(self.ends) + 1}"
        await asyncio.to_thread(self.copy_in_peace, copy)
        drained = code == 0 and not self.others
        self.ends.append(_End(killed_s, time.monotonic(), copy, drained))
        self.start_gateway()

    def copy_in_peace(self, to: Path) -> None:
        """What a power cut would leave: nobody writes meanwhile."""
        for other in self.others:
            other.send(signal.SIGSTOP)
            wait_until(other.is_stopped)
        copy_database(self.folder / "app", to)
        for other in self.others:
            other.send(signal.SIGCONT)

    async def stop_gateways(self) -> None:
        """All of them drain, and exit with 0."""
        assert self.gateway is not None
        for gateway in (self.gateway, *self.others):
            gateway.send(signal.SIGTERM)
            code = await asyncio.to_thread(gateway.wait_exit)
            assert code == 0, f"exit {code}:\n{gateway.output}"

    # The clients

    async def submit_forever(self, client: int) -> None:
        pause_s = self.plan.clients / self.plan.rate
        number = 0
        while len(self.accepted) < self.plan.jobs:
            number += 1
            await self.submit(f"s{self.plan.seed}-c{client}-{number}")
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * pause_s)

    async def submit(self, nonce: str) -> None:
        text = f"nonce:{nonce} "
        if self.dice.random() < self.plan.large_share:
            text += _FILLER
        model = self.dice.choice(("openai/any", "openai/any", "mistral/any"))
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        fails = self.dice.random() < self.plan.fail_share
        headers = {"x-hermod-on-unknown": "fail"} if fails else {}
        called_s = time.monotonic()
        status, job_id = None, None
        try:
            async with self.session.post(_PATH, json=body, headers=headers) as response:
                answer = await response.read()
                status = response.status
            if status == 202:
                job_id = json.loads(answer)["id"]
        except aiohttp.ClientConnectorError:
            self.unreached += 1
            return
        except _BROKEN:
            pass
        self.submits.append(Submit(nonce, called_s, time.monotonic(), status, job_id))
        if job_id is not None:
            self.accepted.append(job_id)
            self.due.put_nowait((0.0, job_id))

    async def poll_forever(self) -> None:
        while True:
            due_s, job_id = await self.due.get()
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            if await self.read(job_id):
                self.ended.add(job_id)
            else:
                again_s = time.monotonic() + self.dice.uniform(0.05, 0.3)
                self.due.put_nowait((again_s, job_id))

    async def read_at_random(self) -> None:
        """Somebody else, who reads what the pollers read, and what they have long read."""
        while True:
            if self.accepted:
                await self.read(self.dice.choice(self.accepted))
            await asyncio.sleep(0.02)

    async def read(self, job_id: str) -> bool:
        """One poll; whether it saw the end."""
        called_s = time.monotonic()
        try:
            async with self.session.get(f"{_PATH}/{job_id}") as response:
                body = await response.read()
                status = response.status
        except _BROKEN:
            return False
        returned_s = time.monotonic()
        whole: dict[str, Any] = json.loads(body)
        state = whole.get("status")
        found = NONCE.findall(json.dumps(whole.get("result"))) if state == "completed" else ()
        error_type = whole["error"].get("type") if state == "failed" else None
        digest = hashlib.sha256(body).hexdigest()[:16]
        self.reads.append(
            Read(job_id, called_s, returned_s, status, state, digest, frozenset(found), error_type)
        )
        return status == 200

    # The whole

    async def go(self) -> None:
        marks = sorted(self.dice.uniform(0.02, 0.98) for _ in range(self.plan.kills))
        gentle = self.dice.sample(range(self.plan.kills), self.plan.gentle)
        delays = [self.dice.uniform(0, self.plan.delay_s) for _ in marks]
        self.start_gateway()
        if self.plan.beside:
            assert self.gateway is not None
            await asyncio.to_thread(self.gateway.wait_ready)
            self.others += [Gateway(self.folder / "app") for _ in range(self.plan.beside)]
        readers = [asyncio.create_task(self.poll_forever()) for _ in range(8)]
        readers += [asyncio.create_task(self.read_at_random()) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for client in range(self.plan.clients):
                group.create_task(self.submit_forever(client))
            for number, (mark, wait_s) in enumerate(zip(marks, delays, strict=True)):
                await self.kill_and_restart(mark * self.plan.jobs, wait_s, gently=number in gentle)
        await self.until(lambda: len(self.ended) == len(self.accepted))
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await self.until(self.is_quiet)
        for job_id in self.accepted:
            await self.read(job_id)

    async def until(self, predicate: Callable[[], bool | Awaitable[bool]]) -> None:
        """Wait, and go on after the run's patience: the checker says what is missing."""
        give_up_s = time.monotonic() + self.plan.patience_s
        while time.monotonic() < give_up_s:
            holds = predicate()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.1)

    async def is_quiet(self) -> bool:
        """Whether the gateway counts no job that has not ended."""
        try:
            async with self.session.get("/metrics") as response:
                text = await response.text()
        except _BROKEN:
            return False
        return all(float(n) == 0 for n in _UNFINISHED.findall(text))


async def torture(plan: Plan, folder: Path) -> Result:
    """Carry a plan out in an empty folder, which keeps the evidence."""
    record = folder / "upstream.jsonl"
    port = free_port()
    with MockUpstream(
        "--echo", "--record", str(record), "--latency", plan.latency, "--seed", str(plan.seed)
    ) as upstream:
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}",
            timeout=aiohttp.ClientTimeout(total=15),
            connector=aiohttp.TCPConnector(limit=0),
        ) as session:
            run = _Run(plan, folder, port, upstream, random.Random(plan.seed), session)
            started_s = time.monotonic()
            try:
                await run.go()
                took_s = time.monotonic() - started_s
                await run.stop_gateways()
            finally:
                for gateway in (run.gateway, *run.others):
                    if gateway is not None and gateway.process.poll() is None:
                        gateway.kill()
    history = History(
        submits=run.submits,
        reads=run.reads,
        calls=read_record(record),
        final=read_stored(copy_database(folder / "app", folder / "final")),
        kills=[
            Kill(end.killed_s, end.restarted_s, read_stored(end.copy), end.drained)
            for end in run.ends
        ],
    )
    violations = check(history)
    return Result(history, violations, report(run, history, violations, took_s))


def read_record(path: Path) -> list[Call]:
    """What the upstream received."""
    calls: list[Call] = []
    for line in path.read_text("utf-8").splitlines():
        seen = json.loads(line)
        job_id, _, attempt = (seen["request_id"] or "/0").partition("/")
        calls.append(Call(seen["ns"] / 1e9, seen["nonce"], job_id, int(attempt), seen["status"]))
    return calls


def report(run: _Run, history: History, violations: list[Violation], took_s: float) -> str:
    """The figures for people, and the list of extra calls as a file."""
    broken = Counter(violation.rule for violation in violations)
    extra = extra_calls(history)
    listing = run.folder / "extra-calls.jsonl"
    listing.write_text("".join(json.dumps(call._asdict()) + "\n" for call in extra), "utf-8")
    states = Counter(attempt.state for attempt in history.final.attempts)
    sent = {(call.job_id, call.attempt) for call in history.calls}
    unseen = sum(
        a.state == "unknown" and (a.job_id, a.n) not in sent for a in history.final.attempts
    )
    ended = Counter(job.state for job in history.final.jobs)
    unknown_submits = {s.nonce for s in history.submits if s.status is None}
    stored_unknown = sum(job.nonce in unknown_submits for job in history.final.jobs)
    found = recoveries(history)
    first = [each.first_s for each in found if each.first_s is not None]
    last = [each.last_s for each in found if each.last_s is not None]
    lines = [
        f"seed {run.plan.seed}, {took_s:.1f} s, evidence in {run.folder}",
        f"kills                   {len(run.ends)}, {run.plan.gentle} of them by SIGTERM",
        f"accepted                {len(history.accepted)}",
        f"submits cut off         {len(unknown_submits)}, of which stored {stored_unknown}"
        f" (and {run.unreached} that reached nobody)",
        f"in the store            {len(history.final.jobs)}: {dict(ended)}",
        f"failed by type          {dict(failures(history))}",
        f"lost                    {broken['lost']}",
        f"stuck                   {broken['stuck']}",
        f"two ends                {broken['two ends']}",
        f"reads                   {len(history.reads)}, backwards {broken['backwards']}",
        f"attempts                {len(history.final.attempts)}: {dict(states)}",
        f"unknown, never received {unseen}",
        f"upstream calls          {len(history.calls)}, extra {len(extra)} ({listing.name})",
        f"most calls for one job  {max(Counter(c.job_id for c in history.calls).values())}",
        f"running at each kill    {[each.running for each in found]}",
        f"first of them again, s  {_spread(first)}",
        f"last of them again, s   {_spread(last)}",
        f"violations              {len(violations)} {dict(broken)}",
        *(f"  {violation}" for violation in violations[:50]),
    ]
    return "\n".join(lines)


def _spread(times: list[float]) -> str:
    if not times:
        return "-"
    return f"p50 {statistics.median(times):.2f}  max {max(times):.2f}  of {len(times)}"


def free_port() -> int:
    """A port nobody listens on, and below those that the system gives to clients.

    A client that connects to a port of that range while its server is down can meet itself.
    """
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def main() -> None:
    """The command line."""
    usual = Plan()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=usual.jobs)
    parser.add_argument("--kills", type=int, default=usual.kills)
    parser.add_argument("--gentle", type=int, default=0, help="of the kills, by SIGTERM only")
    parser.add_argument("--beside", type=int, default=0, help="gateways that are never killed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--rate", type=float, default=usual.rate, help="submits per second")
    parser.add_argument("--latency", default=usual.latency, help="of the upstream")
    parser.add_argument("--folder", type=Path, help="empty or new; default: a temporary one")
    asked = parser.parse_args()
    folder: Path = asked.folder or Path(tempfile.mkdtemp(prefix="hermod-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    names = ("jobs", "kills", "gentle", "beside", "seed", "rate", "latency")
    plan = Plan(**{name: getattr(asked, name) for name in names})
    result = asyncio.run(torture(plan, folder))
    print(result.report)
    sys.exit(1 if result.violations else 0)


if __name__ == "__main__":
    main()
