"""What the driver's errors mean: who is told to wait, to repair, or that nobody knows."""

import ssl
from typing import Final

import asyncpg
import pytest

from hermod.domain.errors import StoreFull, StoreMisconfigured, StoreUnavailable
from hermod.store.postgres.errors import (
    ReplyLost,
    breaks_connection,
    is_worth_another_try,
    translate,
)

ITSELF: Final = None
"""Not ours to judge: the call is wrong, not the database."""


def said(code: str, severity: str = "ERROR") -> Exception:
    """What the server says, as the driver raises it."""
    return asyncpg.PostgresError.new({"C": code, "M": "words", "S": severity, "V": severity})


SERVER: Final = [
    # (SQLSTATE, severity, what it means when a statement was out, what at the login, and whether
    # the connection is of further use)
    ("53100", "ERROR", StoreFull, StoreFull, True),
    ("53200", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("53300", "FATAL", ReplyLost, StoreUnavailable, False),
    ("55006", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("57014", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("58030", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("XX000", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("XX000", "PANIC", ReplyLost, StoreUnavailable, False),
    # Rolled back for somebody else's sake.
    ("40001", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("40P01", "ERROR", StoreUnavailable, StoreUnavailable, True),
    ("55P03", "ERROR", StoreUnavailable, StoreUnavailable, True),
    # The session ends, and what it was doing may have been done.
    ("08006", "FATAL", ReplyLost, StoreUnavailable, False),
    ("08P01", "FATAL", ReplyLost, StoreUnavailable, False),
    ("08007", "ERROR", ReplyLost, StoreUnavailable, False),
    ("40003", "ERROR", ReplyLost, StoreUnavailable, False),
    ("57P01", "FATAL", ReplyLost, StoreUnavailable, False),
    ("57P02", "FATAL", ReplyLost, StoreUnavailable, False),
    ("57P05", "FATAL", ReplyLost, StoreUnavailable, False),
    ("25P03", "FATAL", ReplyLost, StoreUnavailable, False),
    ("25P04", "FATAL", ReplyLost, StoreUnavailable, False),
    # It has certainly not been done.
    ("57P03", "FATAL", StoreUnavailable, StoreUnavailable, False),
    ("25006", "ERROR", StoreUnavailable, StoreUnavailable, False),
    # Waiting heals nothing.
    ("28P01", "FATAL", StoreMisconfigured, StoreMisconfigured, False),
    ("28000", "FATAL", StoreMisconfigured, StoreMisconfigured, False),
    ("3D000", "FATAL", StoreMisconfigured, StoreMisconfigured, False),
    ("42501", "ERROR", StoreMisconfigured, StoreMisconfigured, True),
    ("3F000", "ERROR", StoreMisconfigured, StoreMisconfigured, True),
    ("42P01", "ERROR", StoreMisconfigured, StoreMisconfigured, True),
    ("42703", "ERROR", StoreMisconfigured, StoreMisconfigured, True),
    ("26000", "ERROR", StoreMisconfigured, StoreMisconfigured, False),
    ("42P05", "ERROR", StoreMisconfigured, StoreMisconfigured, False),
    ("42704", "FATAL", ReplyLost, StoreMisconfigured, False),
    # Something is wrong with the call.
    ("22003", "ERROR", ITSELF, StoreMisconfigured, True),
    ("22021", "ERROR", ITSELF, StoreMisconfigured, True),
    ("23505", "ERROR", ITSELF, StoreMisconfigured, True),
    ("23514", "ERROR", ITSELF, StoreMisconfigured, True),
    ("54000", "ERROR", ITSELF, StoreMisconfigured, True),
    ("99999", "ERROR", ITSELF, StoreMisconfigured, True),
]
DRIVER: Final = [
    # (what was raised, what it means when a statement was out, what at the login, useful?)
    (ConnectionResetError("reset"), ReplyLost, StoreUnavailable, False),
    (ConnectionRefusedError("refused"), ReplyLost, StoreUnavailable, False),
    (TimeoutError(), ReplyLost, StoreUnavailable, False),
    (EOFError(), ReplyLost, StoreUnavailable, False),
    (asyncpg.ConnectionDoesNotExistError("gone"), ReplyLost, StoreUnavailable, False),
    (asyncpg.InterfaceError("connection is closed"), ReplyLost, StoreUnavailable, False),
    (asyncpg.InternalClientError("confused"), ReplyLost, StoreUnavailable, False),
    (asyncpg.TargetServerAttributeNotMatched("standby"), ReplyLost, StoreUnavailable, False),
    (ssl.SSLCertVerificationError("certificate"), ITSELF, StoreMisconfigured, True),
    (asyncpg.ClientConfigurationError("sslmode"), ITSELF, StoreMisconfigured, True),
    (UnicodeError("host name"), ITSELF, StoreMisconfigured, True),
    (asyncpg.DataError("a value"), ITSELF, StoreMisconfigured, True),
    (KeyError("ours"), ITSELF, ITSELF, True),
]


@pytest.mark.parametrize(
    ("error", "sent", "at_login", "useful"),
    [
        *(
            pytest.param(said(code, severity), sent, at_login, useful, id=f"{code} {severity}")
            for code, severity, sent, at_login, useful in SERVER
        ),
        *(pytest.param(*row, id=type(row[0]).__name__) for row in DRIVER),
    ],
)
def test_an_error_is_told_in_our_words(
    error: Exception, sent: type | None, at_login: type | None, useful: bool
) -> None:
    assert type(translate(error, sent=True)) is (sent or type(error))
    assert type(translate(error, sent=False)) is (at_login or type(error))
    assert breaks_connection(error) is not useful


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
def test_what_was_rolled_back_for_others_is_worth_another_try(code: str) -> None:
    assert is_worth_another_try(said(code))


def test_a_statement_of_unknown_outcome_is_not_simply_tried_again() -> None:
    assert not is_worth_another_try(said("40003"))


def test_an_error_without_words_is_named() -> None:
    error = translate(TimeoutError(), sent=True)
    assert isinstance(error, ReplyLost)
    assert error.detail == "TimeoutError"


def test_a_client_is_not_told_where_the_database_is() -> None:
    error = translate(OSError("Connect call failed ('10.1.2.3', 5432)"), sent=True)
    assert isinstance(error, ReplyLost)
    assert str(error) == "the database cannot be reached"
    assert error.whole.endswith("('10.1.2.3', 5432)")


def test_what_we_say_is_one_line() -> None:
    words = {"C": "57014", "M": "canceled", "D": "the detail", "H": "the hint"}
    assert "\n" not in str(translate(asyncpg.PostgresError.new(words), sent=True))
