"""The small pure pieces of domain/."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.domain.ids import uuid7
from hermod.domain.job import TERMINAL, TRANSITIONS, WIRE_STATUS, State
from hermod.domain.wire_time import rfc3339

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_RANK = {"pending": 0, "processing": 1, "completed": 2, "failed": 2}


def test_every_state_has_its_moves_and_its_word_on_the_wire() -> None:
    assert set(TRANSITIONS) == set(State) == set(WIRE_STATUS)


def test_nothing_leaves_a_terminal_state() -> None:
    assert {state for state, moves in TRANSITIONS.items() if not moves} == TERMINAL


def test_no_move_goes_backwards_on_the_wire() -> None:
    for state, moves in TRANSITIONS.items():
        for after in moves:
            assert _RANK[WIRE_STATUS[after]] >= _RANK[WIRE_STATUS[state]], (state, after)


@given(st.integers(0, 2**48 * 1000 - 1))
def test_an_id_is_a_uuid7_of_its_instant(now_at: int) -> None:
    made = uuid7(now_at)
    assert _UUID7.fullmatch(made)
    assert int(made.replace("-", "")[:12], 16) == now_at // 1000


def test_ids_of_one_instant_differ() -> None:
    assert len({uuid7(1_700_000_000_000_000) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_771_488_617_831_000, "2026-02-19T08:10:17.831Z"),
        (1_771_488_617_000_001, "2026-02-19T08:10:17.000001Z"),
        (2_147_483_648_500_000, "2038-01-19T03:14:08.5Z"),
    ],
)
def test_an_instant_reads_as_rfc_3339(at: int, text: str) -> None:
    assert rfc3339(at) == text


def test_a_plain_failure_has_the_four_members_of_a_refusal() -> None:
    assert json.loads(Failure("no", status_code=400).to_json()) == {
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {"message": "no"},
        "extra_fields": {},
    }


def test_a_failure_says_everything_it_knows() -> None:
    failure = Failure(
        "no",
        status_code=429,
        type="decision",
        error_type="kind",
        code="7",
        param=["a", 1],
        event_id="e",
        cause="because",
        from_gateway=True,
    ).of(provider="p", model="m", request_type="r")
    assert json.loads(failure.to_json()) == {
        "event_id": "e",
        "type": "decision",
        "is_bifrost_error": True,
        "status_code": 429,
        "error": {
            "type": "kind",
            "code": "7",
            "message": "no",
            "param": ["a", 1],
            "event_id": "e",
            "error": "because",
        },
        "extra_fields": {"provider": "p", "model_requested": "m", "request_type": "r"},
    }


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_of_an_upstream_makes_valid_utf8_json(message: str) -> None:
    assert json.loads(Failure(message).to_json().decode("utf-8"))["error"]["message"] == message
