"""governance/access.py: who is who, and who is let in."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.domain.governance import VirtualKey
from hermod.domain.provider import Secret
from hermod.governance.access import Access, AccessRules
from hermod.governance.admins import AdminSecrets
from hermod.governance.identity import ADMIN, NOBODY, OPEN, seeing_open
from tests.support.desk import ADMIN_TOKEN, KEY, VALUE, Desk, closed_desk

TOKEN = ADMIN_TOKEN.encode()
OTHERS = ((b"host", b"h"), (b"content-type", b"application/json"))
KEY_HEADERS = [b"x-bf-vk", b"x-api-key", b"x-goog-api-key", b"api-key"]
OTHER_VALUE = "sk-bf-another"
OWN_VALUE = "a value of the operator's own"


def key_of(value: str, id_: str) -> VirtualKey:
    """A virtual key with this value."""
    digest = hashlib.sha256(value.encode()).hexdigest()
    return replace(KEY, id=id_, name=id_, secret_hash=digest)


OTHER = key_of(OTHER_VALUE, "key-2")
OWN = key_of(OWN_VALUE, "key-3")
WITH_PASSWORD = AdminSecrets(Secret(ADMIN_TOKEN), "root", Secret("a password: with a colon"))

Headers = tuple[tuple[bytes, bytes], ...]


def bearer(value: bytes) -> Headers:
    """A request with this `Authorization`."""
    return (*OTHERS, (b"authorization", value))


def basic(user: str, password: str, scheme: bytes = b"Basic ") -> Headers:
    """RFC 7617."""
    return bearer(scheme + base64.b64encode(f"{user}:{password}".encode()))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return closed_desk(tmp_path, KEY, OTHER, OWN)


@pytest.fixture
def opened(desk: Desk) -> Access:
    return desk.access(enforced=False)


@pytest.fixture
def locked(desk: Desk) -> Access:
    return desk.access()


@pytest.fixture(params=["opened", "locked"])
def either(request: pytest.FixtureRequest) -> Access:
    return request.getfixturevalue(request.param)


async def refused(answer: Awaitable[object]) -> tuple[int | None, str | None, str]:
    """How a request is refused: status, type and message, without any secret."""
    with pytest.raises(Refused) as error:
        await answer
    failure = error.value.failure
    assert ADMIN_TOKEN not in failure.message
    assert VALUE not in failure.message
    return failure.status_code, failure.type, failure.message


UNAUTHORIZED = (401, "unauthorized", "Unauthorized")
NOT_FOUND = (403, "virtual_key_not_found", "Virtual key not found")


# Without a credential


@pytest.mark.parametrize("value", [b"", b"Bearer sk-dummy", b"Basic abc", b"Bearer", b"Bearer "])
async def test_anybody_is_let_in_on_loopback(opened: Access, value: bytes) -> None:
    for headers in (OTHERS, bearer(value)):
        assert await opened.resolve(headers) == OPEN
        assert await opened.resolve_reader(headers) == OPEN


@pytest.mark.parametrize("name", KEY_HEADERS[1:])
async def test_a_dummy_key_is_no_credential(opened: Access, locked: Access, name: bytes) -> None:
    headers = (*OTHERS, (name, b"sk-ant-dummy"))
    assert await opened.resolve(headers) == OPEN
    assert await refused(locked.resolve(headers)) == UNAUTHORIZED


@pytest.mark.parametrize(
    "value", [b"", TOKEN, b"Bearer", b"Bearer " + TOKEN[:-1], b"Bearer " + TOKEN + b"s",
              b"Basic " + TOKEN, b"Bearer " + TOKEN.upper()]
)  # fmt: skip
async def test_elsewhere_nobody_gets_in_without_one(locked: Access, value: bytes) -> None:
    for headers in (OTHERS, bearer(value)):
        for resolve in (locked.resolve, locked.resolve_reader, locked.resolve_admin):
            assert await refused(resolve(headers)) == UNAUTHORIZED


async def test_where_keys_are_required_the_refusal_asks_for_one(desk: Desk) -> None:
    message = "virtual key is required. Provide a virtual key via the x-bf-vk header."
    for enforced in (True, False):
        access = desk.access(AccessRules(enforced=enforced, key_required=True))
        for headers in (OTHERS, bearer(b"Bearer sk-dummy")):
            answer = await refused(access.resolve(headers))
            assert answer == (401, "virtual_key_required", message)


@pytest.mark.parametrize("name", KEY_HEADERS)
async def test_an_empty_secret_is_never_the_admins(desk: Desk, name: bytes) -> None:
    access = desk.access(enforced=False, admin=AdminSecrets(username="root"))
    for value in (b"", b"  "):
        assert await access.resolve(((name, value),)) == OPEN
    assert await access.resolve(basic("root", "")) == OPEN


# Admins


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer  ", b"BEARER "])
async def test_the_token_makes_an_admin(locked: Access, scheme: bytes) -> None:
    headers = bearer(scheme + TOKEN + b" ")
    for resolve in (locked.resolve, locked.resolve_reader, locked.resolve_admin):
        assert await resolve(headers) == ADMIN


@pytest.mark.parametrize("name", KEY_HEADERS)
async def test_the_token_may_stand_in_any_key_header(either: Access, name: bytes) -> None:
    identity = await either.resolve_admin((*OTHERS, (name, TOKEN)))
    assert seeing_open(identity) == seeing_open(ADMIN)


@pytest.mark.parametrize("scheme", [b"Basic ", b"basic ", b"Bearer "])
async def test_a_password_makes_an_admin(desk: Desk, scheme: bytes) -> None:
    access = desk.access(admin=WITH_PASSWORD)
    headers = basic("root", "a password: with a colon", scheme)
    for resolve in (access.resolve, access.resolve_reader, access.resolve_admin):
        identity = await resolve(headers)
        assert (identity.principal.owner, identity.via) == ("admin:root", "basic")
        assert identity.may_manage


@pytest.mark.parametrize(
    ("user", "password"),
    [("root", "wrong"), ("nobody", "a password: with a colon"), ("", ""), ("root", "")],
)
async def test_a_wrong_password_makes_none(desk: Desk, user: str, password: str) -> None:
    access = desk.access(admin=WITH_PASSWORD)
    for scheme in (b"Basic ", b"Bearer "):
        headers = basic(user, password, scheme)
        for resolve in (access.resolve, access.resolve_reader, access.resolve_admin):
            assert await refused(resolve(headers)) == UNAUTHORIZED


async def test_what_is_no_password_is_none(desk: Desk) -> None:
    access = desk.access(admin=WITH_PASSWORD)
    for value in (b"Basic", b"Basic ", b"Basic !", b"Basic cm9vdA==", b"Basic \xff"):
        assert await refused(access.resolve_admin(bearer(value))) == UNAUTHORIZED


@pytest.mark.parametrize("name", [b"authorization", *KEY_HEADERS])
def test_a_password_is_told_from_a_guess_and_from_what_is_none(desk: Desk, name: bytes) -> None:
    access, without = desk.access(admin=WITH_PASSWORD), desk.access()
    right = base64.b64encode(b"root:a password: with a colon")
    words = (right, base64.b64encode(b"root:guess"), b"sk-1", b"=", b"", b"cm9vdA==", b"\xff")
    schemes = (b"",) if name != b"authorization" else (b"Basic ", b"bearer ", b"BASIC  ")
    for scheme in schemes:
        found = [access.password_shown(((name, scheme + word),)) for word in words]
        expected = [True, False] if name != b"x-bf-vk" else [None, None]
        assert found == [*expected, *[None] * 5]
        assert without.password_shown(((name, scheme + right),)) is None
    assert access.password_shown(((b"authorization", b"Digest " + right),)) is None
    both = ((b"authorization", b"Basic " + right), (b"api-key", words[1]))
    assert access.password_shown(both) is False


async def test_on_loopback_without_any_secret_everybody_is_an_admin(desk: Desk) -> None:
    access = desk.access(enforced=False, open_admin=True, admin=AdminSecrets())
    for headers in (OTHERS, bearer(b"Bearer sk-dummy")):
        identity = await access.resolve_admin(headers)
        assert (identity.principal.owner, identity.may_manage) == ("admin:open", True)


async def test_but_not_with_a_virtual_key(desk: Desk) -> None:
    access = desk.access(enforced=False, open_admin=True, admin=AdminSecrets())
    status, type_, _ = await refused(access.resolve_admin(((b"x-bf-vk", VALUE.encode()),)))
    assert (status, type_) == (403, "insufficient_scope")
    assert await refused(access.resolve_admin(((b"x-bf-vk", b"unknown"),))) == UNAUTHORIZED


async def test_on_loopback_with_a_secret_only_who_has_it_is_one(opened: Access) -> None:
    assert await refused(opened.resolve_admin(OTHERS)) == UNAUTHORIZED


@pytest.mark.parametrize("header", [(b"x-bf-vk", VALUE), (b"authorization", f"Bearer {VALUE}")])
async def test_a_virtual_key_manages_nothing(either: Access, header: tuple[bytes, str]) -> None:
    name, value = header
    status, type_, _ = await refused(either.resolve_admin(((name, value.encode()),)))
    assert (status, type_) == (403, "insufficient_scope")


def test_access_that_nobody_has_or_everybody_is_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="admin's secret"):
        desk.access(admin=AdminSecrets())
    with pytest.raises(ValueError, match="admin's secret"):
        desk.access(enforced=False, open_admin=True)


# Virtual keys


@pytest.mark.parametrize("prefix", ["sk-bf-", "SK-BF-", "Sk-Bf-"])
@pytest.mark.parametrize("name", [b"authorization", *KEY_HEADERS])
async def test_a_virtual_key_may_stand_in_any_header(
    tmp_path: Path, name: bytes, prefix: str
) -> None:
    key = key_of(f"{prefix}0b2c", "key-1")
    desk = closed_desk(tmp_path, key)
    shown = f"{prefix}0b2c".encode()
    for access in (desk.access(), desk.access(enforced=False)):
        identity = await access.resolve(
            ((name, b"Bearer " + shown if name[:2] == b"au" else shown),)
        )
        assert (identity.principal.owner, identity.key) == ("vk:key-1", key)
        assert (identity.principal.is_admin, identity.via) == (False, "virtual_key")


async def test_a_value_of_the_operators_own_counts_where_keys_belong(either: Access) -> None:
    identity = await either.resolve(((b"x-bf-vk", OWN_VALUE.encode()),))
    assert identity.key == OWN


async def test_elsewhere_it_is_no_credential(opened: Access, locked: Access) -> None:
    for headers in (bearer(f"Bearer {OWN_VALUE}".encode()), ((b"x-api-key", OWN_VALUE.encode()),)):
        assert await opened.resolve(headers) == OPEN
        assert await refused(locked.resolve(headers)) == UNAUTHORIZED


UNKNOWN_KEYS: list[Headers] = [
    bearer(b"Bearer sk-bf-1"),
    bearer(b"Bearer SK-BF-1"),
    ((b"x-bf-vk", b"whatever"),),
    ((b"x-bf-vk", VALUE.upper().encode()),),
    ((b"x-bf-vk", VALUE[:-1].encode()),),
    ((b"x-api-key", b"sk-bf-1"),),
    ((b"x-goog-api-key", b"sk-bf-1"),),
    ((b"api-key", b"sk-bf-1"),),
]


@pytest.mark.parametrize("headers", UNKNOWN_KEYS)
async def test_an_unknown_virtual_key_submits_nothing(either: Access, headers: Headers) -> None:
    assert await refused(either.resolve(headers)) == NOT_FOUND


@pytest.mark.parametrize("headers", UNKNOWN_KEYS)
async def test_an_unknown_virtual_key_reads_what_everybody_may(
    opened: Access, locked: Access, headers: Headers
) -> None:
    assert await opened.resolve_reader(headers) == OPEN
    assert await locked.resolve_reader(headers) == NOBODY


@pytest.mark.parametrize("headers", UNKNOWN_KEYS)
async def test_an_unknown_virtual_key_manages_nothing(either: Access, headers: Headers) -> None:
    assert await refused(either.resolve_admin(headers)) == UNAUTHORIZED


async def test_a_key_that_is_off_or_over_may_only_read(tmp_path: Path) -> None:
    desk = closed_desk(tmp_path, replace(KEY, is_active=False), replace(OTHER, expires_at=1))
    access = desk.access()
    off, over = (((b"x-bf-vk", value.encode()),) for value in (VALUE, OTHER_VALUE))
    blocked = (403, "virtual_key_blocked")
    assert await refused(access.resolve(off)) == (*blocked, "Virtual key is inactive")
    assert await refused(access.resolve(over)) == (*blocked, "Virtual key has expired")
    assert (await access.resolve_reader(off)).principal.owner == "vk:key-1"
    assert (await access.resolve_reader(over)).principal.owner == "vk:key-2"


async def test_a_key_ends_when_it_says_though_it_was_seen_before(tmp_path: Path) -> None:
    desk = closed_desk(tmp_path)
    ends_at = desk.clock.now() + 10_000_000
    desk = closed_desk(tmp_path, replace(KEY, expires_at=ends_at))
    access, headers = desk.access(), ((b"x-bf-vk", VALUE.encode()),)
    assert (await access.resolve(headers)).key is not None
    desk.clock.advance(10)
    assert (await refused(access.resolve(headers)))[1] == "virtual_key_blocked"


async def test_where_access_is_open_everybody_sees_jobs_of_nobody(
    opened: Access, locked: Access
) -> None:
    for headers in (((b"x-bf-vk", VALUE.encode()),), bearer(b"Bearer " + TOKEN)):
        assert (await opened.resolve_reader(headers)).principal.sees_open
        assert not (await locked.resolve_reader(headers)).principal.sees_open
    assert (await opened.resolve_reader(OTHERS)).principal.sees_open


# Several credentials


async def test_the_same_key_may_come_in_several_headers(locked: Access) -> None:
    headers = (*bearer(f"Bearer {VALUE}".encode()), (b"x-bf-vk", VALUE.encode()),
               (b"api-key", VALUE.encode()))  # fmt: skip
    assert (await locked.resolve(headers)).key == KEY


async def test_a_dummy_beside_a_key_means_nothing(locked: Access) -> None:
    headers = (*bearer(f"Bearer {VALUE}".encode()), (b"x-api-key", b"sk-ant-dummy"))
    assert (await locked.resolve(headers)).key == KEY


CONTRADICTIONS: list[Headers] = [
    (*bearer(f"Bearer {VALUE}".encode()), (b"x-bf-vk", OTHER_VALUE.encode())),
    ((b"x-api-key", VALUE.encode()), (b"api-key", OTHER_VALUE.encode())),
    (*bearer(b"Bearer " + TOKEN), (b"x-api-key", VALUE.encode())),
    (*bearer(f"Bearer {VALUE}".encode()), (b"x-bf-vk", TOKEN)),
    ((b"x-goog-api-key", TOKEN), (b"x-bf-vk", VALUE.encode())),
    (*bearer(f"Bearer {VALUE}".encode()), (b"x-api-key", b"sk-bf-unknown")),
    (*bearer(b"Bearer " + TOKEN), (b"x-bf-vk", VALUE.encode()), (b"api-key", OTHER_VALUE.encode())),
]


@pytest.mark.parametrize("headers", CONTRADICTIONS)
async def test_credentials_of_different_callers_are_refused(
    either: Access, headers: Headers
) -> None:
    for resolve in (either.resolve, either.resolve_reader, either.resolve_admin):
        assert (await refused(resolve(headers)))[0] == 400


@pytest.mark.parametrize("admin", [b"Bearer " + TOKEN, b"Basic " + base64.b64encode(b"root:pw")])
async def test_an_admin_may_act_as_a_key(desk: Desk, admin: bytes) -> None:
    secrets = AdminSecrets(Secret(ADMIN_TOKEN), "root", Secret("pw"))
    for access in (desk.access(admin=secrets), desk.access(admin=secrets, enforced=False)):
        headers = (*bearer(admin), (b"x-bf-vk", VALUE.encode()))
        for resolve in (access.resolve, access.resolve_reader):
            identity = await resolve(headers)
            assert (identity.principal.owner, identity.key) == ("vk:key-1", KEY)
            assert not identity.principal.is_admin
        assert (await access.resolve_admin(headers)).may_manage
        unknown = (*bearer(admin), (b"x-bf-vk", b"unknown"))
        assert await refused(access.resolve(unknown)) == NOT_FOUND


# What is remembered


SHOWABLE = st.text(min_size=1, max_size=64, alphabet=[chr(n) for n in range(33, 127)])
ENDS = st.lists(st.text("abc.-_~", max_size=8), min_size=2, max_size=6, unique=True)


@settings(deadline=None, max_examples=50)
@given(SHOWABLE, ENDS)
def test_two_secrets_that_begin_alike_are_never_the_same(prefix: str, ends: list[str]) -> None:
    values = [f"sk-bf-{prefix * 8}{end}" for end in ends]
    keys = [key_of(value, f"key-{n}") for n, value in enumerate(values)]
    access = closed_desk(Path("nowhere"), *keys[1:]).access()

    async def ask() -> None:
        for _ in range(2):
            for value, key in zip(values[1:], keys[1:], strict=True):
                assert (await access.resolve(((b"x-api-key", value.encode()),))).key == key
            unknown = ((b"x-api-key", values[0].encode()),)
            assert await refused(access.resolve(unknown)) == NOT_FOUND

    asyncio.run(ask())


# Keys of providers that callers bring


@pytest.fixture
def taking(desk: Desk) -> Access:
    return desk.access(enforced=False, takes_direct_keys=True, admin=WITH_PASSWORD)


def brought(access: Access, *headers: tuple[bytes, bytes]) -> str | None:
    """The key in a request with these headers."""
    found = access.direct_key((*OTHERS, *headers))
    return None if found is None else found.reveal()


@pytest.mark.parametrize("name", [b"authorization", *KEY_HEADERS[1:]])
def test_a_key_of_a_provider_may_stand_in_any_key_header(taking: Access, name: bytes) -> None:
    assert brought(taking, (name, b" sk-mine ")) == "sk-mine"


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer  ", b"BEARER "])
def test_a_key_of_a_provider_may_be_a_bearer(taking: Access, scheme: bytes) -> None:
    assert brought(taking, (b"authorization", scheme + b"sk-mine")) == "sk-mine"


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Basic dXNlcjpwYXNz"),
        (b"authorization", b"Bearer"),
        (b"authorization", b"Bearer "),
        (b"x-api-key", b""),
        (b"x-bf-vk", b"sk-mine"),
        (b"cookie", b"sk-mine"),
        (b"x-api-key", b"sk-\x7fmine"),
    ],
)
def test_what_is_no_key_of_a_provider_is_none(taking: Access, header: tuple[bytes, bytes]) -> None:
    assert brought(taking, header) is None


OURS = [TOKEN, b"sk-bf-1", b"SK-BF-1", VALUE.encode(), OWN_VALUE.encode(),
        base64.b64encode(b"root:a password: with a colon")]  # fmt: skip


@pytest.mark.parametrize("secret", OURS)
@pytest.mark.parametrize("name", [b"authorization", *KEY_HEADERS])
@pytest.mark.parametrize("wish", [b"", b"true"])
def test_credentials_of_the_gateways_own_are_never_passed_on(
    taking: Access, name: bytes, secret: bytes, wish: bytes
) -> None:
    bare = b" " not in secret
    values = [b"Bearer " + secret, *([secret] if bare else [])]
    for value in values if name == b"authorization" else [secret]:
        assert brought(taking, (name, value), (b"x-bf-direct-key", wish)) is None


def test_of_several_keys_of_providers_the_first_in_the_fixed_order_counts(taking: Access) -> None:
    headers = [(name, name) for name in (b"api-key", b"x-goog-api-key", b"x-api-key")]
    headers.append((b"authorization", b"Bearer authorization"))
    while headers:
        assert brought(taking, *headers) == headers[-1][0].decode()
        headers.pop()


async def test_a_key_of_a_provider_may_come_beside_a_credential(desk: Desk) -> None:
    access = desk.access(takes_direct_keys=True)
    headers = (*bearer(b"Bearer " + TOKEN), (b"x-api-key", b"sk-mine"))
    assert await access.resolve(headers) == ADMIN
    assert brought(access, *headers) == "sk-mine"


async def test_a_key_of_a_provider_says_nothing_about_who_asks(desk: Desk, taking: Access) -> None:
    headers = bearer(b"Bearer sk-mine")
    assert await refused(desk.access(takes_direct_keys=True).resolve(headers)) == UNAUTHORIZED
    assert await taking.resolve(headers) == OPEN


def test_no_key_of_a_provider_is_taken_where_they_are_not_allowed(opened: Access) -> None:
    assert brought(opened, *bearer(b"Bearer sk-mine"), (b"x-bf-direct-key", b"true")) is None


@pytest.mark.parametrize(
    ("wish", "taken"), [(b"true", True), (b"", True), (b"no", True), (b" FALSE ", False)]
)
def test_a_caller_may_say_that_its_key_is_no_key_of_a_provider(
    taking: Access, wish: bytes, taken: bool
) -> None:
    found = brought(taking, (b"x-api-key", b"sk-dummy"), (b"x-bf-direct-key", wish))
    assert (found is not None) is taken


JWT = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln-_"


def test_a_jwt_is_a_key_of_a_provider_only_on_request(taking: Access) -> None:
    token = (b"authorization", b"Bearer " + JWT)
    assert brought(taking, token) is None
    assert brought(taking, token, (b"x-api-key", b"sk-mine")) == "sk-mine"
    assert brought(taking, token, (b"x-bf-direct-key", b"true")) == JWT.decode()
