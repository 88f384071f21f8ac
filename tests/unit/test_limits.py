"""calls/limits.py: when a call may begin, one rule at a time."""

from dataclasses import replace

import pytest

from hermod.calls.limits import Call, Heard, Limits, Sign, sign_of
from hermod.calls.pace import BROKEN_AFTER, FULL_S, PROBE_S
from hermod.domain.deadlines import job_deadline_failure
from hermod.domain.failure import Failure
from hermod.domain.outcome import Answer, Fault, Outcome, Retryable
from hermod.domain.provider import KeySettings, ProviderSettings, Row, Secret
from hermod.domain.retry import RETRY_AFTER_CAP_S

OK = Heard(Sign.OK)
BROKEN = Heard(Sign.BROKEN)
T0 = 1000.0

OPENAI = ProviderSettings(
    name="openai",
    origin="config.json",
    row=Row("openai", "https://api.example", (), (), keyless=False, paths={}),
    base_url="https://api.example",
    keys=(
        KeySettings(name="a", id="a", value=Secret("1"), concurrency=2),
        KeySettings(name="b", id="b", value=Secret("2")),
    ),
    attempt_timeout_s=600.0,
    max_retries=3,
    retry_backoff_initial_ms=500,
    retry_backoff_max_ms=5000,
    concurrency=5,
)


def limits() -> Limits:
    return Limits([OPENAI])


def begun(of: Limits, calls: int, key: str | None = "b", now_s: float = T0) -> list[Call]:
    return [of.began("openai", key, now_s) for _ in range(calls)]


def end(of: Limits, calls: list[Call], heard: Heard | None, now_s: float = T0) -> None:
    for call in calls:
        of.ended(call, heard, now_s)


def known(calls: int = 1) -> Limits:
    """Without caps, with a key that has done its work before."""
    of = Limits()
    end(of, begun(of, calls), OK)
    return of


def test_a_provider_that_nobody_called_has_no_limit() -> None:
    assert Limits().wait_s("openai", "a", T0) == 0.0
    assert Limits().room("openai", ("a",), T0) == (None, 0.0)


def test_the_providers_cap_holds_over_all_its_keys() -> None:
    of = limits()
    calls = begun(of, 5)
    assert of.wait_s("openai", "a", T0) == FULL_S
    assert of.room("openai", ("a", "b"), T0) == (0, FULL_S)
    end(of, calls[:1], OK)
    assert of.wait_s("openai", "a", T0) == 0.0


def test_a_keys_cap_holds_for_that_key() -> None:
    of = limits()
    calls = begun(of, 2, "a")
    assert of.wait_s("openai", "a", T0) == FULL_S
    assert of.wait_s("openai", "b", T0) == 0.0
    end(of, calls[:1], OK)
    assert of.wait_s("openai", "a", T0) == 0.0
    assert of.room("openai", ("a",), T0)[0] == 1


def test_a_call_that_says_nothing_only_makes_room() -> None:
    of = limits()
    end(of, begun(of, 5), None)
    assert of.wait_s("openai", "b", T0) == 0.0


def test_a_429_keeps_its_key_away_and_no_other() -> None:
    of = known()
    end(of, begun(of, 1), Heard(Sign.RATE_LIMITED, retry_after_s=30.0))
    assert of.wait_s("openai", "b", T0 + 10) == 20.0
    assert of.wait_s("openai", "c", T0 + 10) == 0.0
    assert of.room("openai", ("b",), T0 + 10) == (0, 20.0)
    assert of.wait_s("openai", "b", T0 + 30) == 0.0


@pytest.mark.parametrize(("asked_s", "wait_s"), [(1e9, RETRY_AFTER_CAP_S), (-1.0, 0.0), (0.0, 0.0)])
def test_an_absurd_wish_is_brought_into_bounds(asked_s: float, wait_s: float) -> None:
    of = known()
    end(of, begun(of, 1), Heard(Sign.RATE_LIMITED, retry_after_s=asked_s))
    assert of.wait_s("openai", "b", T0) == wait_s


def test_429s_that_say_nothing_pause_longer_and_longer_up_to_a_few_seconds() -> None:
    of, now_s, pauses = known(), T0, list[float]()
    for _ in range(6):
        end(of, begun(of, 1, now_s=now_s), Heard(Sign.RATE_LIMITED), now_s)
        pauses.append(of.wait_s("openai", "b", now_s))
        now_s += pauses[-1]
    assert pauses == [0.5, 1.0, 2.0, 4.0, PROBE_S, PROBE_S]


def test_many_429s_at_once_are_one() -> None:
    of = known()
    end(of, begun(of, 100), Heard(Sign.RATE_LIMITED))
    assert of.wait_s("openai", "b", T0) == 0.5


def test_a_429_may_say_when_to_come_back_in_its_vendors_words() -> None:
    of = known()
    end(of, begun(of, 1), Heard(Sign.RATE_LIMITED, (("retry-after-ms", "1500"),)))
    assert of.wait_s("openai", "b", T0) == 1.5


def test_after_a_429_one_call_goes_and_with_each_success_twice_as_many() -> None:
    of = known()
    end(of, begun(of, 1), Heard(Sign.RATE_LIMITED, retry_after_s=1.0))
    now_s, rooms = T0 + 1.0, list[int | None]()
    for _ in range(4):
        rooms.append(of.room("openai", ("b",), now_s)[0])
        end(of, begun(of, 1, now_s=now_s), OK, now_s)
    assert rooms == [1, 2, 3, 4]  # the ceiling: one had gone well before
    assert of.wait_s("openai", "b", now_s) == 0.0


def test_a_slow_start_ends_by_time_when_calls_take_long() -> None:
    of = known()
    end(of, begun(of, 1), Heard(Sign.RATE_LIMITED, retry_after_s=1.0))
    end(of, begun(of, 1, now_s=T0 + 1), OK, T0 + 1)
    assert of.room("openai", ("b",), T0 + 15) == (None, 0.0)


def test_a_probe_that_hangs_holds_the_next_one_up_for_seconds_only() -> None:
    of = known()
    end(of, begun(of, 1), Heard(Sign.RATE_LIMITED, retry_after_s=1.0))
    begun(of, 1, now_s=T0 + 1)
    assert of.wait_s("openai", "b", T0 + 1) == PROBE_S
    assert of.wait_s("openai", "b", T0 + 1 + PROBE_S) == 0.0


def test_one_failure_changes_nothing() -> None:
    of = known()
    end(of, begun(of, 1), BROKEN)
    assert of.room("openai", ("b",), T0) == (None, 0.0)


def test_calls_that_died_of_the_same_blow_count_as_one() -> None:
    of = known()
    end(of, begun(of, 1000), BROKEN)
    assert of.room("openai", ("b",), T0) == (None, 0.0)


def broken() -> Limits:
    """An upstream that is probed."""
    of = known()
    for _ in range(BROKEN_AFTER + 1):
        end(of, begun(of, 1), BROKEN)
    assert of.wait_s("openai", "b", T0) == 1.0
    return of


def test_a_broken_upstream_is_probed_by_one_call_at_a_time() -> None:
    of, now_s, pauses = broken(), T0, list[float]()
    for _ in range(5):
        pauses.append(of.wait_s("openai", "b", now_s))
        now_s += pauses[-1]
        probe = begun(of, 1, now_s=now_s)
        assert of.room("openai", ("b",), now_s)[0] == 0
        end(of, probe, BROKEN, now_s)
    assert pauses == [1.0, 2.0, 4.0, PROBE_S, PROBE_S]


@pytest.mark.parametrize("sign", [Sign.OK, Sign.REFUSED])
def test_the_first_sign_of_life_ends_it(sign: Sign) -> None:
    of = broken()
    end(of, begun(of, 1), Heard(sign))  # a caller did not wait
    assert of.wait_s("openai", "b", T0) == 0.0
    assert of.room("openai", ("b",), T0)[0] == 2


def test_what_began_before_the_pause_proves_nothing() -> None:
    of = known()
    early = begun(of, 1)
    for _ in range(BROKEN_AFTER + 1):
        end(of, begun(of, 1), BROKEN)
    end(of, early, OK)
    assert of.wait_s("openai", "b", T0) == 1.0


def requests(remaining: int, reset: str = "20s", limit: str = "") -> Heard:
    headers = [("x-ratelimit-remaining-requests", str(remaining))]
    headers.append(("x-ratelimit-reset-requests", reset))
    return Heard(Sign.OK, (*headers, ("x-ratelimit-limit-requests", limit)))


def test_what_remains_is_respected_before_a_429_comes() -> None:
    of = known()
    end(of, begun(of, 1), requests(2))
    assert of.room("openai", ("b",), T0) == (2, FULL_S)
    begun(of, 2)
    assert of.wait_s("openai", "b", T0 + 5) == 15.0
    assert of.wait_s("openai", "b", T0 + 20) == 0.0


def test_what_was_sent_since_is_taken_from_what_remains() -> None:
    of = known()
    first, *_ = begun(of, 4)
    end(of, [first], requests(5))
    assert of.room("openai", ("b",), T0)[0] == 2


def test_a_reply_that_was_overtaken_is_not_believed() -> None:
    of = known()
    first, second = begun(of, 2)
    end(of, [second], requests(100))
    end(of, [first], requests(0))
    assert of.wait_s("openai", "b", T0) == 0.0


def test_a_whole_window_opens_at_once_and_an_unknown_one_by_a_slow_start() -> None:
    for limit, room in (("60", 60), ("", 1)):
        of = known()
        end(of, begun(of, 1), requests(0, limit=limit))
        assert of.wait_s("openai", "b", T0) == 20.0
        assert of.room("openai", ("b",), T0 + 20)[0] == room


def test_a_window_longer_than_the_cap_is_probed() -> None:
    of = known()
    end(of, begun(of, 1), requests(0, "24h0m0s", "1000"))
    assert of.wait_s("openai", "b", T0) == RETRY_AFTER_CAP_S
    assert of.room("openai", ("b",), T0 + RETRY_AFTER_CAP_S)[0] == 1


def test_tokens_stop_a_key_only_when_none_are_left() -> None:
    of = known()
    for remaining, wait_s in (("1", 0.0), ("0", 3.0)):
        headers = (
            ("anthropic-ratelimit-tokens-remaining", remaining),
            ("anthropic-ratelimit-tokens-reset", "2025-08-21T12:40:03Z"),
        )
        end(of, begun(of, 1), Heard(Sign.OK, headers, now_at=1_755_780_000_000_000))
        assert of.wait_s("openai", "b", T0) == wait_s


def test_the_backlog_tries_a_new_key_with_a_few_calls_first() -> None:
    of = Limits([replace(OPENAI, concurrency=1000)])
    assert of.room("openai", ("b",), T0)[0] == 8
    begun(of, 8)
    assert of.room("openai", ("b",), T0)[0] == 0
    assert of.wait_s("openai", "b", T0) == 0.0  # callers are not held up
    assert of.room("openai", ("b",), T0 + 0.25)[0] == 24
    assert of.room("openai", ("b",), T0 + 1) == (None, 0.0)


def test_keys_that_callers_bring_are_forgotten() -> None:
    of = Limits()
    for number in range(5000):
        end(of, begun(of, 1, f"theirs-{number}"), OK)
    assert len(of._providers["openai"].paces) <= 1000


@pytest.mark.parametrize(
    ("outcome", "sign"),
    [
        (Answer(b"{}"), Sign.OK),
        (Fault(Failure("", status_code=429), Retryable.RATE_LIMITED), Sign.RATE_LIMITED),
        (Fault(Failure("", status_code=503), Retryable.BACKOFF), Sign.BROKEN),
        (Fault(Failure("", status_code=501)), Sign.BROKEN),
        (Fault(Failure("", status_code=408), Retryable.BACKOFF), Sign.BROKEN),
        (Fault(Failure("", status_code=400)), Sign.REFUSED),
        (Fault(Failure("", status_code=401)), Sign.REFUSED),
        (Fault(Failure("not what was asked for")), Sign.REFUSED),
        (Fault(Failure("", error_type="network_error"), sent=False), Sign.BROKEN),
        (Fault(Failure("", status_code=504, from_gateway=True), unknown=True), Sign.BROKEN),
        (Fault(job_deadline_failure(), unknown=True, job_deadline=True), None),
        (Fault(Failure("no keys found"), sent=False), None),
    ],
)
def test_what_an_outcome_says_of_its_upstream(outcome: Outcome, sign: Sign | None) -> None:
    assert sign_of(outcome) is sign
