"""Reading a request's body within bounds (P16, P18; wire-contract 1.3; design.md 8, 7)."""

import asyncio
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from hermod.domain.errors import HermodError, Refused, bad_request
from hermod.domain.failure import Failure
from hermod.http.asgi import Message, Receive, Scope
from hermod.inflate import ENCODINGS, SPOKEN, InflateError, inflater

_RETRY_AFTER_S: Final = 1
_PAUSE_BYTES: Final = 256 * 1024
"""Of decompressed body, after which other tasks get their turn."""
_SHOWN_CHARS: Final = 100


class ClientGone(HermodError):
    """The client closed its connection, or was cut off, before its request was complete."""


class ByteBudget:
    """How many bytes of request bodies this process holds at once, at most."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total

    def hold(self, size: int = 0) -> "Hold":
        """Take `size` bytes, and more with `grow`, until the end of a `with` block."""
        return Hold(self, size)


class Hold:
    """A part of the budget, given back exactly once, when its `with` block is left."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget = budget
        self._size = size

    def __enter__(self) -> Self:
        size, self._size = self._size, 0
        self.grow(size)
        return self

    def grow(self, size: int) -> None:
        """Take more. Raises Refused (503) and takes nothing when there is not enough."""
        if size > self._budget.free:
            failure = Failure(
                "too many request bodies are being received at once (hermod.body_budget_mb)",
                status_code=503,
            )
            raise Refused(failure, retry_after_s=_RETRY_AFTER_S)
        self._budget.free -= size
        self._size += size

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._budget.free += self._size
        self._size = 0


async def read_body(scope: Scope, receive: Receive, cap: int, budget: ByteBudget) -> bytes:
    """The whole body, decompressed, of at most `cap` bytes.

    Nothing is asked of the client (`100 Continue`) before its headers are found acceptable. Bytes
    count against `budget` while the body is incomplete; a caller that keeps a large one for
    longer holds them itself, `with budget.hold(len(body))`, which cannot fail before its next
    `await`. Raises Refused (400 damaged, 413 too large, 415 an encoding we do not speak, 503 no
    budget) and ClientGone.
    """
    encoding = check_head(scope, cap)
    message = await receive()
    if encoding or message.get("more_body", False):
        return await _read_pieces(message, receive, encoding, cap, budget)
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if len(body) > cap:
        raise _too_large(cap)
    return body


async def _read_pieces(
    message: Message, receive: Receive, encoding: str | None, cap: int, budget: ByteBudget
) -> bytes:
    pieces: list[bytes] = []
    with budget.hold() as hold:

        def take(piece: bytes) -> None:
            hold.grow(len(piece))
            pieces.append(piece)

        await take_body(message, receive, encoding, cap, hold, take)
        return b"".join(pieces)


def check_head(scope: Scope, cap: int) -> str | None:
    """The encoding in which the body comes, None for none.

    Raises Refused: 413 for a body that says it is larger than `cap`, 415 for an encoding we do
    not speak and for more than one (RFC 9110 8.4, 15.5.16).
    """
    fields: dict[bytes, bytes] = dict(scope["headers"])
    encoding = _encoding(scope) if b"content-encoding" in fields else None
    if int(fields.get(b"content-length", b"0")) > cap:
        raise _too_large(cap)
    return encoding


async def take_body(
    message: Message,
    receive: Receive,
    encoding: str | None,
    cap: int,
    hold: Hold,
    take: Callable[[bytes], None],
) -> None:
    """Hands the body to `take`, piece by piece and decompressed; `message` is its beginning.

    `hold` grows by what a decompressor keeps; what `take` keeps is its own affair. Of a body that
    is too large `take` gets the first `cap` bytes, so that what is wrong with those is said first
    wherever the pieces end. Raises what read_body raises, and what `take` does.
    """
    unpacking = _Unpacking(encoding, hold) if encoding else None
    received = size = 0
    unpaused = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        data: bytes = message.get("body", b"")
        received += len(data)
        if unpacking is not None and received > cap:
            raise _too_large(cap)
        for piece in (data,) if unpacking is None else unpacking.feed(data):
            if size + len(piece) > cap:
                take(piece[: cap - size])
                raise _too_large(cap)
            size += len(piece)
            take(piece)
            unpaused += len(piece)
            if unpaused >= _PAUSE_BYTES and unpacking is not None:
                unpaused = 0
                await asyncio.sleep(0)  # let the others run: a small input can become a large body
        if not message.get("more_body", False):
            break
        message = await receive()
    if unpacking is not None:
        unpacking.finish()


class _Unpacking:
    """A compressed body: its memory is held, and its errors are a client's."""

    def __init__(self, encoding: str, hold: Hold) -> None:
        self._inflater = inflater(encoding)
        self._hold = hold
        self._held = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that `data` completes. Raises Refused."""
        try:
            for piece in self._inflater.feed(data):
                # The window fills up with what is put out.
                more = min(len(piece), self._inflater.window_bytes - self._held)
                self._hold.grow(more)
                self._held += more
                yield piece
        except InflateError as error:
            raise _unreadable(error) from None

    def finish(self) -> None:
        """Raises Refused when the end is missing."""
        try:
            self._inflater.finish()
        except InflateError as error:
            raise _unreadable(error) from None


def _encoding(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"content-encoding"]
    encodings = [token.strip().lower() for token in b",".join(values).decode("latin-1").split(",")]
    encodings = [token for token in encodings if token not in ("", "identity")]
    if not encodings:
        return None
    if len(encodings) == 1 and encodings[0] in SPOKEN:
        return encodings[0]
    named = ", ".join(encodings)[:_SHOWN_CHARS]
    message = (
        f"content-encoding {named!r} is not supported; use one of {', '.join(ENCODINGS)}, or none"
    )
    raise Refused(Failure(message, status_code=415))


def _unreadable(error: InflateError) -> Refused:
    return bad_request(f"invalid request format: {error}")


def _too_large(cap: int) -> Refused:
    message = f"request body is larger than {cap} bytes (client.max_request_body_size_mb)"
    return Refused(Failure(message, status_code=413))
