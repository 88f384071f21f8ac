"""The front doors in the shape of other APIs (wire-contract 6), all of them synchronous.

Each is described at one place. The others where it stands too are listed with it as `x-also-at`.
"""

from collections.abc import Iterable
from typing import Any, Final

from hermod.http.openapi.answers import (
    ASYNC_ID,
    WITH_BODY,
    WITH_CREDENTIAL,
    errors,
    json_answer,
    schema,
    upstream_errors,
)
from hermod.http.openapi.bodies import call_answer, door_body
from hermod.http.openapi.calls import background_paths, model_paths
from hermod.http.openapi.naming import spoken
from hermod.http.openapi.parameters import CALL, DOOR_WITH_JOBS, PATH_SCHEMA, parameters
from hermod.kinds.kind import AnyKind

Json = dict[str, Any]

_FRAMEWORKS: Final = ("/litellm", "/langchain", "/pydanticai")
"""Prefixes with all doors behind them, and with what their own clients look for."""
_OPENAI: Final = "/openai/v1"
_OPENAI_TOO: Final = (
    "/openai",
    "/openai/openai",
    *(each + _OPENAI for each in _FRAMEWORKS),
    *(each + "/openai" for each in _FRAMEWORKS),
    *(each + "/openai/openai" for each in _FRAMEWORKS),
    *(each + "/v1" for each in _FRAMEWORKS),
    *_FRAMEWORKS,
)
_ANTHROPIC: Final = "/anthropic"
_ANTHROPIC_TOO: Final = (*(each + _ANTHROPIC for each in _FRAMEWORKS), *_FRAMEWORKS)
_GENAI: Final = "/genai/v1beta"
_GENAI_LISTS_TOO: Final = (
    "/genai/v1",
    *(each + _GENAI for each in _FRAMEWORKS),
    *(each + "/genai/v1" for each in _FRAMEWORKS),
)
_GENAI_TOO: Final = (
    *_GENAI_LISTS_TOO,
    *(each + "/v1beta" for each in _FRAMEWORKS),
    *(each + "/v1" for each in _FRAMEWORKS),
)
_NOT_OF_OPENAI: Final = frozenset({"rerank", "ocr"})
_UNFINISHED: Final = {
    "chat_completion": "UnfinishedChatCompletion",
    "responses": "BackgroundResponse",
}
"""The request types that `x-bf-async` makes jobs of, and how one looks before it has ended."""
_TEXT: Final[Json] = {"type": "string"}
_MAYBE_OBJECT: Final[Json] = {"type": ["object", "null"]}


def _found_too(paths: Json, here: str, there: Iterable[str]) -> Json:
    """The same paths, each with the list of the others."""
    there = tuple(there)
    return {
        path: {"x-also-at": [each + path.removeprefix(here) for each in there], **ways}
        for path, ways in paths.items()
    }


def openai_paths(kinds: Iterable[AnyKind]) -> Json:
    """OpenAI's API: with `/v1`, without it, and as some clients double it."""
    calls = {
        f"{_OPENAI}/{kind.path}": {"post": _openai_call(kind)}
        for kind in kinds
        if kind.request_type not in _NOT_OF_OPENAI
    }
    models = {
        path: {way: each | {"tags": ["OpenAI"]} for way, each in ways.items()}
        for path, ways in model_paths(_OPENAI, "openai_").items()
    }
    background = {
        path: {way: each | {"tags": ["OpenAI"]} for way, each in ways.items()}
        for path, ways in background_paths(_OPENAI, "openai_").items()
    }
    without_models = ("/openai/openai",)
    listing = [each for each in _OPENAI_TOO if not each.endswith(without_models)]
    return _found_too(calls | background, _OPENAI, _OPENAI_TOO) | _found_too(
        models, _OPENAI, listing
    )


def _openai_call(kind: AnyKind) -> Json:
    unfinished = _UNFINISHED.get(kind.request_type)
    answered = call_answer(kind, unfinished)
    more: tuple[int, ...] = ()
    if unfinished is not None:
        answered["headers"] = answered["headers"] | ASYNC_ID
        more = (404,)
    return {
        "operationId": f"openai_{kind.request_type}",
        "tags": ["OpenAI"],
        "summary": f"Create {spoken(kind)} as OpenAI does",
        "parameters": parameters(*(CALL if unfinished is None else DOOR_WITH_JOBS)),
        "requestBody": door_body(kind),
        "responses": {
            "200": answered,
            **errors(*WITH_BODY, 429, *more),
            **upstream_errors(),
        },
    }


def anthropic_paths() -> Json:
    """Anthropic's Messages."""
    content = {"type": ["string", "array"]}
    message: Json = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["user", "assistant"]}, "content": content},
    }
    body: Json = {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": _TEXT | {"minLength": 1},
            "messages": {"type": "array", "minItems": 1, "items": message},
            "max_tokens": {"type": ["number", "null"]},
            "system": {"type": ["string", "array", "null"]},
            "stream": {"type": ["boolean", "null"]},
            "temperature": {"type": ["number", "null"]},
            "top_p": {"type": ["number", "null"]},
            "top_k": {"type": ["number", "null"]},
            "stop_sequences": {"type": ["array", "null"], "items": _TEXT},
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
            "tool_choice": _MAYBE_OBJECT,
            "thinking": _MAYBE_OBJECT,
            "metadata": _MAYBE_OBJECT,
        },
    }
    example = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "The capital of Norway, in one word?"}],
    }
    operation = {
        "operationId": "anthropic_messages",
        "tags": ["Anthropic"],
        "summary": "Create a message as Anthropic does",
        "parameters": parameters(*DOOR_WITH_JOBS),
        "requestBody": _json_body(body, example),
        "responses": {
            "200": _streamable(
                json_answer(
                    "The message, or a stream of it; of a job that has not ended, one without "
                    "content.",
                    schema("Message"),
                    ASYNC_ID,
                )
            ),
            **errors(*WITH_BODY, 404, 429, shape="AnthropicError"),
            **upstream_errors("AnthropicError"),
        },
    }
    refused = {
        "operationId": "anthropic_messages_more",
        "tags": ["Anthropic"],
        "summary": "Token counts and batches, which are not offered",
        "parameters": [{"name": "rest", "in": "path", "required": True, "schema": PATH_SCHEMA}],
        "responses": errors(400, 401, 403, shape="AnthropicError"),
    }
    paths = {
        f"{_ANTHROPIC}/v1/messages": {"post": operation},
        f"{_ANTHROPIC}/v1/messages/{{rest}}": {"post": refused},
    }
    return _found_too(paths, _ANTHROPIC, _ANTHROPIC_TOO)


def genai_paths() -> Json:
    """Google's generateContent and its relatives."""
    says = {"parts": [{"text": "The capital of Norway, in one word?"}]}
    text = schema("GoogleText")
    contents: Json = {"type": "array", "items": schema("GoogleContent")}
    generate: Json = {
        "type": "object",
        "required": ["contents"],
        "properties": {
            "contents": contents,
            "systemInstruction": {"anyOf": [text, {"type": "null"}]},
            "generationConfig": _MAYBE_OBJECT,
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
            "toolConfig": _MAYBE_OBJECT,
        },
    }
    embed: Json = {
        "type": "object",
        "required": ["content"],
        "properties": {"content": text},
    }
    batch: Json = {
        "type": "object",
        "required": ["requests"],
        "properties": {"requests": {"type": "array", "minItems": 1, "items": embed}},
    }
    user = {"role": "user", **says}
    asked = {"contents": [user]}
    embedded = {"content": says}
    actions: tuple[tuple[str, str, Json, Json], ...] = (
        ("generateContent", "Generate content as Gemini does", generate, asked),
        ("streamGenerateContent", "The same as a stream", generate, asked),
        ("embedContent", "Embed a content as Gemini does", embed, embedded),
        ("batchEmbedContents", "Embed contents", batch, {"requests": [embedded]}),
    )
    root = f"{_GENAI}/models"
    calls: Json = {
        f"{root}/{{model}}:{action}": {"post": _genai_call(action, summary, body, example)}
        for action, summary, body, example in actions
    }
    listing = {
        "operationId": "genai_list_models",
        "tags": ["Google GenAI"],
        "summary": "List models as Gemini does",
        "responses": {
            "200": json_answer("The models.", schema("GoogleModelList")),
            **errors(*WITH_CREDENTIAL),
        },
    }
    one = {
        "operationId": "genai_get_model",
        "tags": ["Google GenAI"],
        "summary": "Get a model as Gemini does",
        "parameters": parameters("Model"),
        "responses": {
            "200": json_answer("The model.", schema("GoogleModel")),
            **errors(*WITH_CREDENTIAL, 404, shape="GoogleError"),
        },
    }
    lists: Json = {root: {"get": listing}, root + "/{model}": {"get": one}}
    return _found_too(lists, _GENAI, _GENAI_LISTS_TOO) | _found_too(calls, _GENAI, _GENAI_TOO)


def _genai_call(action: str, summary: str, body: Json, example: Json) -> Json:
    streams = action.startswith("stream")
    found = json_answer("What Gemini would answer.", {"type": "array" if streams else "object"})
    return {
        "operationId": f"genai_{action}",
        "tags": ["Google GenAI"],
        "summary": summary,
        "parameters": parameters("Model", *(["Alt"] if streams else []), *CALL),
        "requestBody": _json_body(body, example),
        "responses": {
            "200": _streamable(found) if streams else found,
            **errors(*WITH_BODY, 404, 429, shape="GoogleError"),
            **upstream_errors("GoogleError"),
        },
    }


def _json_body(shape: Json, example: Json) -> Json:
    return {
        "required": True,
        "content": {"application/json": {"schema": shape, "example": example}},
    }


def _streamable(answered: Json) -> Json:
    stream: Json = {"text/event-stream": {}}
    return answered | {"content": answered["content"] | stream}
