"""What happens to a job whose worker died, froze or lost its lease.

A lease of an hour leaves only one way to recover within a test: noticing that the worker is dead.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hermod.torture.history import Call
from hermod.torture.record import read_record
from tests.support.database import attempts_of, raw_id, rows, state_of, tamper
from tests.support.program import Gateway, MockUpstream, chat, client, submit, wait_done
from tests.support.waiting import wait_until

HOUR: dict[str, Any] = {"lease_s": 3600, "renew_s": 1000, "upkeep_s": 0.3}
BRIEF: dict[str, Any] = {"lease_s": 3, "renew_s": 0.5, "upkeep_s": 0.3}


class Upstream(MockUpstream):
    """A mock upstream that remembers what it received."""

    def __init__(self, record: Path, *flags: str) -> None:
        super().__init__("--record", str(record), *flags)
        self._record = record

    def calls(self, job_id: str) -> list[Call]:
        """Every call for a job, in order."""
        calls, _ = read_record(self._record)
        return [call for call in calls if call.job_id == job_id]

    def wait_called(self, job_id: str, times: int = 1) -> None:
        """Until a job's calls have come in."""
        wait_until(lambda: len(self.calls(job_id)) >= times, timeout_s=30)

    def stats(self) -> dict[str, Any]:
        """Its own counters."""
        return httpx.get(f"{self.url}/stats", trust_env=False).json()


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Generator[Upstream]:
    """An upstream that takes every call and answers none."""
    with Upstream(tmp_path_factory.mktemp("silent") / "calls", "--latency-ms", "3600000") as found:
        yield found


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Generator[Upstream]:
    """An upstream that repeats the prompt."""
    record = tmp_path_factory.mktemp("quick") / "calls"
    with Upstream(record, "--echo", "--latency-ms", "5") as found:
        yield found


def config(upstream: MockUpstream, ours: dict[str, Any], **more: MockUpstream) -> dict[str, Any]:
    """`openai` at the upstream, other providers at theirs."""
    upstreams = {"openai": upstream, **more}
    return {
        "providers": {name: each.provider() for name, each in upstreams.items()},
        "hermod": ours,
    }


@contextmanager
def two_gateways(
    app_dir: Path, first: dict[str, Any], second: dict[str, Any]
) -> Generator[tuple[Gateway, Gateway]]:
    """Two on one app dir, each with a configuration of its own."""
    with Gateway(app_dir, config=first) as one:
        one.wait_ready()  # it has read the file, which now becomes the other's
        with Gateway(app_dir, config=second) as other:
            other.wait_ready()
            yield one, other


def start_job(gateway: Gateway, upstream: Upstream, text: str = "hi") -> str:
    """The id of a job whose upstream call is out."""
    with client(gateway) as http:
        job_id = submit(http, chat(text, "openai/any"))
    upstream.wait_called(job_id)
    return job_id


def answer(gateway: Gateway, job_id: str) -> str:
    """The text of a job that has to complete."""
    with client(gateway) as http:
        done = wait_done(http, job_id)
    assert done["status"] == "completed", done
    return done["result"]["choices"][0]["message"]["content"]


def test_a_job_of_a_killed_gateway_runs_again_at_its_restart(
    tmp_path: Path, silent: Upstream, quick: Upstream
) -> None:
    with Gateway(tmp_path, config=config(silent, HOUR)) as first:
        job_id = start_job(first, silent, "from before")
        first.kill()
    with Gateway(tmp_path, config=config(quick, HOUR)) as second:
        assert answer(second, job_id) == "from before"
    assert attempts_of(tmp_path, job_id) == [
        (1, "unknown", "worker_died"),
        (2, "succeeded", None),
    ]


def test_a_gateway_that_runs_takes_over_from_one_that_is_killed(
    tmp_path: Path, silent: Upstream, quick: Upstream
) -> None:
    with two_gateways(tmp_path, config(silent, HOUR), config(quick, HOUR)) as (first, second):
        job_id = start_job(first, silent, "from the other")
        first.kill()
        assert answer(second, job_id) == "from the other"
    assert attempts_of(tmp_path, job_id) == [
        (1, "unknown", "worker_died"),
        (2, "succeeded", None),
    ]


def test_a_frozen_gateway_loses_its_job_and_writes_nothing_when_it_wakes(
    tmp_path: Path, quick: Upstream
) -> None:
    slow = Upstream(tmp_path / "slow", "--latency-ms", "1500")
    late = Upstream(tmp_path / "late", "--echo", "--latency-ms", "1500")
    app = tmp_path / "app"
    with (
        slow,
        late,
        two_gateways(app, config(slow, BRIEF), config(late, BRIEF)) as (frozen, awake),
    ):
        job_id = start_job(frozen, slow, "for the one awake")
        frozen.freeze()
        late.wait_called(job_id)
        # By now an answer waits for the frozen one to wake, and the other has the lease.
        frozen.send(signal.SIGCONT)
        wait_until(lambda: "lease lost" in frozen.output, timeout_s=30)
        assert answer(awake, job_id) == "for the one awake"
        with client(frozen) as http:
            text = wait_done(http, job_id)["result"]["choices"][0]["message"]["content"]
            assert text == "for the one awake"
        frozen.send(signal.SIGTERM)
        assert frozen.wait_exit() == 0
    assert attempts_of(app, job_id) == [(1, "unknown", "lease_lost"), (2, "succeeded", None)]


def test_a_job_that_takes_its_gateway_down_four_times_is_poison_and_its_neighbours_are_not(
    tmp_path: Path, silent: Upstream, quick: Upstream
) -> None:
    neighbours: list[str] = []
    culprit = ""
    for crash in range(1, 5):
        # The neighbours share the first two crashes, and are answered from then on.
        others = silent if crash <= 2 else quick
        with Gateway(tmp_path, config=config(silent, HOUR, mistral=others)) as gateway:
            if crash == 1:
                with client(gateway) as http:
                    neighbours = [submit(http, chat("hi", "mistral/any")) for _ in range(5)]
                    culprit = submit(http, chat("bang", "openai/any"))
            silent.wait_called(culprit, crash)
            for job_id in neighbours:
                others.wait_called(job_id, crash if crash <= 2 else 1)
            gateway.kill()
    last = config(silent, HOUR, mistral=quick)
    with Gateway(tmp_path, config=last) as gateway, client(gateway) as http:
        done = wait_done(http, culprit)
        assert (done["status"], done["status_code"]) == ("failed", 500)
        assert done["error"]["error"]["type"] == done["error"]["type"] == "poison"
        assert {wait_done(http, job_id)["status"] for job_id in neighbours} == {"completed"}
    assert attempts_of(tmp_path, culprit) == [(n, "unknown", "worker_died") for n in range(1, 5)]
    assert len(silent.calls(culprit)) == 4


def test_a_job_not_to_be_sent_twice_fails_when_its_outcome_is_unknown(
    tmp_path: Path, silent: Upstream, quick: Upstream
) -> None:
    with Gateway(tmp_path, config=config(silent, HOUR)) as gateway:
        with client(gateway) as http:
            response = http.post(
                "/v1/async/chat/completions",
                json=chat("once", "openai/any"),
                headers={"x-hermod-on-unknown": "fail"},
            )
            job_id = response.json()["id"]
        silent.wait_called(job_id)
        gateway.kill()
    with Gateway(tmp_path, config=config(quick, HOUR)) as gateway, client(gateway) as http:
        done = wait_done(http, job_id)
    assert (done["status"], done["error"]["type"]) == ("failed", "outcome_unknown")
    assert attempts_of(tmp_path, job_id) == [(1, "unknown", "worker_died")]
    assert (len(silent.calls(job_id)), len(quick.calls(job_id))) == (1, 0)


def test_a_retry_that_waits_in_its_slot_survives_a_kill(tmp_path: Path, quick: Upstream) -> None:
    patient = {"retry_backoff_initial_ms": 4000, "retry_backoff_max_ms": 4000}
    with Upstream(tmp_path / "broken", "--error-rate", "1", "--latency-ms", "0") as broken:
        with Gateway(tmp_path / "app", config=config(broken, HOUR | patient)) as gateway:
            job_id = start_job(gateway, broken, "again")
            wait_until(lambda: broken.stats()["in_flight"] == 0)
            gateway.kill()
        assert len(broken.calls(job_id)) == 1
    with Gateway(tmp_path / "app", config=config(quick, HOUR)) as gateway:
        assert answer(gateway, job_id) == "again"


def test_a_long_wait_frees_its_slot_and_survives_a_kill(tmp_path: Path, quick: Upstream) -> None:
    ours = HOUR | {"worker_slots": 1}
    with Gateway(tmp_path, config=config(quick, ours)) as gateway, client(gateway) as http:
        waiting = submit(http, chat("later", "mock/429?retry_after=6&times=1"))
        wait_until(lambda: state_of(tmp_path, waiting) == "waiting")
        beside = submit(http, chat("now", "mock/echo"))
        assert wait_done(http, beside)["status"] == "completed"
        assert state_of(tmp_path, waiting) == "waiting"
        gateway.kill()
    ((run_at,),) = rows(tmp_path, "SELECT run_at FROM job WHERE id = ?", raw_id(waiting))
    with Gateway(tmp_path, config=config(quick, ours)) as gateway, client(gateway) as http:
        assert wait_done(http, waiting)["status"] == "completed"
    states = [state for _, state, _ in attempts_of(tmp_path, waiting)]
    assert states == ["failed", "succeeded"]
    ((started_at,),) = rows(tmp_path, "SELECT max(started_at) FROM attempt WHERE n = 2")
    assert started_at >= run_at


def test_expired_results_are_deleted_after_a_restart(tmp_path: Path, quick: Upstream) -> None:
    large = "0123456789" * 10_000
    never = HOUR | {"upkeep_s": 3600}
    with Gateway(tmp_path, config=config(quick, never)) as gateway, client(gateway) as http:
        response = http.post(
            "/v1/async/chat/completions",
            json=chat(large, "openai/any"),
            headers={"x-bf-async-job-result-ttl": "1"},
        )
        job_id = response.json()["id"]
        kept = submit(http, chat("kept", "openai/any"))
        wait_until(lambda: state_of(tmp_path, job_id) == "completed")
        assert wait_done(http, kept)["status"] == "completed"
        gateway.kill()
    with Gateway(tmp_path, config=config(quick, HOUR)) as gateway, client(gateway) as http:
        gateway.wait_ready()
        tables = ("job", "request", "result", "attempt")

        def left() -> list[int]:
            return [rows(tmp_path, f"SELECT count(*) FROM {name}")[0][0] for name in tables]

        wait_until(lambda: left() == [1, 1, 1, 1])
        assert rows(tmp_path, "SELECT count(*) FROM payload_chunk") == [(0,)]
        assert http.get(f"/v1/async/chat/completions/{job_id}").status_code == 404
        assert answer(gateway, kept) == "kept"


def test_a_reboot_ends_every_lease(tmp_path: Path, silent: Upstream, quick: Upstream) -> None:
    with Gateway(tmp_path, config=config(silent, HOUR)) as gateway:
        job_id = start_job(gateway, silent, "before the reboot")
        gateway.kill()
    # Without its lock file nobody can tell that the worker is dead: the boot id has to.
    for lock in (tmp_path / "workers").iterdir():
        lock.unlink()
    tamper(tmp_path, "UPDATE meta SET value = 'another' WHERE name = 'boot_id'")
    with Gateway(tmp_path, config=config(quick, HOUR)) as gateway:
        assert answer(gateway, job_id) == "before the reboot"
    assert attempts_of(tmp_path, job_id)[0] == (1, "unknown", "lease_lost")


def test_a_call_is_closed_when_its_renewal_finds_the_lease_gone(tmp_path: Path) -> None:
    ours = {"lease_s": 3600, "renew_s": 0.2, "upkeep_s": 60}
    with (
        Upstream(tmp_path / "calls", "--latency-ms", "3600000") as upstream,
        Gateway(tmp_path / "app", config=config(upstream, ours)) as gateway,
    ):
        job_id = start_job(gateway, upstream)
        tamper(tmp_path / "app", "UPDATE job SET worker_id = 'another'")
        wait_until(lambda: upstream.stats()["abandoned"] == 1)
        assert len(upstream.calls(job_id)) == 1


def test_a_call_is_closed_when_its_own_gateway_starts_the_job_again(tmp_path: Path) -> None:
    ours = {"lease_s": 3600, "renew_s": 1000, "upkeep_s": 0.2}
    with (
        Upstream(tmp_path / "calls", "--latency-ms", "3600000") as upstream,
        Gateway(tmp_path / "app", config=config(upstream, ours)) as gateway,
    ):
        job_id = start_job(gateway, upstream)
        # As if another process had found the lease run out, and then left the job to us.
        tamper(
            tmp_path / "app",
            "BEGIN IMMEDIATE;"
            "UPDATE job SET state = 'waiting', worker_id = NULL, lease_until = NULL, run_at = 0;"
            "UPDATE attempt SET state = 'unknown', ended_at = 1;"
            "UPDATE job_count SET state = 'waiting' WHERE state = 'running'; COMMIT",
        )
        upstream.wait_called(job_id, 2)
        wait_until(lambda: upstream.stats()["abandoned"] == 1)
        assert upstream.stats()["in_flight"] == 1
