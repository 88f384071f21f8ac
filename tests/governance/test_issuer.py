"""governance/issuer.py: tokens that the gateway makes, judged by another library too."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from hermod.domain.errors import Refused
from hermod.governance.issuer import Issuer
from hermod.vault import NoKey, Vault
from tests.support.desk import KEY, Desk, open_desks
from tests.support.inprocess import gateway
from tests.support.management import KEYS, made, well

DAY_S = 86_400
STARTED = """
import asyncio, pathlib, sys
from tests.support.inprocess import gateway

async def start():
    async with gateway(pathlib.Path(sys.argv[1])):
        print("jwt" in sys.modules)

asyncio.run(start())
"""


async def token_of(desk: Desk, life_s: float = DAY_S) -> str:
    return await desk.issuer.token_for(KEY, life_s, desk.clock.now())


def headers_of(token: str) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"authorization", b"Bearer " + token.encode()),)


def published(desk: Desk) -> list[dict[str, Any]]:
    return json.loads(desk.issuer.public_keys())["keys"]


async def refusal(desk: Desk, token: str) -> str:
    with pytest.raises(Refused) as refused:
        await desk.access().resolve(headers_of(token))
    return refused.value.failure.message


async def test_a_token_stands_for_its_key(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await desk.put(KEY)
        identity = await desk.access().resolve(headers_of(await token_of(desk)))
        assert (identity.key, identity.via, identity.may_infer) == (KEY, "jwt", True)


async def test_where_tokens_were_made_their_library_is_loaded_at_the_start(tmp_path: Path) -> None:
    def has_library() -> str:
        asked = [sys.executable, "-c", STARTED, str(tmp_path)]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout

    assert has_library() == "False\n"  # it takes 10 MB
    async with gateway(tmp_path) as running:
        key = await made(running.http)
        well(await running.http.post(f"{KEYS}/{key['id']}/token"))
    assert has_library() == "True\n"


async def test_another_library_reads_it_with_the_published_keys(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await desk.put(replace(KEY, token_version=3))
        key = desk.governor.book.keys["key-1"]
        token = await desk.issuer.token_for(key, 100, desk.clock.now())
        keys = KeySet.import_key_set({"keys": published(desk)})
        read = jwt.decode(token, keys, algorithms=["ES256"])
        now_s = desk.now_s
        jti = read.claims.pop("jti")
        assert len(jti) == 36
        assert read.claims == {
            "iss": "hermod",
            "aud": "hermod",
            "sub": "vk:key-1",
            "vk_id": "key-1",
            "tv": 3,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + 100,
            "scope": "inference jobs:own",
        }
        assert read.header == {"alg": "ES256", "typ": "JWT", "kid": published(desk)[0]["kid"]}


async def test_only_the_public_half_is_published_and_the_other_is_sealed(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await token_of(desk)
        (shown,) = published(desk)
        assert set(shown) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        (document,) = desk.governor.book.documents_of("signing_key")
        assert b"PRIVATE" not in document.body
        assert json.loads(document.body)["sealed"].startswith("v1:")


async def test_without_a_token_there_is_no_key(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        assert published(desk) == []
        assert not desk.tokens.are_taken
        await token_of(desk)
        assert desk.tokens.are_taken


async def test_tokens_of_an_earlier_version_are_revoked(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await desk.put(KEY)
        token = await token_of(desk)
        access = desk.access()
        await access.resolve(headers_of(token))
        await desk.put(replace(KEY, token_version=1))
        assert "revoked" in await refusal(desk, token)


async def test_a_token_ends(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await desk.put(KEY)
        token = await token_of(desk, 100)
        desk.clock.advance(159)
        await desk.access().resolve(headers_of(token))
        desk.clock.advance(1)
        assert "expired" in await refusal(desk, token)


@pytest.mark.parametrize("life_s", [0, -1, 366 * DAY_S + 1, float("nan"), float("inf")])
async def test_a_life_that_is_none_is_refused(tmp_path: Path, life_s: float) -> None:
    async with open_desks(tmp_path) as (desk,):
        with pytest.raises(ValueError, match="lives between"):
            await token_of(desk, life_s)


async def test_several_gateways_at_once_make_one_key(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 4) as desks:
        await desks[0].put(KEY)
        tokens = await asyncio.gather(*[token_of(desk) for desk in desks * 2])
        for desk in desks:
            await desk.governor.refresh()
            assert len(published(desk)) == 1
            for token in tokens:
                assert (await desk.access().resolve(headers_of(token))).key == KEY


async def test_one_gateways_tokens_are_good_at_another(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 2) as (one, other):
        await one.put(KEY)
        token = await token_of(one)
        await other.governor.refresh()
        assert (await other.access().resolve(headers_of(token))).key == KEY


async def test_the_last_key_is_good_until_the_next_change(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await desk.put(KEY)
        first = await token_of(desk)
        await desk.issuer.rotate("cli")
        second = await token_of(desk)
        assert len(published(desk)) == 2
        for token in (first, second):
            assert (await desk.access().resolve(headers_of(token))).key == KEY
        newest = await desk.issuer.rotate("cli")
        assert published(desk)[0]["kid"] == newest
        assert "signing key is not known" in await refusal(desk, first)
        assert (await desk.access().resolve(headers_of(second))).key == KEY
        assert len(published(desk)) == 2


async def test_several_gateways_may_change_keys_at_once(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 3) as desks:
        await asyncio.gather(*[desk.issuer.rotate("cli") for desk in desks])
        await desks[0].governor.refresh()
        names = [each.name for each in desks[0].governor.book.documents_of("signing_key")]
        assert sorted(names) == ["current", "previous"]


async def test_a_token_that_may_only_read_makes_no_calls(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        await desk.put(KEY)
        await token_of(desk)
        token = await _with_scope(desk, "jobs:own")
        assert await refusal(desk, token) == "The token may only read jobs"
        identity = await desk.access().resolve_reader(headers_of(token))
        assert (identity.key, identity.may_infer) == (KEY, False)


async def _with_scope(desk: Desk, scope: str) -> str:
    """A token of the gateway's own with another scope than it makes."""
    now_s = desk.now_s
    told = {"iss": "hermod", "aud": "hermod", "sub": "vk:key-1", "vk_id": "key-1", "tv": 0,
            "iat": now_s, "exp": now_s + 60, "scope": scope}  # fmt: skip
    current = await desk.issuer._current()
    return await desk.issuer._signed(current, json.dumps(told).encode())


async def test_without_a_vault_there_is_no_token(tmp_path: Path) -> None:
    async with open_desks(tmp_path) as (desk,):
        issuer = Issuer(("hermod", "hermod"), desk.governor, desk.store, Vault(), desk.clock)
        with pytest.raises(NoKey):
            await issuer.token_for(KEY, 60, desk.clock.now())
        assert desk.governor.book.documents_of("signing_key") == ()
