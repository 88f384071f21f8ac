"""The order in which gateways and workers are replaced (docs/how-to/upgrade.md), and why."""

import signal
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.faults.places import Place, config_for, provider_at
from tests.support.postgres import Cluster
from tests.support.program import HERMOD, Gateway, chat, client, submit, wait_done
from tests.support.waiting import wait_until
from tests.support.wire import CHATTING, Wire, completed, failed
from tests.upgrade.release_before import Release
from tests.upgrade.stored import TOKEN, new_place, secrets_of

VALUE: Final = "sk-bf-00000000-0000-4000-8000-000000000000"
SHOWN: Final = {"x-bf-vk": VALUE}
WITH_A_KEY: Final[Mapping[str, Any]] = {
    "governance": {
        "virtual_keys": [
            {
                "name": "one",
                "value": VALUE,
                "provider_configs": [
                    {"provider": "mock", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}
                ],
                "budget": {"max_limit": 0, "reset_duration": "1d"},
                "on_limit": "reject",
            }
        ]
    }
}
"""Every job of it is refused. The release before does not act on this."""
DEMANDING: Final[Mapping[str, Any]] = {
    **WITH_A_KEY,
    "client": {"enforce_auth_on_inference": True},
    "hermod": {"on_limit": "reject", "empty_lists": "none", "assumed_output_tokens": 1},
}
"""Nor on this."""


@contextmanager
def running(place: Place, role: str, program: Path) -> Generator[Gateway]:
    """A process of that role, ready."""
    name = f"{role}-{program.parent.parent.name}"
    config = config_for({"role": role, "upkeep_s": 0.2}) | WITH_A_KEY
    with place.start(name, config, environ=secrets_of(place), program=program) as started:
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
                    http.headers.update(SHOWN)
                    failed(Wire(http).run(CHATTING), 402)


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
    provider = {
        "provider": "new",
        "custom_provider_config": {"base_provider_type": "openai"},
        **provider_at("http://127.0.0.1:9", allow_private_network=True),
    }
    response = wrong_order.post(
        "/api/providers", json=provider, headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert response.is_success, response.text
    job = Wire(wrong_order).run(CHATTING, "new/any")
    assert failed(job, 500)["error"]["message"] == "failed to get config for provider: not found"


def test_a_worker_of_the_release_before_knows_no_limits(wrong_order: httpx.Client) -> None:
    path = f"/v1/async/{CHATTING.path}"
    job_id = wrong_order.post(path, headers=SHOWN, **CHATTING.request()).json()["id"]
    poll = partial(wrong_order.get, f"{path}/{job_id}", headers=SHOWN)
    wait_until(lambda: poll().status_code == 200)
    assert poll().json()["status"] == "completed"


def test_a_synchronous_call_is_made_by_its_gateway_whatever_the_workers_are(
    wrong_order: httpx.Client,
) -> None:
    response = wrong_order.post(f"/v1/{CHATTING.path}", headers=SHOWN, **CHATTING.request())
    assert response.status_code == 402, response.text


def test_a_gateway_of_the_release_before_asks_nobody_who_they_are(
    place: Place, before: Release
) -> None:
    """On loopback, whatever the file demands; elsewhere it does not start with such a file."""
    with place.start("old", DEMANDING, program=before.hermod) as old:
        old.wait_ready()
        with client(old) as http:
            completed(Wire(http).run(CHATTING))
        assert "every request is accepted" in old.output
