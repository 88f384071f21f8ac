"""`/api/providers`, `/api/keys`, `/api/models` and `/api/config` (wire-contract 10.3)."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.inprocess import Running, gateway
from tests.support.upstream import Reply, Upstream

ADMIN = {"HERMOD_ADMIN_TOKEN": "a long secret of the operator"}
CANARY = "sk-canary-0123456789-abcdefghij-WXYZ"
OTHER = "sk-canary-9876543210-jihgfedcba-ABCD"
SHORT = "sk-tiny-canary"
NO_CUSTOM: dict[str, object] = {"custom_provider_config": None}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Where calls go."""
    with Upstream() as running:
        yield running


class Admin:
    """An administrator's client."""

    def __init__(self, running: Running, token: str | None = ADMIN["HERMOD_ADMIN_TOKEN"]) -> None:
        self._http = running.http
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def __call__(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        reply = await self._http.request(
            method,
            f"/api/{path}",
            headers=self._headers,
            content=None if body is None else json.dumps(body),
        )
        assert reply.status_code == status, reply.text
        return reply.json()

    async def refused(self, method: str, path: str, body: object, status: int) -> str:
        """The message of a refusal."""
        told = await self(method, path, body, status)
        return told["error"]["message"]


@asynccontextmanager
async def managed(
    tmp_path: Path, config: dict[str, Any] | None = None, **flags: str
) -> AsyncGenerator[tuple[Running, Admin]]:
    """A gateway with an admin secret."""
    async with gateway(tmp_path / "app", config=config, environ=ADMIN, **flags) as running:
        yield running, Admin(running)


def custom(upstream: Upstream, **changes: object) -> dict[str, object]:
    """A provider of one's own at this upstream."""
    return {
        "provider": "mine",
        "custom_provider_config": {"base_provider_type": "openai"},
        "network_config": {"base_url": upstream.url, "allow_private_network": True},
        "keys": [{"name": "first", "value": CANARY}],
        **changes,
    }


async def call(running: Running, model: str) -> httpx.Response:
    """A chat completion whose caller waits."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return await running.http.post("/v1/chat/completions", json=body)


def proofs(upstream: Upstream, model: str) -> list[str]:
    """How the calls for a model proved themselves."""
    return [each.headers["authorization"] for each in upstream.calls(model)]


# Making, using, changing, removing


async def test_a_provider_that_is_made_is_used_by_the_next_call(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (running, admin):
        assert (await call(running, "mine/m")).status_code == 400  # no provider yet
        made = await admin("POST", "providers", custom(upstream))
        assert (made["name"], made["provider_status"]) == ("mine", "active")
        assert (await call(running, "mine/m")).status_code == 200
    assert proofs(upstream, "m") == [f"Bearer {CANARY}"]


async def test_a_key_that_is_added_is_used_by_the_next_call(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (running, admin):
        await admin("POST", "providers", custom(upstream, keys=[]))
        assert (await call(running, "mine/a")).status_code >= 400
        key = await admin("POST", "providers/mine/keys", {"name": "k", "value": OTHER})
        assert (await call(running, "mine/a")).status_code == 200
        changed = {"value": CANARY, "models": ["a"]}
        await admin("PUT", f"providers/mine/keys/{key['id']}", changed)
        assert (await call(running, "mine/a")).status_code == 200
        assert (await call(running, "mine/b")).status_code >= 400
        gone = await admin("DELETE", f"providers/mine/keys/{key['id']}")
        assert gone["id"] == key["id"]
        assert (await call(running, "mine/a")).status_code >= 400
    assert proofs(upstream, "a") == [f"Bearer {OTHER}", f"Bearer {CANARY}"]


async def test_jobs_of_a_removed_provider_fail_as_not_configured(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (running, admin):
        await admin("POST", "providers", custom(upstream) | {"provider": "groq"} | NO_CUSTOM)
        assert (await call(running, "groq/m")).status_code == 200
        assert await admin("DELETE", "providers/groq") == {"name": "groq"}
        reply = await call(running, "groq/m")
        assert reply.json()["error"]["message"] == ("failed to get config for provider: not found")
        assert await admin.refused("GET", "providers/groq", None, 404) == "Provider not found"
        assert await admin.refused("DELETE", "providers/groq", None, 404) == "Provider not found"


async def test_a_call_under_way_ends_as_it_began(tmp_path: Path, upstream: Upstream) -> None:
    held = threading.Event()
    upstream.plan("slow", Reply(held=held))
    async with managed(tmp_path) as (running, admin):
        await admin("POST", "providers", custom(upstream))
        calling = asyncio.create_task(call(running, "mine/slow"))
        async with asyncio.timeout(10):
            while not upstream.calls("slow"):
                await asyncio.sleep(0.01)
        await admin("DELETE", "providers/mine")
        held.set()
        assert (await calling).status_code == 200


async def test_of_two_changes_at_once_none_is_lost(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (_, admin):
        await admin("POST", "providers", custom(upstream, keys=[]))
        names = ("a", "b")
        adding = [
            admin("POST", "providers/mine/keys", {"name": name, "value": CANARY}) for name in names
        ]
        await asyncio.gather(*adding)
        found = await admin("GET", "providers/mine/keys")
        assert {key["name"] for key in found["keys"]} == set(names)


async def test_what_a_put_does_not_carry_stays(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (running, admin):
        await admin("POST", "providers", custom(upstream))
        concurrency = {"concurrency": 3}
        found = await admin("PUT", "providers/mine", {"concurrency_and_buffer_size": concurrency})
        assert found["concurrency_and_buffer_size"] == concurrency
        assert found["network_config"]["base_url"] == upstream.url
        assert (await call(running, "mine/m")).status_code == 200
        found = await admin("PUT", "providers/mine", {"concurrency_and_buffer_size": None})
        assert found["concurrency_and_buffer_size"] == {}


async def test_a_put_makes_a_provider_that_there_is_not(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (running, admin):
        body = custom(upstream)
        del body["provider"]
        await admin("PUT", "providers/mine", body)
        assert (await call(running, "mine/m")).status_code == 200


async def test_a_second_provider_of_a_name_is_refused(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (_, admin):
        await admin("POST", "providers", custom(upstream))
        told = await admin.refused("POST", "providers", custom(upstream), 409)
        assert told == "Provider mine already exists"


async def test_providers_outlive_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (_, admin):
        await admin("POST", "providers", custom(upstream))
    async with managed(tmp_path) as (running, _):
        assert (await call(running, "mine/m")).status_code == 200


async def test_another_gateway_on_the_same_store_follows(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (running, admin), managed(tmp_path) as (other, _):
        await admin("POST", "providers", custom(upstream))
        async with asyncio.timeout(10):
            while (await call(other, "mine/m")).status_code != 200:
                await asyncio.sleep(0.05)
        assert (await call(running, "mine/m")).status_code == 200


# Secrets


async def test_secrets_are_masked_in_every_answer(
    tmp_path: Path, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = custom(upstream)
    body["network_config"] = {**upstream_at(upstream), "extra_headers": {"X-Secret": OTHER}}
    body["keys"] = [{"name": "a", "value": CANARY}, {"name": "b", "value": SHORT}]
    seen: list[object] = []
    async with managed(tmp_path) as (running, admin):
        seen.append(await admin("POST", "providers", body))
        seen.extend(
            [
                await admin("GET", path)
                for path in ("providers", "providers/mine", "providers/mine/keys", "keys", "config")
            ]
        )
        seen.append(await admin("PUT", "providers/mine", {"send_back_raw_request": True}))
        bad = {"keys": [{"name": "a", "value": f"{CANARY}\n", "weight": "x"}], "y": OTHER}
        seen.append(await admin("PUT", "providers/mine", bad, 400))
        seen.append((await call(running, "mine/m")).text)
        first = seen[0]["keys"][0]["value"]["value"]  # type: ignore[index]
        assert first.startswith("sk-c")
        assert first.endswith("WXYZ")
        assert "*" * 24 in first
    everything = json.dumps(seen) + caplog.text
    for secret in (CANARY, OTHER, SHORT):
        for part in (secret, secret[6:-4]):
            assert part not in everything
    assert "tiny" not in everything


def upstream_at(upstream: Upstream) -> dict[str, object]:
    """A network_config that leads there."""
    return {"base_url": upstream.url, "allow_private_network": True}


async def test_nothing_in_the_store_shows_a_secret(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (_, admin):
        await admin("POST", "providers", custom(upstream))
        await admin("PUT", "providers/mine", {"keys": [{"name": "first", "value": OTHER}]})
    files = [path for path in (tmp_path / "app").rglob("*") if path.is_file()]
    assert any(path.name.startswith("hermod.db") for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in (CANARY, OTHER):
            assert secret[5:-5].encode() not in content, path


async def test_masks_that_are_sent_back_keep_the_secrets(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (running, admin):
        body = custom(upstream)
        body["network_config"] = {**upstream_at(upstream), "extra_headers": {"X-Secret": OTHER}}
        found = await admin("POST", "providers", body)
        found["keys"].insert(0, {"name": "new", "value": "sk-new", "weight": 0})
        found = await admin("PUT", "providers/mine", found)
        assert [key["name"] for key in found["keys"]] == ["new", "first"]
        key = found["keys"][1]
        await admin("PUT", f"providers/mine/keys/{key['id']}", key | {"weight": 5})
        assert (await call(running, "mine/m")).status_code == 200
    assert proofs(upstream, "m") == [f"Bearer {CANARY}"]
    assert upstream.calls("m")[0].headers["x-secret"] == OTHER


async def test_a_mask_of_another_secret_is_refused(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (_, admin):
        found = await admin("POST", "providers", custom(upstream))
        mask = found["keys"][0]["value"]["value"]
        told = await admin.refused(
            "POST", "providers/mine/keys", {"name": "second", "value": mask}, 400
        )
        assert "keys.1.value" in told


async def test_with_another_encryption_key_a_provider_is_not_used_and_can_be_made_anew(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (_, admin):
        await admin("POST", "providers", custom(upstream))
    (tmp_path / "app" / "encryption.key").unlink()
    async with managed(tmp_path) as (running, admin):
        found = await admin("GET", "providers/mine")
        assert found["provider_status"] == "error"
        assert (await call(running, "mine/m")).status_code == 400
        told = await admin.refused("PUT", "providers/mine", {"send_back_raw_request": True}, 409)
        assert "encryption key" in told
        await admin("DELETE", "providers/mine")
        await admin("POST", "providers", custom(upstream))
        assert (await call(running, "mine/m")).status_code == 200


# What may be written


async def test_a_provider_of_the_file_is_shown_and_cannot_be_changed(
    tmp_path: Path, upstream: Upstream
) -> None:
    config = {
        "providers": {
            "openai": {
                "keys": [{"id": "k1", "name": "n", "value": CANARY}],
                "network_config": {"base_url": upstream.url},
            }
        }
    }
    async with managed(tmp_path, config) as (_, admin):
        found = await admin("GET", "providers/openai")
        assert found["managed_by"] == "file"
        assert CANARY not in json.dumps(found)
        assert (await admin("GET", "providers"))["total"] == 1
        for method, path, body in (
            ("PUT", "providers/openai", {}),
            ("DELETE", "providers/openai", None),
            ("POST", "providers", {"provider": "openai"}),
            ("POST", "providers/openai/keys", {"value": "x"}),
            ("PUT", "providers/openai/keys/k1", {"value": "x"}),
            ("DELETE", "providers/openai/keys/k1", None),
        ):
            told = await admin.refused(method, path, body, 409)
            assert "managed by file" in told
            assert "config.json" in told


async def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    async with managed(tmp_path) as (_, admin):
        body = {"provider": "openai", "x": 1, "keys": [{"weight": "a"}], "proxy_config": 3}
        told = await admin.refused("POST", "providers", body, 400)
        for place in ("x: ", "keys[0].weight", "proxy_config"):
            assert place in told


async def test_what_is_no_object_is_invalid_json(tmp_path: Path) -> None:
    headers = {"authorization": f"Bearer {ADMIN['HERMOD_ADMIN_TOKEN']}"}
    async with managed(tmp_path) as (running, _):
        for body in ("", "[]", "3", '"x"', "{", "nul", '{"a":NaN}', "[" * 10_000):
            for method, path in (("POST", "/api/providers"), ("PUT", "/api/config")):
                reply = await running.http.request(method, path, content=body, headers=headers)
                assert reply.status_code == 400
                assert "Invalid JSON" in reply.json()["error"]["message"]


# Open mode


async def test_nobody_changes_where_calls_go_while_the_gateway_is_open(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with gateway(tmp_path / "app") as running:
        admin = Admin(running, token=None)
        away = {"base_url": "https://elsewhere.example"}
        keys = [{"name": "k", "value": CANARY}]
        await admin("POST", "providers", {"provider": "openai", "keys": keys})
        for method, path, body in (
            ("POST", "providers", custom(upstream)),
            ("POST", "providers", {"provider": "groq", "network_config": away}),
            ("PUT", "providers/openai", {"network_config": away}),
            ("PUT", "providers/openai", {"network_config": {"insecure_skip_verify": True}}),
            ("PUT", "providers/groq", {"network_config": away}),
            (
                "POST",
                "providers",
                {
                    "provider": "azure",
                    "keys": [{"value": "x", "azure_key_config": {"endpoint": "https://e.example"}}],
                },
            ),
            (
                "POST",
                "providers",
                {
                    "provider": "mine",
                    "custom_provider_config": {
                        "base_provider_type": "openai",
                        "request_path_overrides": {"embedding": "https://e.example/x"},
                    },
                },
            ),
        ):
            told = await admin.refused(method, path, body, 403)
            assert "HERMOD_ADMIN_TOKEN" in told
        assert (await admin("GET", "providers"))["total"] == 1


async def test_an_address_an_admin_has_set_stays_changeable_in_all_else(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (_, admin):
        await admin("POST", "providers", custom(upstream))
    async with gateway(tmp_path / "app") as running:
        admin = Admin(running, token=None)
        await admin("PUT", "providers/mine", {"send_back_raw_request": True})
        assert (await call(running, "mine/m")).status_code == 200


# The audit log


async def test_every_change_leaves_a_trace_without_secrets(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with managed(tmp_path) as (running, admin):
        await admin("POST", "providers", custom(upstream))
        key = await admin("POST", "providers/mine/keys", {"name": "k", "value": OTHER})
        await admin("PUT", f"providers/mine/keys/{key['id']}", {"weight": 2})
        await admin("DELETE", f"providers/mine/keys/{key['id']}")
        await admin("PUT", "providers/mine", {"keys": []})
        await admin("DELETE", "providers/mine")
        entries = [entry for _, entry in await running.service.store.read_audit(20)]
    assert [entry.action for entry in reversed(entries)] == [
        "provider.create",
        "provider.key.create",
        "provider.key.update",
        "provider.key.delete",
        "provider.update",
        "provider.delete",
    ]
    assert {entry.target for entry in entries} == {"mine"}
    assert all(entry.subject.startswith("admin:") for entry in entries)
    assert upstream.url in entries[-1].detail
    assert not any(secret in str(entries) for secret in (CANARY, OTHER))


# Keys, models, config


async def test_all_keys_are_listed_with_their_providers(tmp_path: Path, upstream: Upstream) -> None:
    async with managed(tmp_path) as (_, admin):
        made = await admin("POST", "providers", custom(upstream))
        (key,) = await admin("GET", "keys")
        assert key["key_id"] == made["keys"][0]["id"]
        assert (key["provider"], key["name"], key["weight"]) == ("mine", "first", 1.0)
        assert (await admin("GET", "providers/mine/keys"))["total"] == 1
        told = await admin("GET", f"providers/mine/keys/{key['key_id']}")
        assert told["name"] == "first"
        for path in ("providers/mine/keys/none", "providers/none/keys/x", "providers/none/keys"):
            await admin("GET", path, status=404)
        for path in ("providers/mine/other/x", "providers/mine/keys/a/b", "providers/a/b"):
            assert "not found" in await admin.refused("GET", path, None, 404)


async def test_models_are_searched(tmp_path: Path) -> None:
    async with managed(tmp_path) as (_, admin):
        body = {
            "provider": "groq",
            "keys": [{"value": CANARY, "aliases": {f"big-{n}": "x" for n in range(7)}}],
            "network_config": {"base_url": "http://127.0.0.1:1", "allow_private_network": True},
        }
        await admin("POST", "providers", body)
        found = await admin("GET", "models?provider=groq")
        assert (len(found["models"]), found["total"]) == (5, 7)
        found = await admin("GET", "models?provider=groq&query=BIG-3&limit=9")
        assert found == {"models": [{"name": "big-3", "provider": "groq"}], "total": 1}
        found = await admin("GET", "models/details?provider=groq&limit=3&offset=6")
        assert (len(found["models"]), found["total"]) == (1, 7)
        await admin("GET", "models?limit=-1", status=400)


async def test_the_result_ttl_can_be_changed_and_is_used_by_the_next_job(tmp_path: Path) -> None:
    async with managed(tmp_path) as (running, admin):
        config = await admin("GET", "config")
        assert config["client_config"]["async_job_result_ttl"] == 3600
        config["client_config"]["async_job_result_ttl"] = 77
        await admin("PUT", "config", config)  # all of it, as a client sends it back
        assert (await admin("GET", "config"))["client_config"]["async_job_result_ttl"] == 77
        body = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
        submitted = await running.http.post("/v1/async/chat/completions", json=body)
        path = f"/v1/async/chat/completions/{submitted.json()['id']}"
        job: dict[str, Any] = {}
        async with asyncio.timeout(10):
            while job.get("status") != "completed":
                reply = await running.http.get(path)
                assert reply.status_code in {200, 202}, reply.text
                job = reply.json()
        assert seconds_between(job["completed_at"], job["expires_at"]) == 77
        await admin("PUT", "config", {"client_config": {"async_job_result_ttl": 0}})
        assert (await admin("GET", "config"))["client_config"]["async_job_result_ttl"] == 77


def seconds_between(one: str, other: str) -> float:
    """Of two RFC 3339 instants."""
    return (datetime.fromisoformat(other) - datetime.fromisoformat(one)).total_seconds()


async def test_what_only_the_file_can_change_is_refused(tmp_path: Path) -> None:
    config = {"client": {"async_job_result_ttl": 50}}
    async with managed(tmp_path, config) as (_, admin):
        told = await admin.refused(
            "PUT", "config", {"client_config": {"async_job_result_ttl": 60}}, 409
        )
        assert "managed by file" in told
        for body in (
            {"client_config": {"allow_direct_keys": True}},
            {"client_config": {"enforce_auth_on_inference": True}},
            {"client_config": {"nonsense": 1}},
            {"auth_config": {"admin_username": "x"}},
            {"role": "worker"},
        ):
            assert "cannot be changed here" in await admin.refused("PUT", "config", body, 400)
        for wrong in ("60", 1.5, True):
            body = {"client_config": {"async_job_result_ttl": wrong}}
            assert "whole number" in await admin.refused("PUT", "config", body, 400)
