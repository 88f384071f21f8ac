"""domain/options.py: what a job keeps of its headers."""

import json

import pytest

from hermod.domain.options import _READ, NO_OPTIONS, Options

EVERYTHING = Options(
    passthrough=False,
    content_type='multipart/form-data; boundary="x"',
    forward=(("x-a", "1"), ("x-a", "2")),
    labels={"team": "blü"},
    dimensions={"env": 'a "b" \\ c'},
    key_name="main",
    key_id="id-1",
    session_id="s",
    session_ttl_s=90.5,
    parent_request_id="p",
    raw_request=False,
    raw_response=True,
    store_raw=True,
    disable_content_logging=True,
    missing_headers=("X-Team", "x-b"),
    traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    baggage="a=1",
    background=True,
    door="openai",
    fallbacks=("openai/m", "groq/m"),
    sealed="v1:0:c2VhbGVk",
)


def test_the_common_request_stores_nothing() -> None:
    assert Options().encode() is None
    assert Options.decode(None) is NO_OPTIONS


def test_everything_comes_back() -> None:
    assert all(mine != usual for mine, usual in zip(EVERYTHING, NO_OPTIONS, strict=True))
    assert Options.decode(EVERYTHING.encode()) == EVERYTHING


def test_every_member_can_be_read() -> None:
    assert set(_READ) == set(Options._fields)


def test_only_what_was_said_is_stored() -> None:
    assert Options(key_name="a").encode() == '{"key_name":"a"}'
    assert Options(passthrough=False).encode() == '{"passthrough":false}'


def test_what_release_0_2_0_wrote_is_read() -> None:
    assert Options.decode('{"passthrough": true}') == Options(passthrough=True)
    assert Options.decode('{"passthrough": false}') == Options(passthrough=False)


def test_members_of_another_release_are_passed_over() -> None:
    assert Options.decode('{"warp": 9, "key_name": "a"}') == Options(key_name="a")


@pytest.mark.parametrize("wrong", [None, "x", 7, True, [1], [["a"]], {"a": 1}, ["a", 1]])
@pytest.mark.parametrize("member", Options._fields)
def test_a_member_that_means_something_else_there_harms_nothing(member: str, wrong: object) -> None:
    decoded = Options.decode(json.dumps({member: wrong}))
    kept, right = getattr(decoded, member), getattr(EVERYTHING, member)
    is_number = type(wrong) is int and type(right) is float
    assert kept == getattr(NO_OPTIONS, member) or type(kept) is type(right) or is_number
    assert Options.decode(decoded.encode()) == decoded


def test_a_text_that_is_no_object_says_nothing() -> None:
    assert Options.decode("[1]") is NO_OPTIONS


def test_a_text_that_is_not_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        Options.decode("{")


def test_the_headers_of_one_request_stay_small() -> None:
    # 16 KB of headers, 100 of them, whose every character has to be escaped.
    forward = tuple((f"x-{number}", '"' * 155) for number in range(100))
    stored = Options(forward=forward).encode()
    assert stored is not None
    assert len(stored.encode()) < 40_000
