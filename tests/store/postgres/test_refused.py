"""Databases that could not keep a promise are refused at the start, with the remedy."""

from collections.abc import Iterator

import pytest

from hermod.domain.errors import StoreMisconfigured, StoreUnavailable
from hermod.store.postgres import PostgresStore
from tests.store.backends import ManualClock, PostgresDatabase
from tests.support.postgres import Cluster


async def refusal(url: str) -> str:
    """What the start says."""
    store = PostgresStore(url, ManualClock())
    try:
        with pytest.raises((StoreMisconfigured, StoreUnavailable)) as refused:
            await store.open()
    finally:
        await store.close()
    return f"{type(refused.value).__name__}: {refused.value}"


@pytest.fixture
def reader(postgres: PostgresDatabase) -> Iterator[str]:
    """The URL of a role that may only read."""
    postgres.rows("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    postgres.rows("GRANT USAGE ON SCHEMA hermod TO reader")
    postgres.rows("GRANT SELECT ON ALL TABLES IN SCHEMA hermod TO reader")
    yield "postgresql://reader:reader@" + postgres.url.partition("@")[2]
    postgres.rows("DROP OWNED BY reader")
    postgres.rows("DROP ROLE reader")


async def test_a_role_that_may_only_read(reader: str) -> None:
    assert "StoreMisconfigured: this role may not read and write hermod.job" in await refusal(
        reader
    )


async def test_a_database_that_is_read_only(postgres: PostgresDatabase) -> None:
    postgres.rows(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    assert "StoreUnavailable: the database is read-only" in await refusal(postgres.url)


async def test_a_schema_whose_tables_are_gone(postgres: PostgresDatabase) -> None:
    postgres.rows("DROP TABLE hermod.result")
    assert "StoreMisconfigured" in await refusal(postgres.url)


async def test_a_schema_number_that_is_none(postgres: PostgresDatabase) -> None:
    postgres.rows("UPDATE hermod.meta SET value = 'seven' WHERE name = 'schema'")
    assert "StoreMisconfigured: hermod.meta is not what" in await refusal(postgres.url)


async def test_tables_of_somebody_else(postgres: PostgresDatabase) -> None:
    postgres.rows("DROP TABLE hermod.meta")
    assert "StoreMisconfigured" in await refusal(postgres.url)


async def test_an_encoding_that_cannot_hold_every_text(cluster: Cluster) -> None:
    cluster.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        assert "StoreMisconfigured: the database is encoded in LATIN1" in await refusal(
            cluster.url("latin")
        )
    finally:
        cluster.drop_database("latin")
