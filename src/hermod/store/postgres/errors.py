"""What the driver's errors mean to our callers."""

from typing import Final

from hermod.domain.errors import StoreFull, StoreMisconfigured, StoreUnavailable
from hermod.store.postgres.driver import (
    ClientError,
    ServerError,
    UnfitValue,
    ends_session,
    sqlstate,
    words,
)


class ReplyLost(StoreUnavailable):
    """The connection broke while a statement was out: it may have been committed or not."""


_BROKEN: Final = (OSError, TimeoutError, EOFError, *ClientError)
"""What a connection raises that cannot be used any more."""

_AGAIN: Final = ("40001", "40P01", "55P03")
"""Rolled back because of somebody else: serialization failure, deadlock, lock not available."""
_NOT_DONE: Final = ("57P03", "25006")
"""The server is starting or stopping, or is read-only: nothing was done, and nothing comes from
this connection any more. The next one may lead to a server that writes."""
_UNKNOWN: Final = ("40003",)
_FULL: Final = ("53100",)
_NO_MORE_CONNECTIONS: Final = ("53300",)
_MISCONFIGURED: Final = ("28", "3D000", "3F000", "42501", "42P01", "42P07", "42703")
"""Who we are, where we are, what we may, and what there is: a table or column is missing, or there
is one of somebody else's."""
_POOLED: Final = ("26000", "42P05")
"""Prepared statements are gone or already there: somebody swaps the sessions behind us."""
_NOT_NOW: Final = ("08", "25P", "53", "55", "57", "58", "XX")
"""Classes of trouble that somebody else has to get out of."""
POOLER: Final = (
    "a connection pooler in front of PostgreSQL loses prepared statements: let it keep them "
    "(PgBouncer 1.21 or newer with max_prepared_statements above 0), use its session mode, "
    "or connect to PostgreSQL itself"
)


def is_worth_another_try(error: BaseException) -> bool:
    """Whether the same statement may succeed at once: the database has rolled it back."""
    return sqlstate(error) in _AGAIN


def has_no_more_connections(error: BaseException) -> bool:
    """Whether the server has no connection left for us."""
    return sqlstate(error) in _NO_MORE_CONNECTIONS


def breaks_connection(error: BaseException) -> bool:
    """Whether the connection that raised it is of no further use."""
    if isinstance(error, UnfitValue):
        return False
    if isinstance(error, ServerError):
        state = sqlstate(error)
        of_no_use = state in (*_NOT_DONE, *_UNKNOWN, *_POOLED) or state.startswith("08")
        return of_no_use or ends_session(error)
    return isinstance(error, _BROKEN)


def translate(error: Exception, *, sent: bool) -> Exception:
    """A driver's error as one of ours, where it is one that callers can act on.

    `sent`: a statement was out, and what became of it is known only if the database says so.
    Without one we were at the login, where whatever is refused is for a person to change.
    """
    if isinstance(error, ServerError):
        return _said_by_the_server(error, sent)
    if isinstance(error, UnfitValue):
        return error if sent else StoreMisconfigured("the database cannot be used so", str(error))
    if isinstance(error, _BROKEN):
        kind = ReplyLost if sent else StoreUnavailable
        return kind("the database cannot be reached", words(error))
    return error


def _said_by_the_server(error: Exception, sent: bool) -> Exception:
    state = sqlstate(error)
    if state in _FULL:
        return StoreFull("the disk of the database is full")
    if state in _POOLED:
        return StoreMisconfigured(POOLER)
    if state.startswith(_MISCONFIGURED):
        return StoreMisconfigured("the database refuses us", words(error))
    if sent and breaks_connection(error) and state not in _NOT_DONE:
        return ReplyLost("the database cannot be used now", words(error))
    if state in (*_AGAIN, *_NOT_DONE, *_UNKNOWN) or state.startswith(_NOT_NOW):
        return StoreUnavailable("the database cannot be used now", words(error))
    return error if sent else StoreMisconfigured("the database refuses us", words(error))
