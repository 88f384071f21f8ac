"""governance/jwks.py: keys of a real HTTP server, which rotates them, hangs and dies."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermod.domain.errors import Refused
from hermod.domain.jwt import JwtIssuer
from hermod.governance import jwks
from hermod.governance.access import Access
from tests.net.upstream import Peer, client, upstream
from tests.support.desk import KEY, Desk, closed_desk
from tests.support.tokens import AUDIENCE, ISSUER, claims, ec, key_set, rsa, signed

HOUR_S = 3600


@dataclass
class Idp:
    """An issuer that publishes its keys."""

    body: str = field(default_factory=lambda: key_set(rsa()))
    status: bytes = b"200 OK"
    asked: int = 0
    hangs: bool = False
    dies: bool = False

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            self.asked += 1
            if self.hangs:
                await peer.until_closed()
            if self.dies:
                peer.reset()
            await peer.reply(self.body.encode(), status=self.status)


@dataclass
class Scene:
    """A gateway that trusts it."""

    desk: Desk
    idp: Idp

    @property
    def access(self) -> Access:
        """New, so that no token is remembered."""
        return self.desk.access(enforced=False)

    async def shows(self, token: str) -> str:
        """Whose the token is, or how it is refused."""
        try:
            headers = [(b"authorization", b"Bearer " + token.encode())]
            return (await self.access.resolve(headers)).principal.owner
        except Refused as refused:
            return f"{refused.failure.status_code} {refused.failure.message}"

    def good(self) -> str:
        return signed(claims(self.desk.now_s))

    def next_key(self) -> str:
        """By a key that the issuer has newly."""
        return signed(claims(self.desk.now_s), rsa("rsa-2"))


async def play(
    tmp_path: Path, act: Callable[[Scene], Awaitable[None]], timeout_s: float = jwks.TIMEOUT_S
) -> None:
    """With a server and a client of its own; `timeout_s` is what the issuer may take."""
    idp = Idp()
    async with upstream(idp) as server, client(pool_idle_s=0.01) as http:
        issuer = JwtIssuer(
            issuer=ISSUER,
            audience=(AUDIENCE,),
            algorithms=("RS256", "ES256"),
            jwks_url=f"http://localhost:{server.port}/keys",
        )
        desk = closed_desk(tmp_path, issuers=(issuer,), client=http, timeout_s=timeout_s)
        await act(Scene(desk, idp))


async def test_keys_are_fetched_when_first_needed_and_then_kept(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        assert scene.idp.asked == 0
        for _ in range(3):
            assert await scene.shows(scene.good()) == "vk:key-1"
        assert scene.idp.asked == 1

    await play(tmp_path, act)


async def test_many_at_once_ask_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        tokens = [signed(claims(scene.desk.now_s, jti=str(n))) for n in range(50)]
        assert set(await asyncio.gather(*map(scene.shows, tokens))) == {"vk:key-1"}
        assert scene.idp.asked == 1

    await play(tmp_path, act)


async def test_a_new_key_is_found(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.shows(scene.good())
        scene.idp.body = key_set(rsa(), rsa("rsa-2"))
        scene.desk.clock.advance(60)
        assert await scene.shows(scene.next_key()) == "vk:key-1"
        assert await scene.shows(scene.good()) == "vk:key-1"
        assert scene.idp.asked == 2

    await play(tmp_path, act)


async def test_a_key_that_is_gone_is_no_longer_good(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.shows(scene.good())
        scene.idp.body = key_set(rsa("rsa-2"))
        scene.desk.clock.advance(60)
        await scene.shows(scene.next_key())
        assert "signing key is not known" in await scene.shows(scene.good())

    await play(tmp_path, act)


async def test_made_up_key_ids_cause_one_question_a_minute(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.shows(scene.good())
        for minute in range(3):
            for n in range(20):
                token = signed(claims(scene.desk.now_s), ec(), "ES256", kid=f"made-up-{n}")
                assert "signing key is not known" in await scene.shows(token)
            assert scene.idp.asked == 1 + minute
            scene.desk.clock.advance(60)

    await play(tmp_path, act)


async def test_after_an_hour_keys_are_fetched_anew_while_nobody_waits(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.shows(scene.good())
        scene.desk.clock.advance(HOUR_S)
        scene.idp.hangs = True
        assert await scene.shows(scene.good()) == "vk:key-1"
        assert await scene.shows(scene.good()) == "vk:key-1"
        async with asyncio.timeout(10):
            while scene.idp.asked < 2:
                await asyncio.sleep(0.01)

    await play(tmp_path, act)


async def test_keys_of_an_issuer_that_is_away_are_good_for_a_day(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.shows(scene.good())
        scene.idp.dies = True
        for _ in range(23):
            scene.desk.clock.advance(HOUR_S)
            assert await scene.shows(scene.good()) == "vk:key-1"
        scene.desk.clock.advance(HOUR_S)
        assert (await scene.shows(scene.good())).startswith("503")
        scene.idp.dies = False
        scene.desk.clock.advance(5)
        assert await scene.shows(scene.good()) == "vk:key-1"

    await play(tmp_path, act)


async def test_an_issuer_that_hangs_holds_nobody_for_long(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.idp.hangs = True
        answers = await asyncio.gather(*[scene.shows(scene.good()) for _ in range(10)])
        assert {answer[:3] for answer in answers} == {"503"}
        assert scene.idp.asked == 1
        # The next ones do not even wait.
        assert (await scene.shows(scene.good())).startswith("503")
        assert scene.idp.asked == 1

    await play(tmp_path, act, 0.2)


async def test_an_issuer_that_hangs_holds_only_who_needs_a_new_key(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.shows(scene.good())
        scene.idp.hangs = True
        scene.desk.clock.advance(60)
        waiting = asyncio.create_task(scene.shows(scene.next_key()))
        async with asyncio.timeout(10):
            while scene.idp.asked < 2:
                await asyncio.sleep(0.01)
        assert await scene.shows(scene.good()) == "vk:key-1"
        assert not waiting.done()
        assert "signing key is not known" in await waiting

    await play(tmp_path, act, 0.2)


async def test_who_gives_up_does_not_take_the_answer_from_the_others(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        first, second = (asyncio.create_task(scene.shows(scene.good())) for _ in range(2))
        while not scene.idp.asked:
            await asyncio.sleep(0)
        first.cancel()
        assert await second == "vk:key-1"

    await play(tmp_path, act)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("<html>", b"200 OK"),
        ("[]", b"200 OK"),
        ('{"keys":{}}', b"200 OK"),
        ("", b"200 OK"),
        ("{}", b"404 Not Found"),
        (key_set(rsa()), b"302 Found"),
        (key_set(rsa()), b"500 Oops"),
        (" " * 256 * 1024 + key_set(rsa()), b"200 OK"),
    ],
)
async def test_what_is_no_key_set_is_none(tmp_path: Path, body: str, status: bytes) -> None:
    async def act(scene: Scene) -> None:
        good = scene.idp.body
        scene.idp.body, scene.idp.status = body, status
        assert (await scene.shows(scene.good())).startswith("503")
        scene.idp.body, scene.idp.status = good, b"200 OK"
        scene.desk.clock.advance(5)
        assert await scene.shows(scene.good()) == "vk:key-1"

    await play(tmp_path, act)


async def test_entries_that_are_no_keys_are_passed_over(tmp_path: Path) -> None:
    bad = [
        "null", "1", "[]", "{}", '{"kty":"oct","k":"c2VjcmV0","kid":"rsa-1"}',
        '{"kty":"RSA","kid":"rsa-1"}', '{"kty":"RSA","n":1,"e":"AQAB","kid":"rsa-1"}',
        '{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"rsa-1"}',
        '{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"rsa-1"}',
        '{"kty":"EC","crv":"P-1","x":"AA","y":"AA","kid":"rsa-1"}',
        '{"kty":"OKP","crv":"Ed25519","x":"!!","kid":"rsa-1"}',
        '{"kty":["RSA"],"kid":"rsa-1"}',
    ]  # fmt: skip

    async def act(scene: Scene) -> None:
        scene.idp.body = scene.idp.body.replace("[", f"[{','.join(bad)},", 1)
        assert await scene.shows(scene.good()) == "vk:key-1"

    await play(tmp_path, act)


@pytest.mark.parametrize(
    "changed", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "ES256"}, {"alg": "none"}]
)
async def test_a_key_is_only_for_what_it_says(tmp_path: Path, changed: dict[str, str]) -> None:

    async def act(scene: Scene) -> None:
        scene.idp.body = json.dumps({"keys": [{**rsa().as_dict(private=False), **changed}]})
        assert "signing key is not known" in await scene.shows(scene.good())

    await play(tmp_path, act)


async def test_a_private_key_that_was_published_proves_nothing(tmp_path: Path) -> None:

    async def act(scene: Scene) -> None:
        scene.idp.body = json.dumps({"keys": [rsa().as_dict(private=True)]})
        assert "signing key is not known" in await scene.shows(scene.good())

    await play(tmp_path, act)


async def test_a_token_without_a_key_id_needs_a_single_key(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.idp.body = key_set(rsa(), ec())
        nameless = signed(claims(scene.desk.now_s), kid=None)
        assert await scene.shows(nameless) == f"vk:{KEY.id}"
        scene.idp.body = key_set(rsa(), rsa("rsa-2"))
        scene.desk.clock.advance(60)
        await scene.shows(scene.next_key())
        assert "signing key is not known" in await scene.shows(nameless)

    await play(tmp_path, act)
