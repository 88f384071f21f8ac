"""The order in which gateways and workers are replaced (docs/how-to/upgrade.md), and why."""

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.faults.places import Place, config_for
from tests.support.postgres import Cluster
from tests.support.program import HERMOD, Gateway, chat, client, submit, wait_done
from tests.support.wire import CHATTING, Wire, completed, failed
from tests.upgrade.release_before import Release
from tests.upgrade.stored import new_place

NEW_PROVIDER = "anthropic/claude"
"""Of a provider that the release before does not have."""
FALLBACK = {"model": "mock/error?code=400", "fallbacks": ["mock/hello"]}
"""What the release before does not do."""


@contextmanager
def running(place: Place, role: str, program: Path) -> Generator[Gateway]:
    """A process of that role, ready."""
    name = f"{role}-{program.parent.parent.name}"
    config = config_for({"role": role, "upkeep_s": 0.2}, anthropic="http://127.0.0.1:9")
    with place.start(name, config, program=program) as started:
        started.wait_ready()
        yield started


def retire(gateway: Gateway) -> None:
    """As an orchestrator does."""
    gateway.send(signal.SIGTERM)
    assert gateway.wait_exit() == 0, gateway.output


def submit_two(gateway: Gateway) -> list[str]:
    """One that is done at once, and one that may outlive its first worker."""
    with client(gateway) as http:
        return [submit(http, body) for body in (chat(), chat(model="mock/slow?seconds=0.5"))]


def endings(gateway: Gateway, job_ids: list[str]) -> set[str]:
    """What has become of these, as one gateway says."""
    with client(gateway) as http:
        return {wait_done(http, job_id)["status"] for job_id in job_ids}


@pytest.fixture
def place(tmp_path: Path, cluster: Cluster) -> Iterator[Place]:
    """A new database on PostgreSQL."""
    with new_place("postgres", tmp_path, lambda: cluster) as new:
        yield new


def test_workers_first_and_gateways_second_loses_nothing_and_fails_nothing(
    place: Place, before: Release
) -> None:
    with (
        running(place, "api", before.hermod) as old_gateway,
        running(place, "worker", before.hermod) as old_worker,
    ):
        job_ids = submit_two(old_gateway)
        with running(place, "worker", HERMOD):
            job_ids += submit_two(old_gateway)
            retire(old_worker)
            job_ids += submit_two(old_gateway)
            with running(place, "api", HERMOD) as gateway:
                job_ids += submit_two(gateway)
                assert endings(old_gateway, job_ids) == {"completed"}
                retire(old_gateway)
                assert endings(gateway, job_ids) == {"completed"}
                with client(gateway) as http:
                    completed(Wire(http).run(CHATTING, **FALLBACK))


@pytest.fixture(scope="module")
def wrong_order(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, before: Release
) -> Iterator[httpx.Client]:
    """A client of a gateway of this release, beside a worker of the release before."""
    folder = tmp_path_factory.mktemp("wrong-order")
    with (
        new_place("postgres", folder, lambda: cluster) as place,
        running(place, "worker", before.hermod),
        running(place, "api", HERMOD) as gateway,
        client(gateway) as http,
    ):
        yield http


def test_a_worker_of_the_release_before_fails_what_it_has_never_heard_of(
    wrong_order: httpx.Client,
) -> None:
    """Which no later release can change: hence the order."""
    job = Wire(wrong_order).run(CHATTING, NEW_PROVIDER)
    assert failed(job, 500)["error"]["message"] == "failed to get config for provider: not found"


def test_a_worker_of_the_release_before_does_not_do_what_is_new_in_a_body(
    wrong_order: httpx.Client,
) -> None:
    failed(Wire(wrong_order).run(CHATTING, **FALLBACK), 400)


def test_a_synchronous_call_is_made_by_its_gateway_whatever_the_workers_are(
    wrong_order: httpx.Client,
) -> None:
    answer = wrong_order.post(f"/v1/{CHATTING.path}", **CHATTING.request(**FALLBACK))
    assert answer.status_code == 200, answer.text
