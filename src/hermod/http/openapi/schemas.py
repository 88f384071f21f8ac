"""JSON Schemas of what the request types take and give, made from the types that judge requests.

What a type cannot say (that a field is required, that it may not be empty) is asked of the kind's
own check, with its example. So the description is neither stricter nor laxer than the gateway.
"""

import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from hermod.domain.errors import Refused
from hermod.kinds.form import FilePart, Form
from hermod.kinds.kind import AnyKind, Checked, FieldType, FormKind, Holds, JsonKind
from hermod.kinds.shapes import Documented, Object, Shape

Json = dict[str, Any]

_NAMES: Final[dict[object, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    Object: "object",
    NoneType: "null",
}
_WRITTEN: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "array",
    "object": "object",
    "null": "null",
}
"""The names of types in a `Shape`."""
_FORM_FIELDS: Final[dict[FieldType, Json]] = {
    FieldType.TEXT: {"type": "string"},
    FieldType.TEXTS: {"type": "array", "items": {"type": "string"}},
    FieldType.INTEGER: {"type": "integer", "format": "int64"},
    FieldType.NUMBER: {"type": "number"},
    FieldType.BOOLEAN: {"type": "string", "description": "`true`; anything else is false."},
    FieldType.FILE: {"type": "string", "format": "binary"},
    FieldType.FILES: {"type": "array", "items": {"type": "string", "format": "binary"}},
}
_EMPTY: Final[tuple[tuple[str, object, Json], ...]] = (
    ("array", [], {"minItems": 1}),
    ("string", "", {"minLength": 1}),
    ("string", " ", {"pattern": r"\S"}),
    ("integer", 0, {"minimum": 1}),
)
"""A type, a value of it that says nothing, and what holds where that value is refused."""

_SWITCHES: Final = (("stream", True), ("stream", "true"), ("stream_format", "sse"))
"""Fields that may ask for a stream, and how."""

_Judge = Callable[[Mapping[str, object]], Checked | None]
"""What a kind makes of a request; None if it refuses it."""


def body_schema(kind: AnyKind) -> Json:
    """What a request of this type must be."""
    if isinstance(kind, FormKind):
        branches = {name: [dict(_FORM_FIELDS[each.type])] for name, each in kind.fields.items()}
        required = [name for name, each in kind.fields.items() if each.required]
    else:
        hints = get_type_hints(kind.struct, include_extras=True)
        branches = {name: _branches(hint) for name, hint in hints.items()}
        required = _required(kind)
    judge = _judge(kind)
    for name, each in branches.items():
        if name in required:
            each[:] = [branch for branch in each if branch.get("type") != "null"]
        # What is a model, the routes say.
        if kind.example and name != "model":
            _bound(name, each, kind.example, judge)
    schema = _object({name: _either(each) for name, each in branches.items()}, required)
    if isinstance(kind, JsonKind):
        schema["properties"] |= kind.described
        return schema
    return _with_names(schema, kind)


def stream_switches(kind: AnyKind) -> list[tuple[str, object]]:
    """The fields of a request that ask for a stream, with the values that do."""
    judge = _judge(kind)
    asked = [
        (name, value, judge({**kind.example, name: value}))
        for name, value in _SWITCHES
        if name in kind.known_fields
    ]
    return [(name, value) for name, value, checked in asked if checked and checked.stream]


def result_schema(kind: AnyKind) -> Json:
    """What the upstream's answer to a request of this type holds at least."""
    essential: Json = {"type": "string"}
    if kind.reply.holds is Holds.OBJECTS:
        essential = {"type": "array", "items": {"type": "object"}}
        if not kind.reply.may_be_empty:
            essential["minItems"] = 1
    extra = {"$ref": "#/components/schemas/ExtraFields"}
    properties = {kind.reply.essential: essential, "extra_fields": extra}
    return _object(properties, list(properties))


def _with_names(schema: Json, kind: FormKind) -> Json:
    """Fields that may come under either of two names; and what no name may hold."""
    schema["propertyNames"] = {"pattern": r'^[^\x00-\x1f\x7f-\x9f"\\]+$'}
    for name, field in kind.fields.items():
        if field.or_named is not None:
            schema["properties"][field.or_named] = schema["properties"][name]
            if field.required:
                schema["required"].remove(name)
                schema["anyOf"] = [{"required": [name]}, {"required": [field.or_named]}]
    return schema


def _object(properties: Mapping[str, Json], required: list[str]) -> Json:
    schema: Json = {"type": "object", "properties": dict(properties)}
    return schema | ({"required": required} if required else {})


# From types


def _branches(hint: object) -> list[Json]:
    """The schemas of which a value of this type fits one."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, Shape | Documented):
                return _read(mark.expected)
        return _branches(inner)
    if get_origin(hint) in (Union, UnionType):
        return [branch for each in get_args(hint) for branch in _branches(each)]
    return [_schema(hint)]


def _schema(hint: object) -> Json:
    """The schema of one type. Raises TypeError for a type that nobody has used yet."""
    origin = get_origin(hint)
    if origin in (list, tuple):
        return {"type": "array", "items": _either(_branches(get_args(hint)[0]))}
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if hint is msgspec.Raw:
        return {}
    name = _NAMES.get(origin or hint)
    if name is not None:
        return {"type": name}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint, include_extras=True)
        required = [each.name for each in msgspec.structs.fields(hint) if each.required]
        return _object({name: _either(_branches(each)) for name, each in hints.items()}, required)
    raise TypeError(f"how is {hint} described?")


def _read(expected: str) -> list[Json]:
    """The schemas that a text such as `str | array<int>` names."""
    return [_read_one(each) for each in expected.split(" | ")]


def _read_one(name: str) -> Json:
    if name.startswith("array<"):
        return {"type": "array", "items": _read_one(name[len("array<") : -1])}
    return {"type": _WRITTEN[name]}


def _either(branches: list[Json]) -> Json:
    if len(branches) == 1:
        return branches[0]
    if all(list(each) == ["type"] for each in branches):
        return {"type": [each["type"] for each in branches]}
    return {"anyOf": branches}


# From the check


def _judge(kind: AnyKind) -> _Judge:
    providers = frozenset({str(kind.example.get("model", "")).partition("/")[0]})

    def judge(request: Mapping[str, object]) -> Checked | None:
        try:
            if isinstance(kind, FormKind):
                return kind.check(_form(kind, request), providers)
            return kind.check(json.dumps(request).encode(), providers)
        except Refused:
            return None

    return judge


def _form(kind: FormKind, request: Mapping[str, object]) -> Form:
    """A form with these fields; the value of a file is its name."""
    fields: list[tuple[str, str]] = []
    files: list[FilePart] = []
    for name, value in request.items():
        for each in cast("list[object]", value) if isinstance(value, list) else [value]:
            if kind.fields[name].type in (FieldType.FILE, FieldType.FILES):
                files.append(FilePart(name, str(each), "application/octet-stream", 1))
            else:
                fields.append((name, str(each)))
    return Form(tuple(fields), tuple(files))


def _required(kind: JsonKind) -> list[str]:
    """What an example cannot do without."""
    example, judge = kind.example, _judge(kind)
    return [
        name
        for name in example
        if judge({key: value for key, value in example.items() if key != name}) is None
    ]


def _bound(name: str, branches: list[Json], example: Mapping[str, object], judge: _Judge) -> None:
    for branch in branches:
        for kind, nothing, bound in _EMPTY:
            if branch.get("type") == kind and judge({**example, name: nothing}) is None:
                branch.update(bound)
