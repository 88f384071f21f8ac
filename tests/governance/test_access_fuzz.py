"""Whatever bytes the headers hold, who asks is told apart or refused, and nothing else happens."""

import asyncio
import base64
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.domain.jwt import JwtIssuer
from hermod.domain.provider import Secret
from hermod.governance.access import Access
from hermod.governance.admins import AdminSecrets
from hermod.governance.identity import Identity
from tests.support.desk import ADMIN_TOKEN, VALUE, closed_desk
from tests.support.tokens import AUDIENCE, ISSUER, SHARED, by_hand, claims, shared, signed, tampered

Header = tuple[bytes, bytes]

NAMES: Final = (b"authorization", b"x-bf-vk", b"x-api-key", b"x-goog-api-key", b"api-key")
PASSWORD: Final = base64.b64encode(b"root:a password")
_LONG: Final = 8 * 1024
_KEY: Final = VALUE.encode()
_TOKEN: Final = ADMIN_TOKEN.encode()
_ISSUER: Final = JwtIssuer(
    issuer=ISSUER,
    audience=(AUDIENCE,),
    algorithms=("HS256",),
    secret=Secret(SHARED),
    admin_roles=("admin",),
)


@cache
def accesses() -> tuple[Access, ...]:
    """One that is locked, one that is open; both know every kind of credential."""
    desk = closed_desk(Path("nowhere"), issuers=(_ISSUER,))
    admin = AdminSecrets(Secret(ADMIN_TOKEN), "root", Secret("a password"))
    return (
        desk.access(admin=admin, takes_direct_keys=True),
        desk.access(admin=admin, takes_direct_keys=True, enforced=False),
    )


@cache
def good_tokens() -> tuple[bytes, bytes]:
    """A key's, and an admin's."""
    now_s = closed_desk(Path("nowhere")).now_s
    told = claims(now_s, vk_id="key-1"), claims(now_s, vk_id=None, role="admin")
    key, admin = (signed(each, shared(), "HS256").encode() for each in told)
    return key, admin


def odd_tokens() -> list[bytes]:
    """What looks like a token and is none, or says odd things."""
    key, _ = good_tokens()
    members = [
        b"null", b"[]", b"{}", b'{"alg":null}', b'{"alg":[]}', b'{"alg":"none"}',
        b'{"alg":"HS256","kid":{}}', b'{"alg":"HS256","alg":"none"}', b"\xff", b"[" * 3000,
    ]  # fmt: skip
    payloads = [
        json.dumps({"iss": issuer, "exp": 1e308, "aud": [[]], "vk_id": []}).encode()
        for issuer in (ISSUER, [], None, "hermod")
    ]
    made = [by_hand(head, body, b"x") for head in members for body in (*payloads, *members)]
    return [each.encode() for each in made] + [tampered(key.decode(), 1).encode()]


_SECRETS = st.sampled_from([_KEY, _TOKEN, PASSWORD, *good_tokens()])
_PIECES = st.one_of(
    _SECRETS,
    st.binary(max_size=24),
    st.sampled_from(odd_tokens()),
    st.sampled_from([b"sk-bf-", b"SK-BF-", b"Bearer ", b"Basic ", b",", b" ", b"\t", b"\0",
                     b"\r\n ", "é€😀".encode(), b"\xa0", b"eyJ", b".", b"=", b":", b"\x85"]),
    st.just(b"sk-bf-" + b"k" * _LONG),
    st.just(b"a." * _LONG),
)  # fmt: skip
_SCHEMES = st.sampled_from(
    [b"", b"Bearer ", b"bearer\t", b"BEARER  ", b"Bearer", b"Basic ", b"basic\t", b"Digest "]
)
_VALUES = st.builds(
    lambda scheme, pieces: scheme + b"".join(pieces), _SCHEMES, st.lists(_PIECES, max_size=4)
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([*NAMES, b"cookie", b"x-bf-direct-key", b"host"]),
        st.one_of(_VALUES, st.builds(b"token=%b; token".__mod__, _VALUES)),
    ),
    max_size=6,
)


async def told(access: Access, headers: Sequence[Header]) -> list[Identity | Refused]:
    """What each kind of request hears. Raises whatever is no refusal."""
    heard: list[Identity | Refused] = []
    for resolve in (access.resolve, access.resolve_reader, access.resolve_admin):
        try:
            heard.append(await resolve(headers))
        except Refused as error:
            heard.append(error)
    return heard


@settings(deadline=None, max_examples=150)
@given(HEADERS)
@example([(b"authorization", b"Basic " + "ü".encode())])
@example([(b"authorization", b"Bearer " + b"a." * _LONG)])
@example([(b"x-bf-vk", b"\xff\xfe"), (b"x-api-key", b"sk-bf-\0")])
def test_whatever_headers_hold_there_is_an_identity_or_a_refusal(headers: list[Header]) -> None:
    for access in accesses():
        for each in asyncio.run(told(access, headers)):
            if isinstance(each, Refused):
                assert each.failure.status_code in (400, 401, 403)
                assert ADMIN_TOKEN not in each.failure.message
                assert VALUE not in each.failure.message
        access.direct_key(headers)


@settings(deadline=None, max_examples=150)
@given(HEADERS)
def test_nobody_is_anybody_without_the_whole_secret(headers: list[Header]) -> None:
    """A key's needs its value or a token of its; an admin's one of the admin's."""
    key_token, admin_token = good_tokens()
    whole = b"\n".join(value for _, value in headers)
    for access in accesses():
        for each in asyncio.run(told(access, headers)):
            if isinstance(each, Refused):
                continue
            if each.may_manage or each.principal.is_admin:
                assert any(secret in whole for secret in (_TOKEN, PASSWORD, admin_token))
            if each.key is not None:
                assert any(secret in whole for secret in (_KEY, key_token))


@settings(deadline=None, max_examples=100)
@given(HEADERS)
def test_no_credential_of_ours_is_taken_for_a_providers_key(headers: list[Header]) -> None:
    for access in accesses():
        found = access.direct_key(headers)
        shown = b"" if found is None else found.reveal().encode("latin-1")
        assert shown not in (_KEY, _TOKEN, PASSWORD, *good_tokens())
        assert shown[:6].lower() != b"sk-bf-"


# By hand: what another reader on the way might take for the same


NEARLY: Final = [
    b"Bearer" + _KEY,
    b"Bearer\t" + _KEY,
    b"Bearer  \t" + _KEY + b" x",
    b"Bearer Bearer " + _KEY,
    b"Bearer " + _KEY + b", Bearer " + _KEY,
    b"Bearer " + _KEY + b"," + _KEY,
    b"Bearer \xc2\xa0" + _KEY,
    b"Bearer " + _KEY + b"\0",
    b'Bearer "' + _KEY + b'"',
    b"Basic " + _KEY,
    b"Token " + _KEY,
    _KEY,
]


@pytest.mark.parametrize("value", NEARLY)
async def test_what_is_nearly_a_key_opens_nothing(value: bytes) -> None:
    locked, _ = accesses()
    heard = await told(locked, [(b"authorization", value)])
    submits, _, manages = heard
    assert isinstance(submits, Refused)
    assert isinstance(manages, Refused)
    reads = heard[1]
    assert isinstance(reads, Refused) or reads.key is None


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize(
    "value",
    [
        b"Bearer " + _KEY,
        _KEY + b"," + _KEY,
        _KEY + b", sk-bf-other",
        _KEY + b"\0",
        _KEY + b"k" * _LONG,
        _KEY.decode().replace("k", "\u212a").encode(),
        _KEY.decode().replace("-", "\uff0d").encode(),
    ],
)
async def test_nothing_beside_the_key_belongs_to_it(name: bytes, value: bytes) -> None:
    for access in accesses():
        for each in await told(access, [(name, value)]):
            assert isinstance(each, Refused) or each.key is None


@pytest.mark.parametrize("name", NAMES)
async def test_a_header_that_comes_twice_is_one_callers_or_refused(name: bytes) -> None:
    scheme = b"Bearer " if name == b"authorization" else b""
    for access in accesses():
        for others in (_TOKEN, good_tokens()[1], b"sk-bf-other"):
            for pair in ((_KEY, others), (others, _KEY)):
                for each in await told(access, [(name, scheme + value) for value in pair]):
                    assert isinstance(each, Refused)
                    assert each.failure.status_code == 400
