"""Requests and replies, over and over: `python -m bench.exchanges`, a task as JSON on stdin.

The requests and replies are those that the tests have recorded of each provider, with their texts
made so long that they are payload S of product.md 3.2: 0.2 KB asked, 1.4 KB answered.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, Literal

import msgspec
import uvloop

from hermod.calls.call import Caller
from hermod.calls.credentials import Credentials
from hermod.calls.credentials_aws import AwsSigner
from hermod.calls.credentials_azure import AzureTokens
from hermod.calls.credentials_google import GoogleTokens
from hermod.calls.spec import CallSettings, CallSpec
from hermod.clock import SystemClock
from hermod.domain.outcome import Answer
from hermod.domain.provider import ProviderSettings
from hermod.domain.retry import RetryPolicy
from hermod.net.client import HttpClient
from hermod.providers.adapter import Answered
from hermod.providers.lenient import items, members
from tests.providers.recorded import Example, examples, key_of, settings_of

_ASKED_BYTES: Final = 200
_ANSWERED_BYTES: Final = 1400
_TEXTS: Final = frozenset({"content", "input", "prompt", "query", "text"})
"""Members that hold what was said."""
FIRST: Final = "chat_completion"
"""What comes first of a provider that offers it."""
_TIMES: Final = 50
"""Exchanges of one round."""
_AT_ONCE: Final = 16
_ROUNDS: Final = 5
"""Whole calls to all providers in turn, so that a slow moment is nobody's own; the fastest
counts."""
_LONG_S: Final = 3600.0
_AWS: Final = {"access_key": "AKIDEXAMPLE", "secret_key": "bench", "region": "us-east-1"}
"""A key that has to sign each request."""


class Task(msgspec.Struct, forbid_unknown_fields=True):
    """What to do."""

    what: Literal["alone", "called"]
    rounds: int = 1
    """Alone: how often each exchange is measured; the fastest round counts."""
    ports: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    """Called: by provider, where a server always gives its answer."""
    calls: int = 0
    """Called: how many of each."""


class Figures(msgspec.Struct):
    """Microseconds of processor time for one exchange."""

    alone: list[tuple[tuple[str, str], tuple[float, float]]] = msgspec.field(
        default_factory=list[tuple[tuple[str, str], tuple[float, float]]]
    )
    """By provider and request type, in the order of `recorded`: to build, and to read."""
    called: dict[str, float] = msgspec.field(default_factory=dict[str, float])


def recorded() -> Iterator[Example]:
    """One call for each provider and request type; of a provider, chat comes first."""
    plain = [example for example in examples() if not example.case]
    for example in sorted(plain, key=lambda e: (e.provider, e.kind.request_type != FIRST)):
        told, reply = example.told, example.told["reply"]
        asked = told["asked"]
        if "files" not in asked:
            asked = _stretched(asked, _ASKED_BYTES)
        if "body" in reply:
            reply = {**reply, "body": _stretched(reply["body"], _ANSWERED_BYTES)}
        yield example._replace(told={**told, "asked": asked, "reply": reply})


def _stretched(told: Any, size: int) -> Any:
    """The same JSON, its longest text so long that the whole has about `size` bytes."""
    written = json.dumps(told)
    missing = max(size - len(written), 0)
    longest = max(_texts(told), key=len, default="")
    longer = longest + " and so on" * (missing // len(" and so on"))
    return json.loads(written.replace(json.dumps(longest), json.dumps(longer), 1))


def _texts(told: Any, name: str = "") -> Iterator[str]:
    if isinstance(told, str) and name in _TEXTS:
        yield told
    for inner, value in members(told).items():
        yield from _texts(value, inner)
    for value in items(told):
        yield from _texts(value, name)


def alone(rounds: int) -> Figures:
    """Every adapter, without a network. Raises ValueError for an answer that it does not take."""
    figures = Figures()
    for example in recorded():
        kind, dialect, outgoing = example.kind, example.dialect, example.outgoing
        _, content_type, reply = example.reply
        found = dialect.read(kind, outgoing, content_type, reply)
        if not isinstance(found, Answered):
            raise ValueError(f"{example.provider} {kind.request_type}: {found.message}")
        build_us = _fastest_us(rounds, lambda: dialect.build(kind, outgoing))  # noqa: B023
        read_us = _fastest_us(rounds, lambda: dialect.read(kind, outgoing, content_type, reply))  # noqa: B023
        figures.alone.append(((example.provider, kind.request_type), (build_us, read_us)))
    return figures


def _fastest_us(rounds: int, work: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(rounds):
        begun = time.thread_time_ns()
        for _ in range(_TIMES):
            work()
        taken.append((time.thread_time_ns() - begun) / 1000 / _TIMES)
    return min(taken)


async def called(ports: dict[str, int], calls: int) -> Figures:
    """Whole calls, answered by others. Raises ValueError for one that was not answered."""
    chats = {each.provider: each for each in recorded() if each.kind.request_type == FIRST}
    clock, client = SystemClock(), HttpClient()
    caller = Caller(
        {name: _at(name, port) for name, port in ports.items()},
        client,
        clock,
        CallSettings(True, _LONG_S, RetryPolicy(0, 1.0, 1.0), mock=False),
        credentials=Credentials(
            AwsSigner(client, clock, {}),
            GoogleTokens(client, clock, {}),
            AzureTokens(client, clock, {}),
        ),
    )
    figures = Figures()

    async def call(provider: str, times: int) -> None:
        outgoing = chats[provider].outgoing
        for _ in range(times):
            ended = await caller.call(
                CallSpec(FIRST, provider, outgoing.model, outgoing.body, None, "bench", 1, _LONG_S)
            )
            if not isinstance(ended.outcome, Answer):
                raise ValueError(f"{provider}: {ended.outcome.failure}")

    async def calls_at_once(provider: str, each: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(call(provider, each))

    each = -(-calls // _AT_ONCE // _ROUNDS)
    for provider in tuple(ports) * (_ROUNDS + 1):
        begun = time.process_time_ns()
        await calls_at_once(provider, each)
        spent_us = (time.process_time_ns() - begun) / 1000 / (each * _AT_ONCE)
        figures.called[provider] = min(spent_us, figures.called.get(provider, spent_us))
    await client.close()
    return figures


def _at(name: str, port: int) -> ProviderSettings:
    """A provider at a server of ours, with a key of the usual sort."""
    settings = settings_of(name)
    if name == "bedrock":
        settings = replace(settings, keys=(key_of(name, value="", bedrock_key_config=_AWS),))
    return replace(settings, base_url=f"http://127.0.0.1:{port}")


def main() -> None:
    """Read the task, do it, print the figures."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    if task.what == "alone":
        figures = alone(task.rounds)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(called(task.ports, task.calls))
    sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")


if __name__ == "__main__":
    main()
