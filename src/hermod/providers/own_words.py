"""Requests that are in their vendor's own words already: nothing is translated on the way there.

The answer is told in our words as well, for those who ask for the job elsewhere.
"""

from dataclasses import replace
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds import own_words, sse
from hermod.kinds.kind import AnyKind
from hermod.kinds.own_words import TRAVELS_AS, Words
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import (
    Answered,
    Dialect,
    Outgoing,
    OwnWords,
    Prepared,
    StreamTranslator,
)
from hermod.providers.bridge import response as bridge_response

_CHAT: Final = "chat_completion"
_ERROR: Final = b'data: {"error":'
_DONE: Final = b"data: [DONE]\n\n"


def hearing_own_words(dialect: Dialect, request_type: str) -> Dialect:
    """The dialect that sends requests in the vendor's own words as they are, others as before."""
    of_type = tuple(own for own in dialect.own if TRAVELS_AS[own.api] == request_type)
    if not of_type:
        return dialect

    def spoken(outgoing: Outgoing) -> tuple[OwnWords, Words] | None:
        words = own_words.in_request(outgoing.body)
        if words is None:
            return None
        own = next((own for own in of_type if own.api == words.api), None)
        return (own, words) if own is not None and own.speaks(outgoing) else None

    def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
        """See `Dialect.build`."""
        found = spoken(outgoing)
        if found is None:
            return dialect.build(kind, outgoing)
        own, words = found
        return own.build(outgoing, words)

    def read(
        kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
    ) -> Answered | Failure:
        """See `Dialect.read`."""
        found = spoken(outgoing)
        if found is None:
            return dialect.read(kind, outgoing, content_type, body)
        return _answered(found[0], kind, outgoing, content_type, body)

    def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
        """See `Dialect.open_stream`."""
        found = spoken(outgoing)
        if found is None:
            assert dialect.open_stream is not None
            return dialect.open_stream(kind, outgoing)
        own = found[0]
        return _Untranslated(own.api, own.open_stream(KIND_BY_TYPE[_CHAT], outgoing))

    return replace(dialect, build=build, read=read, open_stream=open_stream)


def _answered(
    own: OwnWords, kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """The answer in our words, with the vendor's within."""
    found = own.read(KIND_BY_TYPE[_CHAT], outgoing, content_type, body)
    if isinstance(found, Failure):
        return found
    ours: bytes | Failure = found.body
    if kind.request_type != _CHAT:
        ours = bridge_response.response_of(outgoing, found.body)
    if isinstance(ours, Failure):
        return ours
    return Answered(own_words.with_answer(ours, own.api, body), usage=found.usage)


class _Untranslated:
    """A vendor's stream, event by event as it is; its translation tells of its end and its use."""

    def __init__(self, api: str, translation: StreamTranslator) -> None:
        self._api = api
        self._translation = translation
        self._reader = sse.Reader()
        self._failed = False

    @property
    def usage(self) -> Usage | None:
        """See `StreamTranslator.usage`."""
        return self._translation.usage

    def feed(self, piece: bytes) -> bytes:
        """See `StreamTranslator.feed`."""
        if self._failed:
            return b""
        try:
            events = self._reader.feed(piece)
        except sse.TooLong as wrong:
            self._failed = True
            error = {"message": str(wrong), "type": "api_error"}
            return sse.written(msgspec.json.encode({"error": error}))
        return b"".join(self._take(event) for event in events)

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        # Some servers leave out the empty line after the last event.
        rest = self.feed(b"\n\n")
        last = self._translation.end()
        if self._failed:
            return rest
        return rest + (_DONE if last.endswith(_DONE) else self._error_in(last))

    def _take(self, event: sse.Event) -> bytes:
        if self._failed:
            return b""
        name = "" if event.name == "message" else event.name
        said = self._translation.feed(sse.written(event.data, name or None))
        error = self._error_in(said)
        return error or sse.written(own_words.event(self._api, name, event.data))

    def _error_in(self, said: bytes) -> bytes:
        """The error that the translation found, if it did. It is the last of the stream."""
        begins_at = said.find(_ERROR)
        if begins_at < 0:
            return b""
        self._failed = True
        return said[begins_at:]
