"""Providers and their keys, models, settings and sessions (wire-contract 10.3, 10.4)."""

from typing import Any, Final

from hermod.http.openapi.answers import ANYWHERE, NO_STORE, errors, json_answer, schema
from hermod.http.openapi.management_parts import (
    COUNT,
    TEXT,
    body,
    having,
    in_path,
    number,
    operation,
    query,
)
from hermod.http.openapi.management_shapes import PROVIDER, PROVIDER_KEY

Json = dict[str, Any]

_ROOT: Final = "/api/providers"
_TAG: Final = "Providers"
_SETTINGS: Final = "Settings"
_SESSIONS: Final = "Sessions"
_KEY: Final[Json] = {"name": "main", "value": "sk-...", "models": ["*"], "weight": 1}


def administration_paths() -> Json:
    """Those of `/api` beside governance."""
    return _provider_paths() | _key_paths() | _model_paths() | _config_paths() | _session_paths()


def _provider_paths() -> Json:
    one, by_name = schema("Provider"), [in_path("provider", "Its name.")]
    named = having(provider=TEXT | {"minLength": 1})
    new = {"allOf": [PROVIDER, named]}
    example = {"provider": "openai", "keys": [_KEY]}
    every = having(providers={"type": "array", "items": one}, total=COUNT)
    gone = having(name=TEXT)
    return {
        _ROOT: {
            "get": operation("list_providers", _TAG, "List providers", every),
            "post": operation(
                "create_provider", _TAG, "Make a provider", one, 409, body=body(new, example)
            ),
        },
        _ROOT + "/{provider}": {
            "get": operation("get_provider", _TAG, "Get a provider", one, 404, parameters=by_name),
            "put": operation(
                "put_provider",
                _TAG,
                "Make or change a provider: what is absent stays",
                one,
                *(404, 409),
                body=body(PROVIDER, {"keys": [_KEY]}),
                parameters=by_name,
            ),
            "delete": operation(
                "delete_provider",
                _TAG,
                "Delete a provider",
                gone,
                *(404, 409, 507),
                parameters=by_name,
            ),
        },
    }


def _key_paths() -> Json:
    one, by_name = schema("ProviderKey"), [in_path("provider", "The provider's name.")]
    by_id = [*by_name, in_path("key", "The key's id.")]
    every = having(keys={"type": "array", "items": one}, total=COUNT)
    brief = {"type": "array", "items": schema("BriefProviderKey")}
    return {
        _ROOT + "/{provider}/keys": {
            "get": operation(
                "list_provider_keys", _TAG, "List a provider's keys", every, 404, parameters=by_name
            ),
            "post": operation(
                "create_provider_key",
                _TAG,
                "Give a provider another key",
                one,
                *(404, 409),
                body=body(PROVIDER_KEY, _KEY),
                parameters=by_name,
            ),
        },
        _ROOT + "/{provider}/keys/{key}": {
            "get": operation(
                "get_provider_key", _TAG, "Get a provider's key", one, 404, parameters=by_id
            ),
            "put": operation(
                "put_provider_key",
                _TAG,
                "Change a provider's key: what is absent stays",
                one,
                *(404, 409),
                body=body(PROVIDER_KEY, {"enabled": False}),
                parameters=by_id,
            ),
            "delete": operation(
                "delete_provider_key",
                _TAG,
                "Delete a provider's key",
                one,
                *(404, 409, 507),
                parameters=by_id,
            ),
        },
        "/api/keys": {"get": operation("list_keys", _TAG, "List all keys of providers", brief)},
    }


def _model_paths() -> Json:
    found = having(models={"type": "array", "items": schema("FoundModel")}, total=COUNT)
    asked = [query("query", description="What the name has in it."), query("provider")]
    return {
        "/api/models": {
            "get": operation(
                "search_models",
                _TAG,
                "Search models that providers list",
                found,
                parameters=[*asked, number("limit", "5 where it is absent."), number("offset")],
            )
        },
        "/api/models/details": {
            "get": operation(
                "page_models",
                _TAG,
                "The same, with longer pages",
                found,
                parameters=[*asked, number("limit", "20 where it is absent."), number("offset")],
            )
        },
    }


def _config_paths() -> Json:
    change = {"client_config": {"async_job_result_ttl": 7200}}
    return {
        "/api/config": {
            "get": operation(
                "get_config", _SETTINGS, "Get what the gateway runs with", {"type": "object"}
            ),
            "put": operation(
                "put_config",
                _SETTINGS,
                "Change how long results are kept; what is sent back as it was changes nothing",
                having(status=TEXT, message=TEXT),
                409,
                body=body({"type": "object"}, change),
            ),
        },
        "/api/version": {"get": operation("version", _SETTINGS, "Get the release", TEXT)},
    }


def _session_paths() -> Json:
    flag: Json = {"type": "boolean"}
    message = having(message=TEXT)
    asked = body(schema("LoginWish"), {"username": "root", "password": "a long one"})
    login = operation("login", _SESSIONS, "Log in; the answer sets a cookie", message, body=asked)
    logout = operation("logout", _SESSIONS, "Log out", message, 507)
    ticket = operation("ws_ticket", _SESSIONS, "Not offered: there are no web sockets", {}, 501)
    del ticket["responses"]["200"]
    enabled = having(is_auth_enabled=flag, has_valid_token=flag)
    is_enabled: Json = {
        "operationId": "is_auth_enabled",
        "tags": [_SESSIONS],
        "summary": "Whether a credential is needed to manage, and whether this request has one",
        "security": [],
        "responses": {"200": json_answer("It is so.", enabled, NO_STORE), **errors(*ANYWHERE, 429)},
    }
    root = "/api/session"
    return {
        f"{root}/login": {"post": login | {"security": []}},
        f"{root}/is-auth-enabled": {"get": is_enabled},
        f"{root}/logout": {"post": logout},
        f"{root}/ws-ticket": {"post": ticket},
    }
