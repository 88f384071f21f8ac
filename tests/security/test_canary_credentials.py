"""S4: no credential of a caller or an admin leaves the gateway, or lies in its database."""

import base64
import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from hermod.domain.provider import Secret
from hermod.vault import Vault
from tests.faults.places import SqlitePlace
from tests.security.test_canaries import Secrets
from tests.support.program import HERMOD, client
from tests.support.tokens import AUDIENCE, ISSUER, claims, shared, signed, tampered
from tests.support.upstream import Reply, Upstream

KEYS: Final = "/api/governance/virtual-keys"
HEADERS: Final = ("authorization", "x-bf-vk", "x-api-key", "x-goog-api-key", "api-key")
USER: Final = "root"
CALLS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("POST", "/v1/async/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}],
                                      "stream": True}),
    ("POST", "/openai/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("POST", "/anthropic/v1/messages", {"messages": [{"role": "user", "content": "hi"}],
                                        "max_tokens": 5}),
    ("POST", "/v1/responses", {"input": "hi", "background": True}),
    ("POST", "/v1/embeddings", {"input": "hi"}),
    ("POST", "/v1/nowhere", {}),
    ("DELETE", "/v1/models", {}),
    ("GET", "/v1/models", {}),
    ("GET", f"/v1/async/chat/completions/{uuid.UUID(int=0)}", {}),
    ("GET", f"/v1/responses/{uuid.UUID(int=0)}", {}),
    ("GET", KEYS, {}),
)  # fmt: skip
MODELS: Final = (
    "mock/hello",
    "mock/error?code=401",
    "here/good",
    "here/echo",
    "made/good",
    "nobody/x",
    7,
)


def shown(header: str, secret: str, scheme: str = "Bearer") -> dict[str, str]:
    return {header: f"{scheme} {secret}" if header == "authorization" else secret}


class Client:
    """Asks, and keeps every byte that comes back, but for the one secret that an answer is for."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.seen: list[bytes] = []
        self.statuses: set[int] = set()

    def ask(
        self, method: str, path: str, body: Any = None, told: str = "", **more: Any
    ) -> httpx.Response:
        """The answer. `told` says what may be in it: what that finds is cut out."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        response = self._http.request(method, path, content=content, **more)
        whole = response.content + repr(response.headers.raw).encode()
        self.seen.append(re.sub(told.encode(), b"", whole) if told else whole)
        self.statuses.add(response.status_code)
        self._http.cookies.clear()
        return response


def configuration(url: str, secrets: Secrets) -> dict[str, Any]:
    anything = [{"provider": name, "allowed_models": ["*"], "key_ids": ["*"], "weight": 1}
                for name in ("mock", "here", "made")]  # fmt: skip
    keys = [
        {"name": "of-file", "value": secrets.new("the file's virtual key", "sk-bf-")},
        {"name": "off", "value": secrets.new("a key that is off", "sk-bf-"), "is_active": False},
        {"name": "own", "value": secrets.new("a key of the operator's own form")},
    ]
    issuer = {
        "issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["HS256"],
        "secret": secrets.new("the issuer's secret"), "admin": {"role": ["admin"]},
    }  # fmt: skip
    return {
        "encryption_key": secrets.new("the encryption key"),
        "auth_config": {
            "is_enabled": True,
            "admin_username": USER,
            "admin_password": secrets.new("the admin's password"),
        },
        "client": {"allow_direct_keys": True, "logging_headers": [*HEADERS, "cookie"]},
        "providers": {
            "here": {
                "keys": [{"name": "k", "value": secrets.new("a provider's key"), "weight": 1}],
                "network_config": {"base_url": url, "max_retries": 0},
                "custom_provider_config": {"base_provider_type": "openai"},
            }
        },
        "governance": {
            "virtual_keys": [{"id": f"vk-{key['name']}", "provider_configs": anything, **key}
                             for key in keys]
        },
        "hermod": {"upkeep_s": 0.3, "auth": {"jwt": {"issuers": [issuer]}}},
    }  # fmt: skip


def manage(admin: Client, url: str, secrets: Secrets, proof: Mapping[str, str]) -> list[str]:
    """Everything that has to do with secrets, done well and badly; what callers may show then."""
    kept: dict[str, Any] = {"headers": dict(proof)}
    value = r'"value":"sk-bf-[^"]*"'
    found: list[str] = []
    for name in ("made", "rotated"):
        made = admin.ask("POST", KEYS, {"name": name}, told=value, **kept).json()["virtual_key"]
        here = f"{KEYS}/{made['id']}"
        secrets.plain[f"the value of {name}"] = made["value"]
        found.append(made["value"])
        token = admin.ask("POST", f"{here}/token", {}, told=r'"token":"[^"]*"', **kept).json()
        secrets.plain[f"the token of {name}"] = token["token"]
        found.append(token["token"])
    again = admin.ask("POST", f"{here}/rotate", told=value, **kept).json()["virtual_key"]["value"]
    secrets.plain["the new value of rotated"] = again
    found.append(again)
    password = secrets.plain["the admin's password"]
    login = {"username": USER, "password": password}
    cookie = r"token=[^;]*"
    session = admin.ask("POST", "/api/session/login", login, told=cookie).headers["set-cookie"]
    token = re.search(cookie, session)
    assert token is not None
    secrets.plain["a session"] = token[0].removeprefix("token=")
    found.append(secrets.plain["a session"])
    key = secrets.new("a provider's key, made here", "sk-")
    header = secrets.new("a provider's header, made here")
    network = {"base_url": url, "extra_headers": {"X-Auth": header}, "allow_private_network": True,
               "max_retries": 0}  # fmt: skip
    provider = {
        "provider": "made",
        "keys": [{"name": "k", "value": key}],
        "network_config": network,
        "custom_provider_config": {"base_provider_type": "openai"},
    }
    assert admin.ask("POST", "/api/providers", provider, **kept).status_code == 200
    second = {"name": "k2", "value": secrets.new("another provider's key", "sk-")}
    for body in (second, second, {**second, "weight": "x"}, {**second, "nobody": 1}, [second]):
        admin.ask("POST", "/api/providers/made/keys", body, **kept)
    for path, body in (
        ("/api/providers", {**provider, "keys": key}),
        ("/api/providers", {**provider, "provider": "more", "keys": [{"name": key, "value": []}]}),
        ("/api/providers", json.dumps(provider).encode()[:-3]),
        ("/api/session/login", {"username": password, "password": "wrong"}),
        ("/api/session/login", {"username": USER, "password": [password]}),
        ("/api/session/login", {**login, "more": password}),
        (KEYS, {"name": "x", "value": found[0]}),
        (KEYS, {"name": "x", "token": found[1], "budget": found[1]}),
    ):
        admin.ask("POST", path, body, **kept)
        admin.ask("PUT", f"{path}/made", body, **kept)
    for path in (KEYS, here, "/api/providers", "/api/providers/made", "/api/providers/here",
                 "/api/providers/made/keys", "/api/keys", "/api/models", "/api/config",
                 "/api/governance/audit", "/api/session/is-auth-enabled", "/api/version",
                 "/.well-known/jwks.json", "/metrics", "/health", "/openapi.json"):  # fmt: skip
        assert admin.ask("GET", path, **kept).status_code == 200, path
    return found


def call_with_everything(caller: Client, credentials: Mapping[str, str]) -> None:
    """Each credential in each header, where it opens and where it does not, well and badly."""
    for turn, (what, secret) in enumerate(credentials.items()):
        scheme = "Basic" if what == "basic" else "Bearer"
        for number, (method, path, body) in enumerate(CALLS):
            model = MODELS[(turn + number) % len(MODELS)]
            asked = {**body, "model": model} if body else None
            for header in (HEADERS[(turn + number) % 5], HEADERS[(turn + number + 2) % 5]):
                caller.ask(method, path, asked, headers=shown(header, secret, scheme))
        caller.ask("GET", KEYS, headers={"cookie": f"token={secret}"})
        for value in (secret[:-1], f"{secret}x", f"{secret},{secret}"):
            caller.ask("GET", "/v1/models", headers=shown("x-bf-vk", value))
            caller.ask("GET", "/v1/models", headers=shown("authorization", value))
        for two in ({"x-api-key": "sk-bf-other"}, {"authorization": "Bearer sk-bf-other"}):
            caller.ask("GET", "/v1/models", headers={"x-bf-vk": secret, **two})


def programs(file: SqlitePlace, config: Path, environ: Mapping[str, str]) -> Iterator[bytes]:
    """What our other commands say."""
    flags = ("--config", str(config), "--app-dir", str(file.app_dir))
    for command in (("keys", "list", "--json"), ("keys", "show", "made"), ("doctor",)):
        done = subprocess.run(
            [str(HERMOD), *command, *flags], env={"PATH": "/usr/bin:/bin", **environ},
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        yield done.stdout + done.stderr


@contextmanager
def upstream() -> Iterator[Upstream]:
    """One whose model `echo` answers with an error."""
    with Upstream() as running:
        running.plan("echo", Reply(401, b'{"error":{"message":"no"}}'))
        yield running


async def test_no_credential_is_ever_seen(tmp_path: Path) -> None:
    file, secrets = SqlitePlace(tmp_path), Secrets({})
    environ = {
        "HERMOD_LOG_LEVEL": "debug",
        "HERMOD_ADMIN_TOKEN": secrets.new("the admin's token"),
    }
    with upstream() as up:
        config = configuration(up.url, secrets)
        with file.start("gateway", config, environ=environ) as gateway, client(gateway) as http:
            caller = Client(http)
            credentials = all_credentials(caller, up.url, secrets, environ)
            call_with_everything(caller, credentials)
            places = {
                path.name: path.read_bytes() for path in file.app_dir.rglob("*") if path.is_file()
            }
        places["output"] = gateway.output.encode()
        asked = b"".join(
            repr(call.headers).encode() + call.body
            for calls in up._calls.values()
            for call in calls
        )
    (config_file,) = tmp_path.glob("*.json")  # noqa: ASYNC240
    places["programs"] = b"".join(programs(file, config_file, environ))
    places["answers"] = b"\n".join(caller.seen)
    assert {200, 202, 400, 401, 403, 404, 405} <= caller.statuses
    assert "hermod.db" in places
    await add_signing_keys(file, secrets)
    found = {(where, what) for what, form in secrets.forms() for where in places
             if form in places[where]}  # fmt: skip
    assert not found, "\n".join(map(str, sorted(found)))
    theirs = {"a provider's key", "a provider's key, made here", "a provider's header, made here",
              "another provider's key"}  # fmt: skip
    sent = {name for name, secret in secrets.plain.items() if secret.encode() in asked}
    assert {"a provider's key"} <= sent <= theirs


def all_credentials(
    caller: Client, url: str, secrets: Secrets, environ: Mapping[str, str]
) -> dict[str, str]:
    """Everything that anybody may show, by what it is; all of it is secret."""
    plain = secrets.plain
    admin = {"authorization": f"Bearer {environ['HERMOD_ADMIN_TOKEN']}"}
    found = {str(n): each for n, each in enumerate(manage(caller, url, secrets, admin))}
    key, now_s = shared(plain["the issuer's secret"]), int(time.time())
    good = signed(claims(now_s, vk_id="vk-of-file"), key, "HS256")
    boss = signed(claims(now_s, vk_id=None, role="admin"), key, "HS256")
    over = signed(claims(now_s, iat=now_s - 900, exp=now_s - 600), key, "HS256")
    tokens = {"JWT": good, "admin's JWT": boss, "JWT that is over": over,
              "tampered JWT": tampered(good, 2)}  # fmt: skip
    plain |= tokens
    password = plain["the admin's password"]
    word = base64.b64encode(f"{USER}:{password}".encode()).decode()
    plain["basic"] = word
    whose = ("the file's virtual key", "a key that is off", "a key of the operator's own form")
    return {
        **found,
        **tokens,
        **{name: plain[name] for name in whose},
        "the admin's token": plain["the admin's token"],
        "basic": word,
    }


async def add_signing_keys(file: SqlitePlace, secrets: Secrets) -> None:
    """The private halves, which nobody but the gateway ever had."""
    vault = Vault(Secret(secrets.plain["the encryption key"]))
    found = file.rows("SELECT id, body FROM document WHERE type = 'signing_key'")
    assert found
    for id_, body in found:
        pem = await vault.open(json.loads(body)["sealed"], f"signing_key:{id_}")
        secrets.plain[f"signing key {id_}"] = pem.decode().splitlines()[1]
