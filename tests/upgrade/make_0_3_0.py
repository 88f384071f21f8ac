"""Make the small databases that release 0.3.0 leaves, and a record of what it answered.

    python -m tests.upgrade.make_0_3_0 FOLDER

The release is killed, so SQLite's log is as full as `kill -9` leaves it. (What 0.1.0 and 0.2.0 had
left was made in the same manner, until they were two releases back. Their schema is 0.3.0's.)

The code is the release's own, from its commit. One constant of it is raised: it allows deadlines
of a year, and the jobs that are to run in whatever year the test runs need a century. Those of a
second gateway have deadlines of seconds, which have passed by then: a minute after this program.
"""

import argparse
import hashlib
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.faults.places import Place, config_for, state_of
from tests.support.postgres import Cluster
from tests.support.program import Gateway, chat, client
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import AUDIO, CHAT, KINDS, RESPONSES, TRANSCRIBING, Kind
from tests.upgrade.release_before import VERSION, Release, install
from tests.upgrade.stored import STORES, TOKEN, Job, id_text, new_place, pack

CENTURY_S: Final = 36_500 * 86_400
PATIENT: Final = f"""
import sys
from hermod.cli.main import main
sys.modules["hermod.config.load"]._YEAR_S = {CENTURY_S}
sys.argv[0] = "hermod"
main()
"""
LARGE: Final = "A large text. " * 80_000
"""Two pieces of a mebibyte and less."""
SHOWN: Final = 1_024
"""Characters of an answer that are recorded for people to read; its digest always is."""
BRIEF_S: Final = 40
"""For the deadlines of jobs that are to be found past them: longer than all of this takes."""
TTL_S: Final = 60
"""Likewise for a result."""
LIMITED: Final = f"mock/429?retry_after={BRIEF_S - 10}&times=1"
"""Refused once, with a wait that is longer than all of this takes."""
HELD: Final = "openai/held"
"""Our upstream never answers this."""
PATIENCE: Final[Mapping[str, float]] = {"queue_wait_s": CENTURY_S, "job_deadline_s": CENTURY_S}
HURRY: Final[Mapping[str, float]] = {
    "queue_wait_s": BRIEF_S,
    "job_deadline_s": BRIEF_S,
    "attempt_timeout_s": BRIEF_S,
}
API: Final[Mapping[str, Any]] = {"role": "api", "upkeep_s": 3600}
"""Runs no jobs, and does not look after those of the dead."""
PASSTHROUGH: Final = "x-bf-passthrough-extra-params"
TOLD: Final = "x-told"
"""A header for the upstream."""
EMBEDDED: Final[Mapping[str, str]] = {"embedding": "mock/embed?dim=4"}
"""The models of request types whose answers are large."""


class Maker:
    """Submits to the release before, and keeps the record."""

    def __init__(self, place: Place, release: Release, upstream: Upstream) -> None:
        self.place = place
        self._release = release
        self._patient = release.program("hermod-patient", "-c", PATIENT)
        self._upstream = upstream
        self.jobs: list[Job] = []

    @contextmanager
    def gateway(self, name: str, **ours: Any) -> Generator[tuple[Gateway, httpx.Client]]:
        """A gateway of the release, killed at the end, and its client."""
        settings = {"upkeep_s": 0.2, "retry_backoff_initial_ms": 10, **ours}
        config = config_for(settings, openai=self._upstream.url)
        config["client"] = {"max_request_body_size_mb": 2}
        patient = ours.get("job_deadline_s") == CENTURY_S
        with self.place.start(
            name,
            config,
            environ={"HERMOD_ADMIN_TOKEN": TOKEN},
            program=self._patient if patient else self._release.hermod,
        ) as running:
            running.wait_ready()
            with client(running) as http:
                yield running, http
            running.kill()

    def submit(
        self,
        http: httpx.Client,
        body: Job,
        path: str = CHAT.path,
        *,
        headers: Mapping[str, str] | None = None,
        **record: Any,
    ) -> Job:
        """A job whose result stays for a century, unless the headers say otherwise."""
        return self._accepted(http, path, {"json": body}, headers or {}, record)

    def submit_kind(self, http: httpx.Client, kind: Kind, model: str, **record: Any) -> Job:
        """Likewise, the least that this request type takes."""
        return self._accepted(http, kind.path, kind.request(model), {}, record)

    def _accepted(
        self,
        http: httpx.Client,
        path: str,
        request: Mapping[str, Any],
        headers: Mapping[str, str],
        record: Job,
    ) -> Job:
        sent = {"x-bf-async-job-result-ttl": str(CENTURY_S), **headers, **owner(record)}
        response = http.post(f"/v1/async/{path}", headers=sent, **request)
        assert response.status_code == 202, response.text
        self.jobs.append({"path": path, "id": response.json()["id"], **record})
        return self.jobs[-1]

    def finish(self, http: httpx.Client, job: Job) -> None:
        """Wait for a job's end, and record the answer byte for byte."""

        def ended() -> bool:
            url = f"/v1/async/{job['path']}/{job['id']}"
            response = http.get(url, headers=owner(job))
            job["answer"] = response.text
            return response.status_code == 200

        wait_until(ended, timeout_s=30)
        assert state_of(self.place, job["id"]) == job["was"], job["answer"]
        job["sha256"] = hashlib.sha256(job["answer"].encode()).hexdigest()
        if len(job["answer"]) > SHOWN:
            del job["answer"]

    def reach(self, job: Job, *attempts: str) -> Job:
        """Wait until a job is in the state in which it is to be left, with such attempts."""

        def reached() -> bool:
            found = tuple(state for _, state, _ in self.place.attempts_of(job["id"]))
            return state_of(self.place, job["id"]) == job["was"] and found == attempts

        wait_until(reached, timeout_s=30)
        return job

    def finish_jobs(self) -> None:
        """Every request type, every end, small and large, of two owners."""
        with self.gateway("first", **PATIENCE) as (_, http):
            for job in self._submit_all(http):
                self.finish(http, job)
            self._cancel(http)
        with self.gateway("late", job_deadline_s=0.2) as (late, http):
            self.finish(http, self.submit(http, chat(model=HELD), was="expired"))
            late.send(signal.SIGTERM)  # so that not everything is in the log
            late.wait_exit()

    def _cancel(self, http: httpx.Client) -> None:
        """While its call is out."""
        body = RESPONSES.body(HELD)
        job = self.submit(http, body, RESPONSES.path, was="running")
        self.reach(job, "sending")
        cancelled = http.post(f"/v1/responses/{job['id']}/cancel")
        assert cancelled.status_code == 200, cancelled.text
        job["was"] = "cancelled"
        self.finish(http, job)

    def _submit_all(self, http: httpx.Client) -> list[Job]:
        brief = {"x-bf-async-job-result-ttl": str(TTL_S)}
        shown = {"x-bf-send-back-raw-request": "true", "x-bf-send-back-raw-response": "true"}
        kinds = [
            self.submit_kind(
                http, kind, EMBEDDED.get(kind.request_type, "mock/hello"), was="completed"
            )
            for kind in KINDS
        ]
        return [
            *kinds,
            self.submit(http, chat("shown", "openai/shown"), headers=shown, was="completed"),
            self.submit(http, chat("Grüße, 世界, 1e400"), was="completed"),
            self.submit(http, chat(LARGE), was="completed"),
            self.submit(http, chat("mine alone"), was="completed", owner="admin"),
            self.submit(http, chat(model="mock/error?code=400"), was="failed"),
            self.submit(http, chat(model="mock/error?code=500"), was="failed"),
            self.submit(http, chat(model="mock/invalid"), was="failed"),
            self.submit(http, chat("brief"), headers=brief, was="completed", becomes="gone"),
        ]

    def leave_jobs(self) -> None:
        """Waiting for their time, running, given back, and queued."""
        # Whoever starts looks after the jobs of the dead once: before there are any.
        with (
            self.gateway("hurried-api", **API, **HURRY) as (_, short),
            self.gateway("patient-api", **API, **PATIENCE) as (_, long),
        ):
            self._leave_begun()
            self._leave_queued(short, long)

    def _leave_begun(self) -> None:
        # It is told nothing of the others' jobs, and does not look for itself.
        budget = {"body_budget_mb": 4, "drain_s": 2, "upkeep_s": 3600, "worker_slots": 2}
        with self.gateway("drained", **{**PATIENCE, **budget}) as (drained, http):
            ending: Job = {"was": "running", "becomes": "completed"}
            given_back = [
                self.reach(self.submit(http, chat(LARGE, HELD), **ending), "sending")
                for _ in range(2)
            ]
            self._leave_at_work()
            drained.send(signal.SIGTERM)
            drained.wait_exit()
        for job, attempt in zip(given_back, ("unknown", "unsent"), strict=True):
            job["was"] = "waiting"
            self.reach(job, attempt)

    def _leave_at_work(self) -> None:
        """Of two gateways, one of which is in a hurry."""
        ends: Job = {"becomes": "completed"}
        expires: Job = {"becomes": "expired"}
        unknown: Job = {"becomes": "failed", "error_type": "outcome_unknown"}
        once = {"x-hermod-on-unknown": "fail"}
        with (
            self.gateway("hurried", **HURRY) as (hurried, short),
            self.gateway("patient", **PATIENCE) as (patient, long),
        ):
            limited, held = chat(model=LIMITED), chat(model=HELD)
            for http, ending in ((short, expires), (long, ends)):
                self.reach(self.submit(http, limited, was="waiting", **ending), "failed")
            for http, ending in ((short, expires), (long, ends), (long, ends)):
                self.reach(self.submit(http, held, was="running", **ending), "sending")
            self.reach(self.submit(long, held, headers=once, was="running", **unknown), "sending")
            # At once: who is left for a moment takes the other's jobs.
            for gateway in (hurried, patient):
                gateway.send(signal.SIGKILL)

    def _leave_queued(self, short: httpx.Client, long: httpx.Client) -> None:
        """By gateways that run no jobs."""
        self.submit(short, chat("too late"), was="queued", becomes="expired")
        ends: Job = {"was": "queued", "becomes": "completed"}
        for text in ("first in the queue", "second in the queue"):
            self.submit(long, chat(text), **ends, says=text)
        self.submit(long, chat(LARGE), **ends)
        self.submit(long, chat("mine"), **ends, says="mine", owner="admin")
        for told in ("true", "false", None):
            model = f"openai/passthrough-{told}"
            headers = {} if told is None else {PASSTHROUGH: told}
            record = ends | {"model": model, "forwards": told == "true"}
            self.submit(long, chat(model=model, unheard_of=1), headers=headers, **record)
        self.submit_kind(long, TRANSCRIBING, "mock/echo", **ends, hears=AUDIO.told())
        told = {f"x-bf-eh-{TOLD}": "a word", "x-bf-send-back-raw-response": "true"}
        model = "openai/told"
        self.submit(long, chat(model=model), headers=told, **ends, model=model, told="a word")


def owner(job: Mapping[str, Any]) -> dict[str, str]:
    """The header by which a job's owner is known."""
    return {"authorization": f"Bearer {TOKEN}"} if job.get("owner") == "admin" else {}


def make(place: Place, release: Release, to: Path) -> None:
    """Run the release and keep what it leaves. Fails when the machine was too slow to catch it."""
    held = threading.Event()
    with Upstream() as upstream:
        upstream.plan(HELD.removeprefix("openai/"), Reply(held=held))
        maker = Maker(place, release, upstream)
        maker.finish_jobs()
        maker.leave_jobs()
        held.set()
    for job in maker.jobs:
        job["attempts"] = place.attempts_of(job["id"])
        found = state_of(place, job["id"])
        assert found == job["was"], f"{job} is {found}"
    assert _overdue(place) == {job["id"] for job in maker.jobs if job.get("becomes") == "expired"}
    pack(place, to)
    lines = ",\n".join(json.dumps(job, ensure_ascii=False) for job in maker.jobs)
    (to / "record.json").write_text(f"[\n{lines}\n]\n", "utf-8")


def _overdue(place: Place) -> set[str]:
    """The jobs that some test will find past their deadline: whoever took them was in a hurry."""
    sql = "SELECT id FROM job WHERE completed_at IS NULL AND deadline_at < created_at + ?"
    return {id_text(job_id) for (job_id,) in place.rows(sql, CENTURY_S * 500_000)}


def main(to: Path) -> None:
    """Make those of both stores."""
    with tempfile.TemporaryDirectory() as temporary, Cluster({"fsync": "off"}) as cluster:
        release = install(Path(temporary, VERSION))
        for store in STORES:
            folder = Path(temporary, store)
            folder.mkdir()
            with new_place(store, folder, lambda: cluster) as place:
                make(place, release, to / store)
            sys.stdout.write(f"{to / store}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to put them; must not exist")
    target: Path = parser.parse_args().folder
    target.mkdir(parents=True)
    main(target)
