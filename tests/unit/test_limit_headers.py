"""calls/limit_headers.py: every vendor's way to say how much is left."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.calls.limit_headers import Window, reset_s, wait_asked_s, windows

NOW = datetime(2025, 8, 21, 12, 40, 0, tzinfo=UTC)
NOW_AT = int(NOW.timestamp()) * 1_000_000
EPOCH_S = int(NOW.timestamp())


def told(**headers: str) -> list[Window]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return windows(tuple(named.items()), NOW_AT)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("19.999999999999996s", 20.0),
        ("1d", 86_400.0),
        ("0", 0.0),
        ("64", 64.0),
        ("11.382867097854614", 11.382867097854614),
        (str(EPOCH_S + 30), 30.0),
        (str((EPOCH_S + 30) * 1000), 30.0),
        (str(EPOCH_S - 30), 0.0),
        ("2025-08-21T12:40:59Z", 59.0),
        ("2025-08-21t12:40:59z", 59.0),
        ("2025-08-21T14:40:59.5+02:00", 59.5),
        ("2025-08-21T12:40:59", 59.0),
        ("2020-01-01T00:00:00Z", 0.0),
        ("Thu, 21 Aug 2025 12:41:00 GMT", 60.0),
    ],
)
def test_a_reset_is_read_in_every_form(text: str, seconds: float) -> None:
    assert reset_s(text, NOW_AT) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1x", "nan", "inf", "1e9", "s", "9" * 300])
def test_a_reset_that_says_nothing_is_none(text: str) -> None:
    assert reset_s(text, NOW_AT) is None


def test_openai() -> None:
    assert told(
        x_ratelimit_limit_requests="5000",
        x_ratelimit_remaining_requests="4999",
        x_ratelimit_reset_requests="12ms",
        x_ratelimit_limit_tokens="160000",
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="6m0s",
    ) == [Window(4999, 5000, 0.012), Window(0, 160_000, 360.0, of_requests=False)]


def test_anthropic() -> None:
    assert told(
        anthropic_ratelimit_requests_limit="1000",
        anthropic_ratelimit_requests_remaining="999",
        anthropic_ratelimit_requests_reset="2025-08-21T12:40:59Z",
        anthropic_ratelimit_input_tokens_limit="80000",
        anthropic_ratelimit_input_tokens_remaining="0",
        anthropic_ratelimit_input_tokens_reset="2025-08-21T12:41:00Z",
        anthropic_priority_input_tokens_remaining="0",
    ) == [Window(999, 1000, 59.0), Window(0, 80_000, 60.0, of_requests=False)]


def test_groq() -> None:
    assert told(
        x_ratelimit_limit_requests="14400",
        x_ratelimit_remaining_requests="14370",
        x_ratelimit_reset_requests="2m59.5s",
    ) == [Window(14_370, 14_400, 179.5)]


def test_azure_says_minus_one_where_there_is_no_limit() -> None:
    assert (
        told(
            x_ratelimit_limit_tokens="-1",
            x_ratelimit_remaining_tokens="-1",
            x_ratelimit_reset_tokens="0",
        )
        == []
    )


def test_azure_says_less_than_zero_when_it_is_overdrawn() -> None:
    assert told(x_ratelimit_remaining_tokens="-27689", x_ratelimit_reset_tokens="64") == [
        Window(-27_689, None, 64.0, of_requests=False)
    ]


def test_mistral_names_the_period_and_no_reset() -> None:
    assert told(
        x_ratelimit_limit_req_minute="60",
        x_ratelimit_remaining_req_minute="59",
        x_ratelimit_limit_tokens_month="4000000",
        x_ratelimit_remaining_tokens_month="3950246",
        x_ratelimit_tokens_query_cost="2804",
    ) == [Window(59, 60, 60.0), Window(3_950_246, 4_000_000, 2_592_000.0, of_requests=False)]


def test_mistral_as_it_was() -> None:
    assert told(
        ratelimitbysize_limit="500000",
        ratelimitbysize_remaining="0",
        ratelimitbysize_reset="28",
    ) == [Window(0, 500_000, 28.0, of_requests=False)]


def test_an_allowance_of_nothing_is_no_limit_to_wait_for() -> None:
    assert told(x_ratelimit_limit_req_minute="0", x_ratelimit_remaining_req_minute="0") == []


def test_cerebras() -> None:
    assert told(
        x_ratelimit_limit_requests_day="1000",
        x_ratelimit_remaining_requests_day="7",
        x_ratelimit_reset_requests_day="33011.25",
        x_ratelimit_remaining_tokens_minute="0",
        x_ratelimit_reset_tokens_minute="11.25",
    ) == [
        Window(7, 1000, 33_011.25),
        Window(0, None, 11.25, of_requests=False),
    ]


def test_together() -> None:
    assert told(
        x_ratelimit_limit="10",
        x_ratelimit_remaining="0",
        x_ratelimit_reset="1",
        x_tokenlimit_limit="3000",
        x_tokenlimit_remaining="2990",
    ) == [Window(0, 10, 1.0), Window(2990, None, 1.0, of_requests=False)]


def test_fireworks() -> None:
    assert told(
        x_ratelimit_limit_requests="60",
        x_ratelimit_remaining_requests="59",
        x_ratelimit_limit_tokens_generated="72000",
        x_ratelimit_remaining_tokens_generated="0",
        x_ratelimit_over_limit="yes",
    ) == [Window(59, None, 1.0), Window(0, None, 1.0, of_requests=False)]


def test_openrouter() -> None:
    assert told(
        x_ratelimit_limit="20",
        x_ratelimit_remaining="0",
        x_ratelimit_reset=str((EPOCH_S + 45) * 1000),
    ) == [Window(0, 20, 45.0)]


def test_the_drafts_three_headers() -> None:
    assert told(
        ratelimit_limit="100, 100;w=60", ratelimit_remaining="50", ratelimit_reset="30"
    ) == [Window(50, 100, 30.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"default";r=50;t=30', [Window(50, None, 30.0)]),
        ('"burst";r=0;t=2, "daily";r=99;t=3600', [Window(0, None, 2.0), Window(99, None, 3600.0)]),
        ('"tokens";r=0;t=9', [Window(0, None, 9.0, of_requests=False)]),
        ("limit=100, remaining=50, reset=5", [Window(50, 100, 5.0)]),
        ('"default"', []),
    ],
)
def test_the_drafts_one_header(text: str, expected: list[Window]) -> None:
    assert told(ratelimit=text, ratelimit_policy='"default";q=100;w=60') == expected


def test_headers_of_other_things_are_not_looked_at() -> None:
    assert told(content_type="application/json", x_request_id="limit", x_frame="1") == []


def test_a_429_may_ask_in_milliseconds() -> None:
    assert wait_asked_s([("retry-after-ms", "1500")], NOW_AT) == 1.5


def test_a_429_may_ask_by_the_end_of_its_window() -> None:
    headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")]
    assert wait_asked_s(headers, NOW_AT) == 7.0
    assert (
        wait_asked_s([("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "7")], NOW_AT) is None
    )


NAMES = st.sampled_from(
    ["x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-limit", "ratelimit",
     "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", "retry-after-ms",
     "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-ratelimit-reset-reset"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=40),
    st.text(alphabet='0123456789.-smhdTZ:+=;",rtµ', max_size=40),
    st.integers().map(str),
    st.floats().map(str),
)


@given(headers=st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_no_header_raises_and_no_reset_lies_in_the_past(headers: list[tuple[str, str]]) -> None:
    asked = wait_asked_s(headers, NOW_AT)
    assert asked is None or asked >= 0
    assert all(window.reset_s >= 0 for window in windows(headers, NOW_AT))
