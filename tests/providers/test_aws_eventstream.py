"""AWS's binary framing, compared with botocore's parser."""

import struct
from itertools import pairwise
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.providers.bedrock.eventstream import EventMessage, EventStreamError, EventStreamParser
from tests.providers.eventstreams import event, exception, framed, message

EVERY_TYPE = b"".join(
    struct.pack("!B", len(name)) + name + value
    for name, value in [
        (b"yes", b"\0"),
        (b"no", b"\1"),
        (b"byte", b"\2\xfe"),
        (b"short", b"\3\xff\xfe"),
        (b"int", b"\4\0\0\1\0"),
        (b"long", b"\5\xff\0\0\0\0\0\0\1"),
        (b"bytes", b"\6\0\3abc"),
        (b"text", b"\7\0\2\xc3\xa9"),
        (b"when", b"\x08\0\0\1\0\0\0\0\1"),
        (b"id", b"\x09" + bytes(range(16))),
    ]
)
WHOLE = (
    event("messageStart", {"role": "assistant"})
    + framed(EVERY_TYPE, b"\0\xff")
    + framed(b"", b"")
    + exception("throttlingException", {"message": "später"})
)


def theirs(stream: bytes) -> tuple[list[tuple[dict[str, Any], bytes]], bool]:
    """What botocore reads, and whether it takes offence at the rest."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    found: list[tuple[dict[str, Any], bytes]] = []
    try:
        found.extend((each.headers, each.payload) for each in buffer)
    except (ParserError, struct.error, KeyError, UnicodeDecodeError):
        return found, True
    return found, False


def ours(pieces: list[bytes]) -> tuple[list[EventMessage], EventStreamError | None]:
    parser = EventStreamParser()
    found: list[EventMessage] = []
    for piece in pieces:
        messages, error = parser.feed(piece)
        found += messages
        if error is not None:
            return found, error
    return found, None


def test_every_type_of_header_is_read_as_botocore_reads_it() -> None:
    found, error = ours([WHOLE])
    assert error is None
    assert (found, False) == theirs(WHOLE)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 13, 16, 50])
def test_the_size_of_the_pieces_means_nothing(size: int) -> None:
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    assert ours(pieces) == ours([WHOLE])


def test_every_cut_in_two_means_nothing() -> None:
    expected = theirs(WHOLE)[0]
    for at in range(len(WHOLE) + 1):
        assert ours([WHOLE[:at], WHOLE[at:]]) == (expected, None)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=20), st.binary(max_size=60))),
    st.lists(st.integers(0, 600), max_size=6),
)
def test_whatever_is_framed_and_cut_is_read_as_botocore_reads_it(
    told: list[tuple[str, str, bytes]], cuts: list[int]
) -> None:
    whole = b"".join(message({name: value}, payload) for name, value, payload in told)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    assert ours(pieces) == (theirs(whole)[0], None)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed_where_botocore_notices_it(at: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= change
    found, error = ours([bytes(damaged)])
    assert (found, error is not None) == theirs(bytes(damaged))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_headers_of_any_bytes_do_not_raise(headers: bytes) -> None:
    found, error = ours([framed(headers, b"x")])
    assert bool(found) is (error is None)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_do_not_raise(noise: bytes) -> None:
    ours([noise])


def test_an_impossible_length_is_refused_before_it_is_waited_for() -> None:
    start = struct.pack("!II", 0x7FFFFFFF, 10)
    _, error = ours([start + struct.pack("!I", crc32(start))])
    assert "impossible length" in str(error)


def test_a_message_that_has_not_ended_is_known_to_be_missing() -> None:
    parser = EventStreamParser()
    parser.feed(WHOLE[:-1])
    assert not parser.is_between
    parser.feed(WHOLE[-1:])
    assert parser.is_between
