"""F14 over HTTP: a storm of 429 slows one provider down, and nothing else."""

import asyncio
import time

from tests.faults.families import OWN, Asked, families, first_cases, good, jobs_of
from tests.faults.places import SqlitePlace
from tests.net.upstream import Peer, reply_bytes

JOBS = 100
BESIDE = 20
KEYS = 2
STORM_S = 6.0
AGAIN_S = 2
SLOTS = 30
"""More than the calls that go out before the first 429 is there, fewer than the jobs."""


class Storm:
    """An upstream that refuses everything for a time, which begins with the first call."""

    def __init__(self) -> None:
        self.refused_s: list[float] = []
        """When, from the beginning of the storm."""
        self._ends_s: float | None = None

    @property
    def rages(self) -> bool:
        return self._ends_s is not None and time.monotonic() < self._ends_s

    async def behave(self, peer: Peer, asked: Asked) -> None:
        if self._ends_s is None:
            self._ends_s = time.monotonic() + STORM_S
        if not self.rages:
            await good(peer, asked)
            return
        assert self._ends_s is not None
        self.refused_s.append(time.monotonic() - (self._ends_s - STORM_S))
        header = b"Retry-After: %d" % AGAIN_S
        await peer.send(reply_bytes(b"{}", header, status=b"429 Too Many Requests"))


async def test_a_storm_of_429_exhausts_no_job_and_holds_no_slot(file: SqlitePlace) -> None:
    storm = Storm()
    by_family = {case.family: case for case in first_cases()}
    async with families({"storm": storm.behave}) as there:
        keys = [f"key{n}" for n in range(KEYS)]
        providers = {
            "anthropic": there.provider("anthropic", keys),
            OWN: there.provider(OWN, ["main"]),
        }
        config = {"providers": providers, "hermod": {"upkeep_s": 0.3, "worker_slots": SLOTS}}
        with file.start("gateway", config) as gateway:
            async with jobs_of(gateway.url) as jobs:
                case, beside = by_family["anthropic"], by_family[OWN]
                body = case.body("storm")
                caught = await asyncio.gather(*(jobs.submit(case.path, body) for _ in range(JOBS)))
                other = beside.body("good")
                fine = [await jobs.submit(beside.path, other) for _ in range(BESIDE)]
                ends = await asyncio.gather(*map(jobs.end_of, fine))
                assert {end.state for end in ends} == {"completed"}
                assert storm.rages, "the others had to wait for the end of the storm"
                ends = await asyncio.gather(*map(jobs.end_of, caught))
            assert "Traceback" not in gateway.output, gateway.output
    assert {end.state for end in ends} == {"completed"}
    late = [each for each in storm.refused_s if each > AGAIN_S / 2]
    assert len(late) <= 2 * KEYS * STORM_S / AGAIN_S
    assert len(storm.refused_s) - len(late) <= SLOTS
    assert len(there.calls("storm", case)) == len(storm.refused_s) + JOBS
    ((spent,),) = file.rows("SELECT max(attempts_spent) FROM job WHERE lane = 'anthropic'")
    assert spent == 0, "a 429 that says when to come back costs no try"
