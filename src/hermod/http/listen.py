"""Listening sockets: made once, and shared by all processes that serve them."""

import errno
import os
import socket
from typing import Final

_TRIES: Final = 20
"""For a port that is free in every family, when any will do."""
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""A name may have an address of a family that this machine was not given."""


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """A socket for every address of the host, all on one port, which the system chooses if it is 0.

    Raises OSError, naming the address, when that is not possible.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _listen(host, port, backlog)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE and left:
                continue  # what the first family had free, the second did not
            # Resolvers have numbers of their own below 0.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {reason}") from error
    raise AssertionError("unreachable")


def _listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                opened.append(_bound(family, kind, protocol, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
                continue
            port = port or opened[0].getsockname()[1]
        if absent is not None and not opened:
            raise absent
        for each in opened:
            each.listen(backlog)
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The same address in the other family has a socket of its own.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
