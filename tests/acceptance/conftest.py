"""Processes that the acceptance tests share: starting one takes longer than most tests."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.program import Gateway, MockUpstream, client
from tests.support.upstream import Upstream

DEFAULT_TTL_S = 1234
"""`client.async_job_result_ttl` of the shared gateway: no other TTL in these tests is the same."""

BODY_CAP = 100 * 1024 * 1024
"""`client.max_request_body_size_mb`, as it is when nobody sets it."""


@pytest.fixture(scope="session")
def mock_upstream() -> Iterator[MockUpstream]:
    """`hermod mock-upstream`, a process of its own."""
    with MockUpstream("--latency-ms", "0") as running:
        yield running


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """An upstream that can be told what to answer, in this process."""
    with Upstream() as running:
        yield running


def custom(url: str, **network: Any) -> dict[str, Any]:
    """A provider of the operator's own at this address, quick to try again."""
    quick = {"retry_backoff_initial": 1, "retry_backoff_max": 10, "max_retries": 2}
    return {
        "keys": [{"name": "main", "value": "sk-upstream-secret", "weight": 1}],
        "network_config": {"base_url": url, **quick, **network},
        "custom_provider_config": {"base_provider_type": "openai"},
    }


@pytest.fixture(scope="session")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, mock_upstream: MockUpstream, upstream: Upstream
) -> Iterator[Gateway]:
    """`hermod serve` with four providers: `openai` at the mock upstream, the others at ours."""
    config = {
        "client": {"async_job_result_ttl": DEFAULT_TTL_S},
        "providers": {
            "openai": mock_upstream.provider(),
            "here": custom(upstream.url),
            "once": custom(upstream.url, max_retries=0),
            "brief": custom(mock_upstream.url, default_request_timeout_in_seconds=1),
            "nobody": custom("http://127.0.0.1:1", max_retries=1),
        },
        "hermod": {"upkeep_s": 0.1},
    }
    app_dir = tmp_path_factory.mktemp("gateway") / "data"
    with Gateway(app_dir, config=config, environ={"GROQ_API_KEY": "sk-groq-secret"}) as running:
        yield running
        assert running.process.poll() is None, running.output
        assert "Traceback" not in running.output


@pytest.fixture(scope="session")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of the shared gateway."""
    with client(gateway) as opened:
        yield opened
