"""S1: whose job it is decides who reads and who ends it, on every route that takes an id."""

import asyncio
import base64
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import httpx
import pytest

from hermod.domain.wire_time import rfc3339
from hermod.http.app import Level, Route
from hermod.http.front_doors import Door
from tests.support.inprocess import Running, gateway
from tests.support.management import ADMIN, ENVIRON, KEYS, PASSWORD, ROOT, USERNAME, made, well
from tests.support.postgres import Cluster
from tests.support.wire import BY_TYPE, KINDS

MADE_UP: Final = "019f0000-0000-7000-8000-000000000000"
DAY: Final = {"x-bf-async-job-result-ttl": "86400"}
HOUR_S: Final = 3600
LOGIN: Final[dict[str, Any]] = {
    "admin_username": USERNAME, "admin_password": PASSWORD, "is_enabled": True,
    "disable_auth_on_inference": True,
}  # fmt: skip
OPEN_CONFIG: Final[dict[str, Any]] = {
    "auth_config": LOGIN,
    "encryption_key": "a key of the operator's own",
    "hermod": {"upkeep_s": 60},
}
LOCKED_CONFIG: Final = {**OPEN_CONFIG, "client": {"enforce_auth_on_inference": True}}

ALL: Final = frozenset({"alice", "bob", "off", "over", "rotated", "deleted", "admin", "open"})
NONE: Final[frozenset[str]] = frozenset()

VERDICTS: Final[dict[str, frozenset[str] | int]] = {
    # who shows this: whose jobs it sees where a credential is needed; or how it is refused
    "own key": frozenset({"alice"}),
    "own key as a bearer": frozenset({"alice"}),
    "own key in two headers": frozenset({"alice"}),
    "own JWT": frozenset({"alice"}),
    "other key": frozenset({"bob"}),
    "other key of the same team": NONE,
    "key that is off": frozenset({"off"}),
    "JWT of the key that is off": frozenset({"off"}),
    "key that has expired": frozenset({"over"}),
    "new value of a key": frozenset({"rotated"}),
    "old value of a key": NONE,
    "JWT of the old value": 401,
    "key that was deleted": NONE,
    "JWT of the key that was deleted": NONE,
    "key that there never was": NONE,
    "nothing": 401,
    "an SDK's dummy": 401,
    "a cookie of an admin": 401,
    "two keys of two callers": 400,
    "admin's token": ALL,
    "admin's password": ALL,
    "admin's session": ALL,
    "admin acting as another key": frozenset({"alice"}),
    "admin acting as a key that there is not": NONE,
}
IN_THE_OPEN: Final[dict[str, frozenset[str] | int]] = {
    # the same where none is needed: everybody sees jobs of nobody
    name: verdict | {"open"} if isinstance(verdict, frozenset) else verdict
    for name, verdict in VERDICTS.items()
} | dict.fromkeys(("nothing", "an SDK's dummy", "a cookie of an admin"), frozenset({"open"}))

MAIN_TYPES: Final = ("chat_completion", "responses")
"""Those that integrations make jobs of."""
FULLY: Final = frozenset(
    {
        "/v1/async/chat/completions/{job_id}",
        "GET /v1/responses/{response_id}",
        "POST /v1/responses/{response_id}/cancel",
        "/openai/v1/chat/completions by header",
        "/anthropic/v1/messages by header",
    }
)
"""Where everybody asks for everybody's; elsewhere some ask for one owner's: it is the same code."""
SOME: Final = (
    "own key", "other key", "key that there never was", "nothing", "two keys of two callers",
    "admin's token",
)  # fmt: skip
_SECOND: Final = 1_000_000
NOT_IDS: Final = frozenset({"model…", "rest…"})
"""Arguments of callers' routes that name no job."""


class Ask(NamedTuple):
    """A route with an id: how it is asked."""

    name: str
    kind: str
    """Its request type."""
    method: str
    path: str
    is_header: bool = False
    """Whether the id comes in `x-bf-async-id`."""

    async def answer(
        self, session: aiohttp.ClientSession, job_id: str, shown: Mapping[str, str]
    ) -> "Told":
        """What is told of this id, but for what differs between any two answers."""
        headers = dict(shown)
        if self.is_header:
            headers["x-bf-async-id"] = job_id
        path = re.sub(r"\{[^}]*\}", job_id, self.path)
        async with session.request(self.method, path, headers=headers) as response:
            body = await response.read()
            told = tuple(
                (name, value.replace(job_id.encode(), b"<id>"))
                for name, value in response.raw_headers
                if name.lower() not in {b"date", b"x-request-id"}
            )
            return Told(response.status, told, body)


class Told(NamedTuple):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def routes_with_ids(routes: tuple[Route, ...]) -> list[Ask]:
    """All of them; fails for a route whose argument nobody has judged."""
    found: list[Ask] = []
    for route in routes:
        arguments = re.findall(r"\{([^}]*)\}", route.path)
        if route.access is Level.ADMIN or set(arguments) <= NOT_IDS:
            door = next(iter(getattr(route.handler, "args", ())), None)
            if isinstance(door, Door) and door.placeholder is not None:
                name = f"{route.path} by header"
                found.append(
                    Ask(name, door.kind.request_type, route.method, route.path, is_header=True)
                )
            continue
        if arguments == ["job_id"]:
            assert isinstance(route.handler, partial)
            (kind,) = route.handler.args
            found.append(Ask(route.path, kind.request_type, route.method, route.path))
        elif arguments == ["response_id"]:
            name = f"{route.method} {route.path}"
            found.append(Ask(name, "responses", route.method, route.path))
        elif (route.access, arguments) != (Level.PUBLIC, ["file"]):
            pytest.fail(f"nobody says who may use the id of {route.method} {route.path}")
    return found


@dataclass
class Scene:
    """What callers show, and their jobs by owner and request type."""

    shown: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    jobs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    async def submit(
        self, http: httpx.AsyncClient, owner: str, shown: Mapping[str, str], *types: str
    ) -> None:
        """Jobs of this owner, at their ends."""
        for kind in map(BY_TYPE.__getitem__, types):
            path = f"/v1/async/{kind.path}"
            response = await http.post(path, headers={**DAY, **shown}, **kind.request())
            assert response.status_code == 202, response.text
            job_id: str = response.json()["id"]
            self.jobs.setdefault(owner, {})[kind.request_type] = job_id
            await until(partial(has_ended, http, f"{path}/{job_id}"))


async def has_ended(http: httpx.AsyncClient, path: str) -> bool:
    return (await http.get(path, headers=ADMIN)).status_code == 200


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Returns as soon as it is."""
    async with asyncio.timeout(20):
        while not await is_true():
            await asyncio.sleep(0.02)


def vk(value: str) -> dict[str, str]:
    return {"x-bf-vk": value}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def staged(running: Running) -> Scene:
    """Every owner has jobs, and then what happens to keys has happened to theirs."""
    scene, admin = Scene(), running.http
    admin.headers.update(ADMIN)
    team = await made(admin, f"{ROOT}/teams", name="team")
    config = {"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"]}
    values: dict[str, str] = {}
    tokens: dict[str, str] = {}
    ids: dict[str, str] = {}
    for name in ("alice", "bob", "mate", "off", "over", "rotated", "deleted"):
        more = {"team_id": team["id"]} if name in {"alice", "mate"} else {}
        if name == "over":
            more["expires_at"] = rfc3339(running.clock.now() + 60 * _SECOND)
        key = await made(admin, name=name, provider_configs=[config], **more)
        values[name], ids[name] = key["value"], key["id"]
        tokens[name] = well(await admin.post(f"{KEYS}/{key['id']}/token"))["token"]
    login = {"username": USERNAME, "password": PASSWORD}
    well(await admin.post("/api/session/login", json=login))
    session = admin.cookies["token"]
    admin.cookies.clear()
    del admin.headers["Authorization"]
    await scene.submit(admin, "alice", vk(values["alice"]), *BY_TYPE)
    for name in ("bob", "off", "over", "rotated", "deleted"):
        await scene.submit(admin, name, vk(values[name]), *MAIN_TYPES)
    await scene.submit(admin, "admin", ADMIN, *MAIN_TYPES)
    await scene.submit(admin, "open", {}, *MAIN_TYPES)
    well(await admin.put(f"{KEYS}/{ids['off']}", json={"is_active": False}, headers=ADMIN))
    rotated = well(await admin.post(f"{KEYS}/{ids['rotated']}/rotate", headers=ADMIN))
    well(await admin.delete(f"{KEYS}/{ids['deleted']}", headers=ADMIN))
    word = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    alice = values["alice"]
    scene.shown |= {
        "own key": vk(alice),
        "own key as a bearer": bearer(alice),
        "own key in two headers": {"x-api-key": alice, **vk(alice)},
        "own JWT": bearer(tokens["alice"]),
        "other key": vk(values["bob"]),
        "other key of the same team": vk(values["mate"]),
        "key that is off": vk(values["off"]),
        "JWT of the key that is off": bearer(tokens["off"]),
        "key that has expired": vk(values["over"]),
        "new value of a key": vk(rotated["virtual_key"]["value"]),
        "old value of a key": vk(values["rotated"]),
        "JWT of the old value": bearer(tokens["rotated"]),
        "key that was deleted": vk(values["deleted"]),
        "JWT of the key that was deleted": bearer(tokens["deleted"]),
        "key that there never was": vk(f"sk-bf-{uuid.uuid4()}"),
        "nothing": {},
        "an SDK's dummy": bearer("sk-dummy"),
        "a cookie of an admin": {"Cookie": f"token={session}"},
        "two keys of two callers": {"x-api-key": values["bob"], **vk(alice)},
        "admin's token": ADMIN,
        "admin's password": {"Authorization": f"Basic {word}"},
        "admin's session": bearer(session),
        "admin acting as another key": {**ADMIN, **vk(alice)},
        "admin acting as a key that there is not": {**ADMIN, **vk("sk-bf-nobody")},
    }
    assert scene.shown.keys() == VERDICTS.keys()
    assert scene.jobs.keys() == ALL
    return scene


class Somewhere(NamedTuple):
    """Where a gateway keeps what it has, so that another finds it."""

    app_dir: Path
    flags: dict[str, str]

    @asynccontextmanager
    async def gateway(self, config: Mapping[str, Any]) -> AsyncGenerator[Running]:
        async with gateway(self.app_dir, config=config, environ=ENVIRON, **self.flags) as running:
            yield running


@pytest.fixture(params=["sqlite", "postgres"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Somewhere:
    if request.param == "sqlite":
        return Somewhere(tmp_path, {})
    cluster: Cluster = request.getfixturevalue("cluster")
    name = f"tenancy_{uuid.uuid4().hex}"
    cluster.create_database(name)
    return Somewhere(tmp_path, {"database": cluster.url(name)})


async def check(
    running: Running, scene: Scene, verdicts: Mapping[str, frozenset[str] | int]
) -> None:
    """Every route with an id, asked by everybody for a job of each owner that has one there."""
    running.clock.ahead_s = HOUR_S
    wrong: list[str] = []
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{running.service.port}", cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        for ask in routes_with_ids(running.service.routes):
            wrong += await wrong_answers(ask, session, scene, verdicts)
    assert not wrong, "\n".join(wrong)


async def wrong_answers(
    ask: Ask,
    session: aiohttp.ClientSession,
    scene: Scene,
    verdicts: Mapping[str, frozenset[str] | int],
) -> list[str]:
    """What is not as the table says."""
    wrong: list[str] = []
    readers = scene.shown if ask.name in FULLY else SOME
    owners = [name for name, jobs in scene.jobs.items() if ask.kind in jobs]
    for reader in readers:
        shown, verdict = scene.shown[reader], verdicts[reader]
        nothing = await ask.answer(session, MADE_UP, shown)
        if nothing.status != (verdict if isinstance(verdict, int) else 404):
            wrong.append(f"{ask.name}: {reader}, made-up: {nothing}")
        for owner in owners if ask.name in FULLY else ("alice",):
            told = await ask.answer(session, scene.jobs[owner][ask.kind], shown)
            sees = isinstance(verdict, frozenset) and owner in verdict
            if told.status != 200 if sees else told != nothing:
                wrong.append(f"{ask.name}: {reader}, job of {owner}: {told} not {nothing}")
    return wrong


async def test_who_sees_whose_jobs(somewhere: Somewhere) -> None:
    async with somewhere.gateway(OPEN_CONFIG) as running:
        scene = await staged(running)
        await check(running, scene, IN_THE_OPEN)
    async with somewhere.gateway(LOCKED_CONFIG) as running:
        await check(running, scene, VERDICTS)


async def test_every_route_with_an_id_is_in_the_table(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        found = routes_with_ids(running.service.routes)
    names = {ask.name for ask in found}
    assert len(names) == len(found)
    assert names >= FULLY
    assert {f"/v1/async/{kind.path}/{{job_id}}" for kind in KINDS} <= names
    assert {ask.kind for ask in found if ask.is_header} == set(MAIN_TYPES)


# Ids that are none, and ids of something else


MALFORMED: Final = (
    "x", "0", "-", "..%2e", "%20", "%25", "null", "*", "_", "1 OR 1=1".replace(" ", "%20"),
    "'%20OR%20''='", "resp_", "resp_x", "{id}%20", "{id}x", "{id}'", "%7B{id}%7D", "urn:uuid:{id}",
    "{hex}", "resp_{id}", "resp_{hex}0", "{id},{id}", "{id};x=1", "%C3%A9", "%F0%9F%98%80",
    "9" * 4000,
)  # fmt: skip


async def two_keys(running: Running) -> tuple[dict[str, str], dict[str, str]]:
    """What two callers show."""
    config = {"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"]}
    running.http.headers.update(ADMIN)
    mine, other = [
        await made(running.http, name=name, provider_configs=[config]) for name in ("a", "b")
    ]
    del running.http.headers["Authorization"]
    return vk(mine["value"]), vk(other["value"])


async def test_what_is_no_id_is_no_job_of_anybodys(tmp_path: Path) -> None:
    """Also to its owner; nothing is read into an id."""
    async with gateway(tmp_path, config=LOCKED_CONFIG, environ=ENVIRON) as running:
        mine, other = await two_keys(running)
        scene = Scene()
        await scene.submit(running.http, "a", mine, *MAIN_TYPES)
        asks = {ask.name: ask for ask in routes_with_ids(running.service.routes)}
        url = f"http://127.0.0.1:{running.service.port}"
        async with aiohttp.ClientSession(url) as session:
            for ask in (asks[name] for name in FULLY):
                job_id = scene.jobs["a"][ask.kind]
                for pattern in MALFORMED:
                    text = pattern.replace("{id}", job_id).replace("{hex}", job_id.replace("-", ""))
                    told = [await ask.answer(session, text, shown) for shown in (mine, other)]
                    assert told[0] == told[1], (ask.name, text)
                    assert told[0].status == 404, (ask.name, text, told)


async def test_an_id_of_another_type_is_no_id(tmp_path: Path) -> None:
    async with gateway(tmp_path, config=LOCKED_CONFIG, environ=ENVIRON) as running:
        mine, other = await two_keys(running)
        scene = Scene()
        await scene.submit(running.http, "a", mine, *BY_TYPE)
        jobs = scene.jobs["a"]
        url = f"http://127.0.0.1:{running.service.port}"
        async with aiohttp.ClientSession(url) as session:
            for ask in routes_with_ids(running.service.routes):
                nothing = await ask.answer(session, MADE_UP, mine)
                foreign = next(job_id for kind, job_id in jobs.items() if kind != ask.kind)
                for shown in (mine, other):
                    assert await ask.answer(session, foreign, shown) == nothing, ask.name


async def test_who_may_not_see_a_job_does_not_end_it(somewhere: Somewhere) -> None:
    async with somewhere.gateway(LOCKED_CONFIG) as running:
        mine, other = await two_keys(running)
        http = running.http
        body = {"model": "mock/slow?seconds=60", "input": "hi", "background": True}
        response = await http.post("/v1/responses", json=body, headers=mine)
        url = f"/v1/responses/{response.json()['id']}"

        async def state() -> str:
            return (await http.get(url, headers=mine)).json()["status"]

        async def is_running() -> bool:
            return await state() == "in_progress"

        await until(is_running)
        for shown in (other, vk("sk-bf-nobody"), {**ADMIN, **other}, {}, bearer("sk-dummy")):
            refused = await http.post(f"{url}/cancel", headers=shown)
            assert refused.status_code == (404 if "x-bf-vk" in shown else 401)
            assert await state() == "in_progress"
        cancelled = await http.post(f"{url}/cancel", headers=mine)
        assert cancelled.json()["status"] == "cancelled"


async def test_an_id_where_none_belongs_shows_nothing(tmp_path: Path) -> None:
    """On routes that know no jobs the header is refused, or means nothing: never a result."""
    async with gateway(tmp_path, config=LOCKED_CONFIG, environ=ENVIRON) as running:
        mine, other = await two_keys(running)
        scene = Scene()
        await scene.submit(running.http, "a", mine, "chat_completion")
        known = {ask.path for ask in routes_with_ids(running.service.routes) if ask.is_header}
        for route in running.service.routes:
            if route.access is not Level.CALLER or route.path in known or "{job_id}" in route.path:
                continue
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            job_id = scene.jobs["a"]["chat_completion"]
            headers = {**other, "x-bf-async-id": job_id}
            response = await running.http.request(route.method, path, headers=headers)
            assert job_id not in response.text, (route.path, response.text)
            assert "x-bf-async-id" not in response.headers, route.path
