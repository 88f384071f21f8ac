"""Chat completions (wire-contract 1.6)."""

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
    Shapes,
    Strings,
    TextOrObject,
    TextOrStrings,
    is_content,
    wrong_type,
)


class _Message(msgspec.Struct, frozen=True, gc=False):
    """A role is all that is asked of it: every example of the seeds has no content."""

    role: str
    content: Annotated[msgspec.Raw, Documented("str | array | null")] = ABSENT


class _Reasoning(msgspec.Struct, frozen=True, gc=False):
    effort: str | None = None
    max_tokens: Integer = None


class _Chat(Body, frozen=True, gc=False):
    messages: list[_Message] | None = None
    stream: bool | None = None
    temperature: Number = None
    max_tokens: Integer = None
    max_completion_tokens: Integer = None
    top_p: Number = None
    frequency_penalty: Number = None
    presence_penalty: Number = None
    logit_bias: Object | None = None
    logprobs: bool | None = None
    top_logprobs: Integer = None
    metadata: Object | None = None
    modalities: Strings = ABSENT
    parallel_tool_calls: bool | None = None
    prediction: Object | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning: _Reasoning | None = None
    reasoning_effort: str | None = None
    reasoning_max_tokens: Integer = None
    response_format: Object | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    truncation: str | None = None
    user: str | None = None
    seed: Integer = None
    stop: TextOrStrings = ABSENT
    store: bool | None = None
    stream_options: Object | None = None
    tool_choice: TextOrObject = ABSENT
    tools: list[Object] | None = None
    verbosity: str | None = None
    web_search_options: Object | None = None
    audio: Object | None = None


_READER: Final = Reader(_Chat)
_REASONING: Final = Shapes(_Reasoning)


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    messages = asked.messages or ()
    for index, message in enumerate(messages):
        if message.content is not ABSENT and not is_content(message.content):
            raise wrong_type("str | array | null", f"$.messages[{index}].content")
    if asked.reasoning is not None:
        _check_reasoning(asked, asked.reasoning)
    checked = split_model(asked.model, known_providers)
    if not messages:
        raise bad_request("messages is required for chat completion")
    return checked._replace(stream=True) if asked.stream else checked


def _check_reasoning(asked: _Chat, reasoning: _Reasoning) -> None:
    _REASONING.check(reasoning, "$.reasoning")
    for name, outer, inner in (
        ("effort", asked.reasoning_effort, reasoning.effort),
        ("max_tokens", asked.reasoning_max_tokens, reasoning.max_tokens),
    ):
        if outer is not None and inner is not None:
            raise bad_request(
                f"invalid request format: both reasoning_{name} and reasoning.{name} "
                "cannot be present at the same time"
            )


CHAT_COMPLETION: Final = JsonKind(
    path="chat/completions",
    request_type="chat_completion",
    struct=_Chat,
    plural="chat completions",
    check=_check,
    example={
        "model": "openai/gpt-4o-mini",
        "messages": [{"role": "user", "content": "The capital of Norway, in one word?"}],
    },
    reply=Reply(essential="choices"),
    never_sent=frozenset({"fallbacks", own_words.MEMBER}),
)
