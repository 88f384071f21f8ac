"""F26: rows that no version of ours wrote, met by the real program.

tests/store/sqlite/test_damage.py looks at each loss by itself; here is the queue around them.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.faults.places import Place, PostgresPlace, SqlitePlace, config_for, state_of
from tests.faults.upstreams import Recorder
from tests.faults.workload import PATH, clients_of
from tests.support.waiting import wait_until

QUICK: dict[str, Any] = {"upkeep_s": 0.3, "drain_s": 5}
REQUEST_OF: Final = {SqlitePlace: "seq = (SELECT seq FROM job WHERE id = ?)",
                     PostgresPlace: "job_id = ?"}  # fmt: skip
"""How a request or a result belongs to its job."""
QUEUED_DAMAGES: Final = {
    "unknown kind": "UPDATE job SET kind = 'teleport' WHERE id = ?",
    "broken options": "UPDATE job SET options = 'no json' WHERE id = ?",
    "request gone": "DELETE FROM request WHERE {of_job}",
    "request empty": "UPDATE request SET body = NULL WHERE {of_job}",
    "request no json": "UPDATE request SET body = '{binary}' WHERE {of_job}",
}
BINARY: Final = {SqlitePlace: "x'fffe00'", PostgresPlace: r"'\xfffe00'::bytea"}


def damage(place: Place, sql: str, job_id: str) -> None:
    kind = type(place)
    sql = sql.replace("'{binary}'", BINARY[kind]).replace("{of_job}", REQUEST_OF[kind])
    place.change(sql, place.key(job_id))


async def queue_of(place: Place, folder: Path, count: int) -> list[str]:
    """The ids of queued jobs, of a gateway that is gone; two more hold its slots."""
    with Recorder(folder / "never", "--latency-ms", "3600000") as never:
        config = config_for(QUICK, openai=never)
        config["providers"]["openai"]["concurrency_and_buffer_size"] = {"concurrency": 1}
        with place.start("before", config) as gateway:
            async with clients_of(gateway.url) as clients:
                await clients.submit("openai/any")
                ids = await clients.submit_many(count, "openai/any")
            gateway.kill()
    return ids


async def test_a_damaged_job_fails_by_name_and_the_queue_goes_on(
    place: Place, tmp_path: Path
) -> None:
    ids = await queue_of(place, tmp_path, 2 * len(QUEUED_DAMAGES))
    # Every second one: the others stand behind them.
    damaged = dict(zip(QUEUED_DAMAGES, ids[::2], strict=True))
    whole = ids[1::2]
    for name, sql in QUEUED_DAMAGES.items():
        damage(place, sql, damaged[name])
    with (
        Recorder(tmp_path / "quick", "--echo", "--latency-ms", "5") as quick,
        place.start("after", config_for(QUICK, openai=quick)) as gateway,
    ):
        async with clients_of(gateway.url) as clients:
            for job_id in whole:
                assert (await clients.end_of(job_id)).wire_state == "completed"
            ends = {name: await end_in_store(place, job_id) for name, job_id in damaged.items()}
            await clients.submit_many(5, "openai/any")
            await clients.settle()
            assert clients.ends() == {"completed": 5}
        assert gateway.process.poll() is None
    assert set(ends.values()) == {"failed"}, ends


async def end_in_store(place: Place, job_id: str) -> str:
    """A damaged job may be readable under no route, so its row has to tell."""
    await asyncio.to_thread(
        wait_until, lambda: state_of(place, job_id) in {"completed", "failed"}, timeout_s=20
    )
    return state_of(place, job_id)


@pytest.mark.parametrize("loss", ["DELETE FROM result WHERE {of_job}",
                                  "UPDATE result SET body = NULL WHERE {of_job}"])  # fmt: skip
async def test_a_lost_result_reads_as_failed_by_name(
    place: Place, tmp_path: Path, loss: str
) -> None:
    with (
        Recorder(tmp_path / "quick", "--echo", "--latency-ms", "5") as quick,
        place.start("gateway", config_for(QUICK, openai=quick)) as gateway,
    ):
        async with clients_of(gateway.url) as before, clients_of(gateway.url) as after:
            lost, kept = await before.submit_many(2, "openai/any")
            await before.settle()
            damage(place, loss, lost)
            assert (await after.end_of(lost)).error_type == "result_lost"
            assert (await after.end_of(kept)).wire_state == "completed"


async def test_a_state_that_nobody_knows_stops_nobody(place: Place, tmp_path: Path) -> None:
    strange, *whole = await queue_of(place, tmp_path, 5)
    damage(place, allow_any_state(place) + "UPDATE job SET state = 'odd' WHERE id = ?", strange)
    with (
        Recorder(tmp_path / "quick", "--echo", "--latency-ms", "5") as quick,
        place.start("after", config_for(QUICK, openai=quick)) as gateway,
    ):
        async with clients_of(gateway.url) as clients:
            for job_id in whole:
                assert (await clients.end_of(job_id)).wire_state == "completed"
            # To call it failed would be an end that a later version might take back.
            strange_url = f"{gateway.url}{PATH}/{strange}"
            read = await asyncio.to_thread(httpx.get, strange_url, trust_env=False)
            assert (read.status_code, read.json()["status_code"]) == (500, 500)
        assert gateway.process.poll() is None


def allow_any_state(place: Place) -> str:
    """Take away what keeps such a row out; what has to stand before the statement."""
    if not isinstance(place, PostgresPlace):
        return "PRAGMA ignore_check_constraints = 1; "
    checks = place.rows(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'hermod.job'::regclass"
        " AND contype = 'c'"
    )
    for (name,) in checks:
        place.change(f"ALTER TABLE job DROP CONSTRAINT {name}")
    return ""
