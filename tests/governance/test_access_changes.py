"""What callers are, when what governs changes: sessions, revisions, keys for tokens."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hermod.domain.document import Delete, Document, Put
from hermod.domain.errors import Refused
from hermod.domain.governance import Budget, ProviderConfig, RateLimit, Team, VirtualKey
from hermod.domain.jwt import JwtIssuer
from hermod.domain.provider import Secret
from hermod.governance.admins import AdminSecrets
from hermod.governance.documents import to_document
from hermod.governance.registration import copy_of
from hermod.governance.sessions import proof_of
from tests.support.desk import ADMIN_TOKEN, KEY, OPENED, VALUE, Desk, open_desks
from tests.support.tokens import AUDIENCE, ISSUER, claims, key_set, rsa, signed

WITH_VALUE = ((b"x-bf-vk", VALUE.encode()),)
TRUSTED = JwtIssuer(issuer=ISSUER, audience=(AUDIENCE,), algorithms=("RS256",), jwks=key_set(rsa()))
REGISTERING = replace(TRUSTED, unmapped="auto_register", template="first")
DAY_US = 86_400_000_000


@asynccontextmanager
async def opened(folder: Path, *issuers: JwtIssuer) -> AsyncGenerator[Desk]:
    """A gateway with a store of its own, and one key."""
    async with open_desks(folder, issuers=issuers) as (desk,):
        await desk.put(KEY)
        yield desk


async def status(answer: Awaitable[object]) -> int | None:
    """Of a refusal."""
    with pytest.raises(Refused) as refused:
        await answer
    return refused.value.failure.status_code


async def test_a_change_of_a_key_counts_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access()
        assert (await access.resolve(WITH_VALUE)).key == KEY
        await desk.put(replace(KEY, is_active=False))
        assert await status(access.resolve(WITH_VALUE)) == 403
        await desk.put(replace(KEY, name="renamed"))
        identity = await access.resolve(WITH_VALUE)
        assert identity.key is not None
        assert identity.key.name == "renamed"


async def test_a_key_that_was_seen_a_moment_ago_expires_in_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access()
        await desk.put(replace(KEY, expires_at=desk.clock.now() + 1_000_000))
        for _ in range(2):
            assert (await access.resolve(WITH_VALUE)).principal.owner == "vk:key-1"
        desk.clock.advance(1)
        assert await status(access.resolve(WITH_VALUE)) == 403
        assert (await access.resolve_reader(WITH_VALUE)).principal.owner == "vk:key-1"


async def test_a_dummy_that_was_let_in_says_nothing_in_another_header_or_beside_a_key(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access(OPENED, AdminSecrets())
        dummy = (b"x-api-key", b"dummy")
        for _ in range(2):
            assert (await access.resolve((dummy,))).principal.owner == "open"
        assert await status(access.resolve(((b"x-bf-vk", b"dummy"),))) == 403
        assert (await access.resolve((dummy, *WITH_VALUE))).principal.owner == "vk:key-1"
        await desk.put(replace(KEY, secret_hash=hashlib.sha256(b"dummy").hexdigest()))
        assert (await access.resolve(((b"x-bf-vk", b"dummy"),))).principal.owner == "vk:key-1"
        assert await status(access.resolve(WITH_VALUE)) == 403


async def test_who_is_remembered_is_not_without_number(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access(OPENED, AdminSecrets())
        for n in range(10_100):
            await access.resolve(((b"x-api-key", b"%d" % n),))
        assert len(access._lately) <= 10_000
        assert (await access.resolve(WITH_VALUE)).principal.owner == "vk:key-1"


async def test_a_key_whose_team_cannot_be_read_may_only_read_its_jobs(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access()
        await desk.put(Team(id="t", name="team"), replace(KEY, team_id="t"))
        await access.resolve(WITH_VALUE)
        unreadable = to_document(Team(id="t", name="team"), 1)._replace(body=b"{}")
        await desk.store.change_documents([Put(unreadable)])
        await desk.governor.refresh()
        with pytest.raises(Refused) as refused:
            await access.resolve(WITH_VALUE)
        failure = refused.value.failure
        assert (failure.status_code, failure.type) == (403, "virtual_key_blocked")
        assert failure.message.endswith("a team or a customer that cannot be found")
        assert (await access.resolve_reader(WITH_VALUE)).principal.owner == "vk:key-1"


async def test_another_value_is_the_same_owner_and_the_old_one_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access()
        before = (await access.resolve(WITH_VALUE)).principal
        await desk.put(replace(KEY, secret_hash=hashlib.sha256(b"sk-bf-new").hexdigest()))
        assert (await access.resolve(((b"x-bf-vk", b"sk-bf-new"),))).principal == before
        assert await status(access.resolve(WITH_VALUE)) == 403


async def test_a_token_that_was_seen_before_ends_with_its_key(tmp_path: Path) -> None:
    async with opened(tmp_path, TRUSTED) as desk:
        access = desk.access()
        headers = ((b"api-key", signed(claims(desk.now_s, tv=0)).encode()),)
        assert (await access.resolve(headers)).key == KEY
        await desk.put(replace(KEY, token_version=1))
        assert await status(access.resolve(headers)) == 401
        await desk.put(replace(KEY, is_active=False))
        assert await status(access.resolve(headers)) == 403
        assert (await access.resolve_reader(headers)).principal.owner == "vk:key-1"


async def test_tokens_that_begin_alike_are_never_the_same(tmp_path: Path) -> None:
    keys = [replace(KEY, id=f"key-{n}", name=f"key-{n}", secret_hash="") for n in range(5)]
    async with open_desks(tmp_path, keys=keys, issuers=(TRUSTED,)) as (desk,):
        access = desk.access()
        tokens = [signed(claims(desk.now_s, vk_id=key.id)).encode() for key in keys]
        assert len({token[:60] for token in tokens}) == 1
        for _ in range(2):
            for token, key in zip(tokens, keys, strict=True):
                assert (await access.resolve(((b"x-api-key", token),))).key == key
                with pytest.raises(Refused, match="signature"):
                    await access.resolve(((b"x-api-key", token[:-8] + b"AAAAAAAA"),))


# Sessions


SESSION = "c0ffee-session"
PASSWORD = Secret("a password")
ROOT = AdminSecrets(Secret(ADMIN_TOKEN), "root", PASSWORD)
IN_COOKIE = ((b"cookie", f"theme=dark; token={SESSION}; other=1".encode()),)
AS_BEARER = ((b"authorization", f"Bearer {SESSION}".encode()),)


def session(ends_at: int, body: bytes | None = None) -> Put:
    """Somebody has logged in."""
    digest = hashlib.sha256(SESSION.encode()).hexdigest()
    proof = proof_of(SESSION.encode(), "root", PASSWORD)
    told = body or json.dumps({"subject": "root", "expires_at": ends_at, "proof": proof}).encode()
    return Put(Document("session", "session-1", "session-1", digest, told))


@pytest.mark.parametrize("headers", [IN_COOKIE, AS_BEARER])
async def test_a_session_is_an_admins_until_it_ends(
    tmp_path: Path, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access(admin=ROOT)
        assert await status(access.resolve_admin(headers)) == 401
        await desk.store.change_documents([session(desk.clock.now() + DAY_US)])
        await desk.governor.refresh()
        identity = await access.resolve_admin(headers)
        assert (identity.principal.owner, identity.via) == ("admin:root", "session")
        assert (identity.may_manage, identity.principal.is_admin) == (True, True)
        desk.clock.advance(86_400)
        assert await status(access.resolve_admin(headers)) == 401


async def test_a_session_ends_with_its_document(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        access = desk.access(admin=ROOT)
        await desk.store.change_documents([session(desk.clock.now() + DAY_US)])
        await desk.governor.refresh()
        await access.resolve_admin(AS_BEARER)
        await desk.store.change_documents([Delete("session", "session-1", 1)])
        await desk.governor.refresh()
        assert await status(access.resolve_admin(AS_BEARER)) == 401


async def test_a_session_is_nobodys_where_the_login_is_another_or_off(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        await desk.store.change_documents([session(desk.clock.now() + DAY_US)])
        await desk.governor.refresh()
        await desk.access(admin=ROOT).resolve_admin(AS_BEARER)
        for admin in (
            replace(ROOT, password=Secret("another")),
            replace(ROOT, username="boss"),
            replace(ROOT, username=""),
            replace(ROOT, password=Secret()),
        ):
            access = desk.access(admin=admin)
            for headers in (IN_COOKIE, AS_BEARER):
                assert await status(access.resolve_admin(headers)) == 401


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"subject":"root"}',
        b'{"subject":1,"expires_at":"x"}',
        b'{"subject":"root","expires_at":9000000000000000}',
        '{"subject":"root","expires_at":9000000000000000,"proof":"é"}'.encode(),
    ],
)
async def test_a_session_that_cannot_be_read_lets_nobody_in(tmp_path: Path, body: bytes) -> None:
    async with opened(tmp_path) as desk:
        await desk.store.change_documents([session(0, body)])
        await desk.governor.refresh()
        assert await status(desk.access(admin=ROOT).resolve_admin(AS_BEARER)) == 401


async def test_a_cookie_is_no_credential_for_jobs(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        await desk.store.change_documents([session(desk.clock.now() + DAY_US)])
        await desk.governor.refresh()
        access = desk.access(admin=ROOT)
        assert await status(access.resolve(IN_COOKIE)) == 401
        assert await status(access.resolve_reader(IN_COOKIE)) == 401
        assert (await access.resolve(AS_BEARER)).principal.owner == "admin:root"


async def test_what_is_in_a_header_counts_more_than_a_cookie(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        await desk.store.change_documents([session(desk.clock.now() + DAY_US)])
        await desk.governor.refresh()
        assert await status(desk.access(admin=ROOT).resolve_admin((*IN_COOKIE, *WITH_VALUE))) == 403


async def test_a_session_is_never_passed_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        await desk.store.change_documents([session(desk.clock.now() + DAY_US)])
        await desk.governor.refresh()
        assert desk.access(admin=ROOT, takes_direct_keys=True).direct_key(AS_BEARER) is None


async def test_neither_is_a_token_where_issuers_are_trusted(tmp_path: Path) -> None:
    async with opened(tmp_path, TRUSTED) as desk:
        token = signed(claims(desk.now_s, exp=desk.now_s - 3600)).encode()
        headers = ((b"x-api-key", token), (b"x-bf-direct-key", b"true"))
        assert desk.access(takes_direct_keys=True).direct_key(headers) is None


# Keys for tokens that name one which there is not


def bearing(desk: Desk, name: str) -> tuple[tuple[bytes, bytes], ...]:
    """A token that calls its key by this name."""
    token = signed(claims(desk.now_s, vk_id=name))
    return ((b"authorization", b"Bearer " + token.encode()),)


async def test_a_key_is_made_after_the_template(tmp_path: Path) -> None:
    async with opened(tmp_path, REGISTERING) as desk:
        access = desk.access()
        first = await access.resolve(bearing(desk, "client-7"))
        key = first.key
        assert key is not None
        assert (key.name, key.secret_hash, key.id == KEY.id) == ("client-7", "", False)
        assert await access.resolve(bearing(desk, "client-7")) == first
        names = [key.name for key in desk.governor.book.keys.values()]
        assert sorted(names) == ["client-7", "first"]
        ((_, audit),) = await desk.store.read_audit(10)
        assert (audit.subject, audit.action) == (f"jwt:{ISSUER}", "virtual_key.create")
        assert audit.target == key.id


async def test_several_gateways_at_once_make_one(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 3, issuers=(REGISTERING,)) as desks:
        await desks[0].put(KEY)
        for desk in desks:
            await desk.governor.refresh()
        asked = [desk.access().resolve(bearing(desk, "client-7")) for desk in desks * 3]
        owners = {identity.principal.owner for identity in await asyncio.gather(*asked)}
        assert len(owners) == 1
        await desks[0].governor.refresh()
        assert len(desks[0].governor.book.keys) == 2


async def test_without_the_template_nothing_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path, replace(REGISTERING, template="gone")) as desk:
        assert await status(desk.access().resolve(bearing(desk, "client-7"))) == 403
        assert len(desk.governor.book.keys) == 1


@pytest.mark.parametrize("name", ["a\nb", "x" * 256, "\u202e"])
async def test_what_is_no_name_makes_no_key(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, REGISTERING) as desk:
        assert await status(desk.access().resolve(bearing(desk, name))) == 403
        assert len(desk.governor.book.keys) == 1


async def test_a_store_that_is_away_makes_no_key(tmp_path: Path) -> None:
    async with opened(tmp_path, REGISTERING) as desk:
        headers = bearing(desk, "client-7")
    assert await status(desk.access().resolve(headers)) == 503


def test_a_copy_has_limits_of_its_own() -> None:
    budget = Budget(id="b", max_limit_nanos=1, reset_duration="1d")
    limit = RateLimit(id="r", request_max_limit=1, request_reset_duration="1m")
    config = ProviderConfig(id="p", provider="mock", budget=budget, rate_limit=limit)
    template = replace(
        KEY, provider_configs=(config,), budget=budget, rate_limit=limit, token_version=4
    )
    copy = copy_of(template, "copy", 5)
    ids = _ids(copy)
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(_ids(template))
    assert (copy.token_version, copy.created_at, copy.last_four) == (0, 5, "")
    assert copy.budget == replace(budget, id=copy.budget.id if copy.budget else "")


def _ids(key: VirtualKey) -> list[str]:
    (config,) = key.provider_configs
    limits = (key.budget, key.rate_limit, config.budget, config.rate_limit)
    return [key.id, config.id, *(limit.id for limit in limits if limit is not None)]


# What another process has made this very second


async def test_a_key_that_was_made_elsewhere_a_moment_ago_is_known(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 2) as (here, there):
        access = here.access(OPENED, AdminSecrets())
        await there.put(KEY)
        assert (await access.resolve(WITH_VALUE)).principal.owner == "vk:key-1"


async def test_a_job_of_such_a_key_can_be_read(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 2) as (here, there):
        access = here.access()
        await there.put(KEY)
        assert (await access.resolve_reader(WITH_VALUE)).principal.owner == "vk:key-1"


async def test_the_first_token_that_was_made_elsewhere_is_never_taken_for_a_dummy(
    tmp_path: Path,
) -> None:
    async with open_desks(tmp_path, 2) as (here, there):
        await there.put(KEY)
        await here.governor.refresh()
        access = here.access(OPENED, AdminSecrets())
        token = await there.issuer.token_for(KEY, 60.0, there.clock.now())
        shown = ((b"authorization", b"Bearer " + token.encode()),)
        assert (await access.resolve(shown)).principal.owner == "vk:key-1"


async def test_a_token_that_is_said_to_be_our_own_is_refused_where_there_are_none(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as desk:
        forged = signed(claims(desk.now_s, iss="hermod", aud="hermod"), rsa(), "RS256")
        shown = ((b"authorization", b"Bearer " + forged.encode()),)
        assert await status(desk.access(OPENED, AdminSecrets()).resolve(shown)) == 401
        other = signed(claims(desk.now_s), rsa(), "RS256")
        shown = ((b"authorization", b"Bearer " + other.encode()),)
        access = desk.access(OPENED, AdminSecrets())
        assert (await access.resolve(shown)).principal.owner == "open"


async def test_whoever_guesses_does_not_have_the_store_read_each_time(tmp_path: Path) -> None:
    async with open_desks(tmp_path, 2) as (here, there):
        access = here.access()
        assert await status(access.resolve(((b"x-bf-vk", b"sk-bf-guess"),))) == 403
        await there.put(KEY)
        assert await status(access.resolve(WITH_VALUE)) == 403
        await asyncio.sleep(0.3)
        assert (await access.resolve(WITH_VALUE)).principal.owner == "vk:key-1"
