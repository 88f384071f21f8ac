"""Whether the process takes new work. Written by service.py, read by handlers."""

from collections.abc import Iterable
from typing import Protocol

from hermod.domain.errors import StoreUnavailable
from hermod.governance.identity import Identity
from hermod.http.message import Header


class Lifecycle:
    """Starting, accepting, draining."""

    def __init__(self) -> None:
        self.ready = False
        """Everything is started and nothing is being stopped."""
        self.draining = False
        self.waiting_for = ""
        """What the start is waiting for, in a sentence; empty when for nothing."""

    @property
    def accepting(self) -> bool:
        """Whether a new job may be accepted."""
        return not self.draining

    def require_store(self) -> None:
        """Raises StoreUnavailable, with the reason, while the start waits for the store."""
        if self.waiting_for:
            raise StoreUnavailable(self.waiting_for)


class _Access(Protocol):
    async def resolve_admin(self, headers: Iterable[Header]) -> Identity: ...

    def password_shown(self, headers: Iterable[Header]) -> bool | None: ...


class Gate:
    """Knows who may manage, once anybody is known."""

    def __init__(self, access: _Access, lifecycle: Lifecycle) -> None:
        self._access = access
        self._lifecycle = lifecycle

    async def resolve_admin(self, headers: Iterable[Header]) -> Identity:
        """See `hermod.http.app.Gatekeeper`. Raises StoreUnavailable while the start waits."""
        self._lifecycle.require_store()
        return await self._access.resolve_admin(headers)

    def password_shown(self, headers: Iterable[Header]) -> bool | None:
        """See `hermod.http.app.Gatekeeper`: the password is known before anybody else is."""
        return self._access.password_shown(headers)
