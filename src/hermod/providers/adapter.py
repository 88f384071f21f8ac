"""What a provider's dialect has to offer: build a request, read a reply. Nothing is sent here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.kinds.own_words import Words
from hermod.providers.pending import Polling


class Outgoing(NamedTuple):
    """A stored request on its way to an upstream."""

    body: bytes
    """As the client sent it."""
    content_type: str | None
    """Of a form, with its boundary; None for JSON."""
    model: str
    """As the upstream knows it."""
    forward_unknown: bool
    """Whether fields that are not documented go along."""
    boundary: str
    """A fresh one, for a form that has to be written anew."""
    provider: ProviderSettings | None = None
    """None for the mock inside this process."""
    key: KeySettings | None = None
    stream: bool = False
    """Whether the answer shall come in pieces."""
    drop_unsupported: bool = False
    """Whether fields that the upstream cannot take are left out instead of refused
    (`client.compat.should_drop_params`)."""
    now_s: int = 0
    """Seconds since the epoch, for answers that lack the time of their making."""


class Prepared(NamedTuple):
    """A request, ready to be sent but for its credential."""

    content_type: str
    body: bytes
    path: str | None = None
    """Instead of the path in the table."""
    headers: tuple[tuple[str, str], ...] = ()
    """What the dialect needs beside the credential."""
    dropped: tuple[str, ...] = ()
    """Fields that were left out because the upstream has nothing like them."""


class Answered(NamedTuple):
    """A reply that was found to be an answer."""

    body: bytes
    """A JSON object in OpenAI's shape, without `extra_fields`."""
    native: Native | None = None
    usage: Usage | None = None


class CannotCarry(Exception):
    """A request says something that the upstream has no words for.

    The job fails with a 400 that names the field; nothing is sent.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class StreamTranslator(Protocol):
    """Turns an upstream's stream into OpenAI's, piece by piece."""

    @property
    def usage(self) -> Usage | None:
        """What has been told of it so far."""
        ...

    def feed(self, piece: bytes) -> bytes:
        """The events (`data: {...}`, each with its empty line) that this piece completes.

        An error in the stream becomes an event `data: {"error": {...}}`. Never raises.
        """
        ...

    def end(self) -> bytes:
        """What is still to be said after the last piece: `data: [DONE]` if it came to its end."""
        ...


Build = Callable[[AnyKind, Outgoing], Prepared]
Read = Callable[[AnyKind, Outgoing, str | None, bytes], Answered | Failure]
Refusal = Callable[[int, str | None, bytes], Failure]
RetryAfter = Callable[[bytes], float | None]
OpenStream = Callable[[AnyKind, Outgoing], StreamTranslator]


@dataclass(frozen=True, slots=True)
class OwnWords:
    """Requests in an API's own words, which a dialect sends on as they are (kinds/own_words.py)."""

    api: str
    speaks: Callable[[Outgoing], bool]
    """Whether this model understands them; nothing but provider, key and model is looked at."""
    build: Callable[[Outgoing, Words], Prepared]
    """What is sent. Raises CannotCarry."""
    read: Read
    """The answer as a chat completion. Never raises, and does not look at the request."""
    open_stream: OpenStream
    """Of a chat; does not look at the request either."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format."""

    name: str
    build: Build
    """The upstream's form of a request that passed `kind.check`. Raises CannotCarry."""
    read: Read
    """A reply with a status of success, or why it is no answer. Never raises."""
    refusal: Refusal | None = None
    """What an error says (status, content type, body); None where it says it in a usual way."""
    open_stream: OpenStream | None = None
    """None where streams come in OpenAI's form."""
    retry_after: RetryAfter | None = None
    """When an error's body says to come back, in seconds, where no header does."""
    own: tuple[OwnWords, ...] = ()
    """Whose words need no translation."""
    polling: Polling | None = None
    """How work that the upstream has only taken is asked for; None where an answer is at once."""
