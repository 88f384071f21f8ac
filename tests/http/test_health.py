"""What the probes say when the store is slow, frozen, full or not there yet."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx

from hermod.clock import SystemClock
from hermod.domain.errors import StoreUnavailable
from hermod.domain.job import State
from hermod.http.asgi import Message
from hermod.http.health import Health
from hermod.http.lifecycle import Lifecycle
from hermod.http.message import Request, Response
from hermod.jobs.counts import CountJobs
from hermod.store.sqlite import SqliteStore

PROBES = ("health", "readiness", "metrics")


class Moody(SqliteStore):
    """The real store, as fast as the test lets it be."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "hermod.db", SystemClock())
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.full = False
        self.deaf = False

    @property
    def storage_full(self) -> bool:
        return self.full

    async def counts(self) -> Mapping[tuple[str, str, State], int]:
        self.asked += 1
        while not self.may_answer.is_set():
            try:
                await self.may_answer.wait()
            except asyncio.CancelledError:
                if not self.deaf:
                    raise
        return {("default", "mock", State.QUEUED): 7}


def health_of(store: Moody, patience_s: float = 1000) -> Health:
    lifecycle = Lifecycle()
    lifecycle.ready = True
    return Health(CountJobs(store, patience_s), lifecycle, "1")


async def nothing() -> Message:
    raise AssertionError("a probe has no body")


async def ask(health: Health, probe: str) -> Response:
    return await getattr(health, probe)(Request("GET", "", {}, nothing))


async def test_probes_at_the_same_time_ask_the_store_once(tmp_path: Path) -> None:
    store = Moody(tmp_path)
    health = health_of(store)
    asking = [asyncio.create_task(ask(health, probe)) for probe in PROBES * 3]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.may_answer.set()
    assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * len(asking)
    assert store.asked == 1
    assert (await ask(health, "health")).status == 200
    assert store.asked == 2


async def test_a_store_that_does_not_answer_is_a_503_and_not_a_wait(tmp_path: Path) -> None:
    store = Moody(tmp_path)
    store.deaf = True
    health = health_of(store, patience_s=0.01)
    for probe in PROBES:
        answer = await ask(health, probe)
        assert (answer.status, b"does not answer" in answer.body) == (503, True)
    store.may_answer.set()
    for probe in PROBES:
        assert (await ask(health, probe)).status == 200


async def test_a_probe_that_hangs_up_takes_nobody_elses_answer(tmp_path: Path) -> None:
    store = Moody(tmp_path)
    health = health_of(store)
    first = asyncio.create_task(ask(health, "health"))
    await asyncio.sleep(0)
    second = asyncio.create_task(ask(health, "health"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    store.may_answer.set()
    assert (await second).status == 200
    assert store.asked == 1


async def test_a_full_disk_is_told_and_is_no_reason_to_send_nobody(tmp_path: Path) -> None:
    store = Moody(tmp_path)
    store.may_answer.set()
    health = health_of(store)
    assert b"hermod_storage_full 0.0" in (await ask(health, "metrics")).body
    store.full = True
    for probe in ("health", "readiness"):
        answer = await ask(health, probe)
        assert answer.status == 200
        assert httpx.Response(200, content=answer.body).json() == {
            "status": "degraded",
            "components": {"db_pings": "ok", "storage": "storage_full"},
        }
    assert b"hermod_storage_full 1.0" in (await ask(health, "metrics")).body


async def test_while_the_store_is_awaited_the_probes_say_so_and_do_not_ask_it(
    tmp_path: Path,
) -> None:
    store = Moody(tmp_path)
    lifecycle = Lifecycle()
    lifecycle.waiting_for = "nobody there yet"
    health = Health(CountJobs(store), lifecycle, "1")
    for probe in PROBES:
        answer = await ask(health, probe)
        assert (answer.status, b"nobody there yet" in answer.body) == (503, True)
    assert (await ask(health, "liveness")).status == 200
    assert store.asked == 0


async def test_an_answer_that_nobody_waits_for_any_more_may_be_an_error(tmp_path: Path) -> None:
    class Failing(Moody):
        async def counts(self) -> Mapping[tuple[str, str, State], int]:
            await super().counts()
            raise StoreUnavailable("not today")

    store = Failing(tmp_path)
    asking = asyncio.create_task(ask(health_of(store), "health"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    store.may_answer.set()
    assert (await ask(health_of(store), "health")).status == 503
