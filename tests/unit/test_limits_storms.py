"""calls/limits.py over hours: storms, dead upstreams, bad luck (reliability.md F14)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.calls.limits import Heard, Limits, Sign
from hermod.calls.pace import PROBE_S
from hermod.domain.retry import RETRY_AFTER_CAP_S
from tests.support.upstream_day import Day, Upstream

OK = Heard(Sign.OK)
BROKEN = Heard(Sign.BROKEN)
STORM_S = 300.0
AT_FIRST = 16
"""What an untried key may have out before the first word of a fast upstream."""


def storm(starts_s: float, retry_after_s: float | None, latency_s: float = 0.05) -> Upstream:
    """429 for STORM_S, then fine."""

    def upstream(now_s: float, _key: str | None) -> tuple[float, Heard]:
        if starts_s <= now_s < starts_s + STORM_S:
            return latency_s, Heard(Sign.RATE_LIMITED, retry_after_s=retry_after_s)
        return latency_s, OK

    return upstream


@pytest.mark.parametrize("keys", [(None,), ("a", "b")])
def test_a_storm_costs_few_calls_and_drains_soon(keys: tuple[str | None, ...]) -> None:
    slots, jobs, latency_s = 100, 1000, 1.0
    day = Day(Limits(), storm(1000.0, 30.0, 0.05), slots, keys)
    day.submit(jobs)
    day.run(STORM_S - 1)
    assert day.calls_between(0, 1000 + STORM_S) <= len(keys) * (2 * STORM_S / 30 + AT_FIRST)
    assert day.taken == 0  # waiting holds no slot
    day.upstream = storm(1000.0, 30.0, latency_s)
    day.run(3600)
    assert day.done == jobs
    ideal_s = STORM_S + jobs / slots * latency_s
    assert day.done_s - 1000 <= 2 * ideal_s
    # And without what Retry-After itself cost:
    assert day.done_s - 1000 <= ideal_s + 30 + jobs / slots * latency_s


def test_a_storm_that_breaks_out_amid_work_costs_what_was_out_and_then_as_little() -> None:
    slots = 100
    day = Day(Limits(), storm(1010.0, 30.0, 1.0), slots)
    day.submit(3000)
    day.run(3600)
    assert day.done == 3000
    assert day.calls_between(1010, 1010 + STORM_S) <= 2 * slots + 2 * STORM_S / 30


@pytest.mark.parametrize("retry_after_s", [None, 0.0, 0.001])
def test_a_storm_that_says_nothing_useful_is_probed_every_few_seconds(
    retry_after_s: float | None,
) -> None:
    day = Day(Limits(), storm(1000.0, retry_after_s), 100)
    day.submit(1000)
    day.run(3600)
    assert day.done == 1000
    assert day.calls_between(0, 1000 + STORM_S) <= 4 * AT_FIRST + 2 * STORM_S / PROBE_S
    assert day.done_s <= 1000 + STORM_S + 2 * PROBE_S + 10


@pytest.mark.parametrize("absurd_s", [1e9, 301.0])
def test_an_absurd_retry_after_is_capped(absurd_s: float) -> None:
    day = Day(Limits(), storm(1000.0, absurd_s), 100)
    day.submit(10)
    day.run(3600)
    assert day.done == 10
    assert day.done_s <= 1000 + 2 * RETRY_AFTER_CAP_S + 2 * PROBE_S


def dead(until_s: float, takes_s: float, latency_s: float = 0.5) -> Upstream:
    def upstream(now_s: float, _key: str | None) -> tuple[float, Heard]:
        return (takes_s, BROKEN) if now_s < until_s else (latency_s, OK)

    return upstream


@pytest.mark.parametrize("takes_s", [0.01, 10.0])
def test_a_dead_upstream_is_not_hammered_by_a_backlog(takes_s: float) -> None:
    slots = 1000
    day = Day(Limits(), dead(1600.0, takes_s), slots)
    day.submit(10_000)
    day.run(600)
    by_then = len(day.began_s)
    assert day.calls_between(1100, 1600) <= 500
    assert by_then <= 3 * slots + 600
    day.run(3600)
    assert day.done == 10_000
    # A probe that begins just too early, the pause after it, the slow start.
    assert day.done_s <= 1600 + takes_s + 2 * PROBE_S + 10 + 10_000 / slots * 0.5


@pytest.mark.parametrize("slots", [1, 50, 1000])
def test_bad_luck_is_no_broken_upstream(slots: int) -> None:
    chance = random.Random(7)
    limits = Limits()

    def upstream(_now_s: float, _key: str | None) -> tuple[float, Heard]:
        return chance.uniform(0.05, 2.0), BROKEN if chance.random() < 0.3 else OK

    day = Day(limits, upstream, slots)
    day.submit(20_000)
    day.run(1e6)
    assert day.done == 20_000
    assert day.put_back == 0
    assert limits.room("openai", (None,), day.now_s) == (None, 0.0)


def test_a_quota_that_is_told_costs_no_429() -> None:
    limit, window_s = 60, 60.0
    used: dict[int, int] = {}
    refused = 0

    def upstream(now_s: float, _key: str | None) -> tuple[float, Heard]:
        nonlocal refused
        window = int(now_s // window_s)
        used[window] = used.get(window, 0) + 1
        ends_s = (window + 1) * window_s - now_s
        if used[window] > limit:
            refused += 1
            return 0.05, Heard(Sign.RATE_LIMITED, retry_after_s=ends_s)
        headers = (
            ("x-ratelimit-limit-requests", str(limit)),
            ("x-ratelimit-remaining-requests", str(limit - used[window])),
            ("x-ratelimit-reset-requests", f"{ends_s}s"),
        )
        return 0.05, Heard(Sign.OK, headers)

    day = Day(Limits(), upstream, 100)
    day.submit(600)
    day.run(7200)
    assert day.done == 600
    assert refused <= 10
    assert day.done_s <= 1000 + 11 * window_s + 10


def test_a_limit_that_nobody_tells_of_is_learned_by_and_by() -> None:
    """The calls that only hear no become fewer."""
    limit, window_s = 60, 60.0
    used: dict[int, int] = {}

    def upstream(now_s: float, _key: str | None) -> tuple[float, Heard]:
        window = int(now_s // window_s)
        used[window] = used.get(window, 0) + 1
        if used[window] > limit:
            ends_s = (window + 1) * window_s - now_s
            return 0.5, Heard(Sign.RATE_LIMITED, retry_after_s=ends_s)
        return 0.5, OK

    day = Day(Limits(), upstream, 1000)
    day.submit(600)
    day.run(7200)
    assert day.done == 600
    assert day.done_s <= 1000 + 12 * window_s
    in_vain = len(day.began_s) - 600
    assert in_vain <= 540 + 9 * 2 * limit  # the first window teaches


ENDS = st.sampled_from(
    [
        OK,
        BROKEN,
        Heard(Sign.REFUSED),
        Heard(Sign.RATE_LIMITED),
        Heard(Sign.RATE_LIMITED, retry_after_s=0.0),
        Heard(Sign.RATE_LIMITED, retry_after_s=30.0),
        Heard(Sign.RATE_LIMITED, retry_after_s=1e9),
        Heard(Sign.OK, (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999"))),
        Heard(Sign.OK, (("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1s"))),
        Heard(Sign.OK, (("ratelimit", '"a";r=2;t=60'),)),
        None,
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    past=st.lists(st.tuples(ENDS, st.floats(0, 50), st.integers(0, 40)), min_size=1, max_size=40),
    hanging=st.integers(0, 50),
)
def test_whatever_has_happened_no_wait_is_too_long_and_a_sound_upstream_is_soon_free(
    past: list[tuple[Heard | None, float, int]], hanging: int
) -> None:
    limits, now_s = Limits(), 0.0
    for _ in range(hanging):
        limits.began("p", "k", now_s)  # and never ends
    for heard, pause_s, calls in past:
        out = [limits.began("p", "k", now_s) for _ in range(calls)]
        now_s += pause_s
        for call in out:
            limits.ended(call, heard, now_s)
        wait_s = limits.wait_s("p", "k", now_s)
        room, again_s = limits.room("p", ("k",), now_s)
        assert 0 <= wait_s <= RETRY_AFTER_CAP_S
        assert 0 <= again_s <= RETRY_AFTER_CAP_S
        assert room == 0 or wait_s == 0
    while (wait_s := limits.wait_s("p", "k", now_s)) > 0:
        now_s += wait_s  # what was asked for is respected
    well_s = now_s
    plenty = Heard(Sign.OK, (("ratelimit", '"a";r=100000;t=60'),))
    while (limits.room("p", ("k",), now_s)[0] or 0) < 100:
        assert now_s - well_s < 2 * PROBE_S + 15
        if limits.wait_s("p", "k", now_s) == 0:
            call = limits.began("p", "k", now_s)
            now_s += 0.1
            limits.ended(call, plenty, now_s)
        now_s += 0.1


@given(calls=st.integers(1, 300), retry_after_s=st.floats(1, 300), storm_s=st.floats(10, 2000))
def test_one_call_goes_out_per_pause_of_a_storm(
    calls: int, retry_after_s: float, storm_s: float
) -> None:
    limits = Limits()
    out = [limits.began("p", "k", 0.0) for _ in range(calls)]
    for call in out:
        limits.ended(call, Heard(Sign.RATE_LIMITED, retry_after_s=retry_after_s), 0.1)
    now_s, asked, began = 0.1, 0, 0
    while now_s < storm_s and asked < 500:
        asked += 1
        wait_s = limits.wait_s("p", "k", now_s)
        if wait_s == 0:
            began += 1
            call = limits.began("p", "k", now_s)
            assert limits.wait_s("p", "k", now_s) > 0
            limits.ended(call, Heard(Sign.RATE_LIMITED, retry_after_s=retry_after_s), now_s)
        now_s += max(wait_s, 0.01)
    assert began <= storm_s / retry_after_s + 1
