"""From a target to a connection: name lookup, TCP and TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from hermod.domain.addresses import not_public
from hermod.domain.failpoint import failpoint
from hermod.net.connection import Connection
from hermod.net.messages import NetError, Reason, Trust
from hermod.net.target import Target

_STAGGER_S: Final = 0.25
"""Head start of each address over the next (RFC 8305, 5)."""
_LOOKUP_TTL_S: Final = 30.0
_MAX_NAMES: Final = 1024


Resolve = Callable[[str, int], Coroutine[Any, Any, list[str]]]
"""The addresses of a host, for a port. Raises OSError."""


class Dialer:
    """Opens connections.

    Every connection goes to an address that `_lookup` returned, never to a name: the policy on
    addresses stands between the two, where no second lookup can change the answer.
    """

    def __init__(
        self, resolve: Resolve | None = None, judge: Callable[[str], str] = not_public
    ) -> None:
        """`resolve` is the system's unless it is given; `judge` says why an address is not public,
        nothing when it is."""
        self._resolve = resolve or _addresses
        self._judge = judge
        self.open: set[Connection] = set()
        """Every connection that was handed out and is up, in use or not."""
        self._lookups: dict[tuple[str, int], tuple[float, asyncio.Task[list[str]]]] = {}
        self._contexts: dict[Trust, ssl.SSLContext] = {}

    async def dial(self, target: Target, trust: Trust) -> Connection:
        """A new connection. Not bounded in time: that is for the caller.

        Raises NetError: CONNECT, TLS, INVALID when the certificates of `trust` are unreadable, or
        NOT_PUBLIC where one address of the host is enough to refuse all.
        """
        context = self._context(trust) if target.is_tls else None

        async def connect(address: str) -> Connection:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self.open),
                address,
                target.port,
                ssl=context,
                server_hostname=target.host if context is not None else None,
            )
            return connection

        try:
            failpoint("net.connect.before")
            addresses = await self._lookup(target.host, target.port)
            if trust.public_only:
                self._check(target, addresses)
            connection = await first_up(connect, addresses)
        except ssl.SSLError as error:
            detail = f"no trusted connection to {target.authority}: {error.reason or error}"
            raise NetError(Reason.TLS, detail, sent=False) from error
        except OSError as error:
            self._lookups.pop((target.host, target.port), None)
            detail = f"no connection to {target.authority}: {error.strerror or error}"
            raise NetError(Reason.CONNECT, detail, sent=False) from error
        if trust.public_only:
            try:
                self._check(target, (connection.peer,))
            except NetError:
                connection.abort()
                raise
        # Only now: uvloop never reports the loss of a connection whose making was cancelled.
        if connection.is_open():
            self.open.add(connection)
        failpoint("net.connect.after")
        return connection

    def _check(self, target: Target, addresses: Sequence[str]) -> None:
        """Raises NetError(NOT_PUBLIC) unless all of them are public."""
        for address in addresses:
            if why := self._judge(address):
                detail = f"{target.authority} has an address that is not public ({why})"
                raise NetError(Reason.NOT_PUBLIC, detail, sent=False)

    async def _lookup(self, host: str, port: int) -> list[str]:
        """The addresses of a host.

        Lookups are shared and remembered: a thousand calls that start together ask once. Shielded,
        because the one who gives up must not take the answer from the others.
        """
        loop = asyncio.get_running_loop()
        until, lookup = self._lookups.get((host, port), (0.0, None))
        if lookup is None or until < loop.time():
            if len(self._lookups) >= _MAX_NAMES:
                del self._lookups[next(iter(self._lookups))]
            lookup = loop.create_task(self._resolve(host, port))
            self._lookups[host, port] = (loop.time() + _LOOKUP_TTL_S, lookup)
        return await asyncio.shield(lookup)

    def _context(self, trust: Trust) -> ssl.SSLContext:
        context = self._contexts.get(trust)
        if context is None:
            context = self._contexts[trust] = _make_context(trust)
        return context


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a host, the families taking turns (RFC 8305, 4)."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(str(address[0]))
    turns = [
        (turn, order, address)
        for order, addresses in enumerate(families.values())
        for turn, address in enumerate(addresses)
    ]
    return [address for _, _, address in sorted(turns)]


async def first_up(
    connect: Callable[[str], Awaitable[Connection]], addresses: Sequence[str]
) -> Connection:
    """The first connection to come up, the addresses tried in order with a short head start each.

    Raises the error of the first address when none comes up.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    up: list[Connection] = []
    tries: list[asyncio.Task[None]] = []

    async def attempt(address: str) -> None:
        connection = await connect(address)
        if up:
            connection.abort()
        else:
            up.append(connection)

    try:
        for address in addresses:
            tries.append(asyncio.create_task(attempt(address)))
            await _until_one_ends(tries, _STAGGER_S)
            if up:
                break
        while not up and not all(each.done() for each in tries):
            await _until_one_ends(tries, None)
    except BaseException:
        for connection in up:
            connection.abort()
        raise
    finally:
        for each in tries:
            each.cancel()
            each.add_done_callback(_retrieve)
    return up[0] if up else _raise_from(tries[0])


async def _until_one_ends(tries: Sequence[asyncio.Task[None]], timeout_s: float | None) -> None:
    running = [each for each in tries if not each.done()]
    await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


def _retrieve(ended: asyncio.Task[None]) -> None:
    """Says that the error was seen, or asyncio would log it as lost."""
    if not ended.cancelled():
        ended.exception()


def _raise_from(failed: asyncio.Task[None]) -> Connection:
    failed.result()
    raise AssertionError("a failed attempt without an error")


def _make_context(trust: Trust) -> ssl.SSLContext:
    """Raises NetError(INVALID) when the certificates cannot be read."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if trust.ca_pem is not None:
        try:
            context.load_verify_locations(cadata=trust.ca_pem)
        except (ssl.SSLError, ValueError) as error:
            detail = "ca_cert_pem is not a list of certificates in PEM form"
            raise NetError(Reason.INVALID, detail, sent=False) from error
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
