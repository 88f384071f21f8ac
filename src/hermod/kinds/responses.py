"""Responses (wire-contract 1.7)."""

from collections.abc import Container
from typing import Annotated, Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.kinds import own_words
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import (
    ABSENT,
    Documented,
    Integer,
    Number,
    Object,
    Strings,
    Text,
    TextOrObject,
    begins,
    is_empty_array,
    is_null,
)


class _Response(Body, frozen=True, gc=False):
    input: Annotated[msgspec.Raw, Documented("str | array<object> | null")] = ABSENT
    instructions: Text = ABSENT
    stream: bool | None = None
    background: bool | None = None
    # Documented as a string; OpenAI's own API takes an object too.
    conversation: TextOrObject = ABSENT
    include: Strings = ABSENT
    max_output_tokens: Integer = None
    max_tool_calls: Integer = None
    metadata: Object | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: Object | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream_options: Object | None = None
    temperature: Number = None
    text: Object | None = None
    tool_choice: TextOrObject = ABSENT
    tools: list[Object] | None = None
    top_logprobs: Integer = None
    top_p: Number = None
    truncation: str | None = None
    user: str | None = None


_READER: Final = Reader(_Response)
_decode_items: Final = msgspec.json.Decoder(list[Object]).decode


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    if not _is_input(asked.input):
        raise bad_request("invalid request format: invalid responses request input")
    checked = split_model(asked.model, known_providers)
    # An empty text is an input, an empty array is none (wire-contract 1.4).
    if is_null(asked.input) or is_empty_array(asked.input):
        raise bad_request("input is required for responses")
    return checked._replace(stream=True) if asked.stream else checked


def _is_input(raw: msgspec.Raw) -> bool:
    """Whether it is a string, an array of objects, or null."""
    if begins(raw) in 'n"':
        return True
    try:
        _decode_items(raw)
    except msgspec.ValidationError:
        return False
    return True


RESPONSES: Final = JsonKind(
    path="responses",
    request_type="responses",
    struct=_Response,
    plural="responses",
    check=_check,
    example={"model": "openai/gpt-4.1", "input": "The capital of Norway, in one word?"},
    # A response may consist of nothing but its status, for instance when it was cut off.
    reply=Reply(essential="output", may_be_empty=True),
    # `background` is the gateway's own (design.md 8, 5): the job is in the background already.
    never_sent=frozenset({"fallbacks", "background", own_words.MEMBER}),
)
