"""Limits: what a call reserves before it begins, and what counts when it has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hermod.domain.job import Lease, Metered, OnUnknown, Retry, State
from hermod.domain.meter import Hold, Meter, Why, Window
from hermod.store.api import Store
from tests.store.backends import SECOND, Database
from tests.store.jobs import (
    ADMIN,
    CLAIM,
    FAILED,
    LEASE_S,
    OWNER,
    attempts,
    claim_again,
    finished_job,
    lose_leases,
    read,
    running_job,
)
from tests.store.limits import (
    ALL,
    BUDGET,
    DONE,
    FAILED_HOLDING,
    PARALLEL,
    REQUESTS,
    TOKENS,
    UNKNOWN_HOLDING,
    UNSENT_HOLDING,
    USED,
    cost,
    counted,
    meter,
)

MINUTE = Window(lasts_us=60 * SECOND)


async def holding(
    store: Store, database: Database, *holds: Hold, on_unknown: OnUnknown = OnUnknown.RETRY
) -> Lease:
    """The lease of a job that has reserved so much."""
    lease = await running_job(store, database, on_unknown=on_unknown)
    assert await store.reserve(lease, holds) == ()
    return lease


async def spent(store: Store, database: Database, hold: Hold, metered: Metered = USED) -> None:
    """A job has held that, and used so much."""
    lease = await holding(store, database, hold)
    assert await store.finish_job(lease, DONE._replace(metered=metered))


# Reserving


async def test_what_was_never_used_has_no_meter(database: Database) -> None:
    async with database.open() as store:
        await running_job(store, database)
        assert await store.read_meters(["budget", "other"]) == {}


async def test_what_is_reserved_is_on_the_meter(database: Database) -> None:
    async with database.open() as store:
        await holding(store, database, BUDGET, REQUESTS)
        await holding(store, database, BUDGET._replace(amount=7))
        now = database.clock.now()
        assert await store.read_meters(["budget", "other", "limit:requests"]) == {
            "budget": Meter(now, 0, 107, 0),
            "limit:requests": Meter(now, 0, 1, 0),
        }


async def test_what_has_no_room_is_refused_with_the_meter_as_it_is(database: Database) -> None:
    async with database.open() as store:
        await spent(store, database, BUDGET)
        await holding(store, database, BUDGET._replace(amount=900))
        refused = await store.reserve(await running_job(store, database), [BUDGET])
        assert refused
        assert [each[1:] for each in refused] == [(Why.BUSY, 70, 900, None)]
        assert refused[0].hold == BUDGET


async def test_a_refusal_says_when_the_next_period_begins(database: Database) -> None:
    async with database.open() as store:
        hold = BUDGET._replace(limit=70, amount=70, window=MINUTE)
        began_at = database.clock.now()
        await spent(store, database, hold)
        database.clock.advance(10)
        refused = await store.reserve(await running_job(store, database), [hold])
        assert refused
        assert refused[0].why is Why.SPENT
        assert refused[0].resets_at == began_at + 60 * SECOND


async def test_where_one_limit_refuses_nothing_is_reserved(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        before = database.dump()
        refused = await store.reserve(lease, [TOKENS, BUDGET._replace(amount=1_001), PARALLEL])
        assert refused
        assert [each.hold.meter_id for each in refused] == ["budget"]
        assert database.dump() == before


async def test_every_limit_that_refuses_is_named(database: Database) -> None:
    async with database.open() as store:
        full = (BUDGET._replace(limit=0), TOKENS, REQUESTS._replace(limit=0))
        refused = await store.reserve(await running_job(store, database), full)
        assert refused
        assert [each.hold for each in refused] == [full[0], full[2]]


async def test_whoever_was_refused_may_reserve_later(database: Database) -> None:
    async with database.open() as store:
        hold = PARALLEL._replace(limit=1)
        first = await holding(store, database, hold)
        second = await running_job(store, database)
        assert await store.reserve(second, [hold])
        assert await store.finish_job(first, DONE)
        assert await store.reserve(second, [hold]) == ()


async def test_to_reserve_nothing_is_no_refusal(database: Database) -> None:
    async with database.open() as store:
        lease = await running_job(store, database)
        before = database.dump()
        assert await store.reserve(lease, []) == ()
        assert database.dump() == before


async def test_to_reserve_again_for_an_attempt_changes_nothing(database: Database) -> None:
    async with database.open() as store:
        lease = await holding(store, database, *ALL)
        before = database.dump()
        assert await store.reserve(lease, ALL) == ()
        assert await store.reserve(lease, [BUDGET._replace(amount=10_000)]) == ()
        assert database.dump() == before


async def test_to_reserve_again_of_what_nobody_has_used_changes_nothing(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await holding(store, database, BUDGET)
        assert await store.reserve(lease, [TOKENS]) == ()
        assert await counted(store, TOKENS) == (0, 0, 0)


async def test_of_many_that_reserve_at_once_no_more_pass_than_there_is_room_for(
    database: Database,
) -> None:
    async with database.open() as store:
        leases = [await running_job(store, database) for _ in range(500)]
        answers = await asyncio.gather(*(store.reserve(lease, [BUDGET]) for lease in leases))
        assert sum(answer == () for answer in answers) == 10
        assert await counted(store) == (0, 1_000, 0)


async def test_many_that_reserve_at_once_of_several_meters_all_end(database: Database) -> None:
    async with database.open() as store:
        leases = [await running_job(store, database) for _ in range(60)]
        meters = [BUDGET, BUDGET._replace(meter_id="team"), BUDGET._replace(meter_id="all")]
        turned = [meters[n % 3 :] + meters[: n % 3] for n in range(60)]
        answers = await asyncio.gather(*map(store.reserve, leases, turned))
        won = [lease for lease, answer in zip(leases, answers, strict=True) if answer == ()]
        assert len(won) == 10
        assert all(await asyncio.gather(*(store.finish_job(lease, DONE) for lease in won)))
        assert [await counted(store, hold) for hold in meters] == [(700, 0, 700)] * 3


# Periods


async def test_a_rolling_period_begins_with_the_first_use_after_the_last_one(
    database: Database,
) -> None:
    async with database.open() as store:
        hold = BUDGET._replace(window=MINUTE)
        await spent(store, database, hold)
        database.clock.advance(59.9)
        await spent(store, database, hold)
        assert await counted(store) == (140, 0, 140)
        database.clock.advance(600)
        await spent(store, database, hold)
        assert await meter(store) == Meter(database.clock.now(), 70, 0, 210)


async def test_a_period_of_the_calendar_begins_where_the_calendar_says(
    database: Database,
) -> None:
    async with database.open() as store:
        midnight = database.clock.now()
        today = Window(midnight, 86_400 * SECOND)
        database.clock.advance(3_600)
        await spent(store, database, BUDGET._replace(window=today))
        assert await meter(store) == Meter(midnight, 70, 0, 70)
        database.clock.advance(86_400)
        tomorrow = Window(midnight + 86_400 * SECOND, 86_400 * SECOND)
        await spent(store, database, BUDGET._replace(window=tomorrow))
        assert await meter(store) == Meter(midnight + 86_400 * SECOND, 70, 0, 140)


async def test_a_new_period_still_has_what_is_reserved(database: Database) -> None:
    async with database.open() as store:
        hold = BUDGET._replace(window=MINUTE, amount=600)
        old = await holding(store, database, hold)
        database.clock.advance(61)
        assert await store.reserve(await running_job(store, database), [hold])
        assert await store.finish_job(old, DONE)
        assert await counted(store) == (70, 0, 70)


async def test_the_end_of_a_period_makes_room(database: Database) -> None:
    async with database.open() as store:
        hold = REQUESTS._replace(limit=1, window=MINUTE)
        await spent(store, database, hold)
        lease = await running_job(store, database)
        assert await store.reserve(lease, [hold])
        database.clock.advance(60)
        assert await store.reserve(lease, [hold]) == ()


# Settling

End = Callable[[Store, Database, Lease], Awaitable[object]]


def finish(**changes: Any) -> End:
    return lambda store, _, lease: store.finish_job(lease, DONE._replace(**changes))


def next_attempt(ended: Retry) -> End:
    return lambda store, _, lease: store.begin_attempt(lease, ended, LEASE_S)


def put_back(ended: Retry) -> End:
    return lambda store, _, lease: store.put_back(lease, ended, 0)


async def lose(store: Store, database: Database, lease: Lease) -> object:
    del lease
    return await lose_leases(store, database)


async def release(store: Store, database: Database, lease: Lease) -> object:
    del database
    return await store.release_worker(lease.worker_id, 9)


async def cancel(store: Store, database: Database, lease: Lease) -> object:
    del database
    return await store.cancel_job(lease.job_id, ADMIN, None)


FAILURE = {"state": State.FAILED, "status_code": 500}
NOTHING = (None, False)
ENDS: dict[str, tuple[End, tuple[int, int, int], tuple[int | None, bool]]] = {
    # How it ends; what is used of budget, tokens and requests; what the job has cost.
    "with a success": (finish(), (70, 35, 1), (70, False)),
    "with a success that says nothing": (finish(metered=None), (100, 50, 1), (100, True)),
    "with a success without its price": (
        finish(metered=Metered(30, 5, None)),
        (100, 35, 1),
        (100, True),
    ),
    "with a success that costs more than was thought": (
        finish(metered=Metered(300, 500, 7_000)),
        (7_000, 800, 1),
        (7_000, False),
    ),
    "with a success for nothing": (finish(metered=Metered(0, 0, 0)), (0, 0, 1), (0, False)),
    "with a failure": (
        finish(**FAILURE, attempt_state=FAILED.attempt_state, metered=None),
        (0, 0, 0),
        NOTHING,
    ),
    "with a failure that was charged": (
        finish(**FAILURE, attempt_state=FAILED.attempt_state),
        (70, 35, 0),
        (70, False),
    ),
    "with a failure of unknown outcome": (
        finish(**FAILURE, attempt_state=UNKNOWN_HOLDING.attempt_state, metered=None),
        (100, 50, 1),
        (100, True),
    ),
    "with another attempt": (next_attempt(FAILED_HOLDING), (0, 0, 0), NOTHING),
    "with another attempt after a charge": (
        next_attempt(FAILED_HOLDING._replace(metered=USED)),
        (70, 35, 0),
        (70, False),
    ),
    "with another attempt after an unknown outcome": (
        next_attempt(UNKNOWN_HOLDING),
        (100, 50, 1),
        (100, True),
    ),
    "with another attempt, nothing having been sent": (
        next_attempt(UNSENT_HOLDING),
        (0, 0, 0),
        NOTHING,
    ),
    "put back": (put_back(FAILED_HOLDING), (0, 0, 0), NOTHING),
    "put back after a charge": (
        put_back(FAILED_HOLDING._replace(metered=USED)),
        (70, 35, 0),
        (70, False),
    ),
    "put back with an unknown outcome": (put_back(UNKNOWN_HOLDING), (100, 50, 1), (100, True)),
    "put back unsent": (put_back(UNSENT_HOLDING), (0, 0, 0), NOTHING),
    "with its lease": (lose, (100, 50, 1), (100, True)),
    "with its worker": (release, (100, 50, 1), (100, True)),
    "cancelled": (cancel, (100, 50, 1), (100, True)),
}


@pytest.mark.parametrize(("end", "used", "costs"), ENDS.values(), ids=ENDS)
async def test_the_end_of_an_attempt_settles_what_it_held(
    database: Database, end: End, used: tuple[int, int, int], costs: tuple[int | None, bool]
) -> None:
    async with database.open() as store:
        lease = await holding(store, database, *ALL)
        assert await end(store, database, lease)
        for hold, amount in zip((BUDGET, TOKENS, REQUESTS, PARALLEL), (*used, 0), strict=True):
            assert await counted(store, hold) == (amount, 0, amount), hold
        assert cost(await read(store, lease.job_id)) == costs
        first = (await attempts(store, lease.job_id))[0]
        assert (first.cost_usd_nanos, first.estimated) == costs


@pytest.mark.parametrize("lost", [lose, release], ids=["by time", "with its worker"])
async def test_a_job_that_ends_with_its_lease_settles_what_it_held(
    database: Database, lost: End
) -> None:
    async with database.open() as store:
        lease = await holding(store, database, *ALL, on_unknown=OnUnknown.FAIL)
        assert await lost(store, database, lease)
        view = await read(store, lease.job_id)
        assert (view.state, *cost(view)) == (State.FAILED, 100, True)
        assert await counted(store) == (100, 0, 100)


async def test_tokens_stay_as_they_were_metered_where_the_cost_is_estimated(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await holding(store, database, BUDGET)
        await store.begin_attempt(lease, UNKNOWN_HOLDING._replace(metered=USED), LEASE_S)
        view = await read(store, lease.job_id)
        assert (view.input_tokens, view.output_tokens) == (30, 5)
        assert cost(view) == (100, True)
        (first, _) = await attempts(store, lease.job_id)
        assert (first.input_tokens, first.output_tokens, first.cost_usd_nanos) == (30, 5, 100)


async def test_an_estimate_of_tokens_alone_leaves_the_cost_as_it_is(database: Database) -> None:
    async with database.open() as store:
        lease = await holding(store, database, TOKENS)
        await store.put_back(lease, UNKNOWN_HOLDING, 0)
        assert cost(await read(store, lease.job_id)) == (None, True)


async def test_what_was_held_for_nothing_leaves_the_price_unknown(database: Database) -> None:
    async with database.open() as store:
        lease = await holding(store, database, BUDGET._replace(amount=0))
        unpriced = Metered(30, 5, None)
        assert await store.finish_job(lease, DONE._replace(metered=unpriced))
        assert cost(await read(store, lease.job_id)) == (None, False)
        assert await counted(store) == (0, 0, 0)


async def test_a_job_costs_what_its_attempts_do_estimated_or_not(database: Database) -> None:
    async with database.open() as store:
        lease = await holding(store, database, BUDGET)
        await store.put_back(lease, FAILED_HOLDING._replace(metered=USED), 0)
        lease = await claim_again(store, lease.job_id)
        assert await store.reserve(lease, [BUDGET]) == ()
        await lose_leases(store, database)
        lease = await claim_again(store, lease.job_id)
        assert await store.reserve(lease, [BUDGET._replace(amount=3)]) == ()
        assert await store.finish_job(lease, DONE)
        assert cost(await read(store, lease.job_id)) == (240, True)
        assert await counted(store) == (240, 0, 240)
        each = [(one.cost_usd_nanos, one.estimated) for one in await attempts(store, lease.job_id)]
        assert each == [(70, False), (100, True), (70, False)]


async def test_each_attempt_reserves_anew(database: Database) -> None:
    async with database.open() as store:
        lease = await holding(store, database, BUDGET)
        begun = await store.begin_attempt(lease, FAILED_HOLDING, LEASE_S)
        assert begun
        assert await store.reserve(begun, [BUDGET._replace(amount=5)]) == ()
        assert await counted(store) == (0, 5, 0)


async def test_an_attempt_that_reserved_nothing_is_charged_nothing(database: Database) -> None:
    async with database.open() as store:
        await holding(store, database, BUDGET)
        await finished_job(store, database, DONE)
        assert await counted(store) == (0, 100, 0)


async def test_a_second_finish_settles_nothing(database: Database) -> None:
    async with database.open() as store:
        await holding(store, database, BUDGET)
        lease = await holding(store, database, BUDGET)
        assert await store.finish_job(lease, DONE)
        assert not await store.finish_job(lease, DONE)
        assert await counted(store) == (70, 100, 70)


async def test_of_a_finish_and_a_cancel_at_once_one_settles(database: Database) -> None:
    async with database.open() as store:
        for n in range(1, 6):
            lease = await holding(store, database, BUDGET._replace(limit=10_000))
            await asyncio.gather(
                store.finish_job(lease, DONE._replace(metered=Metered(1, 1, 100))),
                store.cancel_job(lease.job_id, OWNER, None),
            )
            assert await counted(store) == (100 * n, 0, 100 * n)


async def test_jobs_that_end_together_settle_each_its_own(database: Database) -> None:
    async with database.open() as store:
        hold = BUDGET._replace(limit=100_000)
        leases = [await holding(store, database, hold) for _ in range(20)]
        leases += [await running_job(store, database) for _ in range(20)]
        ends = [DONE._replace(metered=Metered(1, 1, n)) for n in range(20)]
        ends += [DONE._replace(metered=USED, held=False)] * 20
        assert all(await asyncio.gather(*map(store.finish_job, leases, ends)))
        assert await counted(store) == (190, 0, 190)


async def test_what_is_reserved_outlives_a_crash_and_is_charged_with_the_lease(
    database: Database,
) -> None:
    async with database.open() as store:
        lease = await holding(store, database, BUDGET)
        database.crash()
    async with database.open() as store:
        assert await counted(store) == (0, 100, 0)
        assert await store.release_worker(CLAIM.worker_id, 9) == 1
        assert await counted(store) == (100, 0, 100)
        assert cost(await read(store, lease.job_id)) == (100, True)
