"""Run the tests of the release before on today's schema: `make upgrade`.

`make upgrade ARGS=tests/acceptance` runs all of its acceptance tests too.
"""

import sys
import tempfile
from pathlib import Path

from tests.upgrade import suites
from tests.upgrade.release_before import COMMIT, VERSION, install


def main(arguments: list[str]) -> int:
    """The exit code; the arguments are pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            release = install(Path(folder, VERSION))
        except LookupError as error:
            sys.exit(f"{error}")
        outcome = suites.run(release, [*suites.SUITES, *arguments], shown=True)
    verdict = "passes" if outcome.passed else "FAILS"
    sys.stdout.write(
        f"release {VERSION} ({COMMIT[:7]}) {verdict} on today's schema; "
        f"it opened {outcome.databases} databases, each migrated by today's code first\n"
    )
    return 0 if outcome.passed and outcome.databases else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
