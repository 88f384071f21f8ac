"""F10–F13 for every family of providers: whatever its upstream does, nothing but an accepted result
completes a job."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, NamedTuple

import pytest

from tests.faults.families import (
    Asked,
    Behaviour,
    Case,
    End,
    Families,
    Jobs,
    cases,
    families,
    first_cases,
    good,
    jobs_of,
)
from tests.faults.places import SqlitePlace
from tests.faults.upstreams import bomb
from tests.net.upstream import Peer, reply_bytes, upstream
from tests.support.program import Gateway

INVALID: Final = "upstream_invalid"
JSON: Final = b"Content-Type: application/json"
HEAD: Final = b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BLANKS: Final = b" " * 65_536
ATTEMPT_S: Final = 4
MAY_GROW_MB: Final = 100.0
MB: Final = 1_000_000


class Fault(NamedTuple):
    """What an upstream does, and how a job ends that it is done to."""

    behave: Behaviour
    whys: frozenset[str] = frozenset({INVALID})
    """Types of the error that are right; empty where the upstream chooses."""
    status: int = 500
    calls: int = 1
    may_be_filtered: bool = False
    """Whether it is how Imagen says that it shows no picture."""


def says(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Behaviour:
    """A behaviour: this whole answer."""

    async def behave(peer: Peer, _: Asked) -> None:
        await peer.send(reply_bytes(body, *(headers or (JSON,)), status=status))

    return behave


def object_of(asked: Asked) -> bytes:
    """The recorded reply, or another object where it is none."""
    good = asked.case.good
    return good if good.startswith(b"{") else b'{"data":[{"b64_json":"aGk="}]}'


def with_member(member: bytes) -> Behaviour:
    """A behaviour: the recorded reply with one member more, which spoils it."""

    async def behave(peer: Peer, asked: Asked) -> None:
        await peer.send(reply_bytes(object_of(asked)[:-1] + b"," + member + b"}", JSON))

    return behave


async def cut_json(peer: Peer, asked: Asked) -> None:
    body = object_of(asked)
    await peer.send(reply_bytes(body[: len(body) // 2], JSON))


async def cut_off(peer: Peer, asked: Asked) -> None:
    whole = reply_bytes(asked.case.good, asked.case.label)
    await peer.send(whole[: -len(asked.case.good) // 2])
    peer.close()


async def wrong_types(peer: Peer, asked: Asked) -> None:
    told: dict[str, Any] = json.loads(object_of(asked))
    body = json.dumps({name: of_another_type(value) for name, value in told.items()}).encode()
    await peer.send(reply_bytes(body, JSON))


def of_another_type(value: object) -> object:
    """A value of another type."""
    match value:
        case str():
            return 7
        case list():
            return {"a": "b"}
        case dict():
            return ["a", 1, None]
        case _:
            return "x"


async def silent(peer: Peer, _: Asked) -> None:
    await peer.until_closed()


async def dripping(peer: Peer, asked: Asked) -> None:
    await peer.send(CHUNKED)
    for byte in asked.case.good * 1000:
        await peer.send(b"1\r\n%c\r\n" % byte)
        await asyncio.sleep(0.5)


async def telling_all(peer: Peer, asked: Asked) -> None:
    """401 with everything that was shown."""
    told = {"error": {"message": asked.received.head.decode(), "type": "no"}}
    await peer.send(reply_bytes(json.dumps(told).encode(), JSON, status=b"401 Unauthorized"))


FAULTS: Final[Mapping[str, Fault]] = {
    "empty": Fault(says(b"")),
    "html": Fault(says(b"<!doctype html><h1>It works!</h1>", b"Content-Type: text/html")),
    "unlabelled": Fault(says(b"<html>It works!</html>", b"X-No: type")),
    "cutjson": Fault(cut_json),
    "cutoff": Fault(cut_off, frozenset({"network_error"}), calls=2),
    "wrongtypes": Fault(wrong_types),
    "scalar": Fault(says(b"17")),
    "nothing": Fault(says(b"null")),
    "array": Fault(says(b'[["a"],17]')),
    "object": Fault(says(b"{}"), may_be_filtered=True),
    "nan": Fault(with_member(b'"x":NaN')),
    "utf8": Fault(with_member(b'"x":"\xc3("')),
    "surrogate": Fault(with_member(b'"x":"\\ud800"')),
    "deep": Fault(with_member(b'"x":' + b"[" * 300_000 + b"]" * 300_000)),
    "error": Fault(says(b'{"error":{"message":"no","type":"server_error"}}')),
    "silent": Fault(silent, frozenset({"request_timed_out"}), 504),
    "dripping": Fault(dripping, frozenset({"request_timed_out"}), 504),
    "refused": Fault(telling_all, frozenset(), 401),
    "broken": Fault(says(b"oops", b"X-No: type", status=b"500 Broken"), frozenset(), 500, 2),
    "bare": Fault(says(b"", status=b"503 Away"), frozenset(), 503, 2),
    "late": Fault(says(b"", b"Retry-After: -1", status=b"429 Too Many"), frozenset(), 429, 2),
    "nonsense": Fault(says(b"", b"Retry-After: soon", status=b"429 Too Many"), frozenset(), 429, 2),
    "odd": Fault(says(b"{}", status=b"299 Odd"), may_be_filtered=True),
}
"""Those that a job is over after."""


@asynccontextmanager
async def started(
    file: SqlitePlace, asked: Sequence[Case], behaviours: Mapping[str, Behaviour], **network: Any
) -> AsyncGenerator[tuple[Gateway, Families, Jobs]]:
    """A gateway whose families all live at one upstream."""
    async with families(behaviours) as there:
        providers = there.providers(asked, ("good", *behaviours), **network)
        config = {"providers": providers, "hermod": {"upkeep_s": 0.3}}
        with file.start("gateway", config) as gateway:
            async with jobs_of(gateway.url) as jobs:
                yield gateway, there, jobs
            assert gateway.process.poll() is None, gateway.output
            assert "Traceback" not in gateway.output, gateway.output


@pytest.fixture
def asked_cases(all_points: bool) -> Sequence[Case]:
    """One call of each family, or everything that they offer."""
    return cases() if all_points else first_cases()


async def all_of(jobs: Jobs, wanted: Sequence[tuple[Case, str]]) -> list[End]:
    """How many jobs ended, all at once."""
    return await asyncio.gather(*(jobs.done(case, name) for case, name in wanted))


@pytest.mark.time_limit(600)
async def test_no_family_takes_garbage_for_an_answer(
    file: SqlitePlace, asked_cases: Sequence[Case]
) -> None:
    behaviours = {name: fault.behave for name, fault in FAULTS.items()}
    network = {"default_request_timeout_in_seconds": ATTEMPT_S}
    async with started(file, asked_cases, behaviours, **network) as (_, there, jobs):
        wanted = [(case, name) for case in asked_cases for name in FAULTS]
        ends = await all_of(jobs, wanted)
        fine = [(case, "good") for case in asked_cases]
        ends += await all_of(jobs, fine)
    seen = zip((*wanted, *fine), ends, strict=True)
    wrong = [
        f"{case.family} {case.path} {case.example.case} {name}: {len(there.calls(name, case))} "
        f"calls, {end.status}: {end.raw[:300]!r}"
        for (case, name), end in seen
        if not is_right(FAULTS.get(name), end, len(there.calls(name, case)))
    ]
    assert not wrong, "\n".join(wrong)


def is_right(fault: Fault | None, end: End, calls: int) -> bool:
    """Whether a job ended as it must; None: its upstream did nothing wrong."""
    if fault is None:
        return (end.state, calls) == ("completed", 1)
    if fault.may_be_filtered and end.why == "content_filter":
        return end.state == "failed"
    is_named = not fault.whys or end.why in fault.whys
    return (end.state, end.status, calls) == ("failed", fault.status, fault.calls) and is_named


# F12


async def large(peer: Peer, asked: Asked) -> None:
    del asked
    await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % (60 * MB))
    for _ in range(60 * MB // len(BLANKS) + 1):
        await peer.send(BLANKS)


async def endless(peer: Peer, _: Asked) -> None:
    await peer.send(CHUNKED)
    await peer.send_forever(b"10000\r\n" + BLANKS + b"\r\n")


def huge() -> dict[str, Behaviour]:
    """Whatever is too much. Made by whoever needs it: the bomb takes a second."""
    return {
        "large": large,
        "endless": endless,
        "bomb": says(bomb(200 * MB), JSON, b"Content-Encoding: gzip"),
        "headers": says(b"{}", *(b"X-%d: 1" % n for n in range(10_000))),
    }


@pytest.mark.time_limit(600)
async def test_a_huge_reply_is_cut_off_for_every_family(
    file: SqlitePlace, asked_cases: Sequence[Case]
) -> None:
    behaviours = huge()
    async with started(file, asked_cases, behaviours) as (gateway, _, jobs):
        await all_of(jobs, [(case, "good") for case in asked_cases])
        before_mb = gateway.rss_mb()
        for case in asked_cases:
            for name in behaviours:
                gateway.forget_peak_rss()
                end = await jobs.done(case, name)
                found = end.state, end.why, gateway.peak_rss_mb() - before_mb <= MAY_GROW_MB
                assert found == ("failed", INVALID, True), (case.family, case.path, name, end.raw)


# F13


async def test_no_redirect_is_followed(file: SqlitePlace, asked_cases: Sequence[Case]) -> None:
    async def elsewhere(peer: Peer) -> None:
        await peer.request()

    async with upstream(elsewhere) as target:
        there = f"Location: http://127.0.0.1:{target.port}/v1/chat/completions".encode()
        behaviours = {
            f"at{status}": says(b"", there, status=b"%d Elsewhere" % status)
            for status in (301, 302, 303, 307, 308)
        }
        async with started(file, asked_cases, behaviours) as (_, _, jobs):
            ends = await all_of(jobs, [(c, name) for c in asked_cases for name in behaviours])
        assert {(end.state, end.why) for end in ends} == {("failed", INVALID)}
        assert not target.peers


# F14


def asks_to_wait(text: str) -> Behaviour:
    """A behaviour: 429 once, with that `Retry-After`, and then a good answer."""
    asked_before: set[int] = set()

    async def behave(peer: Peer, asked: Asked) -> None:
        if asked.case.number in asked_before:
            await good(peer, asked)
            return
        asked_before.add(asked.case.number)
        header = b"Retry-After: " + text.encode()
        await peer.send(reply_bytes(b"{}", header, status=b"429 Too Many"))

    return behave


def in_http(ahead: timedelta) -> str:
    """An instant as HTTP writes it."""
    return format_datetime(datetime.now(UTC) + ahead, usegmt=True)


SOON: Final[Mapping[str, str]] = {
    "negative": "-1",
    "word": "soon",
    "scientific": "1e9",
    "zero": "0",
    "past": in_http(timedelta(days=-400)),
    "now": "1",
}
LATE: Final[Mapping[str, str]] = {"years": "1000000000", "tomorrow": in_http(timedelta(days=1))}


async def test_an_absurd_wait_is_not_waited(file: SqlitePlace, asked_cases: Sequence[Case]) -> None:
    behaviours = {name: asks_to_wait(text) for name, text in (SOON | LATE).items()}
    async with started(file, asked_cases, behaviours) as (_, there, jobs):
        late = [
            await jobs.submit(case.path, case.body(name), x_bf_api_key=case.key_name(name))
            for case in asked_cases
            for name in LATE
        ]
        soon = [(case, name) for case in asked_cases for name in SOON]
        ends = await all_of(jobs, soon)
        calls = {len(there.calls(name, case)) for case in asked_cases for name in LATE}
        assert [end.state for end in ends] == ["completed"] * len(soon)
        assert calls == {1}
        for url in late:
            found = file.rows(
                "SELECT state, attempts_spent, run_at FROM job WHERE id = ?",
                file.key(url.rpartition("/")[2]),
            )
            ((state, spent, run_at),) = found
            wait_s = run_at / 1e6 - time.time()
            assert (state, spent, 200 < wait_s <= 300) == ("waiting", 0, True)
