"""`/api/governance/…`: who may ask, and what it may cost (wire-contract 10.3)."""

from typing import Any, Final, NamedTuple

from hermod.http.openapi.answers import ANYWHERE, errors, json_answer, schema
from hermod.http.openapi.management_parts import (
    PAGE,
    TEXT,
    body,
    counted,
    having,
    in_path,
    number,
    operation,
    page,
    query,
)

Json = dict[str, Any]

_ROOT: Final = "/api/governance"
_TAG: Final = "Governance"
_BUDGET: Final[Json] = {"max_limit": 100, "reset_duration": "1M", "calendar_aligned": True}


class _Thing(NamedTuple):
    """A type of thing that an operator makes."""

    path: str
    one: str
    many: str
    spoken: str
    shape: str
    wish: str
    name: str
    """The member that a new one must have; empty where PUT makes them."""
    filters: tuple[str, ...]
    example: Json


_THINGS: Final = (
    _Thing(
        "virtual-keys", "virtual_key", "virtual_keys", "a virtual key", "VirtualKey", "KeyWish",
        "name", ("customer_id", "team_id"),
        {
            "name": "billing robot",
            "provider_configs": [
                {"provider": "openai", "allowed_models": ["gpt-4o-mini"], "key_ids": ["*"]}
            ],
            "budget": _BUDGET,
        },
    ),
    _Thing(
        "teams", "team", "teams", "a team", "Team", "TeamWish", "name", ("customer_id",),
        {"name": "research", "budget": _BUDGET},
    ),
    _Thing(
        "customers", "customer", "customers", "a customer", "Customer", "CustomerWish", "name", (),
        {"name": "Example Ltd", "budget": _BUDGET},
    ),
    _Thing(
        "model-configs", "model_config", "model_configs", "the limits of a model", "ModelLimits",
        "ModelWish", "model_name", ("provider",),
        {"model_name": "gpt-4o", "provider": "openai", "budget": _BUDGET},
    ),
    _Thing(
        "providers", "provider", "providers", "the limits of a provider", "ProviderLimits",
        "ProviderWish", "", (), {"budget": _BUDGET},
    ),
)  # fmt: skip


def governance_paths() -> Json:
    """Keys, teams, customers, limits, who changed them; and the public keys of tokens."""
    paths: Json = {}
    for thing in _THINGS:
        paths |= _thing_paths(thing)
    return paths | _key_paths() | _limit_paths() | _rule_paths() | _public_keys()


def _thing_paths(thing: _Thing) -> Json:
    path, named = f"{_ROOT}/{thing.path}", thing.one
    if thing.wish == "ProviderWish":
        named = "provider_limits"
    told = having(message=TEXT, **{thing.one: schema(thing.shape)})
    by_id = [in_path("id", "Its id." if thing.name else "The provider's name.")]
    filters = [query(name, description="Of these only.") for name in thing.filters]
    every: Json = {
        "get": operation(
            f"list_{named}",
            _TAG,
            f"List {thing.many.replace('_', ' ')}",
            page(thing.many, thing.shape),
            parameters=[*PAGE, *filters],
        )
    }
    if thing.name:
        named_so = {thing.name: TEXT | {"pattern": r"\S"}}
        new = {"allOf": [schema(thing.wish), {"required": [thing.name], "properties": named_so}]}
        asked = body(new, thing.example)
        summary = f"Make {thing.spoken}"
        every["post"] = operation(f"create_{named}", _TAG, summary, told, 409, body=asked)
    get = operation(
        f"get_{named}",
        _TAG,
        f"Get {thing.spoken}",
        having(**{thing.one: schema(thing.shape)}),
        404,
        parameters=by_id,
    )
    put = operation(
        f"put_{named}",
        _TAG,
        f"Change {thing.spoken}: what is absent stays, null takes away",
        told,
        404,
        409,
        body=body(schema(thing.wish), {"budget": _BUDGET}),
        parameters=by_id,
    )
    delete = operation(
        f"delete_{named}",
        _TAG,
        f"Delete {thing.spoken}",
        having(message=TEXT),
        *(404, 409, 507),
        parameters=by_id,
    )
    return {path: every, path + "/{id}": {"get": get, "put": put, "delete": delete}}


def _key_paths() -> Json:
    path, by_id = f"{_ROOT}/virtual-keys/{{id}}", [in_path("id", "Its id.")]
    rotate = operation(
        "rotate_virtual_key",
        _TAG,
        "Give a virtual key another value; the old one is dead at once",
        having(message=TEXT, virtual_key=schema("VirtualKey")),
        *(404, 409, 507),
        parameters=by_id,
    )
    token = operation(
        "create_token",
        _TAG,
        "Make a token that stands for a virtual key",
        having(message=TEXT, token=TEXT, token_type={"const": "Bearer"}, expires_at=TEXT),
        404,
        body=body(schema("TokenWish"), {"expires_in": 3600}) | {"required": False},
        parameters=by_id,
    )
    return {f"{path}/rotate": {"post": rotate}, f"{path}/token": {"post": token}}


def _limit_paths() -> Json:
    budgets = counted("budgets", "Budget")
    rate_limits = counted("rate_limits", "RateLimit")
    entries = counted("entries", "AuditEntry")
    entries["properties"]["next_before"] = {"type": ["integer", "null"]}
    audit = operation(
        "list_audit",
        _TAG,
        "List who changed what, newest first",
        entries,
        parameters=[
            number("limit", "100 where it is absent, and 1000 at most."),
            number("before", "Older than this entry: `next_before` of the answer before."),
        ],
    )
    return {
        f"{_ROOT}/budgets": {
            "get": operation("list_budgets", _TAG, "List all budgets and their owners", budgets)
        },
        f"{_ROOT}/rate-limits": {
            "get": operation(
                "list_rate_limits", _TAG, "List all rate limits and their owners", rate_limits
            )
        },
        f"{_ROOT}/audit": {"get": audit},
    }


def _rule_paths() -> Json:
    path, by_id = f"{_ROOT}/routing-rules", [in_path("id", "Its id.")]
    none = operation(
        "list_routing_rules",
        _TAG,
        "List routing rules: there are none",
        having(rules={"type": "array", "maxItems": 0}),
    )

    def refused(name: str, status: int, **more: Any) -> Json:
        summary = "Routing rules are not offered"
        found = operation(f"{name}_routing_rule", _TAG, summary, {}, status, **more)
        del found["responses"]["200"]
        return found

    return {
        path: {"get": none, "post": refused("create", 501)},
        path + "/{id}": {
            "get": refused("get", 404, parameters=by_id),
            "put": refused("put", 501, parameters=by_id),
            "delete": refused("delete", 501, parameters=by_id),
        },
    }


def _public_keys() -> Json:
    keys = having(keys={"type": "array", "items": {"type": "object"}})
    found = {
        "operationId": "public_keys",
        "tags": [_TAG],
        "summary": "Get the public keys of the tokens that are made here (RFC 7517)",
        "security": [],
        "responses": {"200": json_answer("The keys.", keys), **errors(*ANYWHERE)},
    }
    return {"/.well-known/jwks.json": {"get": found}}
