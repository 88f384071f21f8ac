"""What providers cost: requests built and replies read, alone and as whole calls."""

from contextlib import ExitStack
from typing import Final

import msgspec

from bench.exchanges import FIRST, Figures, Task, recorded
from bench.machine import LOAD_CPU, SUT_CPU
from bench.processes import ROOT, Version, constant, run_module
from bench.run import Bench

PROVIDERS: Final = tuple(
    sorted(folder.name for folder in (ROOT / "tests/providers/examples").iterdir())
)
CALLED: Final = ("openai", "anthropic", "gemini", "bedrock")
"""One of each family that is called as a whole; the first is what the others are held against."""
_LIMIT_S: Final = 600.0
_CALLS_PER_S: Final = 400
"""How many calls of each provider, for every second that a measurement shall last."""


def adapters(bench: Bench) -> None:
    """Each provider and request type alone, then whole calls to servers of constant answers."""
    versions = [version for version in bench.versions if _has_dialects(version)]
    for repetition in range(bench.repetitions):
        for version in versions:
            bench.say(f"adapters {repetition + 1}/{bench.repetitions} {version.name}")
            _alone(bench, version)
            _called(bench, version)


def _alone(bench: Bench, version: Version) -> None:
    figures = _run(version, Task("alone", rounds=round(bench.seconds * 4)))
    slowest: dict[str, float] = {}
    for (provider, request_type), (build_us, read_us) in figures.alone:
        both_us = build_us + read_us
        bench.results.add(version, f"adapter_{provider}_{request_type}_us", both_us)
        if provider not in slowest:
            # The first of a provider is its chat, if it has one.
            bench.results.add(version, f"adapter_{provider}_build_us", build_us)
            bench.results.add(version, f"adapter_{provider}_read_us", read_us)
        slowest[provider] = max(both_us, slowest.get(provider, 0.0))
    for provider, both_us in slowest.items():
        bench.results.add(version, f"adapter_{provider}_most_us", both_us)
    bench.results.add(version, "adapter_most_us", max(slowest.values()))


def _called(bench: Bench, version: Version) -> None:
    chats = {each.provider: each for each in recorded() if each.kind.request_type == FIRST}
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for provider in CALLED:
            folder = bench.fresh(f"adapters-{provider}-{version.name}")
            reply = chats[provider].reply[2]
            server = stack.enter_context(constant(version, folder, 200, reply, LOAD_CPU))
            ports[provider] = server.port
        calls = round(bench.seconds * _CALLS_PER_S)
        figures = _run(version, Task("called", ports=ports, calls=calls))
    for provider, cpu_us in figures.called.items():
        bench.results.add(version, f"call_{provider}_cpu_us", cpu_us)
        ratio = cpu_us / figures.called[CALLED[0]]
        bench.results.add(version, f"call_{provider}_ratio", ratio)


def _run(version: Version, task: Task) -> Figures:
    said = run_module(
        version.python, "bench.exchanges", msgspec.json.encode(task), _LIMIT_S, SUT_CPU
    )
    return msgspec.json.decode(said, type=Figures)


def _has_dialects(version: Version) -> bool:
    """Whether a checkout translates at all."""
    return (version.root / "src/hermod/providers/adapters.py").exists()
