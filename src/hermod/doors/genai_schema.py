"""Google's schemas, a part of OpenAPI 3.0, as JSON Schema."""

import re
from typing import Final

import msgspec

from hermod.doors.asked import Fields, Value

_UNSET: Final = "TYPE_UNSPECIFIED"
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "defs", "$defs"})
_RENAMED: Final = {"defs": "$defs", "ref": "$ref"}
_COUNTS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_NOT_SCHEMA: Final = frozenset({"type", "nullable", "propertyOrdering", "example", "enum"})
_is_count: Final = re.compile(rb'"[0-9]{1,18}"').fullmatch


def json_schema(schema: Value) -> dict[str, object]:
    """The same schema in JSON Schema: types in lower case, `nullable` as a type of its own.

    `propertyOrdering` has no counterpart and goes; what Google does not document stays as it is.
    Raises `Refused` where a schema is no object.
    """
    fields = schema.fields()
    out: dict[str, object] = {}
    nullable = fields.get("nullable")
    is_nullable = nullable is not None and nullable.flag()
    _add_type(fields, out, is_nullable=is_nullable)
    enum = fields.get("enum")
    if enum is not None:
        values: list[object] = [item.raw for item in enum.items()]
        out["enum"] = [*values, None] if is_nullable else values
    example = fields.get("example")
    if example is not None:
        out["examples"] = [example.raw]
    for name in fields:
        value = fields.get(name)
        if name not in _NOT_SCHEMA and value is not None:
            out[_RENAMED.get(name, name)] = _member(name, value)
    if is_nullable and "type" not in out and "anyOf" in out:
        out["anyOf"] = [*_schemas(fields.need("anyOf")), {"type": "null"}]
    return out


def _add_type(fields: Fields, out: dict[str, object], *, is_nullable: bool) -> None:
    kind = fields.get("type")
    if kind is None:
        return
    if not kind.is_text:
        out["type"] = [item.text().lower() for item in kind.items()]
    elif kind.text() != _UNSET:
        name = kind.text().lower()
        out["type"] = [name, "null"] if is_nullable else name


def _member(name: str, value: Value) -> object:
    if name in _MAPS:
        return {key: json_schema(inner) for key, inner in value.entries()}
    if name == "items" or (name == "additionalProperties" and value.is_object):
        return json_schema(value)
    if name in _LISTS:
        return _schemas(value)
    if name in _COUNTS and _is_count(value.raw):
        # 64-bit integers are strings in Google's JSON.
        return msgspec.Raw(bytes(value.raw)[1:-1])
    return value.raw


def _schemas(value: Value) -> list[dict[str, object]]:
    return [json_schema(item) for item in value.items()]
