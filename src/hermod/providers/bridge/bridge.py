"""Request types that a provider does not offer, over one that it does.

Responses go over chat completions, as clients that know nothing else should reach every model. Text
completions over chat, and chat over responses, only where the operator says so (`client.compat`).
A bridge wraps whatever dialect the other type is written in.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from hermod.domain.failure import Failure
from hermod.domain.provider import Row
from hermod.kinds.kind import AnyKind
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers import openai_shaped
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared, StreamTranslator
from hermod.providers.bridge import chat as bridge_chat
from hermod.providers.bridge import chat_chunks as bridge_chat_chunks
from hermod.providers.bridge import completions as bridge_completions
from hermod.providers.bridge import response as bridge_response
from hermod.providers.bridge import to_chat as bridge_to_chat
from hermod.providers.bridge import to_responses as bridge_to_responses

_CHAT: Final = "chat_completion"
_RESPONSES: Final = "responses"
_TEXT: Final = "text_completion"

_Ask = Callable[[AnyKind, Outgoing], tuple[bytes, tuple[str, ...]]]
_Answer = Callable[[Outgoing, bytes], bytes | Failure]
_Stream = Callable[[Outgoing, StreamTranslator | None], StreamTranslator]


def bridged(
    row: Row,
    request_type: str,
    dialects: Mapping[str, Dialect],
    *,
    text_to_chat: bool,
    chat_to_responses: bool,
) -> tuple[Dialect, str] | None:
    """How a request of a type that the provider does not offer reaches it all the same.

    The dialect, and the request type whose path it goes to; None where there is no way, and where
    none is needed. The two switches are `client.compat.convert_text_to_chat` and
    `.convert_chat_to_responses`.
    """
    paths = row.paths
    if request_type in paths:
        return None
    if request_type == _CHAT and chat_to_responses and _RESPONSES in paths:
        return chat_over_responses(dialects[row.dialect_of(_RESPONSES)]), _RESPONSES
    if _CHAT not in paths:
        return None
    inner = dialects[row.dialect_of(_CHAT)]
    if request_type == _RESPONSES:
        return responses_over(inner), _CHAT
    if request_type == _TEXT and text_to_chat:
        return completions_over(inner), _CHAT
    return None


def responses_over(inner: Dialect) -> Dialect:
    """OpenAI's responses over the chat completions of `inner`."""
    return _over(
        inner,
        _CHAT,
        _RESPONSES,
        bridge_to_chat.chat_request,
        bridge_response.response_of,
        bridge_response.ResponseEvents,
    )


def completions_over(inner: Dialect) -> Dialect:
    """OpenAI's text completions over the chat completions of `inner`."""
    return _over(
        inner,
        _CHAT,
        _TEXT,
        bridge_completions.chat_request,
        bridge_completions.completion_of,
        bridge_completions.CompletionChunks,
    )


def chat_over_responses(inner: Dialect) -> Dialect:
    """Chat completions over the responses of `inner`."""
    return _over(
        inner,
        _RESPONSES,
        _CHAT,
        bridge_to_responses.responses_request,
        bridge_chat.chat_of,
        bridge_chat_chunks.ChatChunks,
    )


def _over(
    inner: Dialect, goes_as: str, comes_as: str, ask: _Ask, answer: _Answer, stream: _Stream
) -> Dialect:
    far = KIND_BY_TYPE[goes_as]

    def asked(kind: AnyKind, outgoing: Outgoing) -> tuple[Outgoing, tuple[str, ...]]:
        body, dropped = ask(kind, outgoing)
        return outgoing._replace(body=body, content_type=None), dropped

    def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
        """The upstream's form of the request. Raises CannotCarry."""
        translated, dropped = asked(kind, outgoing)
        prepared = inner.build(far, translated)
        return prepared._replace(dropped=(*dropped, *prepared.dropped))

    def read(
        kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
    ) -> Answered | Failure:
        """The answer in the form of the type that was asked for. Never raises."""
        # Only a dialect of its own looks at its request again.
        is_plain = inner.read is openai_shaped.read
        translated = outgoing if is_plain else asked(kind, outgoing)[0]
        found = inner.read(far, translated, content_type, body)
        if isinstance(found, Failure):
            return found
        answered = answer(outgoing, found.body)
        return answered if isinstance(answered, Failure) else Answered(answered, usage=found.usage)

    def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
        """A translator from the upstream's stream."""
        if inner.open_stream is None:
            return stream(outgoing, None)
        return stream(outgoing, inner.open_stream(far, asked(kind, outgoing)[0]))

    name = f"{comes_as} over {inner.name}"
    return replace(inner, name=name, build=build, read=read, open_stream=open_stream)
