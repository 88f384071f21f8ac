"""A stream of JSON events, read: each object, each error, and its end."""

from typing import Final

import msgspec

from hermod.domain.usage import Usage
from hermod.kinds import sse
from hermod.providers.adapter import StreamTranslator
from hermod.providers.bridge.pieces import Json, is_object, written
from hermod.providers.lenient import members as object_of
from hermod.providers.upstream_errors import Told, told_by
from hermod.providers.usage import usage_of

_DONE: Final = b"[DONE]"
_UNEXPLAINED: Final = Told("the stream brought an error that says nothing")


def told_in(chunk: Json) -> Told | None:
    """The error that an object of a stream holds, if it does."""
    return told_by(written(chunk)) if chunk.get("error") else None


class Chunks:
    """Takes a stream in pieces cut anywhere, gives its objects; None stands for `[DONE]`."""

    def __init__(self, inner: StreamTranslator | None) -> None:
        """`inner` turns the upstream's stream into OpenAI's, where it is not that already."""
        self._inner = inner
        self._reader = sse.Reader()
        self._broken = False
        self._usage: object = None

    @property
    def usage(self) -> Usage | None:
        """What was told of it so far."""
        if self._inner is not None:
            return self._inner.usage
        return usage_of(msgspec.Raw(written(self._usage))) if self._usage else None

    def feed(self, piece: bytes) -> list[Json | Told | None]:
        """What `piece` completes. Never raises."""
        return self._read(piece if self._inner is None else self._inner.feed(piece))

    def end(self) -> list[Json | Told | None]:
        """What was still to come. Some upstreams leave out the last blank line."""
        rest = b"" if self._inner is None else self._inner.end()
        return self._read(rest + b"\n\n")

    def _read(self, piece: bytes) -> list[Json | Told | None]:
        if self._broken:
            return []
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as error:
            self._broken = True
            return [Told(str(error))]
        return [found for event in events for found in self._take(event)]

    def _take(self, event: sse.Event) -> list[Json | Told | None]:
        if event.data.strip() == _DONE:
            return [None]
        try:
            chunk: object = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, RecursionError):
            chunk = None
        if event.name == "error" or (is_object(chunk) and _is_error(chunk)):
            return [told_by(event.data) or _UNEXPLAINED]
        if not is_object(chunk):
            return []
        # A response tells it in itself.
        usage = chunk.get("usage") or object_of(chunk.get("response")).get("usage")
        self._usage = usage or self._usage
        return [chunk]


def _is_error(chunk: Json) -> bool:
    return bool(chunk.get("error")) or "error" in (chunk.get("type"), chunk.get("object"))
