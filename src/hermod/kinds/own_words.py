"""A request in its vendor's own words, on its way from a door to that same vendor.

A door that is asked for a model of its own vendor has nothing to translate: what the client wrote
travels in one member of our request, and the vendor's dialect sends it on. The answer comes back in
the same member, beside ours; of a stream each event does, as a text within an event of ours, so
that nothing in it is taken for the end or the failure of our stream. A provider that speaks other
words never sees the member: it is the gateway's own (`Kind.never_sent`).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

MEMBER: Final = "hermod_own_words"
"""Of a request, of an answer and of an event."""

ANTHROPIC: Final = "anthropic"
GOOGLE: Final = "google"
TRAVELS_AS: Final[Mapping[str, str]] = {ANTHROPIC: "responses", GOOGLE: "chat_completion"}
"""The request type of ours that stands for an API's requests."""

_QUOTED: Final = f'"{MEMBER}"'.encode()


class Words(msgspec.Struct, frozen=True, gc=False):
    """What a client asked a vendor for."""

    api: str
    request: msgspec.Raw
    """A JSON object, without the model and without what is for the gateway."""
    headers: dict[str, str] = {}
    """Those of the vendor's API that say what the request means, by names in lower case."""


class _Asked(msgspec.Struct, gc=False):
    words: Words | None = msgspec.field(default=None, name=MEMBER)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of a vendor's stream."""

    api: str
    name: str
    """Empty where the vendor gives its events no names."""
    data: str


_asked: Final = msgspec.json.Decoder(_Asked).decode
_event: Final = msgspec.json.Decoder(Event).decode
_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def instead_of_ours(api: str) -> dict[str, object]:
    """What stands where our words would. A provider that were asked with it would refuse it."""
    if api == GOOGLE:
        return {"messages": [{"role": MEMBER}]}
    return {"input": [{"type": MEMBER}]}


def in_request(body: bytes) -> Words | None:
    """The vendor's words in one of our requests; None where there are none. Never raises."""
    if _QUOTED not in body:
        return None
    try:
        return _asked(body).words
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def with_answer(ours: bytes, api: str, theirs: bytes) -> bytes:
    """An answer of ours that holds the vendor's, too. Both are JSON objects."""
    end = ours.rindex(b"}")
    answer = msgspec.json.encode({"api": api, "answer": msgspec.Raw(theirs)})
    return b"%b,%b:%b}" % (memoryview(ours)[:end], _QUOTED, answer)


def answer_in(members: Mapping[str, msgspec.Raw], api: str) -> dict[str, msgspec.Raw]:
    """The members of the vendor's answer in one of ours; none where there is none. Never raises."""
    held = members.get(MEMBER)
    if held is None:
        return {}
    try:
        found = _members_of(held)
        is_theirs = bytes(found["api"]) == b'"%b"' % api.encode()
        return _members_of(found["answer"]) if is_theirs else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return {}


def event(api: str, name: str, data: bytes) -> bytes:
    """The data of an event of ours that holds one of the vendor's. `data` is valid UTF-8."""
    return msgspec.json.encode({MEMBER: Event(api, name, data.decode())})


def event_in(held: msgspec.Raw | None, api: str) -> Event | None:
    """The vendor's event that an event's `MEMBER` holds. Never raises."""
    if held is None:
        return None
    try:
        found = _event(held)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.api == api else None
