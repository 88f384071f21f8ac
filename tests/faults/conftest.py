"""The fault suite (reliability.md 4): short forms in `make test`, everything in `make faults`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.places import PLACES, Place, PostgresPlace, SqlitePlace
from tests.support.postgres import Cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-points`: every failpoint, every wait at its real length."""
    parser.addoption(
        "--all-points",
        action="store_true",
        help="every failpoint in turn, and the real durations instead of short ones",
    )


FIGURES = pytest.StashKey[list[str]]()


def is_long(config: pytest.Config) -> bool:
    """Whether the long forms were asked for.

    The option is unknown to a run that did not begin in this folder: then they were not.
    """
    return bool(config.getoption("--all-points", default=False))


def _is_long_form(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    here = None if spec is None else spec.params.get("place")
    return any(mark.kwargs.get("place", here) is here for mark in item.iter_markers("long_form"))


@pytest.fixture(scope="session")
def all_points(pytestconfig: pytest.Config) -> bool:
    """Whether the long forms were asked for (`make faults`)."""
    return is_long(pytestconfig)


def pytest_configure(config: pytest.Config) -> None:
    """Have the marker known."""
    config.addinivalue_line("markers", "long_form(place): only with --all-points, on this store")
    config.stash[FIGURES] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was measured."""
    for line in config.stash[FIGURES]:
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long forms out of a short run."""
    if is_long(config):
        return
    left_out = [item for item in items if _is_long_form(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, start_cluster: Callable[[], Cluster]
) -> Iterator[Place]:
    """A new database, once for each store."""
    kind: type[Place] = request.param
    with kind.new(tmp_path, start_cluster) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> SqlitePlace:
    """A new SQLite database, for what is the same on every store or only this one's."""
    return SqlitePlace(tmp_path)


@pytest.fixture
def server(tmp_path: Path, start_cluster: Callable[[], Cluster]) -> Iterator[PostgresPlace]:
    """A new PostgreSQL database, for what only a database on a server can suffer."""
    with PostgresPlace.new(tmp_path, start_cluster) as found:
        yield found


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Have a line with figures printed when all tests are done."""
    name = request.node.name

    def note(line: str) -> None:
        request.config.stash[FIGURES].append(f"{name}: {line}")

    return note
