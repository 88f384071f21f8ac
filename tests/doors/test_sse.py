import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.kinds.sse import Event, Reader, TooLong, WholeEvents, written


def test_line_ends_of_all_three_kinds_end_lines():
    stream = b"data: a\ndata: b\r\ndata: c\r\r\n"
    assert Reader().feed(stream) == [Event("message", b"a\nb\nc")]


def test_a_cut_between_cr_and_lf_makes_no_empty_line():
    reader = Reader()
    assert reader.feed(b"data: a\r") == []
    assert reader.feed(b"\ndata: b\r") == []
    assert reader.feed(b"\n") == []
    assert reader.feed(b"\r") == [Event("message", b"a\nb")]


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"\xef\xbb\xbfdata: a\n\n", [Event("message", b"a")]),
        (b": a comment\n\ndata:a\n\n", [Event("message", b"a")]),
        (b"event: ping\n\ndata: a\n\n", [Event("message", b"a")]),
        (b"event: x\ndata\n\n", [Event("x", b"")]),
        (b"data:  two spaces\n\n", [Event("message", b" two spaces")]),
        (b"id: 1\nretry: 2\nother: 3\ndata: a:b\n\n", [Event("message", b"a:b")]),
        (b"data: cut off\n", []),
        (b"data: \xff\n\n", [Event("message", "\ufffd".encode())]),
        (b"", []),
    ],
)
def test_fields_are_read_as_the_standard_says(stream: bytes, found: list[Event]):
    assert Reader().feed(stream) == found


def test_an_event_beyond_the_limit_is_refused_even_without_a_line_end():
    reader = Reader(event_bytes_max=10)
    assert reader.feed(b"data: 1\n\n") == [Event("message", b"1")]
    with pytest.raises(TooLong):
        reader.feed(b"data: 12345678")


def test_what_is_written_is_one_event_even_when_the_json_has_line_ends():
    assert Reader().feed(written(b'{\n"a":1}', "x")) == [Event("x", b'{ "a":1}')]


LINES = st.sampled_from(
    ["data: ", "data:é€😀", "event: x", "\r", "\n", "\r\n", "\n\n", ": c", "\ufeff", "data"]
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=30), st.lists(st.integers(0, 200), max_size=10))
def test_any_cutting_gives_the_same_events(parts: list[str], cuts: list[int]):
    stream = "".join(parts).encode()
    whole = Reader().feed(stream)
    places = [0, *sorted(min(place, len(stream)) for place in cuts), len(stream)]
    reader = Reader()
    found = [
        event
        for start, end in itertools.pairwise(places)
        for event in reader.feed(stream[start:end])
    ]
    assert found == whole


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n"])
def test_an_event_is_passed_on_once_it_is_whole(blank: bytes):
    whole = b"event: x\ndata: a" + blank
    for cut in range(1, len(whole) - 2):
        passed = WholeEvents()
        assert passed.feed(whole[:cut]) == b""
        assert passed.feed(whole[cut:] + b"data: b") == whole


def test_an_event_that_was_cut_off_is_passed_on_only_at_a_good_end():
    passed = WholeEvents()
    assert passed.feed(b"data: a\n\ndata: [DO") == b"data: a\n\n"
    assert passed.feed(b"NE]") == b""
    assert passed.end() == b"data: [DONE]"


@settings(deadline=None)
@given(st.lists(LINES, max_size=30), st.lists(st.integers(0, 200), max_size=10))
def test_nothing_that_is_passed_on_is_changed_or_cut(parts: list[str], cuts: list[int]):
    stream = "".join(parts).encode()
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    passed, reader = WholeEvents(), Reader()
    pieces = [passed.feed(stream[a:b]) for a, b in itertools.pairwise(places)]
    assert b"".join(pieces) + passed.end() == stream
    assert all(piece.endswith((b"\n", b"\r")) for piece in pieces if piece)
    found = [event for piece in pieces for event in reader.feed(piece)]
    assert found == Reader().feed(b"".join(pieces))
