"""jobs/intake.py: the parts that need no store."""

import pytest

from hermod.jobs.intake import MAX_TTL_S, requested_ttl_s


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "0",
        "-5",
        "-0",
        "1.5",
        "60s",
        "abc",
        " 60",
        "60 ",
        "+",
        "++60",
        "+-60",
        "1e3",
        "٣",
        "²",
        "0x10",
        "9223372036854775808",
        "9" * 5000,
    ],
)
def test_whatever_is_no_positive_integer_means_the_default(value: str | None) -> None:
    assert requested_ttl_s(value) is None


@pytest.mark.parametrize(("value", "ttl_s"), [("60", 60), ("+60", 60), ("007", 7), ("1", 1)])
def test_a_positive_integer_is_the_ttl(value: str, ttl_s: int) -> None:
    assert requested_ttl_s(value) == ttl_s


def test_a_ttl_beyond_a_century_is_a_century() -> None:
    assert requested_ttl_s("9223372036854775807") == MAX_TTL_S
