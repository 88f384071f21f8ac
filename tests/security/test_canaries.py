"""S4: no secret of a provider leaves the gateway, whatever upstreams do with what they see."""

import asyncio
import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import aiohttp

from tests.faults.families import (
    FAMILIES,
    Asked,
    Case,
    Families,
    families,
    first_cases,
    private_key,
    service_account,
)
from tests.faults.places import SqlitePlace
from tests.net.upstream import LAST_CHUNK, Peer, Received, chunk, reply_bytes

JSON: Final = b"Content-Type: application/json"
TEXT: Final = b"Content-Type: text/plain"
EVENTS: Final = b"Content-Type: text/event-stream"
ENDS: Final = "2036-01-01T00:00:00Z"
BAD: Final = ("azurebad", "vertexbad", "rolebad")
"""Providers whose tokens are refused; not those of a family."""


class Secrets(NamedTuple):
    """Every secret there is, by its name."""

    plain: dict[str, str]

    def new(self, name: str, beginning: str = "") -> str:
        """One that looks like nothing else in the world, with everything that needs an escape."""
        made = f"{beginning}{uuid.uuid4().hex}/+{uuid.uuid4().hex}"
        self.plain[name] = made
        return made

    def forms(self) -> Iterator[tuple[str, bytes]]:
        """What must not be found anywhere."""
        for name, secret in self.plain.items():
            half = len(secret) // 2
            yield name, secret.encode()
            yield f"{name}, first half", secret[:half].encode()
            yield f"{name}, second half", secret[half:].encode()
            yield f"{name}, in a URL", quote(secret, safe="").encode()
            for shift in range(3):
                # However it lies in what was encoded, these letters are in it.
                encoded = base64.b64encode(b"\0" * shift + secret.encode())
                yield f"{name}, in base64", encoded[4:-4]


def shown(received: Received) -> str:
    """Everything that was told."""
    return f"{received.head.decode('latin-1')}\n{received.body.decode('latin-1')}"


def with_texts(value: Any, text: str) -> Any:
    """An answer whose texts are all this one."""
    match value:
        case dict():
            return {
                name: text if name in {"text", "content"} and isinstance(inner, str)
                else with_texts(inner, text)
                for name, inner in value.items()
            }  # fmt: skip
        case list():
            return [text if isinstance(each, str) else with_texts(each, text) for each in value]
        case _:
            return value


async def repeats(peer: Peer, asked: Asked) -> None:
    """A behaviour: a good answer that says everything it was shown."""
    good = asked.case.good
    body = good + shown(asked.received).encode()
    if good.startswith(b"{"):
        told = with_texts(json.loads(good), shown(asked.received))
        body = json.dumps(told | {"echo": shown(asked.received)}).encode()
    await peer.send(reply_bytes(body, asked.case.label))


async def complains(peer: Peer, asked: Asked) -> None:
    """A behaviour: 401 with everything it was shown, in its message and its headers."""
    text = shown(asked.received)
    error = {"error": {"message": text, "type": text, "code": text, "param": text}}
    header = b"X-Ratelimit-Echo: " + b" ".join(asked.received.lines)
    await peer.send(
        reply_bytes(json.dumps(error).encode(), JSON, header, status=b"401 Unauthorized")
    )


async def escapes(peer: Peer, asked: Asked) -> None:
    """A behaviour: the same, as those write JSON who escape a slash."""
    text = json.dumps({"error": {"message": shown(asked.received)}}).replace("/", "\\/")
    await peer.send(reply_bytes(text.encode(), JSON, status=b"400 Bad"))


async def dumps(peer: Peer, asked: Asked) -> None:
    """A behaviour: 500 with a page for debugging."""
    body = f"<html>{shown(asked.received)}</html>".encode()
    await peer.send(reply_bytes(body, b"Content-Type: text/html", status=b"500 Broken"))


async def mumbles(peer: Peer, asked: Asked) -> None:
    """A behaviour: 200 with what is no answer."""
    await peer.send(reply_bytes(shown(asked.received).encode(), TEXT))


async def streams(peer: Peer, asked: Asked) -> None:
    """A behaviour: a stream that says everything, a few bytes at a time."""
    await peer.send(b"HTTP/1.1 200 OK\r\n" + EVENTS + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    text = shown(asked.received)
    delta = {"choices": [{"index": 0, "delta": {"content": text}, "text": text}]}
    gemini = {"candidates": [{"content": {"parts": [{"text": text}]}, "index": 0}]}
    error = {"type": "error", "message": text, "error": {"message": text, "type": text}}
    data = b"".join(b"data: %b\n\n" % json.dumps(d | gemini).encode() for d in (delta, error))
    for at in range(0, len(data), 11):
        await peer.send(chunk(data[at : at + 11]))
        await asyncio.sleep(0)
    await peer.send(LAST_CHUNK)


BEHAVIOURS: Final = {
    "repeats": repeats,
    "complains": complains,
    "escapes": escapes,
    "dumps": dumps,
    "mumbles": mumbles,
    "streams": streams,
}


def tokens(secrets: Secrets) -> Mapping[str, str]:
    """What is fetched, by who gives it."""
    return {
        "google": secrets.new("Google's token", "ya29."),
        "azure": secrets.new("Entra's token", "ey."),
        "aws": secrets.new("AWS's session token"),
        "aws secret": secrets.new("AWS's temporary secret"),
    }


def token_calls(fetched: Mapping[str, str]) -> Any:
    """Google, Entra ID and STS: those who are bad are told everything that they said."""

    def answer(received: Received) -> bytes:
        target = received.lines[0].split()[1]
        if b"bad" in target or b"bad" in received.body:
            text = shown(received)
            if b"Action=" in received.body:
                body = f"<E><Code>{text}</Code><Message>{text}</Message></E>".encode()
                return reply_bytes(body, b"Content-Type: text/xml", status=b"403 No")
            told = {"error": text, "error_description": f"AADSTS7000215: {text}"}
            return reply_bytes(json.dumps(told).encode(), JSON, status=b"400 Bad")
        if b"Action=" in received.body:
            body = (
                "<R><Credentials><AccessKeyId>ASIATEMPORARY</AccessKeyId>"
                f"<SecretAccessKey>{fetched['aws secret']}</SecretAccessKey>"
                f"<SessionToken>{fetched['aws']}</SessionToken>"
                f"<Expiration>{ENDS}</Expiration></Credentials></R>"
            )
            return reply_bytes(body.encode(), b"Content-Type: text/xml")
        if b"/models" in target:
            return reply_bytes(json.dumps({"error": shown(received)}).encode(), JSON)
        whose = "azure" if b"oauth2" in target else "google"
        told = {"access_token": fetched[whose], "expires_in": 3599}
        return reply_bytes(json.dumps(told).encode(), JSON)

    return answer


def config_of(there: Families, secrets: Secrets) -> dict[str, Any]:
    """Every family with a secret of its own, and those whose credentials are fetched."""
    providers = there.providers((), (), max_retries=0)
    for family, provider in providers.items():
        network = provider["network_config"]
        network["extra_headers"] = {"X-Auth-Token": secrets.new(f"{family}'s header")}
        (key,) = provider["keys"]
        if key["value"]:
            key["value"] = secrets.new(f"{family}'s key", "sk-")
    static: dict[str, Any] = providers["bedrock"]["keys"][0]["bedrock_key_config"]
    static["secret_key"] = secrets.new("AWS's secret")
    static["session_token"] = secrets.new("AWS's static session token")
    for name in ("rolegood", "rolebad"):
        role = {"role_arn": f"arn:aws:iam::123456789012:role/{name}"}
        own = {**static, **role, "secret_key": secrets.new(f"{name}'s secret")}
        key = {"name": "main", "value": "", "bedrock_key_config": own}
        providers[name] = {
            "keys": [key],
            "network_config": providers["bedrock"]["network_config"],
            "custom_provider_config": {"base_provider_type": "bedrock"},
        }
    azure = providers["azure"]["keys"][0]
    for name in ("good", "bad"):
        client = {
            "endpoint": f"{there.url}/azure",
            "client_id": "a-client",
            "tenant_id": f"{name}-tenant",
            "client_secret": secrets.new(f"Azure's {name} client"),
        }
        key = {"name": name, "value": "", "azure_key_config": client}
        providers["azure"]["keys"].append({**azure, **key})
    vertex = providers["vertex"]["keys"][0]
    bad = json.dumps(service_account(f"{there.url}/bad-token"))
    told = {**vertex["vertex_key_config"], "auth_credentials": bad}
    providers["vertex"]["keys"].append({**vertex, "name": "bad", "vertex_key_config": told})
    secrets.plain["Google's private key"] = private_key().splitlines()[5]
    return {"providers": providers, "hermod": {"upkeep_s": 0.3}}


class Caller:
    """Asks for everything and keeps every byte of what comes back."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.seen: list[bytes] = []
        self.statuses: list[int] = []
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """The answer, which is kept."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = {"x-bf-send-back-raw-request": "true", "x-bf-send-back-raw-response": "true"}
        async with self._session.request(
            method, self._url + path, json=body, headers=raw | named
        ) as response:
            told = await response.read()
            self.statuses.append(response.status)
            self.seen += [told, repr(response.raw_headers).encode()]
        return told

    async def job(self, path: str, body: Any, **headers: str) -> str:
        """A job to its end: its state."""
        told = json.loads(await self.ask("POST", f"/v1/async/{path}", body, **headers))
        async with asyncio.timeout(60):
            while told["status"] in {"pending", "processing"}:
                await asyncio.sleep(0.05)
                told = json.loads(await self.ask("GET", f"/v1/async/{path}/{told['id']}"))
        return told["status"]


def model_like(case: Case, behaviour: str, provider: str) -> dict[str, Any]:
    """A request of that family to a provider of another name."""
    body = case.body(behaviour)
    return {**body, "model": f"{provider}/{body['model'].partition('/')[2]}"}


async def ask_for_everything(caller: Caller, cases: list[Case]) -> None:
    """Every family, every way to ask."""

    async def one(case: Case) -> None:
        for behaviour in BEHAVIOURS:
            body = case.body(behaviour)
            pin = {"x_bf_api_key": "main"}
            await caller.job(case.path, body, **pin)
            await caller.ask("POST", f"/v1/{case.path}", body, **pin)
            await caller.ask("POST", f"/v1/{case.path}", {**body, "stream": True}, **pin)
            if case.path == "chat/completions":
                asked = {"model": body["model"], "input": "Who?", "stream": True}
                await caller.ask("POST", "/v1/responses", asked, **pin)

    await asyncio.gather(*map(one, cases))
    by_family = {case.family: case for case in cases}
    for behaviour in BEHAVIOURS:
        for key in ("good", "bad"):
            await caller.job(
                "chat/completions", by_family["azure"].body(behaviour), x_bf_api_key=key
            )
        await caller.job(
            "chat/completions", by_family["vertex"].body(behaviour), x_bf_api_key="bad"
        )
        for name in ("rolegood", "rolebad"):
            body = model_like(by_family["bedrock"], behaviour, name)
            await caller.job("chat/completions", body)
            await caller.ask("POST", "/v1/chat/completions", {**body, "stream": True})
    for path in ("/v1/models", "/metrics", "/health", "/health/readiness"):
        await caller.ask("GET", path)


async def test_no_secret_of_a_provider_is_ever_seen(tmp_path: Path) -> None:
    file, secrets = SqlitePlace(tmp_path), Secrets({})
    async with families(BEHAVIOURS) as there:
        there.tells = token_calls(tokens(secrets))
        environ = {
            "HERMOD_LOG_LEVEL": "debug",
            "AZURE_AUTHORITY_HOST": there.url,
            "AWS_ENDPOINT_URL_STS": there.url,
        }
        with file.start("gateway", config_of(there, secrets), environ=environ) as gateway:
            async with aiohttp.ClientSession() as session:
                caller = Caller(session, gateway.url)
                await ask_for_everything(caller, first_cases())
            places = {
                path.name: path.read_bytes() for path in file.app_dir.iterdir() if path.is_file()
            }
        places["output"] = gateway.output.encode()
        asked = b"".join(
            each.received.head for calls in there.asked.values() for each in calls
        ) + b"".join(each.head + each.body for each in there.token_calls)
    assert "hermod.db" in places
    assert set(FAMILIES) <= {case.family for case in first_cases()}
    unsent = {"AWS's secret", "AWS's temporary secret", "Google's private key", "rolegood's secret",
              "rolebad's secret"}  # fmt: skip
    for name, secret in secrets.plain.items():
        was_sent = secret.encode() in asked or quote(secret, safe="").encode() in asked
        assert was_sent != (name in unsent), name
    places["answers"] = b"\n".join(caller.seen)
    found = {(where, what) for what, form in secrets.forms() for where in places
             if form in places[where]}  # fmt: skip
    assert not found, "\n".join(map(str, sorted(found)))
