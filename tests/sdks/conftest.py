"""The programs that the SDKs talk to: starting one takes longer than most tests."""

from collections.abc import Iterator

import pytest

from tests.sdks.clients import Google
from tests.sdks.cutting import CuttingUpstream
from tests.support.program import Gateway, MockUpstream, openai_config

BASE_PATH = "/team/ai"


@pytest.fixture(scope="session")
def upstream() -> Iterator[MockUpstream]:
    """What models of `openai` are asked at."""
    with MockUpstream("--latency-ms", "0") as running:
        yield running


@pytest.fixture(scope="session")
def cutting() -> Iterator[CuttingUpstream]:
    """What models of `cut` are asked at."""
    with CuttingUpstream() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, upstream: MockUpstream, cutting: CuttingUpstream
) -> Iterator[Gateway]:
    """`hermod serve`, with `openai` at the mock upstream and `cut` at one that breaks off."""
    app_dir = tmp_path_factory.mktemp("sdks") / "data"
    config = openai_config(upstream, max_retries=0)
    config["providers"]["cut"] = cutting.provider()
    with Gateway(app_dir, config=config) as running:
        yield running
        assert running.process.poll() is None, running.output
        assert "Traceback" not in running.output


@pytest.fixture(scope="session")
def gateway_below(
    tmp_path_factory: pytest.TempPathFactory, upstream: MockUpstream
) -> Iterator[Gateway]:
    """The same, with all routes below `BASE_PATH`."""
    app_dir = tmp_path_factory.mktemp("sdks") / "data"
    config = openai_config(upstream, max_retries=0)
    with Gateway(app_dir, "--base-path", BASE_PATH, config=config) as running:
        yield running
        assert "Traceback" not in running.output


@pytest.fixture(scope="session")
def google() -> Iterator[Google]:
    """Makes clients of the Gemini API."""
    made = Google()
    yield made
    made.close()
