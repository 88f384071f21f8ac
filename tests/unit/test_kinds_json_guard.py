"""Bodies are bounded before anything is built from them (reliability.md P16, S6)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.kinds import json_guard

CHUNK = json_guard.CHUNK


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """An array in an array in an array."""
    return (opening * depth + closing * depth).encode()


def depth_of(text: str) -> int:
    """How deep the brackets outside of strings are nested, by a plain loop."""
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_nesting_up_to_the_limit_is_accepted(depth: int) -> None:
    assert json_guard.problem(nested(depth), 64) is None


@pytest.mark.parametrize("depth", [65, 66, 1000, 100_000])
def test_nesting_beyond_the_limit_is_a_problem(depth: int) -> None:
    assert json_guard.problem(nested(depth), 64) == "nested deeper than 64 levels"


def test_objects_count_as_levels_too() -> None:
    assert json_guard.problem(b'{"a":[' * 32 + b"1" + b"]}" * 32, 64) is None
    assert json_guard.problem(b'{"a":[' * 32 + b"{}" + b"]}" * 32, 64) is not None


def test_many_brackets_side_by_side_are_no_depth() -> None:
    assert json_guard.problem(b"[" + b"[],{}," * 10_000 + b"[]]", 64) is None


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps({"a": "[" * 1000, '{"': '\\"' + "[{" * 1000 + "\\"}).encode()
    assert json_guard.problem(text, 64) is None


@pytest.mark.parametrize("before", range(CHUNK - 4, CHUNK + 4))
def test_a_string_across_the_edge_of_a_chunk_stays_a_string(before: int) -> None:
    text = b'["' + b"x" * before + b'\\\\\\"' + b"[" * 100 + b'"]'
    assert json_guard.problem(text, 64) is None


@pytest.mark.parametrize("before", range(CHUNK - 4, CHUNK + 4))
def test_depth_beyond_the_edge_of_a_chunk_is_seen(before: int) -> None:
    text = b'["' + b"x" * before + b'\\\\",' + nested(64) + b"]"
    assert json_guard.problem(text, 64) == "nested deeper than 64 levels"


@pytest.mark.parametrize("before", range(CHUNK - 4, CHUNK + 4))
def test_a_character_across_the_edge_of_a_chunk_is_whole(before: int) -> None:
    assert json_guard.problem(b'"' + b"x" * before + "😀é".encode() + b'"', 64) is None


@pytest.mark.parametrize("size", [0, 10, CHUNK * 5])
@pytest.mark.parametrize(
    "wrong", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"]
)
def test_invalid_utf8_is_a_problem_wherever_it_is(size: int, wrong: bytes) -> None:
    assert json_guard.problem(b'"' + b"x" * size + wrong + b'"', 64) == "invalid UTF-8"


@pytest.mark.parametrize("size", [0, CHUNK * 5])
def test_a_cut_character_at_the_end_is_a_problem(size: int) -> None:
    assert json_guard.problem(b"x" * size + b"\xf0\x9f\x98", 64) == "invalid UTF-8"


def test_too_many_objects_are_a_problem() -> None:
    few = b"[" + b"[]," * (json_guard.CONTAINERS_MAX - 2) + b"[]]"
    many = b"[" + b"{}," * json_guard.CONTAINERS_MAX + b"{}]"
    assert json_guard.problem(few, 64) is None
    assert json_guard.problem(many, 64) == "more than 1000000 objects and arrays"


def test_too_many_members_are_a_problem() -> None:
    few = b"{" + b'"a":1,' * (json_guard.MEMBERS_MAX - 1) + b'"a":1}'
    many = b"{" + b'"a":1,' * json_guard.MEMBERS_MAX + b'"a":1}'
    assert json_guard.problem(few, 64) is None
    assert json_guard.problem(many, 64) == "more than 1000000 members"


def test_colons_in_strings_are_no_members() -> None:
    assert json_guard.problem(b'["' + b":" * 2 * json_guard.MEMBERS_MAX + b'"]', 64) is None


def test_a_long_array_of_numbers_is_no_problem() -> None:
    assert json_guard.problem(b"[" + b"1," * 3_000_000 + b"1]", 64) is None


def test_check_text_refuses_with_400() -> None:
    with pytest.raises(Refused) as refused:
        json_guard.check_text(nested(65))
    assert refused.value.failure.status_code == 400
    assert refused.value.failure.message == ("invalid request format: nested deeper than 64 levels")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{}:, é😀', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='a"\\[{', max_size=4), inner, max_size=4)
    ),
    max_leaves=30,
)


@settings(max_examples=50)
@given(JSON, st.integers(1, 5))
def test_the_depth_is_the_one_a_plain_loop_counts(value: object, limit: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    found = json_guard.problem(text.encode(), limit)
    assert (found is None) == (depth_of(text) <= limit)


@settings(max_examples=50)
@given(JSON)
def test_the_structure_is_the_text_without_its_strings(value: object) -> None:
    text = json.dumps(value).encode()
    outside = b"".join(json_guard.structure(text))
    assert b'"' not in outside
    assert b"\\" not in outside
    assert b"a" not in outside.replace(b"false", b"")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_an_exception(text: bytes) -> None:
    json_guard.problem(text, 64)
