"""The stores under test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store.backends import BACKENDS, Database, PostgresDatabase, SqliteDatabase
from tests.support.postgres import Cluster


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, start_cluster: Callable[[], Cluster]
) -> Iterator[Database]:
    """A new database, once for each backend."""
    with request.param.new(tmp_path, start_cluster) as new:
        yield new


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteDatabase:
    """A new SQLite database, for what only SQLite can express."""
    return SqliteDatabase(tmp_path)


@pytest.fixture
def postgres(tmp_path: Path, cluster: Cluster) -> Iterator[PostgresDatabase]:
    """A new PostgreSQL database, for what only PostgreSQL can express."""
    with PostgresDatabase.new(tmp_path, lambda: cluster) as new:
        yield new
