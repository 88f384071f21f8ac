"""governance/access.py: who is who in this release."""

import pytest

from hermod.domain.errors import Refused
from hermod.governance.access import ADMIN, OPEN, Access


@pytest.mark.parametrize("header", [None, b"", b"Bearer sk-dummy", b"Basic abc", b"Bearer"])
def test_anybody_is_let_in_on_loopback(header: bytes | None) -> None:
    assert Access("", enforced=False).resolve(header) == OPEN
    assert Access("secret", enforced=False).resolve(header) == OPEN


def test_an_empty_token_is_never_the_admins() -> None:
    assert Access("", enforced=False).resolve(b"Bearer ") == OPEN


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("header", [b"Bearer secret", b"bearer  secret"])
def test_the_token_makes_an_admin(header: bytes, enforced: bool) -> None:
    assert Access("secret", enforced=enforced).resolve(header) == ADMIN


@pytest.mark.parametrize(
    "header", [None, b"", b"secret", b"Bearer", b"Bearer secre", b"Bearer secrets", b"Basic secret"]
)
def test_elsewhere_nobody_gets_in_without_it(header: bytes | None) -> None:
    with pytest.raises(Refused) as refused:
        Access("secret", enforced=True).resolve(header)
    assert refused.value.failure.status_code == 401
    assert "secret" not in str(refused.value)


def test_access_cannot_be_enforced_without_a_token() -> None:
    with pytest.raises(ValueError, match="admin token"):
        Access("", enforced=True)
