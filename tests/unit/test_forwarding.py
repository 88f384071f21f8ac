"""domain/forwarding.py: which headers reach the upstream."""

import pytest

from hermod.domain.forwarding import NEVER_FORWARDED, HeaderFilter, Names, merged

REFUSED = (
    "proxy-authorization", "cookie", "host", "content-length", "connection", "transfer-encoding",
    "x-api-key", "x-goog-api-key", "x-bf-api-key", "x-bf-api-key-id", "x-bf-vk", "x-bf-direct-key",
    "authorization", "api-key", "content-type", "content-encoding", "accept-encoding", "te",
    "upgrade", "expect", "keep-alive", "trailer",
)  # fmt: skip
ANYTHING = HeaderFilter(Names.of(["*"]))


@pytest.mark.parametrize("name", REFUSED)
def test_some_headers_are_never_forwarded(name: str) -> None:
    assert not HeaderFilter().admits(name, "v")
    assert not HeaderFilter(Names.of([name])).admits(name, "v")
    assert not ANYTHING.admits_unasked(name, "v")


def test_the_list_above_is_the_whole_list() -> None:
    assert set(REFUSED) | {"proxy-connection"} == NEVER_FORWARDED


@pytest.mark.parametrize(
    ("name", "value"), [("", "v"), ("x y", "v"), ("x:", "v"), ("x-a", "a\r\nb"), ("x-a", "€")]
)
def test_what_cannot_be_sent_is_not_forwarded(name: str, value: str) -> None:
    assert not HeaderFilter().admits(name, value)


def test_without_a_filter_what_is_asked_for_is_forwarded_and_nothing_else() -> None:
    assert HeaderFilter().admits("x-a", "v")
    assert not HeaderFilter().admits_unasked("x-a", "v")


def test_a_list_of_allowed_names_leaves_the_others_out() -> None:
    rules = HeaderFilter(Names.of(["X-A", "anthropic-*"]))
    assert rules.admits("x-a", "v")
    assert rules.admits("anthropic-beta", "v")
    assert not rules.admits("x-b", "v")
    assert rules.admits_unasked("anthropic-beta", "v")
    assert not rules.admits_unasked("x-b", "v")


def test_a_denied_name_is_not_forwarded_even_when_it_is_allowed() -> None:
    rules = HeaderFilter(Names.of(["x-*"]), Names.of(["x-secret", "x-in*"]))
    assert rules.admits("x-a", "v")
    assert not rules.admits("x-secret", "v")
    assert not rules.admits("x-internal", "v")
    assert not rules.admits_unasked("x-internal", "v")


@pytest.mark.parametrize("name", ["x-bf-session-id", "x-hermod-on-unknown"])
def test_headers_to_the_gateway_are_not_forwarded_unasked(name: str) -> None:
    assert not ANYTHING.admits_unasked(name, "v")


def test_earlier_headers_win_and_repeats_stay() -> None:
    own = [("Authorization", "Bearer k")]
    operators = [("X-Team", "blue"), ("x-a", "operator")]
    callers = [("authorization", "theirs"), ("X-A", "theirs"), ("x-b", "1"), ("x-b", "2")]
    assert merged(own, operators, callers, [("User-Agent", "Hermod")]) == (
        ("Authorization", "Bearer k"),
        ("X-Team", "blue"),
        ("x-a", "operator"),
        ("x-b", "1"),
        ("x-b", "2"),
        ("User-Agent", "Hermod"),
    )


def test_what_stands_in_gives_way() -> None:
    assert merged([("user-agent", "theirs")], [("User-Agent", "Hermod")]) == (
        ("user-agent", "theirs"),
    )
