"""Replies, whatever they look like and however they are cut."""

import gzip
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hermod.net.messages import Limits, NetError, Reply
from hermod.net.reading import ReplyReader
from tests.net.upstream import reply_bytes

LIMITS = Limits(reply_bytes=200, header_bytes=300, header_count=8)
GOOD = (
    reply_bytes(b"hello", b"Content-Type: text/plain"),
    reply_bytes(gzip.compress(b"hello", mtime=0), b"Content-Encoding: gzip"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + reply_bytes(b"hello"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nX: 1\r\n\r\nhello",
)


def read(pieces: list[bytes]) -> Reply | NetError:
    """What comes of these pieces and the end of the connection."""
    reader = ReplyReader(LIMITS)
    try:
        for piece in pieces:
            if (reply := reader.feed(piece)) is not None:
                return reply
        return reader.feed_eof()
    except NetError as error:
        return error


@given(st.sampled_from(GOOD), st.lists(st.integers(0, 200), max_size=6))
def test_a_reply_is_the_same_however_it_is_cut(raw: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[a:b] for a, b in pairwise(edges) if a < b]
    reply = read(pieces)
    assert isinstance(reply, Reply)
    assert reply.body == b"hello"


@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=4)), min_size=1, max_size=4),
)
def test_a_damaged_reply_is_a_reply_or_a_net_error(
    raw: bytes, damages: list[tuple[int, bytes]]
) -> None:
    for at, damage in damages:
        raw = raw[:at] + damage + raw[at + len(damage) :]
    outcome = read([raw])
    if isinstance(outcome, Reply):
        assert len(outcome.body) <= LIMITS.reply_bytes


@given(st.binary(max_size=600))
def test_noise_is_a_net_error(noise: bytes) -> None:
    assert isinstance(read([noise] if noise else []), NetError)


def test_a_body_of_the_full_size_may_come_in_chunks_of_50_bytes() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + (b"32\r\n" + bytes(50) + b"\r\n") * 2_000 + b"0\r\n\r\n"
    reader = ReplyReader(Limits(reply_bytes=100_000, header_bytes=100))
    for start in range(0, len(raw), 1_000):
        reader.feed(raw[start : start + 1_000])
    assert reader.reply is not None
    assert len(reader.reply.body) == 100_000
