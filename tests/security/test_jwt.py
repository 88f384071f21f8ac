"""S10: tokens that must not be believed, made by another library than the one that judges them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc.jwk import Key, RSAKey

from hermod.domain.errors import ConfigError, Refused
from hermod.domain.governance import Customer
from hermod.domain.jwt import ClaimNames, JwtIssuer
from hermod.domain.provider import Secret
from hermod.governance.identity import Identity
from hermod.http.problems import problem
from tests.support.desk import KEY, Desk, closed_desk
from tests.support.tokens import (
    AUDIENCE,
    ISSUER,
    SHARED,
    by_hand,
    claims,
    ec,
    ed,
    encoded,
    key_set,
    rsa,
    shared,
    signed,
    tampered,
    weak_pem,
)

PUBLISHED = JwtIssuer(
    issuer=ISSUER, audience=(AUDIENCE,), algorithms=("RS256", "ES256"), jwks=key_set(rsa(), ec())
)
OTHER_ISSUER = "https://other.example/"
WITH_SECRET = JwtIssuer(
    issuer=OTHER_ISSUER, audience=(AUDIENCE,), algorithms=("HS256",), secret=Secret(SHARED)
)
HOUR_S = 3600
WHERE = [b"authorization", b"x-bf-vk", b"x-api-key", b"x-goog-api-key", b"api-key"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return closed_desk(tmp_path, issuers=(PUBLISHED, WITH_SECRET))


async def shown(desk: Desk, token: str, header: bytes = b"authorization") -> Identity:
    """Who asks with this token where access is open, so that nothing else keeps it out."""
    value = b"Bearer " + token.encode() if header == b"authorization" else token.encode()
    access = desk.access(enforced=False)
    return await access.resolve([(b"host", b"h"), (header, value)])


async def refusal(desk: Desk, token: str, header: bytes = b"authorization") -> Refused:
    """What a bad token is answered, by every kind of request, and never a piece of it."""
    value = b"Bearer " + token.encode() if header == b"authorization" else token.encode()
    access = desk.access(enforced=False)
    answers: list[Refused] = []
    for resolve in (access.resolve, access.resolve_reader, access.resolve_admin):
        with pytest.raises(Refused) as refused:
            await resolve([(header, value)])
        answers.append(refused.value)
    assert len({answer.failure for answer in answers}) == 1
    answer = answers[0]
    assert not any(part in answer.failure.message for part in token.split(".") if len(part) > 4)
    assert (answer.failure.status_code, answer.failure.type) == (401, "invalid_token")
    assert answer.challenge == 'Bearer error="invalid_token"'
    return answer


@pytest.mark.parametrize("header", WHERE)
async def test_a_good_token_is_its_virtual_key_in_every_header(desk: Desk, header: bytes) -> None:
    identity = await shown(desk, signed(claims(desk.now_s)), header)
    assert identity.principal.owner == "vk:key-1"
    assert (identity.key, identity.via, identity.may_manage) == (KEY, "jwt", False)


KINDS: list[tuple[str, Callable[[], Key]]] = [
    *[(name, rsa) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
    ("ES256", ec),
    ("ES384", lambda: ec("ec-2", "P-384")),
    ("ES512", lambda: ec("ec-3", "P-521")),
    ("EdDSA", ed),
    ("HS256", lambda: shared("s" * 32)),
    ("HS384", lambda: shared("s" * 48)),
    ("HS512", lambda: shared("s" * 64)),
]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(("algorithm", "key"), KINDS)
async def test_every_algorithm_is_understood(
    tmp_path: Path, algorithm: str, key: Callable[[], Key]
) -> None:
    issuer = replace(PUBLISHED, algorithms=(algorithm,))
    if algorithm.startswith("HS"):
        secret = {"HS256": "s" * 32, "HS384": "s" * 48, "HS512": "s" * 64}[algorithm]
        issuer = replace(issuer, jwks="", secret=Secret(secret))
    else:
        issuer = replace(issuer, jwks=key_set(key()))
    desk = closed_desk(tmp_path, issuers=(issuer,))
    token = signed(claims(desk.now_s), key(), algorithm, kid=key().kid or None)
    assert (await shown(desk, token)).principal.owner == "vk:key-1"
    await refusal(desk, tampered(token, 2))


BAD_CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("expired", {"exp": -61, "iat": -HOUR_S}),
    ("no exp", {"exp": None}),
    ("exp is no date", {"exp": "soon"}),
    ("exp is no date", {"exp": True}),
    ("exp is no date", {"exp": 10**400}),
    ("not valid yet", {"nbf": 61}),
    ("nbf is no date", {"nbf": [1]}),
    ("issued in the future", {"iat": 61}),
    ("iat is no date", {"iat": "now"}),
    ("lifetime", {"exp": 367 * 24 * HOUR_S}),
    ("lifetime", {"exp": 367 * 24 * HOUR_S, "iat": None}),
    ("audience", {"aud": "somebody-else"}),
    ("audience", {"aud": None}),
    ("audience", {"aud": []}),
    ("audience", {"aud": [["my-gateway"]]}),
    ("audience", {"aud": {"my-gateway": 1}}),
    ("audience", {"aud": "my-gateway "}),
    ("issuer", {"iss": "https://idp.example"}),
    ("issuer", {"iss": "HTTPS://idp.example/"}),
    ("issuer", {"iss": None}),
    ("issuer", {"iss": [ISSUER]}),
]


@pytest.mark.parametrize(("what", "changed"), BAD_CLAIMS)
async def test_a_claim_that_does_not_hold_is_named(
    desk: Desk, what: str, changed: dict[str, Any]
) -> None:
    dates = ("exp", "nbf", "iat")
    for name, value in changed.items():
        is_offset = name in dates and isinstance(value, int) and not isinstance(value, bool)
        changed = {**changed, name: desk.now_s + value if is_offset else value}
    told = claims(desk.now_s, **changed)
    # The library that signs would itself refuse some of these.
    token = by_hand_signed(told)
    assert what in (await refusal(desk, token)).failure.message


def by_hand_signed(told: object, **header: Any) -> str:
    """RS256 over any claims at all, those that a library refuses to sign too."""
    head = json.dumps({"alg": "RS256", "kid": "rsa-1", **header}).encode()
    payload = told if isinstance(told, bytes) else json.dumps(told).encode()
    return signed_parts(head, payload, rsa())


def signed_parts(header: bytes, payload: bytes, key: RSAKey) -> str:
    """RS256 over these bytes."""
    begun = f"{encoded(header)}.{encoded(payload)}"
    private = key.private_key
    assert private is not None
    signature = private.sign(begun.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{begun}.{encoded(signature)}"


@pytest.mark.parametrize("off", [-59, 0, 59])
async def test_clocks_may_differ_by_the_leeway(desk: Desk, off: int) -> None:
    token = signed(claims(desk.now_s, iat=desk.now_s + off, nbf=desk.now_s + off))
    assert (await shown(desk, token)).key == KEY


async def test_several_audiences_are_fine_with_ours_among_them(desk: Desk) -> None:
    token = signed(claims(desk.now_s, aud=["another", AUDIENCE]))
    assert (await shown(desk, token)).key == KEY


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("kid", ["rsa-1", None])
async def test_a_token_without_a_signature_is_refused(
    desk: Desk, alg: str, kid: str | None
) -> None:
    header = json.dumps({"alg": alg, **({"kid": kid} if kid else {})}).encode()
    payload = json.dumps(claims(desk.now_s)).encode()
    for signature in (b"", b"x" * 256):
        answer = await refusal(desk, by_hand(header, payload, signature))
        assert "algorithm" in answer.failure.message


async def test_a_public_key_is_never_a_shared_secret(desk: Desk) -> None:
    """The swap of RS256 for HS256: signed with what everybody knows."""
    payload = json.dumps(claims(desk.now_s)).encode()
    for known in (rsa().as_pem(private=False), rsa().as_der(private=False)):
        header = encoded(b'{"alg":"HS256","kid":"rsa-1"}')
        begun = f"{header}.{encoded(payload)}"
        signature = hmac.digest(known, begun.encode(), hashlib.sha256)
        answer = await refusal(desk, f"{begun}.{encoded(signature)}")
        assert "algorithm" in answer.failure.message


async def test_an_algorithm_of_another_kind_of_key_is_refused(desk: Desk) -> None:
    """Allowed for the issuer, but not what this key is for."""
    token = signed(claims(desk.now_s), ec(), "ES256", kid="rsa-1")
    assert "signing key is not known" in (await refusal(desk, token)).failure.message


async def test_one_issuers_key_signs_nothing_for_another(desk: Desk) -> None:
    token = signed(claims(desk.now_s, iss=ISSUER), shared(), "HS256", kid=None)
    assert "algorithm" in (await refusal(desk, token)).failure.message
    token = signed(claims(desk.now_s, iss=OTHER_ISSUER))
    assert "algorithm" in (await refusal(desk, token)).failure.message


@pytest.mark.parametrize("kid", ["unknown", "", "../../dev/null", "rsa-1 ", "' OR 1=1 --"])
async def test_an_unknown_key_is_refused(desk: Desk, kid: str) -> None:
    answer = await refusal(desk, by_hand_signed(claims(desk.now_s), kid=kid))
    assert "signing key is not known" in answer.failure.message


@pytest.mark.parametrize("kid", [1, ["rsa-1"], {"rsa-1": 1}, True])
async def test_a_key_id_that_is_no_text_is_refused(desk: Desk, kid: object) -> None:
    answer = await refusal(desk, by_hand_signed(claims(desk.now_s), kid=kid))
    assert "key id" in answer.failure.message


async def test_a_key_that_the_token_brings_is_not_looked_at(desk: Desk) -> None:
    stranger = rsa("stranger")
    jwk = stranger.as_dict(private=False)
    for brought in (
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": jwk},
        {"jwk": {**jwk, "kid": "rsa-1"}},
        {"x5c": [base64.b64encode(b"certificate").decode()]},
    ):
        header = json.dumps({"alg": "RS256", "kid": "rsa-1", **brought}).encode()
        payload = json.dumps(claims(desk.now_s)).encode()
        answer = await refusal(desk, signed_parts(header, payload, stranger))
        assert "signature" in answer.failure.message
        # And a good one is no worse for it.
        good = by_hand_signed(claims(desk.now_s), **brought)
        assert (await shown(desk, good)).key == KEY


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_that_was_changed_is_refused(desk: Desk, part: int) -> None:
    token = signed(claims(desk.now_s))
    good = (await shown(desk, token)).key
    changed = tampered(token, part)
    assert good == KEY
    if part == 0:
        # A broken header is no token any more: then it is no credential, and gets nothing.
        parts = changed.split(".")
        with pytest.raises(Refused) as refused:
            await desk.access().resolve([(b"authorization", b"Bearer " + ".".join(parts).encode())])
        assert refused.value.failure.status_code == 401
        return
    await refusal(desk, changed)


async def test_signatures_of_one_token_prove_nothing_for_another(desk: Desk) -> None:
    one = signed(claims(desk.now_s)).split(".")
    other = signed(claims(desk.now_s, vk_id="key-2")).split(".")
    for mixed in ([one[0], other[1], one[2]], [one[0], one[1], other[2]], [*one[:2], ""]):
        answer = await refusal(desk, ".".join(mixed))
        assert "signature" in answer.failure.message


@pytest.mark.parametrize(
    "payload",
    [
        b'{"iss":"%b","iss":"https://evil.example/"}',
        b'{"iss":"https://evil.example/","iss":"%b"}',
        b'{"iss":"%b","vk_id":"key-1","vk_id":"key-2"}',
        b'{"iss":"%b","a":{"b":1,"b":2}}',
        b'{"iss":"%b","a":[{"b":1,"b":2}]}',
    ],
)
async def test_a_claim_that_comes_twice_is_refused(desk: Desk, payload: bytes) -> None:
    token = by_hand_signed(payload % ISSUER.encode())
    assert "twice" in (await refusal(desk, token)).failure.message


async def test_a_header_that_says_something_twice_is_refused(desk: Desk) -> None:
    header = b'{"alg":"RS256","alg":"none","kid":"rsa-1"}'
    token = by_hand(header, json.dumps(claims(desk.now_s)).encode(), b"x")
    assert "twice" in (await refusal(desk, token)).failure.message


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b'"text"', b"{", b"\xff\xfe", b"{}x", b"[" * 3000, b"1" * 5000],
)
async def test_claims_that_are_no_object_are_refused(desk: Desk, payload: bytes) -> None:
    token = by_hand(b'{"alg":"RS256"}', payload or b" ", b"x")
    assert "malformed" in (await refusal(desk, token)).failure.message


async def test_an_extension_that_is_not_understood_is_refused(desk: Desk) -> None:
    token = by_hand_signed(claims(desk.now_s), crit=["exp"])
    assert "extension" in (await refusal(desk, token)).failure.message


async def test_the_refusal_tells_clients_that_the_token_is_to_blame(desk: Desk) -> None:
    answer = problem(await refusal(desk, by_hand_signed(claims(desk.now_s, aud="other"))))
    assert answer.status == 401
    assert (b"www-authenticate", b'Bearer error="invalid_token"') in answer.headers
    assert json.loads(bytes(answer.body))["type"] == "invalid_token"


async def test_a_huge_token_is_refused_unread(desk: Desk) -> None:
    token = signed(claims(desk.now_s, padding="x" * 8192))
    assert "larger" in (await refusal(desk, token)).failure.message


async def test_the_largest_token_is_read(desk: Desk) -> None:
    token = signed(claims(desk.now_s, padding="x" * 5500))
    assert 7500 < len(token) <= 8192
    assert (await shown(desk, token)).key == KEY


async def test_a_token_that_was_good_ends_when_it_says(desk: Desk) -> None:
    access = desk.access(enforced=False)
    token = [(b"x-bf-vk", signed(claims(desk.now_s, exp=desk.now_s + 10)).encode())]
    assert (await access.resolve(token)).key == KEY
    desk.clock.advance(69)
    assert (await access.resolve(token)).key == KEY  # the leeway
    desk.clock.advance(1)
    with pytest.raises(Refused, match="expired"):
        await access.resolve(token)
    with pytest.raises(Refused, match="expired"):
        await access.resolve_reader(token)


async def test_without_any_issuer_a_token_is_no_credential(tmp_path: Path) -> None:
    desk = closed_desk(tmp_path)
    token = signed(claims(desk.now_s))
    assert (await shown(desk, token)).principal.owner == "open"
    with pytest.raises(Refused) as refused:
        await desk.access().resolve([(b"authorization", b"Bearer " + token.encode())])
    assert refused.value.failure.type == "unauthorized"


# What may not be configured


IN_PEM = replace(
    PUBLISHED, jwks="", public_key=rsa().as_pem(private=False).decode(), algorithms=("RS256",)
)

UNSAFE: list[tuple[str, JwtIssuer]] = [
    ("mixed", replace(PUBLISHED, algorithms=("RS256", "HS256"))),
    ("mixed", replace(WITH_SECRET, algorithms=("HS256", "RS256"))),
    ("do not fit", replace(PUBLISHED, algorithms=("HS256",))),
    ("do not fit", replace(WITH_SECRET, algorithms=("RS256",))),
    ("not good for none", replace(IN_PEM, algorithms=("none",))),
    ("32 bytes", replace(WITH_SECRET, secret=Secret("s" * 31))),
    ("not good for HS512", replace(WITH_SECRET, algorithms=("HS512",), secret=Secret("s" * 63))),
    ("2048", replace(IN_PEM, public_key=weak_pem())),
    ("PEM", replace(IN_PEM, public_key="-----BEGIN PUBLIC KEY-----")),
    ("PEM", replace(IN_PEM, public_key=rsa().as_pem(private=True).decode())),
    ("not JSON", replace(PUBLISHED, jwks="<html>")),
    ("exactly one", replace(PUBLISHED, jwks="")),
    ("exactly one", replace(PUBLISHED, public_key="x")),
    ("must be named", replace(PUBLISHED, audience=())),
    ("must be named", replace(PUBLISHED, algorithms=())),
]  # fmt: skip


@pytest.mark.parametrize(("why", "issuer"), UNSAFE)
def test_what_cannot_be_judged_safely_is_not_configured(
    tmp_path: Path, why: str, issuer: JwtIssuer
) -> None:
    with pytest.raises(ConfigError, match=why):
        closed_desk(tmp_path, issuers=(issuer,))


@pytest.mark.parametrize("name", [ISSUER, "hermod"])
def test_an_issuer_is_named_once_and_not_as_the_gateway_itself(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="twice"):
        closed_desk(tmp_path, issuers=(PUBLISHED, replace(WITH_SECRET, issuer=name)))


# What the claims mean


async def test_the_first_of_the_configured_claims_names_the_key(tmp_path: Path) -> None:
    names = ClaimNames(virtual_key=("key", "client"))
    desk = closed_desk(tmp_path, issuers=(replace(PUBLISHED, claims=names),))
    for told in ({"key": "key-1"}, {"client": "key-1"}, {"key": "vk:key-1"}, {"client": "first"}):
        token = signed(claims(desk.now_s, vk_id=None, **told))
        assert (await shown(desk, token)).key == KEY
    await not_found(desk, signed(claims(desk.now_s, key="other", client="key-1")))
    await not_found(desk, signed(claims(desk.now_s)))


async def not_found(desk: Desk, token: str) -> None:
    """A good token of nobody we know."""
    with pytest.raises(Refused) as refused:
        await shown(desk, token)
    failure = refused.value.failure
    assert (failure.status_code, failure.type) == (403, "virtual_key_not_found")


async def test_a_subject_may_name_the_key(desk: Desk) -> None:
    assert (await shown(desk, signed(claims(desk.now_s, vk_id=None, sub="vk:key-1")))).key == KEY
    await not_found(desk, signed(claims(desk.now_s, vk_id=None, sub="key-1")))


@pytest.mark.parametrize("value", ["", 1, ["key-1"], {"id": "key-1"}, True])
async def test_a_claim_of_another_kind_names_no_key(desk: Desk, value: object) -> None:
    await not_found(desk, signed(claims(desk.now_s, vk_id=value)))


async def test_a_token_of_a_key_that_there_is_not_reads_what_everybody_may(desk: Desk) -> None:
    headers = [(b"x-bf-vk", signed(claims(desk.now_s, vk_id="other")).encode())]
    assert (await desk.access(enforced=False).resolve_reader(headers)).principal.owner == "open"
    assert (await desk.access().resolve_reader(headers)).principal.owner == "nobody"
    with pytest.raises(Refused) as refused:
        await desk.access().resolve_admin(headers)
    assert refused.value.failure.status_code == 401


ADMINS = replace(PUBLISHED, admin_roles=("admin",), admin_scopes=("gateway:admin",))


@pytest.mark.parametrize(
    "told", [{"role": "admin"}, {"role": ["user", "admin"]}, {"scope": "read gateway:admin"}]
)
async def test_a_role_or_a_scope_makes_an_admin(tmp_path: Path, told: dict[str, Any]) -> None:
    desk = closed_desk(tmp_path, issuers=(ADMINS,))
    token = signed(claims(desk.now_s, vk_id=None, sub="alice", **told))
    for access in (desk.access(), desk.access(enforced=False)):
        identity = await access.resolve_admin([(b"authorization", b"Bearer " + token.encode())])
        assert (identity.principal.owner, identity.principal.is_admin) == ("admin:alice", True)
        assert (identity.via, identity.may_manage, identity.key) == ("admin_jwt", True, None)


@pytest.mark.parametrize(
    "told", [{"role": "administrator"}, {"role": "Admin"}, {"scope": "gateway"}, {"scope": 1}, {}]
)
async def test_anything_else_makes_no_admin(tmp_path: Path, told: dict[str, Any]) -> None:
    desk = closed_desk(tmp_path, issuers=(ADMINS,))
    headers = [(b"x-api-key", signed(claims(desk.now_s, **told)).encode())]
    with pytest.raises(Refused) as refused:
        await desk.access().resolve_admin(headers)
    failure = refused.value.failure
    assert (failure.status_code, failure.type) == (403, "insufficient_scope")


@pytest.mark.parametrize("sub", [None, "", 7, "a\nb", "x" * 256])
async def test_an_admin_has_a_name(tmp_path: Path, sub: object) -> None:
    desk = closed_desk(tmp_path, issuers=(ADMINS,))
    token = by_hand_signed(claims(desk.now_s, sub=sub, role="admin"))
    assert "who the admin is" in (await refusal(desk, token)).failure.message


async def test_where_no_role_is_an_admins_none_is(desk: Desk) -> None:
    token = signed(claims(desk.now_s, role="admin", scope="gateway:admin admin"))
    assert not (await shown(desk, token)).may_manage


@pytest.mark.parametrize(
    ("customer", "tenant", "is_taken"),
    [
        ("acme", "acme", True),
        ("acme", None, True),
        (None, None, True),
        ("acme", "other", False),
        (None, "acme", False),
        ("acme", ["acme"], False),
        ("acme", "", False),
    ],
)
async def test_a_tenant_must_be_the_keys_customer(
    tmp_path: Path, customer: str | None, tenant: object, is_taken: bool
) -> None:
    key = replace(KEY, customer_id=customer)
    acme = Customer(id="acme", name="Acme")
    desk = closed_desk(tmp_path, key, acme, issuers=(PUBLISHED,))
    token = signed(claims(desk.now_s, tenant=tenant))
    if is_taken:
        assert (await shown(desk, token)).key == key
    else:
        assert "tenant" in (await refusal(desk, token)).failure.message


@pytest.mark.parametrize(
    ("version", "is_taken"), [(3, True), (2, False), (4, False), ("3", False), (True, False)]
)
async def test_a_token_of_another_version_is_revoked(
    tmp_path: Path, version: object, is_taken: bool
) -> None:
    key = replace(KEY, token_version=3)
    desk = closed_desk(tmp_path, key, issuers=(PUBLISHED,))
    token = signed(claims(desk.now_s, tv=version))
    if is_taken:
        assert (await shown(desk, token)).key == key
    else:
        assert "revoked" in (await refusal(desk, token)).failure.message
