"""Every family of providers at one upstream, whose behaviour the model's name chooses."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.net.upstream import Peer, Received, reply_bytes, upstream
from tests.providers.recorded import Example, examples

OWN = "own"
"""A provider of the operator's own, in OpenAI's shape."""
FAMILIES = (
    "openai",
    OWN,
    "anthropic",
    "gemini",
    "vertex",
    "bedrock",
    "cohere",
    "replicate",
    "elevenlabs",
    "huggingface",
    "mistral",
    "azure",
)
_MARK = re.compile(rb"--([a-z0-9]+)--([0-9]+)")
"""In a model's name: the behaviour, and the number of the recorded call."""
PATHS = {
    "chat_completion": "chat/completions",
    "text_completion": "completions",
    "embedding": "embeddings",
    "image_generation": "images/generations",
    "responses": "responses",
    "speech": "audio/speech",
    "rerank": "rerank",
    "ocr": "ocr",
}
"""Of the request types that are asked for in JSON."""


class Asked(NamedTuple):
    """One request that arrived."""

    received: Received
    case: "Case"
    peer: Peer


class Case(NamedTuple):
    """A recorded call, asked of one family."""

    number: int
    family: str
    example: Example

    def body(self, behaviour: str) -> dict[str, Any]:
        """The request of a client, whose model chooses how the upstream behaves."""
        asked = {name: value for name, value in self.example.told["asked"].items()
                 if name not in {"fallbacks", "stream", "stream_options"}}  # fmt: skip
        model = f"{self.family}/{self.example.told['model']}--{behaviour}--{self.number}"
        return {**asked, "model": model}

    def key_name(self, behaviour: str) -> str:
        """The key that such a call is made with."""
        return f"{behaviour}{self.number}"

    @property
    def path(self) -> str:
        """Where it is submitted, below `/v1` and `/v1/async`."""
        return PATHS[self.example.kind.request_type]

    @property
    def good(self) -> bytes:
        """The recorded reply."""
        return self.example.reply[2]

    @property
    def label(self) -> bytes:
        """Its content type, as a header."""
        return b"Content-Type: " + self.example.reply[1].encode()


Behaviour = Callable[[Peer, Asked], Awaitable[None]]
"""What to do with a connection whose request has been read. Then the next request is read."""


@cache
def cases() -> tuple[Case, ...]:
    """Every recorded call that ends well and whose model may have any name; by family."""
    found: list[tuple[str, Example]] = []
    for example in examples():
        status = example.told["reply"].get("status", 200)
        fits = (
            example.provider in FAMILIES
            and example.kind.request_type in PATHS
            and status < 300
            and "error" not in example.told
            and not example.told.get("stream")
            and _names_its_model(example)
        )
        if fits:
            found.append((example.provider, example))
            if example.provider == "openai":
                found.append((OWN, example))
    return tuple(Case(number, *each) for number, each in enumerate(found))


def _names_its_model(example: Example) -> bool:
    """Whether the upstream sees the model's name, whatever stands behind it."""
    if example.told["model"].isdigit():
        return False  # an endpoint of Vertex, which is nothing but a number
    key = {name: value for name, value in example.told.get("key", {}).items() if name != "aliases"}
    marked = {**example.told, "model": f"{example.told['model']}--x--0", "key": key}
    changed = example._replace(told=marked)
    try:
        prepared = changed.build()
        seen = prepared.body + changed.path_of(prepared).encode()
    except Exception:  # noqa: BLE001 - it cannot be asked so, whatever the reason
        return False
    return b"--x--0" in seen


def first_cases() -> list[Case]:
    """One call of each family: a chat where it has chats."""
    first: dict[str, Case] = {}
    for case in cases():
        plain = case.example.case == "" and case.path in {"chat/completions", "audio/speech"}
        if plain and (case.family not in first or case.path == "chat/completions"):
            first[case.family] = case
    assert first.keys() == set(FAMILIES)
    return list(first.values())


class Families:
    """The upstream of all families, and what it was asked."""

    def __init__(self, behaviours: Mapping[str, Behaviour]) -> None:
        self.url = ""
        self.asked: defaultdict[tuple[str, int], list[Asked]] = defaultdict(list)
        self.token_calls: list[Received] = []
        self.tells: Callable[[Received], bytes] = _token
        """What is answered to whatever names no model of ours: calls for tokens, mostly."""
        self._behaviours = {**behaviours, "good": good}

    async def serve(self, peer: Peer) -> None:
        """Treat one connection."""
        while True:
            received = await peer.request()
            target = received.lines[0].split(b" ")[1]
            mark = _MARK.search(target) or _MARK.search(received.body)
            if mark is None:
                self.token_calls.append(received)
                await peer.send(self.tells(received))
                continue
            name, case = mark[1].decode(), cases()[int(mark[2])]
            asked = Asked(received, case, peer)
            self.asked[name, case.number].append(asked)
            await self._behaviours[name](peer, asked)

    def calls(self, behaviour: str, case: Case) -> list[Asked]:
        """What arrived for one job."""
        return self.asked[behaviour, case.number]

    def providers(
        self, asked: Iterable[Case], behaviours: Iterable[str], **network: Any
    ) -> dict[str, Any]:
        """Every family, with a key for each call and behaviour: none slows another one down."""
        wanted = list(behaviours)
        keys = {family: ["main"] for family in FAMILIES}
        for case in asked:
            keys[case.family] += map(case.key_name, wanted)
        return {family: self.provider(family, names, **network) for family, names in keys.items()}

    def provider(self, family: str, keys: Iterable[str], **network: Any) -> dict[str, Any]:
        """A provider of config.json at this upstream, with these keys."""
        quick = {"retry_backoff_initial": 1, "retry_backoff_max": 5, "max_retries": 1}
        root = f"{self.url}/{family}"
        found: dict[str, Any] = {
            "keys": [self.key(family, name) for name in keys],
            "network_config": {"base_url": root, **quick, **network},
        }
        if family == OWN:
            found["custom_provider_config"] = {"base_provider_type": "openai"}
        return found

    def key(self, family: str, name: str) -> dict[str, Any]:
        """A key of that family."""
        found: dict[str, Any] = {"name": name, "value": f"sk-{family}-{name}", "weight": 1}
        match family:
            case "azure":
                found["azure_key_config"] = {"endpoint": f"{self.url}/azure"}
            case "bedrock":
                found["value"] = ""
                found["bedrock_key_config"] = {
                    "access_key": f"AKIA{name.upper():X>16}",
                    "secret_key": f"aws/secret+of {name}",
                    "region": "us-east-1",
                }
            case "vertex":
                found["value"] = ""
                found["vertex_key_config"] = {
                    "project_id": "a-project",
                    "region": "us-central1",
                    "auth_credentials": json.dumps(service_account(f"{self.url}/token")),
                }
            case _:
                pass
        return found


def _token(received: Received) -> bytes:
    """What Google and Entra ID say to who asks for a token."""
    del received
    told = {"access_token": "a-token-that-was-fetched", "expires_in": 3599, "token_type": "Bearer"}
    return reply_bytes(json.dumps(told).encode(), b"Content-Type: application/json")


def service_account(token_url: str) -> dict[str, str]:
    """Google's file of a service account."""
    return {
        "type": "service_account",
        "project_id": "a-project",
        "private_key_id": "one",
        "private_key": private_key(),
        "client_email": "hermod@a-project.iam.gserviceaccount.com",
        "token_uri": token_url,
    }


@cache
def private_key() -> str:
    """One key for all tests: to make one takes long."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return made.private_bytes(*pem, serialization.NoEncryption()).decode()


async def good(peer: Peer, asked: Asked) -> None:
    """A behaviour: the recorded reply."""
    status, _, body = asked.case.example.reply
    await peer.send(reply_bytes(body, asked.case.label, status=b"%d OK" % status))


@asynccontextmanager
async def families(behaviours: Mapping[str, Behaviour]) -> AsyncGenerator[Families]:
    """An upstream of all families until the end of the context."""
    found = Families(behaviours)
    async with upstream(found.serve) as server:
        found.url = f"{server.scheme}://localhost:{server.port}"
        yield found


class End(NamedTuple):
    """How a job ended."""

    state: str
    status: int
    whole: dict[str, Any]
    raw: bytes

    @property
    def error(self) -> dict[str, Any]:
        """What the error says."""
        return (self.whole.get("error") or {}).get("error") or {}

    @property
    def why(self) -> str:
        """The type of the error; empty where there is none."""
        return self.error.get("type") or ""


class Jobs:
    """A client of a gateway who submits and reads, many at once."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def submit(self, path: str, body: Mapping[str, Any], **headers: str) -> str:
        """The address of an accepted job."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self._url}/v1/async/{path}"
        async with self._session.post(url, json=body, headers=named) as response:
            told = await response.read()
            assert response.status == 202, told
        return f"{url}/{json.loads(told)['id']}"

    async def read(self, url: str) -> End | None:
        """How it ended; None as long as it has not."""
        async with self._session.get(url) as response:
            raw = await response.read()
            if response.status == 202:
                return None
        assert response.status == 200, raw
        whole = json.loads(raw)
        return End(whole["status"], whole["status_code"], whole, raw)

    async def end_of(self, url: str, within_s: float = 100.0) -> End:
        """How it ended."""
        async with asyncio.timeout(within_s):
            while (end := await self.read(url)) is None:
                await asyncio.sleep(0.1)
        return end

    async def done(self, case: Case, behaviour: str, **headers: str) -> End:
        """How a job of that family ended, with the key that is for it alone."""
        body, key = case.body(behaviour), case.key_name(behaviour)
        return await self.end_of(await self.submit(case.path, body, x_bf_api_key=key, **headers))


@asynccontextmanager
async def jobs_of(url: str) -> AsyncGenerator[Jobs]:
    """A client of the gateway at that address."""
    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Jobs(session, url)
