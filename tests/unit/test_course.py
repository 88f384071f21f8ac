"""domain/course.py: keys and targets take turns (product.md M2, M3; wire-contract 8.4, 8.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.course import Again, End, Progress, Surroundings, Turn, next_step
from hermod.domain.failure import Failure
from hermod.domain.outcome import Fault, Retryable
from hermod.domain.retry import RetryPolicy

POLICY = RetryPolicy(2, 0.5, 5.0)
BROKEN = Fault(Failure("broken", 500), Retryable.BACKOFF)
WRONG = Fault(Failure("wrong", 400))
REFUSED = Fault(Failure("refused", 401), Retryable.OTHER_KEY)
SLOW = Fault(Failure("slow down", 429), Retryable.RATE_LIMITED)
LATER = Fault(Failure("come later", 429), Retryable.RATE_LIMITED, 30.0)
SOON = Fault(Failure("come soon", 429), Retryable.RATE_LIMITED, 1.0)
HELD = Fault(Failure("held", 429), Retryable.HELD, 30.0, sent=False)


def around(
    *,
    targets: int = 1,
    other_keys: int = 0,
    key_id: str | None = "a",
    remaining_s: float = 3600.0,
    max_retries: int = 2,
    waits: bool = True,
) -> Surroundings:
    policy = RetryPolicy(max_retries, 0.5, 5.0)
    every = range(targets)
    return Surroundings(policy, other_keys, key_id, every, remaining_s, 0.5, waits)


def again(found: End | Again) -> Again:
    assert isinstance(found, Again)
    return found


def message(found: End | Again) -> str:
    assert isinstance(found, End)
    return found.failure.message


def test_without_fallbacks_the_fault_is_the_end() -> None:
    assert message(next_step(WRONG, Progress(), around())) == "wrong"


def test_a_server_error_is_tried_again_with_the_same_target() -> None:
    found = again(next_step(BROKEN, Progress(), around(targets=2)))
    assert (found.delay_s, found.spent, found.progress.at) == (0.5, True, 0)


def test_when_the_tries_are_spent_the_fallback_has_its_own() -> None:
    found = again(next_step(BROKEN, Progress(spent=2), around(targets=2)))
    assert (found.delay_s, found.progress.at, found.progress.spent) == (0.0, 1, 0)
    more = again(next_step(BROKEN, found.progress, around(targets=2)))
    assert (more.progress.at, more.delay_s) == (1, 0.5)


def test_an_error_of_the_request_goes_on_to_the_fallback_at_once() -> None:
    found = again(next_step(WRONG, Progress(), around(targets=3)))
    assert (found.progress.at, found.progress.seen) == (1, (0,))


def test_when_all_fail_the_first_error_is_the_jobs() -> None:
    first = again(next_step(WRONG, Progress(), around(targets=2)))
    end = next_step(REFUSED, first.progress, around(targets=2))
    assert message(end) == "wrong"


@pytest.mark.parametrize(
    "failure",
    [
        Failure("gone", 499, error_type="request_cancelled"),
        Failure("lacks headers", 400, type="missing_required_headers"),
    ],
)
def test_what_no_other_provider_could_mend_does_not_fall_back(failure: Failure) -> None:
    assert message(next_step(Fault(failure), Progress(), around(targets=2))) == failure.message


def test_the_jobs_deadline_is_the_end_whatever_is_left() -> None:
    late = Fault(Failure("too late", 504), job_deadline=True)
    progress = Progress(at=1, seen=(0,), first=Failure("the first", 500))
    assert message(next_step(late, progress, around(targets=3))) == "too late"
    assert message(next_step(BROKEN, progress, around(targets=3, remaining_s=0))) == "the first"


# Keys


def test_a_refused_key_makes_room_for_another_at_once() -> None:
    found = again(next_step(REFUSED, Progress(), around(other_keys=2)))
    assert (found.delay_s, found.spent, found.progress.dead) == (0.0, False, ("a",))


def test_a_refused_key_does_so_even_without_retries() -> None:
    assert again(next_step(REFUSED, Progress(), around(other_keys=1, max_retries=0)))


def test_the_refusal_of_the_only_key_is_shown_as_it_came() -> None:
    assert message(next_step(REFUSED, Progress(), around())) == "refused"


def test_when_every_key_was_refused_that_is_the_error() -> None:
    end = next_step(REFUSED, Progress(dead=("b",)), around())
    assert isinstance(end, End)
    assert (end.failure.status_code, end.failure.code) == (502, "upstream_credentials_exhausted")


def test_too_many_requests_turn_to_another_key_after_the_backoff() -> None:
    found = again(next_step(SLOW, Progress(), around(other_keys=1)))
    assert (found.delay_s, found.spent, found.progress.tired) == (0.5, True, "a")


def test_a_429_that_says_when_turns_to_another_key_at_once_and_costs_no_try() -> None:
    found = again(next_step(LATER, Progress(), around(other_keys=1)))
    assert (found.delay_s, found.spent, found.progress.tired) == (0.0, False, "a")


def test_after_a_round_of_the_keys_the_wait_is_waited_out() -> None:
    found = again(next_step(LATER, Progress(tired="b", waits=1), around(other_keys=1)))
    assert (found.delay_s, found.spent) == (30.0, False)


def test_without_retries_a_429_is_the_end() -> None:
    assert message(next_step(SLOW, Progress(), around(other_keys=1, max_retries=0))) == "slow down"


# Waits


def test_a_long_wait_without_fallbacks_is_waited_out_and_costs_no_try() -> None:
    found = again(next_step(LATER, Progress(), around()))
    assert (found.delay_s, found.spent) == (30.0, False)


def test_a_short_wait_is_waited_out_before_a_fallback_is_tried() -> None:
    found = again(next_step(SOON, Progress(), around(targets=2)))
    assert (found.delay_s, found.progress.at) == (1.0, 0)


@pytest.mark.parametrize("fault", [LATER, HELD])
def test_instead_of_a_long_wait_the_fallback_is_tried(fault: Fault) -> None:
    found = again(next_step(fault, Progress(), around(targets=2)))
    assert (found.delay_s, found.spent) == (0.0, False)
    assert (found.progress.at, found.progress.seen) == (1, ())
    assert found.progress.put_off == (Turn(0, spent=0, waits=1),)


def test_what_was_put_off_comes_again_when_the_fallbacks_have_failed() -> None:
    put_off = again(next_step(LATER, Progress(), around(targets=2))).progress
    back = again(next_step(WRONG, put_off, around(targets=2))).progress
    assert (back.at, back.seen) == (0, (1,))
    waits = again(next_step(LATER, back, around(targets=2)))
    assert (waits.delay_s, waits.progress.at) == (30.0, 0)
    assert message(next_step(WRONG, waits.progress, around(targets=2))) == "wrong"


def test_what_comes_again_has_no_new_tries() -> None:
    put_off = again(next_step(LATER, Progress(spent=2), around(targets=2))).progress
    back = again(next_step(WRONG, put_off, around(targets=2))).progress
    assert message(next_step(BROKEN, back, around(targets=2))) == "broken"


def test_where_all_are_held_back_none_keeps_the_job_from_the_others() -> None:
    found, asked = Again(0.0, False, Progress()), list[int]()
    for _ in range(6):
        asked.append(found.progress.at)
        found = again(next_step(HELD, found.progress, around(targets=3)))
    assert asked[:5] == [0, 1, 2, 0, 1]
    assert found.delay_s == 30.0


def test_a_fallback_that_is_full_is_waited_for_before_who_was_put_off() -> None:
    full = Fault(Failure("full", 429), Retryable.HELD, 0.25, sent=False)
    put_off = again(next_step(HELD, Progress(), around(targets=2))).progress
    found = again(next_step(full, put_off, around(targets=2)))
    assert (found.delay_s, found.progress.at) == (0.5, 1)


def test_a_target_that_was_held_back_and_never_asked_has_no_error_of_its_own_yet() -> None:
    held = again(next_step(HELD, Progress(), around(targets=2))).progress
    assert held.first is None
    later = again(next_step(LATER, Progress(), around(targets=2))).progress
    assert later.first == LATER.failure


def test_a_caller_who_waits_gets_the_next_target_or_the_error_and_no_long_wait() -> None:
    found = again(next_step(LATER, Progress(), around(targets=2, waits=False)))
    assert found.progress.at == 1
    assert message(next_step(LATER, Progress(), around(waits=False))) == "come later"


def test_a_target_that_is_held_back_makes_room_even_for_a_short_wait() -> None:
    soon = Fault(Failure("held", 429), Retryable.HELD, 1.0, sent=False)
    assert again(next_step(soon, Progress(), around(targets=2))).progress.at == 1


def test_a_call_that_is_held_back_past_the_deadline_is_no_failure_of_ours() -> None:
    found = again(next_step(HELD, Progress(), around(remaining_s=10.0)))
    assert (found.delay_s, found.spent) == (30.0, False)


def test_a_caller_who_waits_is_not_refused_because_we_hold_back() -> None:
    found = again(next_step(HELD, Progress(), around(waits=False)))
    assert (found.delay_s, found.progress.at) == (0.0, 0)
    assert found.progress.comes_again


def test_a_caller_who_waits_insists_only_when_all_targets_were_held_back() -> None:
    found = again(next_step(HELD, Progress(), around(targets=2, waits=False)))
    assert (found.progress.at, found.progress.comes_again) == (1, False)
    found = again(next_step(HELD, found.progress, around(targets=2, waits=False)))
    assert (found.progress.at, found.progress.comes_again) == (0, True)


def test_a_caller_who_waits_does_not_come_again_to_who_asked_for_patience() -> None:
    found = again(next_step(LATER, Progress(), around(targets=2, waits=False)))
    end = next_step(WRONG, found.progress, around(targets=2, waits=False))
    assert message(end) == "come later"


def test_a_caller_who_insists_waits_for_a_slot_of_the_upstream_and_not_for_ever() -> None:
    full = Fault(Failure("full", 429), Retryable.HELD, 0.25, sent=False)
    progress = Progress(waits=1, put_off=(Turn(0, 0, 1),))
    assert again(next_step(full, progress, around(waits=False))).delay_s == 1.0
    late = progress._replace(waits=8)
    assert message(next_step(full, late, around(waits=False))) == "full"


def test_targets_that_cannot_be_called_are_passed_over_and_keep_their_numbers() -> None:
    surroundings = around()._replace(targets=(0, 2))
    found = again(next_step(WRONG, Progress(), surroundings))
    assert found.progress.at == 2
    assert message(next_step(WRONG, found.progress, surroundings)) == "wrong"


# What is remembered


names = st.text(max_size=5)
numbers = st.lists(st.integers(0, 9), max_size=3).map(tuple)
failures = st.builds(
    Failure, names, st.sampled_from([None, 400, 500]), names.filter(bool), names.filter(bool)
)


@given(
    st.builds(
        Progress,
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 9),
        st.lists(names, max_size=3).map(tuple),
        st.none() | names,
        numbers,
        st.lists(st.builds(Turn, *[st.integers(0, 9)] * 3), max_size=3).map(tuple),
        st.none() | failures,
    )
)
def test_what_is_stored_is_what_was_known(progress: Progress) -> None:
    assert Progress.decode(progress.encode()) == progress


@pytest.mark.parametrize(
    "text",
    [
        '{"put_off":[1]}',
        "", "null", "7", "[]", '"at"', '{"at":"x"}', '{"at":null}', '{"dead":5}', '{"seen":["x"]}',
        '{"put_off":[[]]}', '{"first":3}', '{"first":{"error":7}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_another_program_wrote_is_an_error_of_one_kind(text: str) -> None:
    with pytest.raises(ValueError, match="no progress"):
        Progress.decode(text)


def test_what_a_younger_release_remembers_beside_it_is_left_out() -> None:
    assert Progress.decode('{"at":1,"mood":"good"}') == Progress(at=1)


def test_what_is_stored_stays_small() -> None:
    shown = Failure("broken", 500).showing(b'["%s"]' % (b"x" * 1_000_000), b'"no"')
    text = Progress(at=1, first=shown).encode()
    assert text is not None
    assert len(text) < 10_000
    assert Progress.decode(text).first == Failure("broken", 500)


def test_a_job_that_never_failed_remembers_nothing() -> None:
    assert Progress().encode() is None


FAULTS = [BROKEN, WRONG, REFUSED, SLOW, LATER, SOON, HELD]


@given(st.lists(st.sampled_from(FAULTS), min_size=400, max_size=400), st.integers(1, 4),
       st.integers(1, 3), st.booleans())  # fmt: skip
def test_every_course_ends_unless_it_is_told_to_wait(
    faults: list[Fault], targets: int, keys: int, waits: bool
) -> None:
    """Only what the upstream asked us to wait for may go on for ever."""
    progress, spent, tries = Progress(), 0, 0
    for number, fault in enumerate(faults, start=1):
        dead = sum(1 for name in progress.dead if name != "never")
        found = next_step(
            fault,
            progress,
            around(
                targets=targets,
                other_keys=max(keys - dead - 1, 0),
                key_id=f"k{number}",
                waits=waits,
            ),
        )
        if isinstance(found, End):
            return
        progress = found.progress
        spent += found.spent
        tries += found.delay_s < 1.0
    assert tries < 400
    assert spent <= targets * 3
