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
