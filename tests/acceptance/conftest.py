"""Processes that the acceptance tests share: starting one takes longer than most tests."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.faults.places import PLACES, Place
from tests.support.program import Gateway, MockUpstream, client
from tests.support.upstream import Upstream
from tests.support.wire import Wire

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


def contract_config(mock_upstream: MockUpstream, upstream: Upstream) -> dict[str, Any]:
    """All eleven kinds at the mock upstream; others at ours, that is told what to answer.

    Undocumented fields stay here unless a request says otherwise. The mock upstream counts attempts
    and is tried once, so that its errors come at once.
    """
    once = {"network_config": {"max_retries": 0}}
    pair = custom(upstream.url) | {
        "keys": [
            {"name": "first", "id": "key-1", "value": "sk-first-secret", "weight": 1},
            {"name": "second", "id": "key-2", "value": "sk-second-secret", "weight": 0},
        ]
    }
    brief = custom(mock_upstream.url, default_request_timeout_in_seconds=1)
    paths = {"rerank": "/v1/rerank", "ocr": "/v1/ocr"}
    brief["custom_provider_config"]["request_path_overrides"] = paths
    return {
        "client": {"async_job_result_ttl": DEFAULT_TTL_S},
        "providers": {
            **{name: mock_upstream.provider(**once) for name in ("openai", "cohere", "mistral")},
            "here": custom(upstream.url),
            "once": custom(upstream.url, max_retries=0),
            "pair": pair,
            "brief": brief,
        },
        "hermod": {"upkeep_s": 0.1, "forward_unknown_fields": False},
    }


class Served(NamedTuple):
    """A gateway on one of the stores."""

    place: Place
    gateway: Gateway
    wire: Wire

    @property
    def http(self) -> httpx.Client:
        """A client without a credential."""
        return self.wire.http


@pytest.fixture(scope="module", params=PLACES, ids=lambda kind: kind.__name__)
def served(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    mock_upstream: MockUpstream,
    upstream: Upstream,
) -> Iterator[Served]:
    """One gateway for a module, once on each store."""
    kind: type[Place] = request.param
    folder = tmp_path_factory.mktemp("served")
    config = contract_config(mock_upstream, upstream)
    with (
        kind.new(folder, lambda: request.getfixturevalue("cluster")) as place,
        place.start("gateway", config) as gateway,
        client(gateway) as http,
    ):
        yield Served(place, gateway, Wire(http))
        assert gateway.process.poll() is None, gateway.output
        assert "Traceback" not in gateway.output


@pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    start_cluster: Callable[[], Any],
) -> Iterator[Place]:
    """A new database, once for each store, for gateways of the test's own."""
    kind: type[Place] = request.param
    with kind.new(tmp_path_factory.mktemp("place"), start_cluster) as found:
        yield found
