"""A reply whose body is read while it comes."""

from collections.abc import AsyncIterator

from hermod.net.connection import Connection
from hermod.net.messages import Headers, Reply
from hermod.net.reading import ReplyReader


class StreamedReply:
    """The head of a reply, and its body for one reader, once.

    The upstream has to wait when what it sends is not read; its silence does not count then, but
    the time of the whole does.
    """

    def __init__(self, connection: Connection, reader: ReplyReader) -> None:
        """`reader` has the head already."""
        self._connection = connection
        self._reader = reader
        self._head = Reply(reader.status, tuple(reader.headers), b"")

    @property
    def status(self) -> int:
        """Of the final reply; no interim one is ever seen."""
        return self._head.status

    @property
    def headers(self) -> Headers:
        """As they came, in their order; names in lower case."""
        return self._head.headers

    def header(self, name: str) -> str | None:
        """The first value of this header; `name` in lower case."""
        return self._head.header(name)

    @property
    def content_type(self) -> str:
        """The media type in lower case without its parameters, or an empty string."""
        return self._head.content_type

    @property
    def retry_after(self) -> str | None:
        """What the upstream asked for, not yet interpreted (RFC 9110, 10.2.3)."""
        return self._head.retry_after

    def pieces(self) -> AsyncIterator[bytes]:
        """The body from where it was left, decompressed, as it comes and never empty; how it is
        cut means nothing.

        It ends only with the reply. Else NetError is raised, after all that came, `sent` being
        true: BROKEN, TIMEOUT_TOTAL, TIMEOUT_IDLE, TOO_LARGE or BAD_ENCODING. A wait for the next
        piece may be cancelled and repeated.
        """
        return _Pieces(self._connection, self._reader)

    async def read(self) -> bytes:
        """The rest of the body, no larger than `Limits.reply_bytes`. Raises as `pieces` does."""
        return b"".join([piece async for piece in self.pieces()])


class _Pieces(AsyncIterator[bytes]):
    """Not a generator, which a reader that stops early would leave for the event loop to close."""

    def __init__(self, connection: Connection, reader: ReplyReader) -> None:
        self._connection = connection
        self._reader = reader

    async def __anext__(self) -> bytes:
        piece = await self._connection.next_piece(self._reader)
        if not piece:
            raise StopAsyncIteration
        return piece
