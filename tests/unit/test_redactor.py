"""Secrets in a stream, which may be cut in the middle of one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hermod.calls.redact import Redactor, redacted

SECRET = "sk-canary-0123456789"


def through(pieces: list[bytes], *secrets: str) -> bytes:
    """What is shown of a stream."""
    redactor = Redactor(secrets)
    return b"".join([redactor.feed(piece) for piece in pieces]) + redactor.rest()


@given(st.lists(st.integers(0, 60), max_size=8))
def test_it_is_found_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    whole = f'data: {{"key":"{SECRET}"}}\n\ndata: sk-canary-012\n\n'.encode()
    places = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    assert through(pieces, SECRET) == redacted(whole, [SECRET])


def test_what_only_looks_like_the_beginning_of_one_is_shown_in_the_end() -> None:
    assert through([b"sk-canary", b"-01"], SECRET) == b"sk-canary-01"


def test_pieces_without_any_of_it_are_shown_at_once() -> None:
    redactor = Redactor([SECRET])
    assert redactor.feed(b"data: hello\n\n") == b"data: hello\n\n"
