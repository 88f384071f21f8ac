"""Which release may open which database."""

import pytest

from hermod.domain.errors import StoreMisconfigured
from hermod.store.sql import Migration, Upgrade, plan_upgrade, read_migration

FIRST = Migration(1, "0001_jobs.sql", "CREATE …", 1)
ADDS = Migration(2, "0002_adds.sql", "ALTER …", 1)
BREAKS = Migration(3, "0003_breaks.sql", "DROP …", 3)
ADDS_AGAIN = Migration(4, "0004_adds.sql", "ALTER …", 3)
ALL = (FIRST, ADDS, BREAKS, ADDS_AGAIN)


@pytest.mark.parametrize(
    ("version", "readable_from", "release", "upgrade"),
    [
        pytest.param(0, None, ALL, Upgrade(ALL, 3), id="a new database"),
        pytest.param(1, None, ALL, Upgrade(ALL[1:], 3), id="one that says nothing"),
        pytest.param(2, 1, ALL, Upgrade(ALL[2:], 3), id="an older one"),
        pytest.param(2, 1, ALL[:2], Upgrade((), 1), id="its own"),
        pytest.param(2, 1, ALL[:1], Upgrade((), 1), id="newer, with things that were added"),
        pytest.param(4, 3, ALL[:3], Upgrade((), 3), id="newer, after something that broke"),
    ],
)
def test_a_database_that_the_release_can_read_is_brought_up_to_date(
    version: int, readable_from: int | None, release: tuple[Migration, ...], upgrade: Upgrade
) -> None:
    assert plan_upgrade(version, readable_from, release) == upgrade


@pytest.mark.parametrize(
    ("version", "readable_from", "release"),
    [
        pytest.param(2, None, ALL[:1], id="newer, and says nothing"),
        pytest.param(3, 3, ALL[:2], id="changed so that others cannot run"),
        pytest.param(4, 3, ALL[:2], id="added to after it was changed so"),
    ],
)
def test_a_database_that_the_release_cannot_read_is_refused(
    version: int, readable_from: int | None, release: tuple[Migration, ...]
) -> None:
    with pytest.raises(StoreMisconfigured, match=f"schema {version}, .* knows {len(release)}: "):
        plan_upgrade(version, readable_from, release)


def test_a_migration_says_on_its_first_line_who_can_still_read_the_database() -> None:
    sql = "-- readable from: 0003\nALTER TABLE job ADD COLUMN x\n"
    assert read_migration("0007_adds.sql", sql) == Migration(7, "0007_adds.sql", sql, 3)


@pytest.mark.parametrize("sql", ["CREATE TABLE x (y)\n", "SELECT 1\n-- readable from: 0003\n"])
def test_a_migration_that_does_not_say_it_shuts_older_releases_out(sql: str) -> None:
    assert read_migration("0007_breaks.sql", sql).readable_from == 7


@pytest.mark.parametrize("number", ["0000", "0008"])
def test_a_migration_cannot_promise_what_makes_no_sense(number: str) -> None:
    with pytest.raises(ValueError, match="readable from"):
        read_migration("0007_x.sql", f"-- readable from: {number}\nSELECT 1\n")


def test_a_migration_that_is_misnamed_is_no_migration() -> None:
    with pytest.raises(ValueError, match="NNNN"):
        read_migration("7_x.sql", "SELECT 1\n")
