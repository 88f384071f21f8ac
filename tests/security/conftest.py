"""The installed program, before upstreams that are told what to answer."""

import re
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.support.program import Gateway, MockUpstream, client
from tests.support.upstream import Upstream

MIB: Final = 1024 * 1024
_LOGGED: Final = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S+: [\x20-\x7e\xa0-\uffff]*"
)
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def assert_log_is_clean(output: str, banner: str = "") -> None:
    """One line for each thing that was logged, and nothing in it that a terminal obeys."""
    for line in output.removeprefix(banner).splitlines():
        assert not CONTROL.search(line), repr(line)
        assert not line or _LOGGED.fullmatch(line) or line in banner, repr(line)


def custom(url: str) -> dict[str, Any]:
    """A provider of the operator's own at this address, asked once."""
    return {
        "keys": [{"name": "main", "value": "sk-upstream-secret", "weight": 1}],
        "network_config": {"base_url": url, "max_retries": 0},
        "custom_provider_config": {"base_provider_type": "openai"},
    }


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """An upstream in this process."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`hermod serve`; bodies may have a megabyte. It survives everything, and logs it in lines."""
    with MockUpstream("--latency-ms", "0") as mock:
        once = mock.provider(network_config={"base_url": mock.url, "max_retries": 0})
        config = {
            "client": {"max_request_body_size_mb": 1, "logging_headers": ["x-tenant"]},
            "providers": {
                **dict.fromkeys(("openai", "cohere", "mistral"), once),
                "here": custom(upstream.url),
            },
        }
        folder = tmp_path_factory.mktemp("security") / "data"
        with Gateway(folder, "--log-level", "debug", config=config) as running:
            running.wait_ready()
            with client(running) as http:
                http.get("/health")
            banner = running.output
            yield running
            assert running.process.poll() is None, running.output
            assert "Traceback" not in running.output
            assert " ERROR " not in running.output
            assert_log_is_clean(running.output, banner)


@pytest.fixture(scope="session")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of it."""
    with client(gateway) as opened:
        yield opened
