"""Back to the release before: it goes on with a database in which this release was at work.

There is more in it than the release before knows of: keys, limits, and what jobs have reserved.
"""

import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest

from tests.faults.places import Place, config_for
from tests.support.postgres import Cluster
from tests.support.program import HERMOD, Gateway, chat, client
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import CHATTING, Wire
from tests.upgrade.release_before import Release
from tests.upgrade.stored import STORES, TOKEN, assert_counters_are_right, new_place, secrets_of

CALL_USD: Final = 0.01
CALL_NANOS: Final = 10_000_000
PATH: Final = f"/v1/async/{CHATTING.path}"
ADMIN: Final = {"authorization": f"Bearer {TOKEN}"}
KEY: Final = {
    "name": "limited",
    "provider_configs": [
        {"provider": "openai", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}
    ],
    "budget": {"max_limit": 1.0, "reset_duration": "1d"},
    "max_pending_jobs": 5,
}


class Back(NamedTuple):
    """Where things stand once the release before has done what there was to do."""

    place: Place
    upstream: Upstream
    http: httpx.Client
    """A client of the release before."""
    key: Mapping[str, str]
    """The header of the virtual key whose the jobs are."""
    queued: str
    """A job that was queued when the other release took over."""
    killed: str
    """One whose call was out."""


@contextmanager
def running(
    place: Place, program: Path, upstream: Upstream, **ours: Any
) -> Generator[tuple[Gateway, httpx.Client]]:
    """A gateway and its client; on PostgreSQL too they all share one app dir."""
    settings = {"upkeep_s": 0.2, "prices": {"openai/*": {"request_usd": CALL_USD}}, **ours}
    config = config_for(settings, openai=upstream.url)
    with place.start("node", config, environ=secrets_of(place), program=program) as started:
        started.wait_ready()
        with client(started) as http:
            yield started, http
        assert "Traceback" not in started.output


def submit(http: httpx.Client, model: str, key: Mapping[str, str]) -> str:
    """The id of an accepted job of a key."""
    response = http.post(PATH, json=chat(model=model), headers=key)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def answer(http: httpx.Client, job_id: str, key: Mapping[str, str]) -> dict[str, Any]:
    """A job as its key sees it once it has ended."""
    wait_until(lambda: http.get(f"{PATH}/{job_id}", headers=key).status_code == 200, timeout_s=30)
    return http.get(f"{PATH}/{job_id}", headers=key).json()


def spent(place: Place) -> tuple[int, int, list[str]]:
    """Of the only budget what is used and what is reserved, and the units of what jobs hold."""
    ((used, reserved),) = place.rows("SELECT used, reserved FROM meter WHERE total > 0")
    units = place.rows("SELECT unit FROM hold ORDER BY unit")
    return int(used), int(reserved), [unit for (unit,) in units]


@pytest.fixture(scope="module", params=STORES)
def back(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, before: Release
) -> Iterator[Back]:
    def start_cluster() -> Cluster:
        return request.getfixturevalue("cluster")

    folder = tmp_path_factory.mktemp("back")
    never = threading.Event()
    with new_place(request.param, folder, start_cluster) as place, Upstream() as upstream:
        upstream.plan("held", Reply(held=never), Reply())
        with running(place, HERMOD, upstream, worker_slots=1) as (today, http):
            made = http.post("/api/governance/virtual-keys", json=KEY, headers=ADMIN)
            key = {"x-bf-vk": made.json()["virtual_key"]["value"]}
            answer(http, submit(http, "openai/done", key), key)
            killed = submit(http, "openai/held", key)
            wait_until(lambda: len(upstream.calls("held")) == 1)
            queued = submit(http, "openai/queued", key)
            today.kill()
        with running(place, before.hermod, upstream) as (_, http):
            unfinished = "SELECT count(*) FROM job WHERE completed_at IS NULL"
            wait_until(lambda: place.rows(unfinished) == [(0,)], timeout_s=60)
            yield Back(place, upstream, http, key, queued, killed)
        never.set()


def test_the_release_before_runs_a_job_of_a_key_without_any_limit(back: Back) -> None:
    """Nothing of what it does is counted, and what was reserved stays so."""
    assert spent(back.place) == (CALL_NANOS, CALL_NANOS, ["pending", "usd_nanos"])
    assert len(back.upstream.calls("queued")) == 1
    assert len(back.upstream.calls("held")) == 2


def test_the_release_before_shows_a_job_of_a_key_to_nobody(back: Back) -> None:
    for job_id in (back.queued, back.killed):
        for headers in ({}, back.key):
            assert back.http.get(f"{PATH}/{job_id}", headers=headers).status_code == 404
            cancelled = back.http.post(f"/v1/responses/{job_id}/cancel", headers=headers)
            assert cancelled.status_code in (403, 404)


def test_the_release_before_takes_no_job_of_a_key(back: Back) -> None:
    response = back.http.post(PATH, json=chat(), headers=back.key)
    assert response.status_code == 403
    assert response.json()["error"]["message"] == "Virtual key not found"


def test_the_release_before_goes_on_with_everybody_elses_jobs(back: Back) -> None:
    job = Wire(back.http).run(CHATTING, "openai/of-anybody")
    assert job["status"] == "completed"
    assert_counters_are_right(back.place)


def test_whoever_comes_forth_again_finds_the_answers_and_nothing_reserved(back: Back) -> None:
    with running(back.place, HERMOD, back.upstream) as (_, http):
        for job_id in (back.queued, back.killed):
            assert answer(http, job_id, back.key)["status"] == "completed"
        # The call that was out is charged, those of the release before are not.
        wait_until(lambda: spent(back.place) == (2 * CALL_NANOS, 0, []))
        again = submit(http, "openai/again", back.key)
        assert answer(http, again, back.key)["status"] == "completed"
        assert_counters_are_right(back.place)
