"""Somebody looks into the database of a running gateway with a tool of their own."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.program import Gateway, chat, client, submit, wait_done


def look(app_dir: Path) -> int:
    """What `sqlite3 hermod.db 'SELECT count(*) FROM job'` does: may write, closes at the end."""
    with closing(sqlite3.connect(app_dir / "hermod.db", timeout=10)) as connection:
        return connection.execute("SELECT count(*) FROM job").fetchone()[0]


def test_who_looks_into_the_database_takes_no_job_with_them(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway, client(gateway) as http:
        wait_done(http, submit(http, chat()))
        assert look(tmp_path) == 1
        later = submit(http, chat())
        wait_done(http, later)
        gateway.kill()
    with Gateway(tmp_path) as gateway, client(gateway) as http:
        assert wait_done(http, later)["status"] == "completed"
