"""Upstreams that remember their calls: the mock as a process, and one told byte by byte."""

import asyncio
import json
import ssl
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.faults.checking import Call, Reply, fingerprint, nonce_in, read_record
from tests.net.upstream import Peer, Received, reply_bytes, upstream
from tests.support.program import MockUpstream
from tests.support.waiting import wait_until


class Recorder(MockUpstream):
    """`hermod mock-upstream`, and what it received."""

    def __init__(self, record: Path, *flags: str) -> None:
        super().__init__("--record", str(record), *flags)
        self._record = record

    def calls(self) -> list[Call]:
        """Every call so far."""
        return read_record(self._record)[0]

    def replies(self) -> list[Reply]:
        """How they ended."""
        return read_record(self._record)[1]

    def stats(self) -> dict[str, Any]:
        """Its own counters."""
        return httpx.get(f"{self.url}/stats", trust_env=False).json()

    async def holds(self, count: int) -> None:
        """Until so many calls wait for their answers."""
        await asyncio.to_thread(
            wait_until, lambda: self.stats()["in_flight"] >= count, timeout_s=40, every_s=0.1
        )

    async def forgets(self) -> None:
        """Until no call is open."""
        await asyncio.to_thread(
            wait_until, lambda: self.stats()["in_flight"] == 0, timeout_s=30, every_s=0.1
        )


class Asked(NamedTuple):
    """One request that arrived."""

    model: str
    received: Received
    call: Call


Behaviour = Callable[[Peer, Asked], Awaitable[None]]
"""What to do with a connection whose request has been read. Then the next request is read."""


@dataclass
class Behaving:
    """An upstream in the test's own loop, where each model has its behaviour; others are echoed."""

    behaviours: Mapping[str, Behaviour]
    url: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    _replies: list[Reply] = field(default_factory=list[Reply])

    def calls(self) -> list[Call]:
        """Every call so far, for the checker."""
        return [asked.call for asked in self.asked]

    def replies(self) -> list[Reply]:
        """What was echoed."""
        return self._replies

    def of(self, model: str) -> list[Asked]:
        """The calls for one model."""
        return [asked for asked in self.asked if asked.model == model]

    async def serve(self, peer: Peer) -> None:
        """Treat one connection."""
        while True:
            asked = _read(await peer.request())
            self.asked.append(asked)
            behaviour = self.behaviours.get(asked.model, self.echo)
            await behaviour(peer, asked)

    async def echo(self, peer: Peer, asked: Asked) -> None:
        """A good answer, with the nonce in it."""
        text = f"nonce:{asked.call.nonce}"
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message}]
        whole = {"id": "c", "object": "chat.completion", "choices": choices}
        call = asked.call
        self._replies.append(Reply(time.monotonic(), call.job_id, call.attempt, fingerprint(whole)))
        await peer.reply(json.dumps(whole).encode(), JSON)


JSON = b"Content-Type: application/json"


def answers(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Behaviour:
    """A behaviour: this whole answer, on a connection that stays."""

    async def behave(peer: Peer, _: Asked) -> None:
        await peer.send(reply_bytes(body, *(headers or (JSON,)), status=status))

    return behave


def sends(data: bytes) -> Behaviour:
    """A behaviour: exactly these bytes, and the end."""

    async def behave(peer: Peer, _: Asked) -> None:
        await peer.send(data)
        peer.close()

    return behave


def bomb(size: int) -> bytes:
    """So many blanks, compressed."""
    engine = zlib.compressobj(wbits=31)
    blanks = b" " * 1_000_000
    return b"".join(engine.compress(blanks) for _ in range(size // len(blanks))) + engine.flush()


@asynccontextmanager
async def behaving(
    behaviours: Mapping[str, Behaviour], tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Behaving]:
    """An upstream that behaves like this until the end of the context."""
    found = Behaving(behaviours)
    async with upstream(found.serve, tls) as server:
        found.url = f"{server.scheme}://localhost:{server.port}"
        yield found


def _read(received: Received) -> Asked:
    headers = dict(line.lower().split(b": ", 1) for line in received.lines[1:] if b": " in line)
    job_id, _, attempt = headers[b"x-client-request-id"].decode().partition("/")
    nonce = nonce_in(received.body)
    model = json.loads(received.body)["model"]
    return Asked(model, received, Call(time.monotonic(), nonce, job_id, int(attempt)))
