"""The stores under test."""

from pathlib import Path

import pytest

from tests.store.backends import BACKENDS, Database, SqliteDatabase


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A new database, once for each backend."""
    return request.param(tmp_path)


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteDatabase:
    """A new SQLite database, for what only SQLite can express."""
    return SqliteDatabase(tmp_path)
