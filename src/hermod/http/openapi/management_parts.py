"""What operations of the management API have in common."""

from collections.abc import Sequence
from typing import Any, Final

from hermod.http.openapi.answers import (
    NO_STORE,
    WITH_BODY,
    WITH_CREDENTIAL,
    errors,
    json_answer,
    schema,
)
from hermod.http.openapi.parameters import PATH_SCHEMA

Json = dict[str, Any]

ADMIN_SCHEMES: Final[Json] = {
    "admin": {
        "type": "http",
        "scheme": "bearer",
        "description": "The admin token, the token of a session, or a token whose issuer makes its "
        "owner an admin. On loopback, where there is no admin's secret, none is needed.",
    },
    "password": {"type": "http", "scheme": "basic", "description": "An admin's name and password."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "token",
        "description": "What a login has set, for pages of the gateway's own address.",
    },
}
TEXT: Final[Json] = {"type": "string"}
COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_FOR_ADMINS: Final[list[Json]] = [{}, *({name: []} for name in ADMIN_SCHEMES)]
_NUMBER: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 999_999_999}


def operation(
    name: str,
    tag: str,
    summary: str,
    answered: Json,
    *refusals: int,
    body: Json | None = None,
    parameters: Sequence[Json] = (),
) -> Json:
    """One for admins. `answered`: the schema of a good answer; `refusals`: what is beyond usual."""
    usual = WITH_CREDENTIAL if body is None else WITH_BODY
    whole: Json = {"operationId": name, "tags": [tag], "summary": summary, "security": _FOR_ADMINS}
    if parameters:
        whole["parameters"] = list(parameters)
    if body is not None:
        whole["requestBody"] = body
    found = json_answer("It is so.", answered, NO_STORE)
    return whole | {"responses": {"200": found, **errors(*usual, 429, *refusals)}}


def body(shape: Json, example: Json) -> Json:
    """A body in JSON."""
    content = {"application/json": {"schema": shape, "example": example}}
    return {"required": True, "content": content}


def having(**members: Json) -> Json:
    """An object that has all of these."""
    return {"type": "object", "required": list(members), "properties": members}


def counted(member: str, shape: str) -> Json:
    """A whole list, and how long it is."""
    return having(**{member: {"type": "array", "items": schema(shape)}}, count=COUNT)


def page(member: str, shape: str) -> Json:
    """A part of a list, and how long the whole is."""
    whole = counted(member, shape)
    more = dict.fromkeys(("total_count", "limit", "offset"), COUNT)
    return having(**whole["properties"], **more)


def query(name: str, shape: Json = TEXT, description: str = "") -> Json:
    """A parameter behind the question mark."""
    told = {"description": description} if description else {}
    return {"name": name, "in": "query", **told, "schema": shape}


def number(name: str, description: str = "") -> Json:
    """The same, a whole number."""
    return query(name, _NUMBER, description)


def in_path(name: str, description: str) -> Json:
    """A segment of the path."""
    told = {"description": description, "schema": PATH_SCHEMA}
    return {"name": name, "in": "path", "required": True, **told}


PAGE: Final = (
    number("limit", "Of so many at most, 100 or fewer; all where it is absent."),
    number("offset"),
    query("search", description="What the name has in it, in whatever case."),
    query("sort_by", description="`name`, or anything else for the age."),
    query("order", description="`desc`, or anything else for the other way round."),
)
"""Parameters of every list that can be cut."""
