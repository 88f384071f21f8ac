"""Providers that are made over the API: list, make, change, remove them and their keys.

What the file or the environment configures is shown and not changed (design.md 8, 26). Secrets are
sealed before they reach the store, and nothing here gives one back.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from hermod.domain.clock import Clock
from hermod.domain.document import Audit, Conflict, Delete, Document, Put
from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.domain.ids import uuid7
from hermod.domain.provider import ProviderRead, ProviderSettings, ReadProvider
from hermod.governance.governor import Governor
from hermod.governance.provider_documents import (
    TYPE,
    Members,
    Stored,
    about,
    decode,
    encode,
    keys_of,
    put_together,
    taken_apart,
    with_kept,
)
from hermod.store.api import Store
from hermod.vault import NoKey, Vault, VaultError

log = logging.getLogger(__name__)

_TRIES: Final = 2
_NO_KEY: Final = (
    "the secrets of a provider cannot be stored: this gateway has no encryption key (set "
    "encryption_key in its config, or HERMOD_ENCRYPTION_KEY)"
)
_BAD_KEY: Final = "the secrets of this provider cannot be encrypted; the gateway's log says why"
_UNREADABLE: Final = (
    "the stored secrets of this provider cannot be decrypted, as the gateway's encryption key is "
    "not what it was: bring the old one back, or delete the provider and make it anew"
)
_OPEN: Final = (
    "without an admin secret nobody may change where calls go ({}): start the gateway with "
    "HERMOD_ADMIN_TOKEN, or write the address into its config file"
)

Changed = Callable[[Members], Members]
"""From the members of a provider to what they shall be, both with secrets."""


class Shown(NamedTuple):
    """A provider as it may be seen."""

    name: str
    members: Members
    """With masks; for one of the file without any: `settings` says it all."""
    settings: ProviderSettings | None
    """None where it cannot be called."""
    is_from_file: bool
    warnings: tuple[str, ...] = ()


class By(NamedTuple):
    """Who asks for a change."""

    subject: str
    is_open: bool
    """Whether nobody had to prove anything."""


class ProviderManagement:
    """The use cases of `/api/providers` (wire-contract 10.3)."""

    def __init__(
        self,
        store: Store,
        governor: Governor,
        clock: Clock,
        vault: Vault,
        read: ReadProvider,
        from_file: Mapping[str, ProviderSettings],
        current: Callable[[], Mapping[str, ProviderSettings]],
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        """`from_file` are those that nobody can change here, `current` all that can be called.

        `settled` is awaited after a change: then the next call goes by it.
        """
        self._store = store
        self._governor = governor
        self._clock = clock
        self._vault = vault
        self._read = read
        self._from_file = from_file
        self._current = current
        self._settled = settled

    # Looking

    def all(self) -> tuple[Shown, ...]:
        """Every provider, by name."""
        stored = {each.id for each in self._governor.book.documents_of(TYPE)}
        return tuple(self.one(name) for name in sorted(stored | self._from_file.keys()))

    def one(self, name: str) -> Shown:
        """The provider of this name. Raises Refused (404)."""
        settings = self._from_file.get(name)
        if settings is not None:
            return Shown(name, {}, settings, is_from_file=True)
        document = self._governor.book.document(TYPE, name)
        if document is None:
            raise _not_found()
        try:
            members = decode(document).members
        except ValueError:
            members = {}
        return Shown(name, members, self._current().get(name), is_from_file=False)

    # Changing

    async def create(self, name: str, members: Members, by: By) -> Shown:
        """Make a provider. Raises Refused (400, 403, 409)."""
        await self._governor.refresh()
        self._check_free(name)
        if self._governor.book.document(TYPE, name) is not None:
            raise _taken(name)
        document, read = await self._written(name, _merged({}, members), None, by)
        if await self._store_it((Put(document),), "create", name, by, read.settings) is not None:
            raise _taken(name)
        return self.one(name)._replace(warnings=read.warnings)

    async def put(self, name: str, members: Members, by: By) -> Shown:
        """Change what `members` carries; make the provider where there is none, as Bifrost does.

        A member that is null goes back to its default. Raises Refused (400, 403, 409).
        """
        await self._governor.refresh()
        self._check_free(name)
        if self._governor.book.document(TYPE, name) is None:
            return await self.create(name, members, by)
        return await self._update(name, lambda old: _merged(old, members), "update", by)

    async def delete(self, name: str, by: By) -> None:
        """Jobs that were to go there fail. Raises Refused (404, 409)."""
        for _ in range(_TRIES):
            await self._governor.refresh()
            document = self._found(name)
            gone = Delete(TYPE, name, document.version)
            if await self._store_it((gone,), "delete", name, by, None) is None:
                return
        raise _beaten()

    async def add_key(self, name: str, key: Members, by: By) -> Shown:
        """Add a key. Raises Refused (400, 403, 404, 409)."""
        return await self._update(
            name, lambda old: {**old, "keys": [*keys_of(old), key]}, "key.create", by
        )

    async def put_key(self, name: str, key_id: str, key: Members, by: By) -> Shown:
        """Change what `key` carries of a key. Raises Refused (400, 403, 404, 409)."""
        if key.get("id", key_id) != key_id:
            raise bad_request("the id of a key cannot be changed")

        def changed(old: Members) -> Members:
            found = _key_at(old, key_id)
            keys = list(keys_of(old))
            keys[found] = _merged(keys[found], key)
            return {**old, "keys": keys}

        return await self._update(name, changed, "key.update", by)

    async def delete_key(self, name: str, key_id: str, by: By) -> Shown:
        """Remove a key. Raises Refused (403, 404, 409)."""

        def changed(old: Members) -> Members:
            found = _key_at(old, key_id)
            keys = keys_of(old)
            return {**old, "keys": keys[:found] + keys[found + 1 :]}

        return await self._update(name, changed, "key.delete", by)

    # How

    async def _update(self, name: str, changed: Changed, action: str, by: By) -> Shown:
        for _ in range(_TRIES):
            await self._governor.refresh()
            old = self._found(name)
            document, read = await self._written(name, changed, old, by)
            conflict = await self._store_it((Put(document),), action, name, by, read.settings)
            if conflict is None:
                return self.one(name)._replace(warnings=read.warnings)
        raise _beaten()

    async def _written(
        self, name: str, wanted: Members | Changed, old: Document | None, by: By
    ) -> tuple[Document, ProviderRead]:
        """The document to store. Raises Refused (400, 403, 404, 500)."""
        now = self._clock.now()
        before: Members = {}
        stored = None
        if old is not None:
            stored, before = await self._opened(old)
        asked = wanted(before) if callable(wanted) else wanted
        members, lost = with_kept(asked, before)
        if lost:
            raise bad_request(
                f"{', '.join(lost)}: is the mask of a secret that is not stored here; give the "
                "secret itself"
            )
        members = self._with_ids(members, before, now)
        read = self._read(name, members)
        if read.settings is None:
            raise bad_request(f"invalid provider: {'; '.join(read.problems)}")
        self._check_ways_out(name, read.settings, before, by)
        open_part, secrets = taken_apart(members)
        sealed = await self._sealed(name, secrets)
        created_at = stored.created_at if stored is not None else now
        document = encode(
            name, Stored(open_part, sealed, created_at, now), old.version if old else 0
        )
        return document, read

    async def _opened(self, document: Document) -> tuple[Stored, Members]:
        """What is stored, and its members with their secrets. Raises Refused (409)."""
        try:
            stored = decode(document)
            secrets = b""
            if stored.sealed:
                secrets = await self._vault.open(stored.sealed, about(document.id))
            return stored, put_together(stored.members, secrets)
        except (VaultError, OSError, ValueError) as error:
            log.error("provider %s: its secrets cannot be opened: %s", document.id, error)
            raise Refused(Failure(_UNREADABLE, status_code=409)) from None

    async def _sealed(self, name: str, secrets: bytes) -> str:
        if not secrets:
            return ""
        try:
            return await self._vault.seal(secrets, about(name))
        except NoKey:
            raise bad_request(_NO_KEY) from None
        except (OSError, VaultError) as error:
            log.error("the encryption key cannot be used: %s", error)
            raise Refused(Failure(_BAD_KEY, status_code=500)) from None

    def _check_ways_out(
        self, name: str, settings: ProviderSettings, before: Members, by: By
    ) -> None:
        """Who had to prove nothing may not send calls, and keys, elsewhere. Raises Refused."""
        if not by.is_open:
            return
        known = self._read(name, before).settings if before else None
        new = settings.ways_out() - (known.ways_out() if known is not None else frozenset())
        if new:
            raise Refused(Failure(_OPEN.format(", ".join(sorted(new))), status_code=403))

    def _with_ids(self, members: Members, before: Members, now: int) -> Members:
        """Every key has an id: its own, that of the key that had its name, or a new one."""
        by_name = {str(key.get("name")): key.get("id") for key in keys_of(before)}
        ids: set[str] = set()
        for key in keys_of(members):
            if not key.get("id"):
                known = by_name.get(str(key.get("name")))
                key["id"] = known if isinstance(known, str) and known not in ids else uuid7(now)
            if (key_id := str(key["id"])) in ids:
                raise bad_request("invalid provider: keys: two of them have the same id")
            ids.add(key_id)
        return members

    def _check_free(self, name: str) -> None:
        if name in self._from_file:
            raise _managed_by_file(self._from_file[name])

    def _found(self, name: str) -> Document:
        """What is to be changed. Raises Refused (404, 409)."""
        self._check_free(name)
        document = self._governor.book.document(TYPE, name)
        if document is None:
            raise _not_found()
        return document

    async def _store_it(
        self,
        changes: tuple[Put | Delete, ...],
        action: str,
        name: str,
        by: By,
        settings: ProviderSettings | None,
    ) -> Conflict | None:
        told: dict[str, object] = {"name": name}
        if settings is not None:
            told["ways_out"] = sorted(settings.ways_out())
            told["keys"] = [key.name for key in settings.keys]
        detail = json.dumps(told, ensure_ascii=False)
        audit = Audit(self._clock.now(), by.subject, f"{TYPE}.{action}", name, detail)
        came = await self._store.change_documents(changes, audit)
        await self._governor.refresh()
        await self._settled()
        return came if isinstance(came, Conflict) else None


def _merged(old: Members, new: Members) -> Members:
    """What is carried counts, as a whole; null clears."""
    found = {**old, **new}
    return {name: value for name, value in found.items() if value is not None}


def _key_at(members: Members, key_id: str) -> int:
    for index, key in enumerate(keys_of(members)):
        if key.get("id") == key_id:
            return index
    raise Refused(Failure("Provider key not found", status_code=404))


def _managed_by_file(settings: ProviderSettings) -> Refused:
    text = f"Provider is managed by file: change it where it is configured ({settings.origin})"
    return Refused(Failure(text, status_code=409))


def _taken(name: str) -> Refused:
    return Refused(Failure(f"Provider {name} already exists", status_code=409))


def _not_found() -> Refused:
    return Refused(Failure("Provider not found", status_code=404))


def _beaten() -> Refused:
    text = "somebody else changed this at the same time; try again"
    return Refused(Failure(text, status_code=409))
