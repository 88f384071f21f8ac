"""Who a verified token stands for, by the claims that its issuer is configured with. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeGuard, cast

from hermod.domain.governance import VirtualKey
from hermod.governance.book import Book
from hermod.governance.identity import Identity, of_admin, of_key
from hermod.governance.jwt import Verified, invalid_token

_NAME_CHARACTERS: Final = 255
_OF_KEY: Final = "vk:"
_INFERENCE: Final = "inference"


class Unmapped(NamedTuple):
    """A good token whose virtual key there is not."""

    name: str | None
    """What it calls its key; None where it says nothing that could be a name."""


def identity_in(
    verified: Verified, book: Book, by_name: Mapping[str, VirtualKey]
) -> Identity | Unmapped:
    """An admin, or a virtual key as the book has it. Raises Refused (401 `invalid_token`)."""
    trusted, claims, _ = verified
    issuer = trusted.issuer
    scopes = _words(claims, issuer.claims.scope)
    roles = _words(claims, issuer.claims.role)
    if not roles.isdisjoint(issuer.admin_roles) or not scopes.isdisjoint(issuer.admin_scopes):
        subject = claims.get("sub")
        if not _is_name(subject):
            raise invalid_token("it does not say who the admin is (sub)")
        return of_admin(subject, "admin_jwt")
    value = _named(claims, issuer.claims.virtual_key)
    key = None if value is None else _found(value, book, by_name)
    if key is None:
        return Unmapped(value if _is_name(value) else None)
    _require_same_tenant(claims, issuer.claims.tenant, key, book)
    _require_version(claims, key, must_have=trusted.is_own)
    # Other issuers have scopes of their own, which mean nothing here.
    may_infer = not trusted.is_own or not scopes or _INFERENCE in scopes
    return of_key(key, "jwt", may_infer=may_infer)


def _named(claims: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """What the token calls its virtual key: the first of these claims that it has."""
    for name in names:
        value = claims.get(name)
        if value is not None:
            return value if isinstance(value, str) and value else None
    subject = claims.get("sub")
    is_key = isinstance(subject, str) and subject.startswith(_OF_KEY)
    return subject if is_key and subject != _OF_KEY else None


def _found(value: str, book: Book, by_name: Mapping[str, VirtualKey]) -> VirtualKey | None:
    return book.key(value.removeprefix(_OF_KEY)) or book.key(value) or by_name.get(value)


def _require_same_tenant(
    claims: Mapping[str, Any], names: Sequence[str], key: VirtualKey, book: Book
) -> None:
    """A token says whose it is; a key of somebody else's is not for it."""
    told = next((claims[name] for name in names if claims.get(name) is not None), None)
    if told is None:
        return
    team = book.team(key.team_id) if key.team_id else None
    customer_id = key.customer_id or (team.customer_id if team else None)
    if customer_id is None or told != customer_id:
        raise invalid_token("its tenant is not its virtual key's")


def _require_version(claims: Mapping[str, Any], key: VirtualKey, *, must_have: bool) -> None:
    told = claims.get("tv")
    if told is None and not must_have:
        return
    if not isinstance(told, int) or isinstance(told, bool) or told != key.token_version:
        raise invalid_token("it was revoked")


def _words(claims: Mapping[str, Any], names: Sequence[str]) -> frozenset[str]:
    """The words of the first of these claims: a text with blanks (RFC 8693, 4.2), or a list."""
    value = next((claims[name] for name in names if claims.get(name) is not None), None)
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        return frozenset(word for word in cast("list[object]", value) if isinstance(word, str))
    return frozenset()


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _NAME_CHARACTERS and value.isprintable()
