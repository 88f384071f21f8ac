"""The schemas of the management API: what may be written, and what is shown."""

import inspect
from typing import Any, Final

import msgspec

from hermod.governance.wishes import WRITABLE
from hermod.http.openapi.answers import schema

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_FLAG: Final[Json] = {"type": "boolean"}
_INSTANT: Final[Json] = {"type": "string", "format": "date-time"}
_TEXTS: Final[Json] = {"type": "array", "items": _TEXT}
_OBJECT: Final[Json] = {"type": "object"}
_LIMITED: Final[Json] = {
    "budget_id": _TEXT,
    "rate_limit_id": _TEXT,
    "budget": schema("Budget"),
    "rate_limit": schema("RateLimit"),
}
_ORIGIN: Final[Json] = {
    "managed_by": {"const": "file", "description": "Only the config file can change it."},
    "created_at": _INSTANT,
    "updated_at": _INSTANT,
}
_OWNER: Final[Json] = {"owner_type": _TEXT, "owner_id": _TEXT}


def _shown(required: str, about: str = "", /, **others: Json) -> Json:
    """An object with these texts, which it always has, and others."""
    names = required.split()
    told: Json = {"description": about} if about else {}
    return {
        "type": "object",
        "required": names,
        "properties": dict.fromkeys(names, _TEXT) | others,
        **told,
    }


def _list_of(name: str) -> Json:
    return {"type": "array", "items": schema(name)}


SHOWN: Final[Json] = {
    "Budget": _shown(
        "id max_limit reset_duration last_reset current_usage calendar_aligned",
        "Amounts are USD.",
        max_limit={"type": "number"},
        current_usage={"type": "number"},
        last_reset=_INSTANT,
        calendar_aligned=_FLAG,
        **_OWNER,
    ),
    "RateLimit": _shown(
        "id token_last_reset request_last_reset",
        calendar_aligned=_FLAG,
        token_max_limit=_COUNT,
        token_reset_duration=_TEXT,
        token_current_usage=_COUNT,
        token_last_reset=_INSTANT,
        request_max_limit=_COUNT,
        request_reset_duration=_TEXT,
        request_current_usage=_COUNT,
        request_last_reset=_INSTANT,
        **_OWNER,
    ),
    "ProviderConfig": _shown(
        "id virtual_key_id provider",
        "What a virtual key may do with a provider.",
        weight={"type": ["number", "null"]},
        allowed_models=_TEXTS,
        blacklisted_models=_TEXTS,
        key_ids=_TEXTS,
        allow_all_keys=_FLAG,
        keys={"type": "array", "items": _shown("key_id")},
        **_LIMITED,
    ),
    "BriefVirtualKey": _shown("id name value", is_active=_FLAG),
    "Named": _shown("id name"),
    "VirtualKey": _shown(
        "id name description value",
        "`value` shows its last letters only, but in the answer that made it.",
        is_active=_FLAG,
        expires_at=_INSTANT,
        provider_configs=_list_of("ProviderConfig"),
        mcp_configs={"type": "array", "maxItems": 0},
        team_id=_TEXT,
        customer_id=_TEXT,
        team=schema("Named"),
        customer=schema("Named"),
        max_parallel_jobs=_COUNT,
        max_pending_jobs=_COUNT,
        on_limit={"enum": ["delay", "reject"]},
        **_LIMITED,
        **_ORIGIN,
    ),
    "Team": _shown(
        "id name",
        customer_id=_TEXT,
        customer=schema("Named"),
        virtual_keys=_list_of("BriefVirtualKey"),
        **_LIMITED,
        **_ORIGIN,
    ),
    "Customer": _shown(
        "id name",
        teams=_list_of("Named"),
        virtual_keys=_list_of("BriefVirtualKey"),
        **_LIMITED,
        **_ORIGIN,
    ),
    "ModelLimits": _shown("id model_name", provider=_TEXT, **_LIMITED, **_ORIGIN),
    "ProviderLimits": _shown("provider", **_LIMITED, **_ORIGIN),
    "AuditEntry": _shown(
        "at subject action target",
        id=_COUNT,
        at=_INSTANT,
        detail=_OBJECT,
    ),
    "ProviderKey": _shown(
        "id name",
        "Secrets are masked.",
        value=_shown("value env_var", from_env=_FLAG),
        models=_TEXTS,
        blacklisted_models=_TEXTS,
        weight={"type": "number"},
        enabled=_FLAG,
    ),
    "BriefProviderKey": _shown(
        "key_id id name provider", models=_TEXTS, weight={"type": "number"}, enabled=_FLAG
    ),
    "Provider": _shown(
        "name provider_status",
        network_config=_OBJECT,
        concurrency_and_buffer_size=_OBJECT,
        custom_provider_config=_OBJECT,
        keys=_list_of("ProviderKey"),
        provider_status={"enum": ["active", "error"]},
        managed_by=_ORIGIN["managed_by"],
        warnings=_TEXTS,
    ),
    "FoundModel": _shown("name provider"),
}
"""What is answered. Members without a value are left out."""

PROVIDER: Final[Json] = {
    "type": "object",
    "properties": {
        name: {"type": ["object", "null"]}
        for name in (
            "network_config",
            "concurrency_and_buffer_size",
            "custom_provider_config",
            "proxy_config",
        )
    }
    | {"keys": {"type": ["array", "null"], "items": _OBJECT}},
    "description": "As in the config file, but for what reads the gateway's environment.",
}
PROVIDER_KEY: Final[Json] = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "name": _TEXT,
        "value": {"type": ["string", "object"]},
        "models": _TEXTS,
        "weight": {"type": "number", "minimum": 0},
        "enabled": _FLAG,
    },
    "description": "As in the config file. A value that is sent back masked stays as it is.",
}


def written() -> Json:
    """The schemas of what may be written, made from the types that judge it."""
    _, found = msgspec.json.schema_components(WRITABLE, ref_template="#/components/schemas/{name}")
    for each in found.values():
        del each["title"]
        if not each["required"]:
            del each["required"]
        each["description"] = inspect.cleandoc(each["description"])
    return found
