"""What the driver's errors mean to our callers."""

from typing import Final

from hermod.domain.errors import StoreFull, StoreMisconfigured, StoreUnavailable
from hermod.store.postgres.driver import ClientError, ServerError, UnfitValue, sqlstate


class ReplyLost(StoreUnavailable):
    """The connection broke while a statement was out: it may have been committed or not."""


_BROKEN: Final = (OSError, TimeoutError, EOFError, *ClientError)
"""What a connection raises that cannot be used any more."""

_AGAIN: Final = ("40001", "40P01", "55P03")
"""Rolled back because of somebody else: serialization failure, deadlock, lock not available."""
_LEAVING: Final = ("57P01", "57P02", "57P03", "57P05", "25006")
"""The server ends the session, or has become a standby: nothing more from this connection."""
_FULL: Final = ("53100",)
_MISCONFIGURED: Final = ("28", "3D000", "42501", "3F000")
_POOLED: Final = ("26000", "42P05")
"""Prepared statements are gone or already there: somebody swaps the sessions behind us."""
POOLER: Final = (
    "a connection pooler in front of PostgreSQL loses prepared statements: let it keep them "
    "(PgBouncer 1.21 or newer with max_prepared_statements above 0), use its session mode, "
    "or connect to PostgreSQL itself"
)


def is_worth_another_try(error: BaseException) -> bool:
    """Whether the same statement may succeed at once: the database has rolled it back."""
    return sqlstate(error) in _AGAIN


def lost_its_statement(error: BaseException) -> bool:
    """Whether a prepared statement was not there, or was there already."""
    return sqlstate(error) in _POOLED


def breaks_connection(error: BaseException) -> bool:
    """Whether the connection that raised it is of no further use."""
    if isinstance(error, UnfitValue):
        return False
    if isinstance(error, ServerError):
        state = sqlstate(error)
        return state in _LEAVING or state in _POOLED or state.startswith("08")
    return isinstance(error, _BROKEN)


def translate(error: Exception, *, sent: bool) -> Exception:
    """A driver's error as one of ours, where it is one that callers can act on.

    `sent`: a statement was out, and what became of it is known only if the database says so.
    """
    if isinstance(error, ServerError):
        return _said_by_the_server(error, sent)
    if isinstance(error, _BROKEN) and not isinstance(error, UnfitValue):
        kind = ReplyLost if sent else StoreUnavailable
        return kind(f"the database cannot be reached: {error or type(error).__name__}")
    return error


def _said_by_the_server(error: Exception, sent: bool) -> Exception:
    state = sqlstate(error)
    if state in _FULL:
        return StoreFull("the disk of the database is full")
    if state in _POOLED:
        return StoreMisconfigured(POOLER)
    if state.startswith(_MISCONFIGURED):
        return StoreMisconfigured(f"the database refuses us: {error}")
    if state.startswith("08") or state in _LEAVING:
        kind = ReplyLost if sent and state != "57P03" else StoreUnavailable
        return kind(f"the database cannot be used now: {error}")
    if state in _AGAIN or state.startswith(("53", "55", "57", "58", "XX")):
        return StoreUnavailable(f"the database cannot be used now: {error}")
    return error
