"""Teams, customers, limits, and who changed them (wire-contract 10.1 to 10.3)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hermod import __version__
from hermod.domain.document import Document, Put
from hermod.domain.governance import Team
from hermod.governance.documents import to_document
from tests.support.inprocess import Running, gateway
from tests.support.management import ADMIN, ENVIRON, KEYS, ROOT, TOKEN, made, refused, well

CHAT = "/v1/async/chat/completions"
HELLO: dict[str, Any] = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
MOCK: list[dict[str, Any]] = [{"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"]}]
BUDGET: dict[str, Any] = {"max_limit": 10.5, "reset_duration": "1d"}
RATES: dict[str, Any] = {"request_max_limit": 20, "request_reset_duration": "1d"}
TEAMS, CUSTOMERS, MODELS = (f"{ROOT}/{name}" for name in ("teams", "customers", "model-configs"))
PROVIDERS = f"{ROOT}/providers"


UNREADABLE = b'{"id":"t","name":1}'


async def job_done(running: Running, value: str) -> None:
    """One call with this key, from submit to its end."""
    headers = {"x-bf-vk": value}
    job = await running.http.post(CHAT, json=HELLO, headers=headers)
    assert job.status_code == 202, job.text
    async with asyncio.timeout(20):
        while True:
            poll = await running.http.get(job.headers["location"], headers=headers)
            if poll.status_code == 200:
                assert poll.json()["status"] == "completed", poll.text
                return
            await asyncio.sleep(0.01)


# Teams and customers


async def test_a_team_that_cannot_be_read_can_be_deleted_and_its_keys_are_free(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        http, store = running.http, running.service.store
        team = await made(http, TEAMS)
        key = await made(http, name="k", team_id=team["id"], provider_configs=MOCK)
        value = {"x-bf-vk": key["value"]}
        unreadable = Document("team", team["id"], "made", None, UNREADABLE, 1)
        await store.change_documents([Put(unreadable)])
        here = f"{TEAMS}/{team['id']}"
        message = "Team cannot be read: another release may have written it"
        assert refused(await http.put(here, json={"name": "n"}), 409) == message
        assert refused(await http.get(here), 404) == "Team not found"
        response = await http.post(CHAT, json=HELLO, headers=value)
        assert (response.status_code, response.json()["type"]) == (403, "virtual_key_blocked")
        well(await http.delete(here))
        assert (await http.post(CHAT, json=HELLO, headers=value)).status_code == 202


@pytest.mark.parametrize(
    ("path", "noun", "one"), [(TEAMS, "Team", "team"), (CUSTOMERS, "Customer", "customer")]
)
async def test_a_team_or_customer_from_its_making_to_its_end(
    tmp_path: Path, path: str, noun: str, one: str
) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        whole = well(await http.post(path, json={"name": "a", "budget": BUDGET}))
        assert whole["message"] == f"{noun} created successfully"
        thing = whole[one]
        here = f"{path}/{thing['id']}"
        assert well(await http.get(here)) == {one: thing}
        assert thing["budget"] | BUDGET == thing["budget"]
        whole = well(await http.put(here, json={"rate_limit": RATES}))
        assert whole["message"] == f"{noun} updated successfully"
        assert whole[one]["budget"] == thing["budget"]
        assert whole[one]["rate_limit"]["request_max_limit"] == 20
        listed = well(await http.get(path))
        assert listed == {
            f"{one}s": [whole[one]], "count": 1, "total_count": 1, "limit": 1, "offset": 0,
        }  # fmt: skip
        assert well(await http.delete(here)) == {"message": f"{noun} deleted successfully"}
        for method in ("GET", "PUT", "DELETE"):
            response = await http.request(method, here, json={})
            assert refused(response, 404) == f"{noun} not found"


async def test_a_team_or_customer_needs_a_name_of_its_own(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for path, noun in ((TEAMS, "Team"), (CUSTOMERS, "Customer")):
            assert (
                refused(await running.http.post(path, json={}), 400) == f"{noun} name is required"
            )
            await made(running.http, path, name="taken")
            response = await running.http.post(path, json={"name": "taken"})
            assert refused(response, 409) == f"{noun} with name 'taken' already exists"


async def test_a_customer_shows_its_teams_and_keys_without_their_values(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        customer = await made(http, CUSTOMERS, name="c")
        team = await made(http, TEAMS, name="t", customer_id=customer["id"])
        of_team = await made(http, name="of team", team_id=team["id"])
        of_customer = await made(http, name="of customer", customer_id=customer["id"])
        shown = well(await http.get(f"{CUSTOMERS}/{customer['id']}"))["customer"]
        assert shown["teams"] == [{"id": team["id"], "name": "t"}]
        assert [key["id"] for key in shown["virtual_keys"]] == [of_customer["id"]]
        response = await http.get(f"{TEAMS}/{team['id']}")
        (key,) = well(response)["team"]["virtual_keys"]
        assert key["id"] == of_team["id"]
        assert of_team["value"] not in response.text
        (listed,) = well(await http.get(f"{TEAMS}?customer_id={customer['id']}"))["teams"]
        assert listed["customer"] == {"id": customer["id"], "name": "c"}
        assert well(await http.get(f"{TEAMS}?customer_id=other"))["count"] == 0


async def test_who_belonged_to_what_is_removed_stays_on_its_own(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        customer = await made(http, CUSTOMERS, name="c")
        team = await made(http, TEAMS, name="t", customer_id=customer["id"])
        of_team = await made(http, name="of team", team_id=team["id"], description="kept")
        of_customer = await made(http, name="of customer", customer_id=customer["id"])
        well(await http.delete(f"{CUSTOMERS}/{customer['id']}"))
        assert "customer_id" not in well(await http.get(f"{TEAMS}/{team['id']}"))["team"]
        whole = well(await http.get(f"{KEYS}/{of_customer['id']}"))["virtual_key"]
        assert "customer_id" not in whole
        assert well(await http.get(f"{KEYS}/{of_team['id']}"))["virtual_key"]["team_id"]
        well(await http.delete(f"{TEAMS}/{team['id']}"))
        whole = well(await http.get(f"{KEYS}/{of_team['id']}"))["virtual_key"]
        assert ("team_id" in whole, whole["description"]) == (False, "kept")


# Limits of models and providers


async def test_limits_of_a_model_are_unique_by_model_and_provider(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        assert refused(await http.post(MODELS, json={}), 400) == "Model name is required"
        body: dict[str, Any] = {"model_name": "gpt-4o", "budget": BUDGET}
        whole = well(await http.post(MODELS, json=body))
        assert whole["message"] == "Model config created successfully"
        response = await http.post(MODELS, json=body)
        told = "Model config for model 'gpt-4o' (global) already exists"
        assert refused(response, 409) == told
        body["provider"] = "openai"
        model = well(await http.post(MODELS, json=body))["model_config"]
        assert (model["model_name"], model["provider"]) == ("gpt-4o", "openai")
        response = await http.post(MODELS, json=body)
        told = "Model config for model 'gpt-4o' with provider 'openai' already exists"
        assert refused(response, 409) == told
        whole = well(await http.put(f"{MODELS}/{model['id']}", json={"budget": None}))
        assert "budget" not in whole["model_config"]
        listed = well(await http.get(f"{MODELS}?provider=openai"))
        assert [each["id"] for each in listed["model_configs"]] == [model["id"]]
        whole = well(await http.delete(f"{MODELS}/{model['id']}"))
        assert whole == {"message": "Model config deleted successfully"}
        assert refused(await http.get(f"{MODELS}/{model['id']}"), 404) == "Model config not found"


async def test_limits_of_a_provider_are_made_and_changed_by_put(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        here = f"{PROVIDERS}/openai"
        response = await http.put(f"{PROVIDERS}/nobody", json={"budget": BUDGET})
        assert refused(response, 404) == "Provider not found"
        whole = well(await http.put(here, json={"budget": BUDGET}))
        assert whole["message"] == "Provider governance updated successfully"
        assert whole["provider"]["provider"] == "openai"
        again = well(await http.put(here, json={"rate_limit": RATES}))["provider"]
        assert again["budget"] == whole["provider"]["budget"]
        assert well(await http.get(here)) == {"provider": again}
        assert well(await http.get(PROVIDERS))["providers"] == [again]
        well(await http.put(here, json={"budget": None, "rate_limit": None}))
        assert well(await http.get(PROVIDERS))["count"] == 0
        well(await http.put(here, json={"budget": BUDGET}))
        told = {"message": "Provider governance deleted successfully"}
        assert well(await http.delete(here)) == told
        refused(await http.delete(here), 404)


async def test_all_budgets_and_rate_limits_in_one_list(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        http = running.http
        limits: dict[str, Any] = {"budget": BUDGET, "rate_limit": RATES}
        owners = {
            "virtual_key": await made(http, provider_configs=[MOCK[0] | limits], **limits),
            "team": await made(http, TEAMS, **limits),
            "customer": await made(http, CUSTOMERS, **limits),
        }
        model = well(await http.post(MODELS, json={"model_name": "m", **limits}))["model_config"]
        provider = well(await http.put(f"{PROVIDERS}/openai", json=limits))["provider"]
        for path, member, name in (
            ("budgets", "budgets", "budget"),
            ("rate-limits", "rate_limits", "rate_limit"),
        ):
            whole = well(await http.get(f"{ROOT}/{path}"))
            assert whole["count"] == len(whole[member]) == 6
            wanted = {each[name]["id"] for each in (*owners.values(), model, provider)}
            (config,) = owners["virtual_key"]["provider_configs"]
            assert {each["id"] for each in whole[member]} == wanted | {config[name]["id"]}
            assert {each["owner_type"] for each in whole[member]} == {
                "virtual_key", "team", "customer", "model_limits", "provider_limits",
            }  # fmt: skip


# What is used


async def test_what_was_used_is_shown_until_its_period_ends(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK, rate_limit=RATES)
        here = f"{KEYS}/{key['id']}"

        async def rates() -> dict[str, Any]:
            return well(await running.http.get(here))["virtual_key"]["rate_limit"]

        await job_done(running, key["value"])
        used = await rates()
        assert used["request_current_usage"] == 1
        assert used["request_last_reset"] >= key["created_at"]
        running.clock.ahead_s = 86_500
        reset = await rates()
        assert reset["request_current_usage"] == 0
        assert reset["request_last_reset"] > used["request_last_reset"]


async def test_to_align_a_limit_to_the_calendar_begins_it_anew(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        key = await made(running.http, provider_configs=MOCK, rate_limit=RATES)
        here = f"{KEYS}/{key['id']}"
        await job_done(running, key["value"])

        async def usage(**change: Any) -> int:
            whole = well(await running.http.put(here, json={"rate_limit": change}))
            return whole["virtual_key"]["rate_limit"]["request_current_usage"]

        assert await usage(request_max_limit=30) == 1
        assert await usage(calendar_aligned=True) == 0
        await job_done(running, key["value"])
        assert await usage(calendar_aligned=True, request_max_limit=40) == 1


# Two at once


async def test_what_another_gateway_made_is_known_before_anything_is_changed(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        team = Team(id="t-1", name="of another", created_at=1, updated_at=1)
        await running.service.store.change_documents((Put(to_document(team)),))
        response = await running.http.put(f"{TEAMS}/t-1", json={"name": "ours"})
        assert well(response)["team"]["name"] == "ours"


async def test_of_many_changes_at_once_none_is_lost_without_a_word(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        team = await made(running.http, TEAMS)
        here = f"{TEAMS}/{team['id']}"
        answers = await asyncio.gather(
            *(running.http.put(here, json={"name": f"name {n}"}) for n in range(10))
        )
        told = {answer.status_code for answer in answers}
        assert told <= {200, 409}
        names = {answer.json()["team"]["name"] for answer in answers if answer.status_code == 200}
        assert well(await running.http.get(here))["team"]["name"] in names
        entries = well(await running.http.get(f"{ROOT}/audit"))["entries"]
        updates = [entry for entry in entries if entry["action"] == "team.update"]
        assert len(updates) == len(names)


async def test_of_many_who_make_the_same_one_succeeds(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answers = await asyncio.gather(
            *(running.http.post(KEYS, json={"name": "same"}) for _ in range(10))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9


async def test_a_change_is_seen_by_another_gateway_soon(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    async with (
        gateway(tmp_path / "one", database=database) as one,
        gateway(tmp_path / "two", database=database) as two,
    ):
        key = await made(one.http, provider_configs=MOCK)
        headers = {"x-bf-vk": key["value"]}
        async with asyncio.timeout(20):
            while (await two.http.post(CHAT, json=HELLO, headers=headers)).status_code != 202:
                await asyncio.sleep(0.05)


# What is not here, and who did what


async def test_there_are_no_routing_rules_and_none_can_be_made(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        here = f"{ROOT}/routing-rules"
        whole = well(await running.http.get(here))
        assert (whole["rules"], whole["count"]) == ([], 0)
        refused(await running.http.get(f"{here}/x"), 404)
        for method, path in (("POST", here), ("PUT", f"{here}/x"), ("DELETE", f"{here}/x")):
            response = await running.http.request(method, path, json={"name": "x"})
            assert "not supported" in refused(response, 501)


async def test_every_change_leaves_a_trace_without_secrets(tmp_path: Path) -> None:
    async with gateway(tmp_path, environ=ENVIRON) as running:
        http = running.http
        http.headers.update(ADMIN)
        team = await made(http, TEAMS, name="t")
        key = await made(http, name="k", team_id=team["id"])
        here = f"{KEYS}/{key['id']}"
        well(await http.put(here, json={"is_active": False}))
        rotated = well(await http.post(f"{here}/rotate"))["virtual_key"]["value"]
        token = well(await http.post(f"{here}/token"))["token"]
        refused(await http.put(here, json={"name": ""}), 400)
        well(await http.delete(here))
        response = await http.get(f"{ROOT}/audit")
        entries = well(response)["entries"]
        told = [(entry["action"], entry["target"]) for entry in entries[::-1]]
        assert [each for each in told if not each[0].startswith("signing_key")] == [
            ("team.create", team["id"]),
            ("virtual_key.create", key["id"]),
            ("virtual_key.update", key["id"]),
            ("virtual_key.rotate", key["id"]),
            ("virtual_key.token", key["id"]),
            ("virtual_key.delete", key["id"]),
        ]
        assert {entry["subject"] for entry in entries} <= {"admin:token", "issuer"}
        assert entries[-1]["detail"] == {"name": "t"}
        for secret in (key["value"], rotated, token, TOKEN):
            assert secret not in response.text


async def test_the_audit_log_has_pages(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for name in "abc":
            await made(running.http, TEAMS, name=name)
        page = well(await running.http.get(f"{ROOT}/audit?limit=2"))
        assert [entry["detail"]["name"] for entry in page["entries"]] == ["c", "b"]
        page = well(await running.http.get(f"{ROOT}/audit?limit=2&before={page['next_before']}"))
        assert [entry["detail"]["name"] for entry in page["entries"]] == ["a"]
        assert page["next_before"] is None
        refused(await running.http.get(f"{ROOT}/audit?limit=x"), 400)


async def test_the_version_is_a_text(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        assert well(await running.http.get("/api/version")) == __version__


async def test_a_body_of_more_than_a_megabyte_is_413(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        body = json.dumps({"name": "x" * 1024 * 1024}).encode()
        refused(await running.http.post(KEYS, content=body), 413)


async def test_while_the_store_is_away_nothing_is_changed_and_it_is_said(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        await running.service.store.close()
        response = await running.http.post(KEYS, json={"name": "x"})
        refused(response, 503)
        assert response.headers["retry-after"]
