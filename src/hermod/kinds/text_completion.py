"""Text completions (wire-contract 1.5)."""

from collections.abc import Container
from typing import Final

from hermod.domain.errors import bad_request
from hermod.kinds.kind import Body, Checked, JsonKind, Reader, Reply, split_model
from hermod.kinds.shapes import ABSENT, Integer, Number, Object, Text, TextOrStrings, is_null


class _Completion(Body, frozen=True, gc=False):
    prompt: TextOrStrings = ABSENT
    max_tokens: Integer = None
    temperature: Number = None
    stream: bool | None = None
    best_of: Integer = None
    echo: bool | None = None
    frequency_penalty: Number = None
    logit_bias: Object | None = None
    logprobs: Integer = None
    n: Integer = None
    presence_penalty: Number = None
    seed: Integer = None
    stop: TextOrStrings = ABSENT
    suffix: Text = ABSENT
    top_p: Number = None
    user: str | None = None
    stream_options: Object | None = None


_READER: Final = Reader(_Completion)


def _check(body: bytes, known_providers: Container[str]) -> Checked:
    asked = _READER.read(body)
    checked = split_model(asked.model, known_providers)
    # An empty text and an empty array are prompts (wire-contract 1.4).
    if is_null(asked.prompt):
        raise bad_request("prompt is required for text completion")
    return checked._replace(stream=True) if asked.stream else checked


TEXT_COMPLETION: Final = JsonKind(
    path="completions",
    request_type="text_completion",
    struct=_Completion,
    plural="text completions",
    check=_check,
    example={"model": "openai/gpt-3.5-turbo-instruct", "prompt": "Once upon", "max_tokens": 16},
    reply=Reply(essential="choices"),
)
