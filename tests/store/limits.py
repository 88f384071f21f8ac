"""Limits of tests: what a job reserves, and what its meters say."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from hermod.domain.job import JobView, Metered
from hermod.domain.meter import EMPTY, Hold, Meter, Unit, Window
from hermod.store.api import Store
from tests.store.backends import Database, SqliteDatabase
from tests.store.jobs import COMPLETED, FAILED, UNKNOWN, UNSENT

FOR_EVER: Final = Window()
BUDGET: Final = Hold("budget", Unit.USD_NANOS, 100, 1_000, FOR_EVER, "VK")
TOKENS: Final = Hold("limit:tokens", Unit.TOKENS, 50, 1_000, FOR_EVER, "VK")
REQUESTS: Final = Hold("limit:requests", Unit.REQUESTS, 1, 10, FOR_EVER, "VK")
PARALLEL: Final = Hold("key:parallel", Unit.PARALLEL, 1, 2, FOR_EVER, "VK")
PENDING: Final = Hold("key:pending", Unit.PENDING, 1, 2, FOR_EVER, "VK")
ALL: Final = (BUDGET, TOKENS, REQUESTS, PARALLEL)

USED: Final = Metered(30, 5, 70)
DONE: Final = COMPLETED._replace(held=True, metered=USED)
FAILED_HOLDING: Final = FAILED._replace(held=True)
UNKNOWN_HOLDING: Final = UNKNOWN._replace(held=True)
UNSENT_HOLDING: Final = UNSENT._replace(held=True)


async def meter(store: Store, hold: Hold = BUDGET) -> Meter:
    """What is stored of the meter; all zero if that is nothing."""
    return (await store.read_meters([hold.meter_id])).get(hold.meter_id, EMPTY)


async def counted(store: Store, hold: Hold = BUDGET) -> tuple[int, int, int]:
    """What is used, reserved, and used in total."""
    return (await meter(store, hold))[1:]


def cost(view: JobView) -> tuple[int | None, bool]:
    """What a job has cost, and whether that is an estimate."""
    return view.cost_usd_nanos, view.estimated


@contextmanager
def overlooked(database: Database) -> Generator[None]:
    """Inside, verbs pass over what jobs hold, as in a release that knows of none.

    PostgreSQL's pass over it unless they are told.
    """
    _tamper(database, "UPDATE job SET held = 0")
    yield
    _tamper(database, "UPDATE job SET held = 1 WHERE seq IN (SELECT seq FROM hold)")


def _tamper(database: Database, sql: str) -> None:
    if isinstance(database, SqliteDatabase):
        connection = database.connect()
        connection.execute(sql)
        connection.close()
