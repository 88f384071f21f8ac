"""What the driver's errors mean to our callers."""

from typing import Final

import apsw

from hermod.domain.errors import StoreFull, StoreUnavailable

HITS_EVERYBODY: Final = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.NotADBError,
    apsw.ConnectionClosedError,
)
"""Errors of the database as a whole: to try verb after verb would only multiply the wait."""

_UNAVAILABLE: Final = (*HITS_EVERYBODY, apsw.CorruptError, apsw.PermissionsError)


def translate(error: Exception) -> Exception:
    """A driver's error as one of ours, where it is one that callers can act on."""
    if isinstance(error, apsw.FullError):
        return StoreFull("the disk is full")
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"the database cannot be used now: {error}")
    return error
