"""What somebody with an ordinary virtual key tries, to get at more than the key may have."""

import asyncio
import json
import unicodedata
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest

from tests.support.inprocess import Running, gateway
from tests.support.management import ENVIRON
from tests.support.upstream import Reply, Upstream

ASYNC: Final = "/v1/async/chat/completions"
CHAT: Final = "/v1/chat/completions"
SAID: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": "hi"}]}
GOOD, BAD, DEAR = "good", "forbidden", "dear-model"
BROKEN: Final = Reply(503, b'{"error":{"message":"down"}}')


def provider(url: str, name: str, base: str = "openai") -> dict[str, Any]:
    """A provider of the operator's own with two keys."""
    return {
        "keys": [
            {"id": f"{name}-{each}", "name": f"{name}-{each}", "value": f"sk-{name}-{each}",
             "weight": 1}
            for each in ("ours", "theirs")
        ],
        "network_config": {"base_url": url, "max_retries": 0},
        "custom_provider_config": {"base_provider_type": base},
    }  # fmt: skip


def allowed(name: str, *models: str, **more: Any) -> dict[str, Any]:
    return {"provider": name, "allowed_models": list(models), "key_ids": ["*"], **more}


def key(name: str, *configs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"vk-{name}",
        "name": name,
        "value": secret(name),
        "provider_configs": list(configs),
        **more,
    }


def secret(name: str) -> str:
    return f"sk-bf-{name}-0000-4000-8000-000000000000"


def configuration(url: str) -> dict[str, Any]:
    ours = {"key_ids": ["here-ours"]}
    spent = {"id": "b", "max_limit": 0.0, "reset_duration": "1d"}
    return {
        "providers": {
            "here": provider(url, "here"),
            "there": provider(url, "there"),
            "gem": provider(url, "gem", "gemini"),
        },
        "client": {"enforce_auth_on_inference": True, "allow_direct_keys": True},
        "governance": {
            "virtual_keys": [
                key("narrow", allowed("here", GOOD, **ours)),
                key("broad", allowed("here", "*", blacklisted_models=[DEAR])),
                key("poor", allowed("here", "*"), budget=spent),
                key("wide", allowed("here", "*"), allowed("there", "*")),
                key("gem", allowed("gem", "*")),
                key("off", allowed("here", "*"), is_active=False),
                key("old", allowed("here", "*"), expires_at="2020-01-01T00:00:00Z"),
            ]
        },
    }


class Stage(NamedTuple):
    """A locked gateway before an upstream, and what that was asked for."""

    running: Running
    upstream: Upstream

    @property
    def http(self) -> httpx.AsyncClient:
        return self.running.http

    def asked_models(self) -> set[str]:
        """Every model that any call named."""
        return set(self.upstream._calls)

    def keys_shown(self) -> set[str]:
        return {
            call.headers["authorization"].removeprefix("Bearer ")
            for calls in self.upstream._calls.values()
            for call in calls
        }

    async def ask(self, name: str, path: str, body: Any, **headers: str) -> httpx.Response:
        """A call with the key of this name; a body of bytes goes as it is."""
        named = {each.replace("_", "-"): value for each, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        usual = {"content-type": "application/json", "x-bf-vk": secret(name)}
        return await self.http.post(path, content=content, headers=usual | named)

    async def job(self, name: str, body: Any, **headers: str) -> dict[str, Any]:
        """A job to its end."""
        response = await self.ask(name, ASYNC, body, **headers)
        if response.status_code != 202:
            return response.json()
        url = f"{ASYNC}/{response.json()['id']}"
        async with asyncio.timeout(20):
            while True:
                told = (await self.http.get(url, headers={"x-bf-vk": secret(name)})).json()
                if told["status"] not in {"pending", "processing"}:
                    return told
                await asyncio.sleep(0.01)


@asynccontextmanager
async def staged(app_dir: Path) -> AsyncGenerator[Stage]:
    with Upstream() as upstream:
        config = configuration(upstream.url)
        async with gateway(app_dir, config=config, environ=ENVIRON) as running:
            yield Stage(running, upstream)


# Other models than the key may ask for


def spellings(model: str) -> Iterator[str]:
    """Names that somebody on the way might take for `here/<model>`."""
    yield from (f"here/{model}", f"HERE/{model}", f" here/{model}", f"here /{model}")
    yield from (f"here//{model}", f"here/./{model}", f"here/{GOOD}/../{model}", f"/here/{model}")
    yield from (f"here/{GOOD},{model}", f"here/{GOOD}/{model}", f"here/{GOOD}\n{model}")
    yield from (f"here\\{model}", f"here%2F{model}", f"here/{GOOD}%00{model}")
    yield from (f"there/{model}", f"here/there/{model}", f"there/{GOOD}", f"openai/here/{model}")
    yield from (f"here/{model} ", f"here/ {model}", f"here/{model}\u200b", f"here/{model}\t")
    yield from (f"here/{model.upper()}", f"here/models/{model}", f"ｈere/{model}")
    yield from (model, "", "/", "here/", f"/{model}", "*", "here/*", f"here/{GOOD}*", "regex:.*")
    yield from (f"here/{GOOD.upper()}", f"here/{GOOD} ", f"here/{GOOD}\u200b")


async def test_no_spelling_of_a_model_leads_to_one_that_is_not_allowed(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for model in spellings(BAD):
            body = {**SAID, "model": model}
            for path in (CHAT, "/openai/v1/chat/completions", "/litellm/chat/completions"):
                response = await stage.ask("narrow", path, body)
                assert response.status_code in (400, 403), (path, model, response.text)
            message = {"max_tokens": 9, **body}
            response = await stage.ask("narrow", "/anthropic/v1/messages", message)
            assert response.status_code in (400, 403), (model, response.text)
        assert stage.asked_models() == set()
        assert (await stage.ask("narrow", CHAT, {**SAID, "model": f"here/{GOOD}"})).is_success


async def test_no_model_in_a_path_leads_to_one_that_is_not_allowed(tmp_path: Path) -> None:
    content = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    async with staged(tmp_path) as stage:
        for model in (f"here/{BAD}", f"here%2F{BAD}", f"models/here/{BAD}", f"here/{GOOD}:x", BAD,
                      f"here/{GOOD}/../{BAD}", f"there/{GOOD}", f"here%20/{BAD}"):  # fmt: skip
            path = f"/genai/v1beta/models/{model}:generateContent"
            for body in (content, {**content, "model": f"here/{BAD}"}):
                response = await stage.ask("narrow", path, body)
                assert response.status_code in (400, 403, 404), (model, response.text)
        path = f"/genai/v1beta/models/here/{GOOD}:generateContent"
        response = await stage.ask("narrow", path, {**content, "model": f"here/{BAD}"})
        assert stage.asked_models() <= {GOOD}


async def test_a_second_model_in_a_request_does_not_count(tmp_path: Path) -> None:
    """The model that was judged is the one that is asked for."""
    good, bad = f'"model":"here/{GOOD}"', f'"model":"here/{BAD}"'
    rest = json.dumps(SAID)[1:-1]
    bodies = [
        f"{{{good},{bad},{rest}}}",
        f"{{{bad},{good},{rest}}}",
        f'{{{good},"extra_params":{{{bad}}},{rest}}}',
        f'{{{good},"mod\\u0065l":"here/{BAD}",{rest}}}',
        f'{{{good},"Model":"here/{BAD}",{rest}}}',
    ]
    async with staged(tmp_path) as stage:
        for body in bodies:
            for path in (CHAT, "/openai/v1/chat/completions", "/openai/chat/completions"):
                await stage.ask("narrow", path, body.encode(), x_bf_passthrough_extra_params="true")
        assert stage.asked_models() == {GOOD}


async def test_other_models_that_a_router_would_go_on_to_are_judged_too(tmp_path: Path) -> None:
    """OpenRouter's `models`, which is passed on like any other field."""
    async with staged(tmp_path) as stage:
        rest = json.dumps({**SAID, "model": f"here/{GOOD}"})[1:-1]
        for named in ("models", "mod\\u0065ls"):
            body = f'{{{rest},"{named}":["{GOOD}","{BAD}"]}}'.encode()
            for path in (CHAT, "/openai/v1/chat/completions"):
                response = await stage.ask("narrow", path, body)
                assert response.status_code == 403, response.text
                assert response.json()["type"] == "model_blocked"
            told = await stage.job("narrow", body)
            assert (told["status"], told["status_code"]) == ("failed", 403)
        assert stage.asked_models() == set()
        for models in ([GOOD], [], None, 7, {"a": 1}):
            body = {**SAID, "model": f"here/{GOOD}", "models": models}
            assert (await stage.ask("narrow", CHAT, body)).is_success
        body = {**SAID, "model": f"here/{GOOD}", "models": ["anything"]}
        assert (await stage.ask("broad", CHAT, body)).is_success
        body["models"] = [DEAR]
        assert (await stage.ask("broad", CHAT, body)).status_code == 403


async def test_no_spelling_of_a_model_gets_past_a_blacklist(tmp_path: Path) -> None:
    """Upstreams forgive case, blanks and widths, and a resource's longer name is the same model."""
    wide = "".join(chr(ord(each) + 0xFEE0) for each in DEAR)
    assert unicodedata.normalize("NFKC", wide) == DEAR
    async with staged(tmp_path) as stage:
        for model in (DEAR, DEAR.upper(), DEAR.title(), f"{DEAR} ", f" {DEAR}", f"{DEAR}\t", wide,
                      f"{DEAR}\u200b", f"\ufeff{DEAR}", f"models/{DEAR}", f"./{DEAR}", f"/{DEAR}",
                      f"{DEAR}/", f"x/../{DEAR}", f"here/{DEAR}", f"{DEAR}\u00ad"):  # fmt: skip
            response = await stage.ask("broad", CHAT, {**SAID, "model": f"here/{model}"})
            assert response.status_code in (400, 403), (model, response.text)
        assert stage.asked_models() == set()


async def test_no_model_leads_to_another_place_at_its_provider(tmp_path: Path) -> None:
    """Some providers have it in their path, which is sent as it is written."""
    async with staged(tmp_path) as stage:
        for model in ("../../x", "models/../x", "./x", "tunedModels/./x", "a/../../../x"):
            for path in (CHAT, "/v1/embeddings"):
                body = {**SAID, "input": "hi", "model": f"gem/{model}"}
                response = await stage.ask("gem", path, body)
                assert response.status_code == 400, (model, response.text)
                assert "model" in response.json()["error"]["message"]


# Other targets


@pytest.mark.parametrize(
    "fallbacks",
    [
        [f"there/{GOOD}", f"here/{BAD}", f"here/{DEAR}"],
        [{"provider": "there", "model": GOOD}, {"provider": "here", "model": BAD}],
        [f"here/{BAD}"] * 16,
        [f"here/{GOOD}/../{BAD}", f"HERE/{BAD}", f"here/{BAD} "],
    ],
)
async def test_every_fallback_is_judged(tmp_path: Path, fallbacks: list[Any]) -> None:
    async with staged(tmp_path) as stage:
        stage.upstream.plan(GOOD, BROKEN)
        body = {**SAID, "model": f"here/{GOOD}", "fallbacks": fallbacks}
        told = await stage.job("narrow", body)
        assert told.get("status_code") in (400, 503)
        for path in (CHAT, "/openai/v1/chat/completions"):
            response = await stage.ask("narrow", path, body)
            assert response.status_code >= 400
            stream = await stage.ask("narrow", path, {**body, "stream": True})
            assert stream.status_code >= 400
        assert stage.asked_models() <= {GOOD}
        assert "sk-there" not in str(stage.keys_shown())


async def test_a_key_of_the_provider_that_is_not_the_callers_cannot_be_named(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        body = {**SAID, "model": f"here/{GOOD}"}
        for name in ("here-theirs", "there-theirs", "here-ours,here-theirs", "*", ""):
            for headers in ({"x_bf_api_key": name}, {"x_bf_api_key_id": name}):
                await stage.ask("narrow", CHAT, body, **headers)
                await stage.job("narrow", body, **headers)
        for number in range(8):
            await stage.ask("narrow", CHAT, body, x_bf_session_id=f"s{number}")
        stage.upstream.plan(GOOD, Reply(401, b"{}"), Reply(429, b"{}"), BROKEN)
        for _ in range(3):
            await stage.job("narrow", body)
        assert stage.keys_shown() == {"sk-here-ours"}


async def test_a_callers_own_provider_key_changes_nothing_about_what_the_key_may(
    tmp_path: Path,
) -> None:
    """It is the virtual key that asks: its models, providers and budget count as ever."""
    async with staged(tmp_path) as stage:
        direct = {"authorization": "Bearer sk-mine"}
        for name, model, status in (
            ("narrow", f"here/{BAD}", 403),
            ("narrow", f"there/{GOOD}", 403),
            ("narrow", f"openai/{GOOD}", 403),
            ("poor", f"here/{GOOD}", 402),
        ):
            response = await stage.ask(name, CHAT, {**SAID, "model": model}, **direct)
            assert response.status_code == status, response.text
        assert stage.keys_shown() == set()
        assert (
            await stage.ask("narrow", CHAT, {**SAID, "model": f"here/{GOOD}"}, **direct)
        ).is_success
        assert stage.keys_shown() == {"sk-mine"}


async def test_a_callers_own_key_goes_to_no_other_provider(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        stage.upstream.plan(GOOD, BROKEN)
        body = {**SAID, "model": f"here/{GOOD}", "fallbacks": [f"there/{GOOD}"]}
        direct = {"authorization": "Bearer sk-mine"}
        assert (await stage.ask("wide", CHAT, body, **direct)).status_code == 503
        assert stage.keys_shown() <= {"sk-mine", "sk-there-ours", "sk-there-theirs"}
        assert "sk-mine" in stage.keys_shown()


# What is to be seen


@pytest.mark.parametrize("path", ["/v1/models", "/openai/v1/models", "/genai/v1beta/models"])
@pytest.mark.parametrize("name", ["narrow", "off", "old", "nobody"])
async def test_the_list_of_models_is_for_who_may_call_them(
    tmp_path: Path, path: str, name: str
) -> None:
    async with staged(tmp_path) as stage:
        for url in (path, f"{path}/mock/echo", f"{path}?provider=mock"):
            response = await stage.http.get(url, headers={"x-bf-vk": secret(name)})
            if name == "narrow":
                assert "mock" not in response.text
            else:
                assert response.status_code == 403, response.text
                assert "mock" not in response.text
