"""JSON Schemas as Anthropic and Amazon Bedrock take them for structured outputs.

Source: Anthropic's guide "Structured outputs" (limitations of JSON Schema); Bedrock refuses in the
same words ("'additionalProperties' must be explicitly set to false").
"""

from typing import Any, Final, cast

from hermod.providers.lenient import items, members

_NESTS_ONE: Final = ("items", "additionalProperties")
_NESTS_MANY: Final = ("anyOf", "oneOf", "prefixItems")
_NESTS_NAMED: Final = ("properties", "$defs", "definitions")


def closed(schema: Any) -> Any:
    """The schema with every object closed to members it does not name, as is demanded.

    What fits it fits the schema as it was, too. An object that names no members is left open, and
    so are the parts of `allOf`, which would shut each other out.
    """
    if not isinstance(schema, dict):
        return schema
    made = dict(members(cast("object", schema)))
    for name in _NESTS_ONE:
        if name in made:
            made[name] = closed(made[name])
    for name in _NESTS_MANY:
        if isinstance(made.get(name), list):
            made[name] = [closed(each) for each in items(made[name])]
    for name in _NESTS_NAMED:
        if isinstance(made.get(name), dict):
            made[name] = {key: closed(each) for key, each in members(made[name]).items()}
    if members(made.get("properties")):
        made.setdefault("additionalProperties", False)
    return made
