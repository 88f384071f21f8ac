"""Reading a request's body within bounds (P16, P18; design.md 8, 7)."""

from types import TracebackType
from typing import Final, Self

from hermod.domain.errors import HermodError, Refused
from hermod.domain.failure import Failure
from hermod.http.asgi import Message, Receive, Scope

_RETRY_AFTER_S: Final = 1


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
    """The whole body, of at most `cap` bytes.

    Nothing is asked of the client (`100 Continue`) before its headers are found acceptable. Bytes
    count against `budget` while the body is incomplete; a caller that keeps a large one for
    longer holds them itself, `with budget.hold(len(body))`, which cannot fail before its next
    `await`. Raises Refused (413 too large, 415 compressed, 503 no budget) and ClientGone.
    """
    fields: dict[bytes, bytes] = dict(scope["headers"])
    if b"content-encoding" in fields:
        _refuse_compressed(fields[b"content-encoding"])
    if int(fields.get(b"content-length", b"0")) > cap:
        raise _too_large(cap)
    message = await receive()
    if message.get("more_body", False):
        return await _read_pieces(message, receive, cap, budget)
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if len(body) > cap:
        raise _too_large(cap)
    return body


async def _read_pieces(first: Message, receive: Receive, cap: int, budget: ByteBudget) -> bytes:
    pieces: list[bytes] = []
    size = 0
    message = first
    with budget.hold() as hold:
        while True:
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > cap:
                raise _too_large(cap)
            hold.grow(len(piece))
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone


def _refuse_compressed(value: bytes) -> None:
    encoding = value.decode("latin-1").strip().lower()
    if encoding not in {"", "identity"}:
        message = f"content-encoding {encoding!r} is not supported; send the body as it is"
        raise Refused(Failure(message, status_code=415))


def _too_large(cap: int) -> Refused:
    message = f"request body is larger than {cap} bytes (client.max_request_body_size_mb)"
    return Refused(Failure(message, status_code=413))
