"""Request bodies and results of the request types."""

from typing import Any

from hermod.http.openapi.answers import JOB_OF_CALL, answer, schema
from hermod.http.openapi.naming import request_name, result_name, spoken
from hermod.http.openapi.schemas import body_schema, stream_switches
from hermod.kinds.kind import AnyKind, FieldType, JsonKind

Json = dict[str, Any]


def native_body(kind: AnyKind, *, streams: bool) -> Json:
    """The body of our own routes, whose `model` names its provider; with or without streams."""
    own: Json = {"model": schema("Model")}
    if not streams:
        own |= {name: {"not": {"const": value}} for name, value in stream_switches(kind)}
    return _narrowed(kind, own)


def door_body(kind: AnyKind) -> Json:
    """The body of a door that has a provider of its own."""
    return _narrowed(kind, {"model": schema("ModelOfDoor")})


def _narrowed(kind: AnyKind, own: Json) -> Json:
    """The body of a request type with more to say about some of its fields."""
    if isinstance(kind, JsonKind):
        return _body(kind, {"allOf": [schema(request_name(kind)), {"properties": own}]})
    # Whole, as most programs look for the fields of a form at the top only.
    whole = body_schema(kind)
    for name, narrower in own.items():
        known: Json = whole["properties"][name]
        whole["properties"][name] = narrower if "$ref" in narrower else known | narrower
    return _body(kind, whole)


def call_answer(kind: AnyKind, unfinished: str | None = None) -> Json:
    """What a synchronous call answers.

    `unfinished` names the schema of what a job that has not ended looks like, where the route can
    make one.
    """
    result = schema(result_name(kind))
    if unfinished is not None:
        result = {"anyOf": [result, schema(unfinished)]}
    content: Json = {"application/json": {"schema": result}}
    if kind.reply.binary_as is not None:
        content = {"audio/*": {}, **content}
    if kind.reply.text_as is not None:
        content["text/plain"] = {"schema": {"type": "string"}}
    if kind.plural:
        content["text/event-stream"] = {}
    return answer(f"The {spoken(kind)}, or a stream of it.", content, JOB_OF_CALL)


def _body(kind: AnyKind, shape: Json) -> Json:
    content: Json = {"schema": shape}
    if kind.example:
        content["example"] = {
            name: [value] if name in _several(kind) else value
            for name, value in kind.example.items()
        }
    media_type = "application/json" if isinstance(kind, JsonKind) else "multipart/form-data"
    return {"required": True, "content": {media_type: content}}


def _several(kind: AnyKind) -> set[str]:
    """The fields that may come several times, of which an example has one."""
    if isinstance(kind, JsonKind):
        return set()
    types = (FieldType.TEXTS, FieldType.FILES)
    return {name for name, field in kind.fields.items() if field.type in types}
