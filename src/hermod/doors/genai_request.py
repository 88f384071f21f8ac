"""Google's generateContent request as a chat completion (Gemini API, v1beta).

Names are taken in both spellings, as Google does: `maxOutputTokens` and `max_output_tokens`.
Dropped, as they only tune: `topK`, `safetySettings`, `labels`, `store`, `serviceTier`, and in
`generationConfig` what is named nowhere below. Refused, as the answer would be another one
without them: `cachedContent`, Google's own tools, and answers in other modalities than text.
"""

from collections.abc import Container
from typing import Final

import msgspec

from hermod.doors.asked import Fields, Value, read
from hermod.doors.genai_contents import camel, messages
from hermod.doors.genai_schema import json_schema
from hermod.doors.own_words import Speaks, carried, nobody
from hermod.doors.prefix import with_provider
from hermod.kinds import own_words

DEFAULT_PROVIDER: Final = "gemini"

_NUMBERS: Final = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_completion_tokens",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "logprobs": "top_logprobs",
}
_MODES: Final = {
    "AUTO": "auto",
    "ANY": "required",
    "NONE": "none",
    "VALIDATED": "auto",
    "MODE_UNSPECIFIED": "",
}
_LEVELS: Final = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
    "THINKING_LEVEL_UNSPECIFIED": "",
}
_JSON: Final = "application/json"
_OURS: Final = frozenset({"model", "fallbacks"})
"""Members that the gateway sees to: the model is in the path."""
_LOW_BUDGET: Final = 1_024
_MEDIUM_BUDGET: Final = 8_192
"""Tokens of thinking up to which the effort is low, and medium."""


def model_named(path: str, known_providers: Container[str]) -> str:
    """The model of a path's segment: without Google's `models/`, with a provider."""
    return with_provider(path.removeprefix("models/"), known_providers, DEFAULT_PROVIDER)


def to_chat(
    model: str,
    body: bytes,
    known_providers: Container[str],
    *,
    stream: bool = False,
    speaks: Speaks = nobody,
) -> bytes:
    """The chat completion that asks for the same. `model` is the one of the path.

    A model that `speaks` Google's words is asked in them. Raises `Refused` (400) naming the place,
    for a wrong type and for what cannot be carried.
    """
    named = model_named(model, known_providers)
    if speaks(named, own_words.GOOGLE):
        return _in_own_words(named, read(body), stream=stream)
    asked = read(body, camel)
    asked.refuse("cachedContent")
    out: dict[str, object] = {"model": named, "messages": messages(asked)}
    if stream:
        out["stream"] = True
        out["stream_options"] = {"include_usage": True}
    _add_tools(asked, out)
    config = asked.get("generationConfig")
    if config is not None:
        _add_config(config.fields(), out)
    return msgspec.json.encode(out)


def _in_own_words(model: str, asked: Fields, *, stream: bool) -> bytes:
    words = carried(own_words.GOOGLE, asked, _OURS)
    out = {"model": model, **own_words.instead_of_ours(own_words.GOOGLE), own_words.MEMBER: words}
    if stream:
        out["stream"] = True
    return msgspec.json.encode(out)


def _add_tools(asked: Fields, out: dict[str, object]) -> None:
    tools = asked.get("tools")
    functions: dict[str, dict[str, object]] = {}
    for tool in [] if tools is None else tools.items():
        fields = tool.fields()
        fields.refuse(*(name for name in fields if name != "functionDeclarations"))
        declared = fields.get("functionDeclarations")
        for declaration in [] if declared is None else declared.items():
            inner = declaration.fields()
            functions[inner.need("name").text()] = _function(inner)
    tool_config = asked.get("toolConfig")
    calling = None if tool_config is None else tool_config.fields().get("functionCallingConfig")
    if calling is not None:
        functions = _choose(calling.fields(), functions, out)
    if functions:
        out["tools"] = [
            {"type": "function", "function": function} for function in functions.values()
        ]


def _function(declaration: Fields) -> dict[str, object]:
    function: dict[str, object] = {"name": declaration.need("name").text_raw()}
    description = declaration.get("description")
    if description is not None:
        function["description"] = description.text_raw()
    parameters = declaration.get("parameters")
    schema = declaration.get("parametersJsonSchema")
    if schema is not None:
        function["parameters"] = schema.object_raw()
    elif parameters is not None:
        function["parameters"] = json_schema(parameters)
    return function


def _choose(
    calling: Fields, functions: dict[str, dict[str, object]], out: dict[str, object]
) -> dict[str, dict[str, object]]:
    """Set `tool_choice`; the functions that may be called.

    Where only some are allowed the others are not offered: every upstream understands that.
    """
    mode = calling.get("mode")
    choice = "" if mode is None else mode.choice(_MODES)
    allowed = calling.get("allowedFunctionNames")
    names = [] if allowed is None else [item.text() for item in allowed.items()]
    if names and mode is not None and mode.text() in ("ANY", "VALIDATED"):
        functions = {name: it for name, it in functions.items() if name in names}
        if not functions and allowed is not None:
            raise allowed.refused("none of these functions is declared")
    # Upstreams refuse a choice where there is nothing to choose from.
    if choice and functions:
        one = choice == "required" and len(names) == 1
        out["tool_choice"] = {"type": "function", "function": {"name": names[0]}} if one else choice
    return functions


def _add_config(config: Fields, out: dict[str, object]) -> None:
    for name, counterpart in _NUMBERS.items():
        number = config.get(name)
        if number is not None:
            out[counterpart] = number.number()
    candidates = config.get("candidateCount")
    if candidates is not None and candidates.integer() != 1:
        out["n"] = candidates.integer()
    stops = config.get("stopSequences")
    if stops is not None and (texts := [item.text_raw() for item in stops.items()]):
        out["stop"] = texts
    logprobs = config.get("responseLogprobs")
    if logprobs is not None:
        out["logprobs"] = logprobs.flag()
    modalities = config.get("responseModalities")
    for modality in [] if modalities is None else modalities.items():
        modality.choice({"TEXT": "text", "MODALITY_UNSPECIFIED": ""})
    thinking = config.get("thinkingConfig")
    effort = None if thinking is None else _effort(thinking.fields())
    if effort:
        out["reasoning_effort"] = effort
    _add_format(config, out)


def _effort(thinking: Fields) -> str | None:
    """None, or "", where the model decides."""
    level = thinking.get("thinkingLevel")
    if level is not None:
        return _LEVELS.get(level.text().upper()) or level.choice(_LEVELS)
    budget = thinking.get("thinkingBudget")
    if budget is None or (tokens := budget.integer()) < 0:
        return None
    if tokens == 0:
        return "none"
    if tokens <= _LOW_BUDGET:
        return "low"
    return "medium" if tokens <= _MEDIUM_BUDGET else "high"


def _add_format(config: Fields, out: dict[str, object]) -> None:
    mime_type = config.get("responseMimeType")
    wanted = None if mime_type is None else mime_type.choice({_JSON: _JSON, "text/plain": ""})
    schema = config.get("responseSchema")
    plain = config.get("responseJsonSchema")
    shape: Value | None = plain or schema
    if wanted == "":
        return
    if shape is not None:
        converted: object = plain.object_raw() if plain is not None else json_schema(shape)
        out["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": converted},
        }
    elif wanted:
        out["response_format"] = {"type": "json_object"}
