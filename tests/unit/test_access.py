"""governance/access.py: who is who in this release."""

import pytest

from hermod.domain.errors import Refused
from hermod.governance.access import ADMIN, NOBODY, OPEN, Access

TOKEN = "secret"
OTHERS = ((b"host", b"h"), (b"content-type", b"application/json"))
KEY_HEADERS = [b"x-bf-vk", b"x-api-key", b"x-goog-api-key", b"api-key"]

Headers = tuple[tuple[bytes, bytes], ...]


def bearer(value: bytes) -> Headers:
    """A request with this `Authorization`."""
    return (*OTHERS, (b"authorization", value))


def refusal(access: Access, headers: Headers) -> Refused:
    """What a request is answered."""
    with pytest.raises(Refused) as refused:
        access.resolve(headers)
    assert TOKEN not in str(refused.value)
    return refused.value


OPEN_TO_KEYS = Access(TOKEN, enforced=False, takes_direct_keys=True)
OPENED = Access(TOKEN, enforced=False)
WITHOUT_TOKEN = Access("", enforced=False)
LOCKED = Access(TOKEN, enforced=True)


@pytest.mark.parametrize("access", [OPENED, WITHOUT_TOKEN])
@pytest.mark.parametrize("value", [b"", b"Bearer sk-dummy", b"Basic abc", b"Bearer", b"Bearer "])
def test_anybody_is_let_in_on_loopback(access: Access, value: bytes) -> None:
    assert access.resolve(OTHERS) == OPEN
    assert access.resolve(bearer(value)) == OPEN


@pytest.mark.parametrize("name", KEY_HEADERS[1:])
def test_a_dummy_key_is_no_credential(name: bytes) -> None:
    assert OPENED.resolve((*OTHERS, (name, b"sk-ant-dummy"))) == OPEN
    assert refusal(LOCKED, (*OTHERS, (name, b"sk-ant-dummy"))).failure.status_code == 401


@pytest.mark.parametrize("name", KEY_HEADERS)
def test_an_empty_token_is_never_the_admins(name: bytes) -> None:
    assert WITHOUT_TOKEN.resolve(((name, b""),)) == OPEN
    assert WITHOUT_TOKEN.resolve(((name, b"  "),)) == OPEN


@pytest.mark.parametrize("access", [OPENED, LOCKED])
@pytest.mark.parametrize("value", [b"Bearer secret", b"bearer  secret ", b"BEARER secret"])
def test_the_token_makes_an_admin(access: Access, value: bytes) -> None:
    assert access.resolve(bearer(value)) == ADMIN
    assert access.resolve_reader(bearer(value)) == ADMIN


@pytest.mark.parametrize("access", [OPENED, LOCKED])
@pytest.mark.parametrize("name", KEY_HEADERS)
def test_the_token_may_stand_in_any_key_header(access: Access, name: bytes) -> None:
    assert access.resolve((*OTHERS, (name, b"secret"))) == ADMIN


@pytest.mark.parametrize(
    "value", [b"", b"secret", b"Bearer", b"Bearer secre", b"Bearer secrets", b"Basic secret"]
)
def test_elsewhere_nobody_gets_in_without_it(value: bytes) -> None:
    for headers in (OTHERS, bearer(value)):
        failure = refusal(LOCKED, headers).failure
        assert (failure.status_code, failure.type) == (401, "unauthorized")
        with pytest.raises(Refused):
            LOCKED.resolve_reader(headers)


UNKNOWN_KEYS: list[Headers] = [
    bearer(b"Bearer sk-bf-1"),
    bearer(b"Bearer SK-BF-1"),
    ((b"x-bf-vk", b"whatever"),),
    ((b"x-api-key", b"sk-bf-1"),),
    ((b"x-goog-api-key", b"sk-bf-1"),),
    ((b"api-key", b"sk-bf-1"),),
]


@pytest.mark.parametrize("access", [OPENED, WITHOUT_TOKEN, LOCKED])
@pytest.mark.parametrize("headers", UNKNOWN_KEYS)
def test_an_unknown_virtual_key_submits_nothing(access: Access, headers: Headers) -> None:
    failure = refusal(access, headers).failure
    assert (failure.status_code, failure.type, failure.message) == (
        403,
        "virtual_key_not_found",
        "Virtual key not found",
    )


@pytest.mark.parametrize("headers", UNKNOWN_KEYS)
def test_an_unknown_virtual_key_reads_what_belongs_to_nobody(headers: Headers) -> None:
    assert OPENED.resolve_reader(headers) == OPEN
    assert LOCKED.resolve_reader(headers) == NOBODY


def test_the_first_of_several_credentials_counts() -> None:
    token, key = b"Bearer secret", b"sk-bf-1"
    assert LOCKED.resolve(((b"x-api-key", key), (b"authorization", token))) == ADMIN
    assert LOCKED.resolve(((b"api-key", b"secret"), (b"authorization", b"Bearer sk-x"))) == ADMIN
    assert (
        refusal(LOCKED, ((b"authorization", token), (b"x-bf-vk", key))).failure.status_code == 403
    )
    both = ((b"x-goog-api-key", b"secret"), (b"x-api-key", key))
    assert refusal(LOCKED, both).failure.status_code == 403


def test_access_cannot_be_enforced_without_a_token() -> None:
    with pytest.raises(ValueError, match="admin token"):
        Access("", enforced=True)


# Keys of providers that callers bring


def brought(*headers: tuple[bytes, bytes]) -> str | None:
    """The key in a request with these headers."""
    found = OPEN_TO_KEYS.direct_key((*OTHERS, *headers))
    return None if found is None else found.reveal()


@pytest.mark.parametrize("name", [b"authorization", *KEY_HEADERS[1:]])
def test_a_key_of_a_provider_may_stand_in_any_key_header(name: bytes) -> None:
    assert brought((name, b" sk-mine ")) == "sk-mine"


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer  ", b"BEARER "])
def test_a_key_of_a_provider_may_be_a_bearer(scheme: bytes) -> None:
    assert brought((b"authorization", scheme + b"sk-mine")) == "sk-mine"


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
def test_what_is_no_key_of_a_provider_is_none(header: tuple[bytes, bytes]) -> None:
    assert brought(header) is None


@pytest.mark.parametrize("secret", [b"secret", b"sk-bf-1", b"SK-BF-1"])
@pytest.mark.parametrize("name", [b"authorization", *KEY_HEADERS])
@pytest.mark.parametrize("wish", [b"", b"true"])
def test_credentials_of_the_gateways_own_are_never_passed_on(
    name: bytes, secret: bytes, wish: bytes
) -> None:
    for value in (secret, b"Bearer " + secret) if name == b"authorization" else (secret,):
        assert brought((name, value), (b"x-bf-direct-key", wish)) is None


def test_of_several_keys_of_providers_the_first_in_the_fixed_order_counts() -> None:
    headers = [(name, name) for name in (b"api-key", b"x-goog-api-key", b"x-api-key")]
    headers.append((b"authorization", b"Bearer authorization"))
    while headers:
        assert brought(*headers) == headers[-1][0].decode()
        headers.pop()


def test_a_key_of_a_provider_may_come_beside_the_admins_token() -> None:
    access = Access(TOKEN, enforced=True, takes_direct_keys=True)
    headers = (*bearer(b"Bearer secret"), (b"x-api-key", b"sk-mine"))
    assert access.resolve(headers) == ADMIN
    found = access.direct_key(headers)
    assert found is not None
    assert found.reveal() == "sk-mine"


def test_a_key_of_a_provider_says_nothing_about_who_asks() -> None:
    access = Access(TOKEN, enforced=True, takes_direct_keys=True)
    headers = bearer(b"Bearer sk-mine")
    assert refusal(access, headers).failure.status_code == 401
    assert OPEN_TO_KEYS.resolve(headers) == OPEN


def test_no_key_of_a_provider_is_taken_where_they_are_not_allowed() -> None:
    headers = (*bearer(b"Bearer sk-mine"), (b"x-bf-direct-key", b"true"))
    assert OPENED.direct_key(headers) is None


@pytest.mark.parametrize(
    ("wish", "taken"), [(b"true", True), (b"", True), (b"no", True), (b" FALSE ", False)]
)
def test_a_caller_may_say_that_its_key_is_no_key_of_a_provider(wish: bytes, taken: bool) -> None:
    found = brought((b"x-api-key", b"sk-dummy"), (b"x-bf-direct-key", wish))
    assert (found is not None) is taken


def test_a_jwt_is_a_key_of_a_provider_only_on_request() -> None:
    token = (b"authorization", b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln-_")
    assert brought(token) is None
    assert brought(token, (b"x-api-key", b"sk-mine")) == "sk-mine"
    assert brought(token, (b"x-bf-direct-key", b"true")) == token[1].decode()[7:]
