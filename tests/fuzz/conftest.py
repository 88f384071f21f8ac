"""Everything the gateway can be asked: short forms in `make test`, minutes of it in `make fuzz`."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.support.program import Gateway, MockUpstream

FIGURES = pytest.StashKey[list[str]]()
_RAW_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`: as many requests as fit into minutes."""
    parser.addoption("--long", action="store_true", help="far more requests of every sort")


def pytest_configure(config: pytest.Config) -> None:
    """Have a place for figures."""
    config.stash[FIGURES] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was measured."""
    for line in config.stash[FIGURES]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether the long forms were asked for.

    The option is unknown to a run that did not begin in this folder: then they were not.
    """
    return bool(pytestconfig.getoption("--long", default=False))


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Have a line printed when all tests are done."""
    return pytestconfig.stash[FIGURES].append


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`hermod serve` before a mock upstream. It must survive, and log nothing it should not."""
    with MockUpstream("--latency-ms", "0") as upstream:
        config = {
            "client": {"max_request_body_size_mb": 1},
            "providers": {"openai": upstream.provider()},
            "hermod": {"upkeep_s": 1},
        }
        with Gateway(tmp_path_factory.mktemp("fuzz") / "data", config=config) as running:
            yield running
            assert running.process.poll() is None, running.output
            assert "Traceback" not in running.output
            assert " ERROR " not in running.output
            assert not _RAW_CONTROL.search(running.output)
