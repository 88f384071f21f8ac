"""The release before, on databases that today's release has migrated.

    python -P migrated_first.py TODAYS_PYTHON LOG [arguments of hermod]

Whenever the release opens a database, today's release has opened and migrated it just before, new
ones included. A line per database goes to LOG. Nothing else of the release is changed. Where
today's release cannot open the database, the release before has to find the same.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hermod.cli.main import main
from hermod.store.sqlite import SqliteStore

MIGRATE = """
import sys
from pathlib import Path
from hermod.store.sqlite.schema import connect, migrate
connection = connect(Path(sys.argv[1]))
migrate(connection)
connection.close()
"""


def migrate_first(python: str, log: Path) -> None:
    """Have every opening of a store begin with today's migration."""
    prepare = SqliteStore._prepare

    def prepare_migrated(self: SqliteStore) -> Any:
        path = str(self._path)
        migrated = subprocess.run(
            [python, "-c", MIGRATE, path], capture_output=True, check=False, text=True
        )
        if migrated.returncode == 0:
            with log.open("a", encoding="utf-8") as lines:
                lines.write(f"{path}\n")
        opened = prepare(self)
        if migrated.returncode != 0:
            raise AssertionError(f"only the release before can open {path}: {migrated.stderr}")
        return opened

    SqliteStore._prepare = prepare_migrated


if __name__ == "__main__":
    _, todays_python, log_file, *arguments = sys.argv
    sys.argv = ["hermod", *arguments]
    migrate_first(todays_python, Path(log_file))
    main()
