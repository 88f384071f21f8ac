"""S7: nothing may be written but what has a name in `governance/wishes.py`."""

import inspect
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from hermod.governance import wishes
from hermod.governance.wishes import WRITABLE, Wish
from hermod.http.app import Level
from tests.support.inprocess import gateway
from tests.support.management import (
    ADMIN,
    ENVIRON,
    KEYS,
    LOGIN,
    ROOT,
    made,
    refused,
    well,
)

NEVER: Final = (
    "id", "tenant", "tenant_id", "owner", "role", "is_admin", "spend", "state", "value",
    "secret_hash", "last_four", "token_version", "version", "current_usage", "last_reset",
    "token_current_usage", "request_current_usage", "budget_id", "rate_limit_id", "config_hash",
    "created_at", "updated_at", "managed_by", "virtual_keys", "teams", "team", "customer",
    "__proto__", "$ref",
)  # fmt: skip
"""Names that somebody may try."""
BUDGET: Final[dict[str, Any]] = {"max_limit": 1, "reset_duration": "1d"}
BODIES: Final = {
    f"{ROOT}/virtual-keys": {"name": "new"},
    f"{ROOT}/teams": {"name": "new"},
    f"{ROOT}/customers": {"name": "new"},
    f"{ROOT}/model-configs": {"model_name": "new"},
    f"{ROOT}/providers": {"budget": BUDGET},
    "/api/session/login": {"username": "root", "password": "?"},
}
"""The least that is accepted, by the path of the collection."""
NESTED: Final = {
    "budget": BUDGET,
    "rate_limit": {"request_max_limit": 1, "request_reset_duration": "1d"},
}


def every_wish() -> list[type[Wish]]:
    return [
        each
        for _, each in inspect.getmembers(wishes, inspect.isclass)
        if issubclass(each, Wish) and each is not Wish
    ]


@pytest.mark.parametrize("wish", every_wish())
def test_every_writable_model_refuses_what_it_has_no_name_for(wish: type[Wish]) -> None:
    assert wish.__struct_config__.forbid_unknown_fields
    for name in (*NEVER, "anything"):
        if name in wish.__struct_fields__:
            continue
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.json.decode(msgspec.json.encode({name: 1}), type=wish)


@pytest.mark.parametrize("wish", every_wish())
def test_no_writable_model_has_a_name_that_is_never_accepted(wish: type[Wish]) -> None:
    # A provider config names by its id one that the key has already; it chooses none.
    exempt = {"id"} if wish is wishes.ProviderConfigWish else set[str]()
    assert not (set(wish.__struct_fields__) - exempt) & set(NEVER)


def test_every_body_that_a_route_takes_is_on_the_list() -> None:
    nested = {
        wishes.LimitsWish, wishes.BudgetWish, wishes.RateLimitWish, wishes.ProviderConfigWish,
    }  # fmt: skip
    assert set(every_wish()) == set(WRITABLE) | nested


async def test_every_route_that_writes_refuses_what_may_not_be_written(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOGIN, environ={}) as running:
        http = running.http
        session = await http.post(
            "/api/session/login",
            json={
                "username": LOGIN["auth_config"]["admin_username"],
                "password": LOGIN["auth_config"]["admin_password"],
            },
        )
        assert session.status_code == 200, session.text
        existing = {
            f"{ROOT}/virtual-keys": (await made(http))["id"],
            f"{ROOT}/teams": (await made(http, f"{ROOT}/teams"))["id"],
            f"{ROOT}/customers": (await made(http, f"{ROOT}/customers"))["id"],
            f"{ROOT}/providers": "openai",
        }
        limits = {"model_name": "m", **NESTED}
        model = well(await http.post(f"{ROOT}/model-configs", json=limits))["model_config"]
        existing[f"{ROOT}/model-configs"] = model["id"]
        tried = 0
        for route in running.service.routes:
            collection = route.path.removesuffix("/{id}")
            if route.method not in ("POST", "PUT") or collection not in BODIES:
                continue
            path = route.path.replace("{id}", existing.get(collection, ""))
            body = BODIES[collection]
            for name in NEVER:
                response = await http.request(route.method, path, json=body | {name: "x"})
                message = refused(response, 400)
                assert message == f"Invalid JSON: Object contains unknown field `{name}`", path
                tried += 1
            for member, value in NESTED.items() if "login" not in path else ():
                response = await http.request(
                    route.method, path, json=body | {member: value | {"current_usage": 0}}
                )
                assert "unknown field `current_usage`" in refused(response, 400), path
        assert tried == 10 * len(NEVER)
        keys = well(await http.get(KEYS))
        assert [key["name"] for key in keys["virtual_keys"]] == ["made"]


async def test_every_route_that_takes_a_body_is_tried(tmp_path: Path) -> None:
    """A new one has to be added to `BODIES`, or to these, whose tests are elsewhere."""
    elsewhere = {
        f"{ROOT}/virtual-keys/{{id}}/rotate",
        f"{ROOT}/virtual-keys/{{id}}/token",
        f"{ROOT}/routing-rules",
        "/api/session/logout",
        "/api/session/ws-ticket",
        "/api/providers",
        "/api/providers/{provider}",
        "/api/providers/{provider}/keys",
        "/api/providers/{key…}",
        "/api/config",
    }
    async with gateway(tmp_path) as running:
        for route in running.service.routes:
            if route.access is Level.CALLER or route.method not in ("POST", "PUT", "PATCH"):
                continue
            collection = route.path.removesuffix("/{id}")
            assert collection in BODIES or collection in elsewhere, route


async def test_nobody_chooses_the_id_of_a_provider_config(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        other = await made(http, name="other", provider_configs=[{"provider": "openai"}])
        config_id = other["provider_configs"][0]["id"]
        for path, method in ((KEYS, "POST"), (f"{KEYS}/{(await made(http))['id']}", "PUT")):
            for id_ in ("made-up", config_id):
                configs = [{"id": id_, "provider": "openai"}]
                body = {"name": "mine", "provider_configs": configs}
                response = await http.request(method, path, json=body)
                assert "does not belong to this virtual key" in refused(response, 400)


async def test_a_token_request_takes_nothing_but_how_long(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http)
        for name in (*NEVER, "sub", "scope", "vk_id", "exp", "tv"):
            response = await running.http.post(f"{KEYS}/{key['id']}/token", json={name: 1})
            assert f"unknown field `{name}`" in refused(response, 400)


async def test_a_provider_and_its_keys_take_nothing_that_is_not_theirs(tmp_path: Path) -> None:
    async with gateway(tmp_path, environ=ENVIRON) as running:
        http = running.http
        http.headers.update(ADMIN)
        key = {"name": "main", "value": "v"}
        made = await http.post("/api/providers", json={"provider": "groq", "keys": [key]})
        assert made.status_code == 200, made.text
        # What GET shows beside the settings may come back with them; nobody looks at it.
        for name in sorted(set(NEVER) - {"config_hash", "managed_by"}):
            stranger = {name: "x"}
            for method, path, body in (
                ("POST", "/api/providers", {"provider": "mistral"} | stranger),
                ("PUT", "/api/providers/groq", {"keys": [key]} | stranger),
                ("PUT", "/api/config", stranger),
            ):
                response = await http.request(method, path, json=body)
                assert name in refused(response, 400), (method, path)
            if name in ("id", "value"):
                continue
            for method, path, body in (
                ("POST", "/api/providers", {"provider": "mistral", "keys": [key | stranger]}),
                ("PUT", "/api/providers/groq", {"keys": [key | stranger]}),
                ("POST", "/api/providers/groq/keys", {"name": "other", "value": "v"} | stranger),
            ):
                response = await http.request(method, path, json=body)
                assert name in refused(response, 400), (method, path)
