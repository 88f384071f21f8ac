"""`/api/governance/virtual-keys` in Bifrost's shapes (wire-contract 10.1 to 10.3)."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.inprocess import Running, gateway
from tests.support.management import KEYS, ROOT, made, refused, well

CHAT = "/v1/async/chat/completions"
HELLO: dict[str, Any] = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
VALUE = re.compile(r"sk-bf-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MOCK: list[dict[str, Any]] = [{"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"]}]
BUDGET: dict[str, Any] = {"max_limit": 10.5, "reset_duration": "1d"}
RATES: dict[str, Any] = {
    "token_max_limit": 1000,
    "token_reset_duration": "1h",
    "request_max_limit": 20,
    "request_reset_duration": "1m",
}

SENSELESS: list[tuple[Any, str]] = [
    (b"{", "Invalid JSON"),
    (b"", "Invalid JSON"),
    (b'{"mcp_configs":' + b"[" * 100_000, "Invalid JSON"),
    (b'{"name":"\xff"}', "Invalid JSON"),
    ({}, "Virtual key name is required"),
    ({"name": ""}, "Virtual key name is required"),
    ({"name": "  "}, "Virtual key name is required"),
    (
        {"name": "x", "team_id": "a", "customer_id": "b"},
        "VirtualKey cannot be attached to both Team and Customer",
    ),
    ({"name": "x", "team_id": "a"}, "Team not found"),
    ({"name": "x", "customer_id": "a"}, "Customer not found"),
    (
        {"name": "x", "budget": {"max_limit": 1, "reset_duration": "soon"}},
        "Invalid reset duration format: soon",
    ),
    ({"name": "x", "budget": {"max_limit": 1}}, "Invalid reset duration format: "),
    (
        {"name": "x", "budget": {"max_limit": -1, "reset_duration": "1d"}},
        "Budget max_limit cannot be negative: -1.00",
    ),
    ({"name": "x", "budget": {"reset_duration": "1d"}}, "Budget max_limit is required"),
    (
        {"name": "x", "budget": {"max_limit": 1e300, "reset_duration": "1d"}},
        "Budget max_limit is too large: 1e+300",
    ),
    (
        {
            "name": "x",
            "budget": {"max_limit": 1, "reset_duration": "1h", "calendar_aligned": True},
        },
        "calendar_aligned is for days, weeks, months, quarters and years, not 1h",
    ),
    (
        {"name": "x", "rate_limit": {"token_max_limit": 0, "token_reset_duration": "1h"}},
        "token_max_limit must be greater than 0: 0",
    ),
    (
        {"name": "x", "rate_limit": {"request_max_limit": 1}},
        "request_reset_duration is required when request_max_limit is set",
    ),
    (
        {"name": "x", "rate_limit": {"request_max_limit": 1, "request_reset_duration": "0s"}},
        "Invalid reset duration format: 0s",
    ),
    ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at must be in the future"),
    ({"name": "x", "provider_configs": [{}]}, "provider is required"),
    (
        {"name": "x", "provider_configs": [{"provider": "nobody"}]},
        "invalid provider name: nobody",
    ),
    (
        {"name": "x", "provider_configs": [{"provider": "openai"}, {"provider": "openai"}]},
        "more than one provider config for provider: openai",
    ),
    (
        {"name": "x", "provider_configs": [{"provider": "openai", "weight": -1}]},
        "weight must be a number, 0 or more",
    ),
    ({"name": "x\n"}, "a text contains a control character"),
    (
        {"name": "x", "mcp_configs": [{"mcp_client_name": "a"}]},
        "mcp_configs are not supported: there is no MCP in this gateway",
    ),
]
WRONG_KIND: list[dict[str, Any]] = [
    {"name": 1},
    {"name": "x" * 256},
    {"is_active": "yes"},
    {"expires_at": "2100-01-01"},
    {"expires_at": "2100-01-01T00:00:00"},
    {"max_parallel_jobs": 0},
    {"max_pending_jobs": -1},
    {"max_pending_jobs": 1.5},
    {"on_limit": "wait"},
    {"provider_configs": {"openai": {}}},
    {"budget": {"max_limit": "10", "reset_duration": "1d"}},
    {"budget": {"max_limit": True, "reset_duration": "1d"}},
    {"rate_limit": {"token_max_limit": 1.5, "token_reset_duration": "1d"}},
    {"rate_limit": []},
]


async def submitted(running: Running, value: str) -> int:
    response = await running.http.post(CHAT, json=HELLO, headers={"x-bf-vk": value})
    return response.status_code


async def put(running: Running, key_id: str, **members: Any) -> dict[str, Any]:
    whole = well(await running.http.put(f"{KEYS}/{key_id}", json=members))
    assert whole["message"] == "Virtual key updated successfully"
    return whole["virtual_key"]


async def got(running: Running, key_id: str) -> dict[str, Any]:
    return well(await running.http.get(f"{KEYS}/{key_id}"))["virtual_key"]


# Making one


async def test_a_new_key_shows_its_value_this_once(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        response = await running.http.post(KEYS, json={"name": "first"})
        whole = well(response)
        assert whole["message"] == "Virtual key created successfully"
        key = whole["virtual_key"]
        assert VALUE.fullmatch(key["value"])
        shown = f"sk-bf-****{key['value'][-4:]}"
        assert (await got(running, key["id"]))["value"] == shown
        (listed,) = well(await running.http.get(KEYS))["virtual_keys"]
        assert listed["value"] == shown
        assert (await put(running, key["id"], name="second"))["value"] == shown
        stored = await running.service.store.read_documents()
        assert key["value"].encode() not in repr(stored).encode()


async def test_a_new_key_opens_the_gateway_at_once(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK)
        assert await submitted(running, key["value"]) == 202


async def test_a_key_has_all_that_was_said_of_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        team = await made(running.http, f"{ROOT}/teams", name="team")
        config = {
            "provider": "openai",
            "weight": 0.7,
            "allowed_models": ["gpt-4o", "regex:^o\\d"],
            "blacklisted_models": ["o1"],
            "key_ids": ["main", "other"],
            "budget": BUDGET,
            "rate_limit": RATES,
        }
        key = await made(
            running.http,
            name="full",
            description="two\nlines",
            provider_configs=[config],
            mcp_configs=[],
            team_id=team["id"],
            budget=BUDGET | {"calendar_aligned": True},
            rate_limit=RATES,
            is_active=False,
            expires_at="2100-01-01T00:00:00+01:00",
            max_parallel_jobs=5,
            max_pending_jobs=50,
            on_limit="reject",
        )
        shown = await got(running, key["id"])
        assert shown | {"value": key["value"]} == key
        for name, value in {
            "name": "full",
            "description": "two\nlines",
            "is_active": False,
            "team_id": team["id"],
            "team": {"id": team["id"], "name": "team"},
            "expires_at": "2099-12-31T23:00:00Z",
            "max_parallel_jobs": 5,
            "max_pending_jobs": 50,
            "on_limit": "reject",
            "mcp_configs": [],
        }.items():
            assert shown[name] == value
        (told,) = shown["provider_configs"]
        for name in ("provider", "weight", "allowed_models", "blacklisted_models", "key_ids"):
            assert told[name] == config[name]
        assert told["virtual_key_id"] == key["id"]
        for owner in (shown, told):
            budget, rates = owner["budget"], owner["rate_limit"]
            assert budget["id"] == owner["budget_id"]
            assert rates["id"] == owner["rate_limit_id"]
            assert budget | BUDGET == budget
            assert budget["current_usage"] == budget["reserved"] == budget["overspent"] == 0
            assert rates | RATES == rates
            assert rates["token_current_usage"] == rates["request_current_usage"] == 0
        assert shown["budget"]["calendar_aligned"] is True
        midnight = datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")
        assert shown["budget"]["last_reset"] == midnight


async def test_a_key_that_makes_no_sense_is_400_in_bifrosts_words(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, name="there")
        for body, message in SENSELESS:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            assert refused(await running.http.post(KEYS, content=content), 400) == message
            if body != {}:  # a change need not name anything
                response = await running.http.put(f"{KEYS}/{key['id']}", content=content)
                assert refused(response, 400) == message
        assert well(await running.http.get(KEYS))["count"] == 1


async def test_a_member_of_the_wrong_kind_is_400(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for members in WRONG_KIND:
            response = await running.http.post(KEYS, json={"name": "x", **members})
            assert refused(response, 400).startswith("Invalid JSON: "), members


async def test_a_pattern_that_is_none_or_may_never_end_is_400(tmp_path: Path) -> None:
    wrong = {
        "regex:(": "does not compile: ",
        "regex:[z-a]": "does not compile: ",
        "regex:*": "does not compile: ",
        "regex:(a+)+b": "repeats a group",
        r"regex:(a)\1": "looks around or refers back",
    }
    async with gateway(tmp_path) as running:
        key = await made(running.http)
        for pattern, reason in wrong.items():
            for member in ("allowed_models", "blacklisted_models"):
                body = {"name": "x", "provider_configs": [{"provider": "mock", member: [pattern]}]}
                for way, path in (("POST", KEYS), ("PUT", f"{KEYS}/{key['id']}")):
                    message = refused(await running.http.request(way, path, json=body), 400)
                    assert message.startswith(f"{member}: the pattern {pattern} {reason}")


async def test_two_keys_cannot_have_one_name(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, name="taken")
        other = await made(running.http, name="other")
        taken = "Virtual key with name 'taken' already exists"
        assert refused(await running.http.post(KEYS, json={"name": "taken"}), 409) == taken
        response = await running.http.put(f"{KEYS}/{other['id']}", json={"name": "taken"})
        assert refused(response, 409) == taken
        assert (await put(running, key["id"], name="taken"))["name"] == "taken"


# Changing one


async def test_what_a_change_does_not_name_stays_as_it_was(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(
            running.http,
            description="d",
            provider_configs=[{"provider": "openai", "weight": 2, "budget": BUDGET}],
            budget=BUDGET,
            rate_limit=RATES,
            max_parallel_jobs=5,
            on_limit="reject",
        )
        before = await got(running, key["id"])
        after = await put(running, key["id"], is_active=False)
        same = {"is_active": False, "updated_at": after["updated_at"]}
        assert after == before | same
        assert after["updated_at"] > before["updated_at"]


async def test_null_takes_away(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        customer = await made(running.http, f"{ROOT}/customers", name="c")
        gone = ("budget", "rate_limit", "expires_at", "max_parallel_jobs", "max_pending_jobs",
                "on_limit", "customer_id")  # fmt: skip
        key = await made(
            running.http,
            description="d",
            customer_id=customer["id"],
            budget=BUDGET,
            rate_limit=RATES,
            expires_at="2100-01-01T00:00:00Z",
            max_parallel_jobs=5,
            max_pending_jobs=5,
            on_limit="reject",
            provider_configs=MOCK,
        )
        nothing = dict.fromkeys((*gone, "description", "provider_configs"))
        after = await put(running, key["id"], **nothing)
        assert not {*gone, "budget_id", "rate_limit_id", "customer"} & after.keys()
        assert (after["description"], after["provider_configs"]) == ("", [])


async def test_an_empty_budget_is_none(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http)
        for empty in (None, {}, {"max_limit": None, "reset_duration": "1d"}):
            assert "budget" in await put(running, key["id"], budget=BUDGET)
            assert "budget" not in await put(running, key["id"], budget=empty)


async def test_a_part_of_a_limit_can_be_changed_and_it_stays_the_same_one(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, budget=BUDGET, rate_limit=RATES)
        after = await put(
            running,
            key["id"],
            budget={"max_limit": 20},
            rate_limit={"token_max_limit": None, "request_max_limit": 30},
        )
        assert after["budget"] == key["budget"] | {"max_limit": 20.0}
        assert after["rate_limit"]["id"] == key["rate_limit_id"]
        assert after["rate_limit"]["request_max_limit"] == 30
        assert "token_max_limit" not in after["rate_limit"]
        gone = {"request_max_limit": None}
        assert "rate_limit" not in await put(running, key["id"], rate_limit=gone)


async def test_a_provider_config_stays_the_same_one_by_its_id_or_its_provider(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        configs = [{"provider": name, "budget": BUDGET} for name in ("openai", "groq", "mistral")]
        key = await made(running.http, provider_configs=configs)
        openai, groq, mistral = key["provider_configs"]
        after = await put(
            running,
            key["id"],
            provider_configs=[
                {"provider": "groq", "weight": 1},
                {"id": openai["id"], "provider": "cohere"},
                {"provider": "openai"},
            ],
        )
        first, second, third = after["provider_configs"]
        assert first == groq | {"weight": 1.0}
        assert second == openai | {"provider": "cohere"}
        assert third["provider"] == "openai"
        assert third["id"] not in {openai["id"], groq["id"], mistral["id"]}
        assert "budget" not in third


async def test_a_key_moves_between_a_team_and_a_customer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        team = await made(running.http, f"{ROOT}/teams", name="t")
        customer = await made(running.http, f"{ROOT}/customers", name="c")
        key = await made(running.http, team_id=team["id"])
        moved = await put(running, key["id"], customer_id=customer["id"])
        assert (moved.get("team_id"), moved["customer_id"]) == (None, customer["id"])
        moved = await put(running, key["id"], team_id=team["id"])
        assert (moved["team_id"], moved.get("customer_id")) == (team["id"], None)
        moved = await put(running, key["id"], team_id="")
        assert "team_id" not in moved


async def test_an_expired_key_can_be_changed_without_a_new_date(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        key = await made(running.http, expires_at=soon, provider_configs=MOCK)
        running.clock.ahead_s = 7200
        assert await submitted(running, key["value"]) == 403
        same = await put(running, key["id"], expires_at=key["expires_at"], description="late")
        assert same["expires_at"] == key["expires_at"]
        await put(running, key["id"], expires_at=None)
        assert await submitted(running, key["value"]) == 202


async def test_a_key_that_is_switched_off_is_refused_at_once(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK)
        await put(running, key["id"], is_active=False)
        response = await running.http.post(CHAT, json=HELLO, headers={"x-bf-vk": key["value"]})
        assert refused(response, 403) == "Virtual key is inactive"
        assert response.json()["type"] == "virtual_key_blocked"


# Rotating, tokens, removing


async def test_after_a_rotation_only_the_new_value_is_good_and_the_jobs_stay(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK)
        headers = {"x-bf-vk": key["value"]}
        job = await running.http.post(CHAT, json=HELLO, headers=headers)
        whole = well(await running.http.post(f"{KEYS}/{key['id']}/rotate"))
        assert whole["message"] == "Virtual key rotated successfully"
        value = whole["virtual_key"]["value"]
        assert VALUE.fullmatch(value)
        assert value != key["value"]
        assert await submitted(running, key["value"]) == 403
        assert await submitted(running, value) == 202
        poll = await running.http.get(job.headers["location"], headers={"x-bf-vk": value})
        assert poll.status_code in (200, 202)


async def test_a_token_stands_for_its_key_until_the_next_rotation(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK)
        path = f"{KEYS}/{key['id']}/token"
        for body in (b"", b"{}", b'{"expires_in":60}'):
            whole = well(await running.http.post(path, content=body))
            assert whole["token_type"] == "Bearer"
            assert await submitted(running, whole["token"]) == 202
        well(await running.http.post(f"{KEYS}/{key['id']}/rotate"))
        assert await submitted(running, whole["token"]) in (401, 403)


async def test_a_token_lives_as_long_as_was_asked_and_no_longer_than_a_year(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK)
        path = f"{KEYS}/{key['id']}/token"
        for wrong in (0, -1, "60", 1.5, 10**9):
            response = await running.http.post(path, json={"expires_in": wrong})
            refused(response, 400)
        token = well(await running.http.post(path, json={"expires_in": 60}))["token"]
        running.clock.ahead_s = 200
        response = await running.http.post(CHAT, json=HELLO, headers={"x-bf-vk": token})
        assert response.status_code == 401


async def test_the_public_keys_of_tokens_are_for_everybody(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        response = await running.http.get("/.well-known/jwks.json")
        assert (response.status_code, response.json()) == (200, {"keys": []})
        key = await made(running.http)
        well(await running.http.post(f"{KEYS}/{key['id']}/token"))
        (public,) = (await running.http.get("/.well-known/jwks.json")).json()["keys"]
        assert {"kty", "crv", "x", "y", "kid"} <= public.keys()
        assert "d" not in public


async def test_a_key_that_is_removed_is_gone(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK)
        whole = well(await running.http.delete(f"{KEYS}/{key['id']}"))
        assert whole == {"message": "Virtual key deleted successfully"}
        assert await submitted(running, key["value"]) == 403
        for method, path in (
            ("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/token"),
        ):  # fmt: skip
            for id_ in (key["id"], "made-up", "%20", "' OR 1=1 --"):
                response = await running.http.request(method, f"{KEYS}/{id_}{path}", json={})
                assert refused(response, 404) == "Virtual key not found"
        await made(running.http)


# Lists


async def test_a_list_has_pages_in_an_order(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        names = ["b", "a", "C", "d"]
        for name in names:
            await made(running.http, name=name)

        async def page(query: str) -> list[str]:
            whole = well(await running.http.get(f"{KEYS}?{query}"))
            assert whole["total_count"] == (1 if "search" in query else 4)
            assert whole["count"] == len(whole["virtual_keys"])
            return [key["name"] for key in whole["virtual_keys"]]

        assert await page("") == names
        assert await page("limit=2") == ["b", "a"]
        assert await page("limit=2&offset=3") == ["d"]
        assert await page("offset=1") == ["a", "C", "d"]
        assert await page("offset=9") == []
        assert await page("order=desc") == names[::-1]
        assert await page("sort_by=name") == ["a", "b", "C", "d"]
        assert await page("sort_by=name&order=desc&limit=1") == ["d"]
        assert await page("sort_by=anything") == names
        assert await page("search=c") == ["C"]
        whole = well(await running.http.get(f"{KEYS}?limit=2&offset=1"))
        assert (whole["limit"], whole["offset"]) == (2, 1)


async def test_a_page_that_is_no_number_is_400(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for path in (KEYS, f"{ROOT}/teams", f"{ROOT}/customers", f"{ROOT}/model-configs"):
            for name in ("limit", "offset"):
                for value in ("-1", "x", "1.5", "1e3", "+1", "9" * 30, "%D9%A1"):
                    response = await running.http.get(f"{path}?{name}={value}")
                    message = refused(response, 400)
                    assert message.startswith(f"Invalid {name} parameter: must be ")


async def test_a_list_can_be_of_one_team_or_customer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        team = await made(running.http, f"{ROOT}/teams", name="t")
        customer = await made(running.http, f"{ROOT}/customers", name="c")
        await made(running.http, name="alone")
        await made(running.http, name="of team", team_id=team["id"])
        await made(running.http, name="of customer", customer_id=customer["id"])
        for query, name in (
            (f"team_id={team['id']}", "of team"),
            (f"customer_id={customer['id']}", "of customer"),
        ):
            whole = well(await running.http.get(f"{KEYS}?{query}"))
            assert [key["name"] for key in whole["virtual_keys"]] == [name]


# Of the config file


async def test_a_key_of_the_config_file_is_shown_and_cannot_be_changed(tmp_path: Path) -> None:
    value = "sk-bf-of-the-file-0123456789"
    config = {
        "governance": {
            "virtual_keys": [
                {"id": "vk-1", "name": "filed", "value": value, "is_active": True,
                 "provider_configs": MOCK}
            ]
        }
    }  # fmt: skip
    async with gateway(tmp_path, config=config) as running:
        (key,) = well(await running.http.get(KEYS))["virtual_keys"]
        assert (key["id"], key["name"], key["managed_by"]) == ("vk-1", "filed", "file")
        assert key["value"] == "sk-bf-****6789"
        for method, path in (("PUT", ""), ("DELETE", ""), ("POST", "/rotate")):
            response = await running.http.request(method, f"{KEYS}/vk-1{path}", json={})
            assert refused(response, 409) == "Virtual key is managed by file"
        response = await running.http.post(KEYS, json={"name": "filed"})
        assert refused(response, 409) == "Virtual key with name 'filed' already exists"
        assert await submitted(running, value) == 202
        token = well(await running.http.post(f"{KEYS}/vk-1/token"))["token"]
        assert await submitted(running, token) == 202
