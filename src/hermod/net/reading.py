"""One reply, from bytes to a Reply. No I/O."""

from typing import Final

import httptools

from hermod.net.inflate import InflateError, InflateOverflow, Inflater
from hermod.net.messages import Limits, NetError, Reason, Reply

_MAX_INTERIM: Final = 20
"""1xx replies put up with before the real one."""
_NO_BODY: Final = (204, 304)
_READ_HERE: Final = frozenset(
    {"content-length", "transfer-encoding", "content-encoding", "keep-alive"}
)
_FRAMING_PER_PIECE: Final = 16
"""Bytes of framing that a piece of the body may have at most without being charged for them: a
chunk costs 5 to 12. A piece has no more of them free than it has bytes itself."""


class _Stop(Exception):
    """The reply is refused; why, is in the reader's `_failure`."""


class ReplyReader:
    """Takes bytes until the reply is whole.

    httptools parses and calls the `on_` methods; the limits are kept here, as the bytes come.
    """

    def __init__(self, limits: Limits, *, streamed: bool = False) -> None:
        """With `streamed` the body is to be fetched with `take`, and `reply` ends without it."""
        self.limits = limits
        self.is_streamed = streamed
        self.has_begun = False
        """Whether any byte has come."""
        self.is_clean = False
        """Whether the reply ended, the connection may live on, and nothing came behind it."""
        self.reply: Reply | None = None
        """The reply, once it is whole."""
        self.keep_alive_s: float | None = None
        """How long the upstream says it keeps an idle connection."""
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.has_head = False
        """Whether `status` and `headers` are those of the final reply, and complete."""
        self._failure: tuple[Reason, str] | None = None
        self._framing = 0
        """Bytes so far that were not body, without what each piece of the body has free."""
        self._body_on_wire = 0
        self._head_room = limits.header_bytes
        self._interim = 0
        self._ends_with_connection = False
        self._encoding: str | None = None
        self._inflater: Inflater | None = None
        self._body = bytearray()
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # As the other clients do: a bare LF and blanks after a chunk size mean no second thing.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: bytes) -> Reply | None:
        """Takes the next bytes; the reply, if they complete it.

        Raises NetError: BROKEN for what is not HTTP, TOO_LARGE, BAD_ENCODING.
        """
        parser = self._parser
        assert parser is not None
        self.has_begun = True
        self._framing += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.reply is None:
                raise self._error(f"the reply is not HTTP ({type(error).__name__})") from None
            self.is_clean = False
        if self.reply is None and self._framing > self._most_framing():
            raise NetError(Reason.TOO_LARGE, "the reply is larger than allowed", sent=True)
        return self.reply

    def feed_eof(self) -> Reply:
        """The upstream sent its last byte; the reply, if it may end so.

        Raises NetError(BROKEN) when bytes are missing, BAD_ENCODING as `feed`.
        """
        if not self.has_head or not self._ends_with_connection:
            raise NetError(Reason.BROKEN, "the connection closed before the whole reply", sent=True)
        try:
            return self._whole()
        except _Stop:
            raise self._error("the reply is cut short") from None

    @property
    def waiting(self) -> int:
        """Bytes of the body that nobody has taken yet."""
        return len(self._body) if self._inflater is None else self._inflater.waiting

    def take(self) -> bytes:
        """What has come of the body since the last time, decompressed; perhaps nothing."""
        if self._inflater is not None:
            return self._inflater.take()
        piece = bytes(self._body)
        self._body.clear()
        return piece

    def close(self) -> None:
        """Lets go of parser and body. Parser and callbacks point at each other, so otherwise they
        would stay until the collector of cycles comes by."""
        self._parser = None
        self._inflater = None
        self._body = bytearray()

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self.reply is not None:
            # Nobody asked for it: the first one stands, and the connection is not kept.
            raise self._stop(Reason.BROKEN, "a second reply")
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:
            return  # trailers
        headers = self.headers
        self._head_room = room = self._head_room - len(name) - len(value) - 4
        if room < 0 or len(headers) >= self.limits.header_count:
            raise self._stop_too_large("head of the reply")
        headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self.status = parser.get_status_code()
        if self.status < 200:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise self._stop(Reason.BROKEN, "too many interim replies")
            return
        self._read_framing()
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        size = len(body)
        self._framing -= 2 * size if size < _FRAMING_PER_PIECE else size + _FRAMING_PER_PIECE
        self._body_on_wire += size
        if self._body_on_wire > self.limits.reply_bytes:
            raise self._stop_too_large("body of the reply")
        if self._encoding is None:
            self._body += body
            return
        try:
            if self._inflater is None:
                self._inflater = Inflater(self._encoding, self.limits.reply_bytes)
            self._inflater.feed(body)
        except InflateOverflow as error:
            raise self._stop_too_large("body of the reply") from error
        except InflateError as error:
            raise self._stop(Reason.BAD_ENCODING, str(error)) from error

    def on_message_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        if self.has_head:
            self.is_clean = parser.should_keep_alive()
            self._whole()

    # What they need.

    def _read_framing(self) -> None:
        length: str | None = None
        is_chunked = False
        for name, value in self.headers:
            if name not in _READ_HERE:
                continue
            if name == "content-length":
                length = value
            elif name == "transfer-encoding":
                if value.lower() != "chunked":
                    raise self._stop(Reason.BROKEN, "the transfer encoding is not chunked")
                is_chunked = True
            elif name == "content-encoding":
                self._encoding = _sole_encoding(value, self._encoding)
            else:
                self.keep_alive_s = _timeout_of(value)
        has_body = self.status not in _NO_BODY
        if has_body and length is not None and int(length) > self.limits.reply_bytes:
            raise self._stop_too_large("body of the reply")
        self._ends_with_connection = length is None and not is_chunked

    def _whole(self) -> Reply:
        if self._inflater is not None:
            try:
                self._inflater.check_end()
            except InflateError as error:
                raise self._stop(Reason.BAD_ENCODING, str(error)) from error
            body = b"" if self.is_streamed else self._inflater.take()
        else:
            body = b"" if self.is_streamed else bytes(self._body)
        self.reply = Reply(self.status, tuple(self.headers), body)
        return self.reply

    def _most_framing(self) -> int:
        """Also a name, a value, chunk extensions and chunks of one byte without end are bounded.
        A body of the full size may come in chunks of 5 bytes: models send a chunk per token."""
        head = self.limits.header_bytes
        return head + self.limits.reply_bytes // 8 if self.has_head else head

    def _stop_too_large(self, what: str) -> "_Stop":
        return self._stop(Reason.TOO_LARGE, f"the {what} is larger than allowed")

    def _stop(self, reason: Reason, detail: str) -> "_Stop":
        """To be raised, so that the parser stops. The parser reports any exception as one of its
        own, so what it means is kept here."""
        self._failure = (reason, detail)
        return _Stop()

    def _error(self, otherwise: str) -> NetError:
        reason, detail = self._failure or (Reason.BROKEN, otherwise)
        return NetError(reason, detail, sent=True)


def _sole_encoding(value: str, before: str | None) -> str | None:
    """The one content coding in force; several of them joined, which no Inflater takes."""
    codings = [coding.strip().lower() for coding in value.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if before is not None:
        codings.insert(0, before)
    return ",".join(codings) or None


def _timeout_of(keep_alive: str) -> float | None:
    """The seconds of `Keep-Alive: timeout=5, max=1000`, if it says any."""
    for part in keep_alive.split(","):
        name, _, value = part.partition("=")
        if name.strip().lower() == "timeout" and value.strip().isdecimal():
            return float(value.strip()[:9])
    return None
