"""Make the small databases that release 0.1.0 leaves, and a record of what it answered.

    python -m tests.upgrade.make_0_1_0 FOLDER

`killed/` is what lies on the disk after `kill -9`, log included; `at-rest/` the same once the log
is in the file; `record.json` what became of every job, or what has to become of it.

The code is the release's own, from its commit. One constant of it is raised: it allows deadlines
of a year, and the jobs that are to run in whatever year the test runs need a century. Those of a
second gateway have deadlines of seconds, which have passed by then.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import httpx

from tests.support.database import attempts_of, state_of
from tests.support.program import Gateway, chat, client
from tests.support.waiting import wait_until
from tests.support.wire import CHAT, EMBEDDINGS, RESPONSES, TEXT
from tests.upgrade.release_before import VERSION, install
from tests.upgrade.stored import copy_database

CENTURY_S: Final = 36_500 * 86_400
PATIENT: Final = f"""
import sys
from hermod.cli.main import main
sys.modules["hermod.config.load"]._YEAR_S = {CENTURY_S}
sys.argv[0] = "hermod"
main()
"""
LARGE: Final = "A large text. " * 4_800
"""More than the 64 KiB that stay in a row."""
SHOWN: Final = 4_096
"""Characters of an answer that are recorded for people to read; its digest always is."""
SLOW: Final = "mock/slow?seconds=3"
"""Long enough to be killed while it runs."""
BRIEF_S: Final = 15
"""For the deadlines of jobs that are to be found past them: longer than this program runs."""
LIMITED: Final = "mock/429?retry_after=10&times=1"
"""Refused once, with a wait that is longer than this program runs."""

Job = dict[str, Any]


class Maker:
    """Submits to the release before, and keeps the record."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self.jobs: list[Job] = []

    def submit(self, http: httpx.Client, body: Job, path: str = CHAT.path, **record: Any) -> Job:
        """A job that stays fetchable for a century."""
        headers = {"x-bf-async-job-result-ttl": str(CENTURY_S)}
        if record.get("error_type") == "outcome_unknown":
            headers["x-hermod-on-unknown"] = "fail"
        response = http.post(f"/v1/async/{path}", json=body, headers=headers)
        assert response.status_code == 202, response.text
        self.jobs.append({"path": path, "id": response.json()["id"], **record})
        return self.jobs[-1]

    def finish(self, http: httpx.Client, job: Job) -> None:
        """Wait for a job's end, and record the answer byte for byte."""

        def ended() -> bool:
            response = http.get(f"/v1/async/{job['path']}/{job['id']}")
            job["answer"] = response.text
            return response.status_code == 200

        wait_until(ended, timeout_s=30)
        assert json.loads(job["answer"])["status"] == job["was"], job["answer"]
        job["sha256"] = hashlib.sha256(job["answer"].encode()).hexdigest()
        if len(job["answer"]) > SHOWN:
            del job["answer"]

    def reach(self, job: Job) -> None:
        """Wait until a job is in the state in which it is to be left."""
        wait_until(lambda: state_of(self._app_dir, job["id"]) == job["was"], timeout_s=30)


def gateway(app_dir: Path, program: Path, slots: int, **hermod: float) -> Gateway:
    """A gateway that takes up waiting jobs at once."""
    settings = {"worker_slots": slots, "upkeep_s": 0.2, "retry_backoff_initial_ms": 10}
    started = Gateway(app_dir, config={"hermod": {**settings, **hermod}}, program=program)
    started.wait_ready()
    return started


def finished_jobs(maker: Maker, running: Gateway) -> None:
    """Every request type, both ends, small and large."""
    with client(running) as http:
        for job in _submit_all(maker, http):
            maker.finish(http, job)


def _submit_all(maker: Maker, http: httpx.Client) -> list[Job]:
    return [
        maker.submit(http, CHAT.body(), was="completed"),
        maker.submit(http, TEXT.body(), TEXT.path, was="completed"),
        maker.submit(http, RESPONSES.body(), RESPONSES.path, was="completed"),
        maker.submit(http, EMBEDDINGS.body("mock/embed?dim=4"), EMBEDDINGS.path, was="completed"),
        maker.submit(http, chat("Grüße, 世界, 1e400"), was="completed"),
        maker.submit(http, chat(LARGE), was="completed"),
        maker.submit(http, chat(model="mock/error?code=400"), was="failed"),
        maker.submit(http, chat(model="mock/error?code=500"), was="failed"),
        maker.submit(http, chat(model="mock/invalid"), was="failed"),
    ]


def unfinished_jobs(maker: Maker, app_dir: Path, hurried: Gateway, patient: Gateway) -> None:
    """Waiting for their time, running in every slot of both gateways, and queued behind them."""
    expires: Job = {"becomes": "expired"}
    ends: Job = {"becomes": "completed"}
    unknown: Job = {"becomes": "failed", "error_type": "outcome_unknown"}
    with client(hurried) as short, client(patient) as long:
        maker.reach(maker.submit(short, chat(model=LIMITED), was="waiting", **expires))
        maker.reach(maker.submit(long, chat(model=LIMITED), was="waiting", **ends))
        with alone(app_dir / "hermod.db") as connection:  # the log begins anew, and stays small
            connection.pragma("wal_checkpoint(truncate)")
        for http, ending in ((short, expires), (long, ends), (long, ends), (long, unknown)):
            maker.submit(http, chat(model=SLOW), was="running", **ending)
        maker.submit(short, chat("too late"), was="queued", **expires)
        for text in ("first in the queue", "second in the queue"):
            maker.submit(long, chat(text), was="queued", says=text, **ends)


def make(to: Path, folder: Path) -> None:
    """Run the release and keep what it leaves. Fails when the machine was too slow to catch it."""
    app_dir = folder / "app"
    release = install(folder / VERSION)
    patient = release.program("hermod-patient", "-c", PATIENT)
    century = {"queue_wait_s": CENTURY_S, "job_deadline_s": CENTURY_S}
    brief = {"queue_wait_s": BRIEF_S, "job_deadline_s": BRIEF_S, "attempt_timeout_s": BRIEF_S}
    maker = Maker(app_dir)
    with gateway(app_dir, patient, 8, **century) as first:
        finished_jobs(maker, first)
        first.kill()
    vacuum(app_dir / "hermod.db")
    with (
        gateway(app_dir, release.hermod, 1, **brief) as hurried,
        gateway(app_dir, patient, 3, **century) as other,
    ):
        unfinished_jobs(maker, app_dir, hurried, other)
        hurried.kill()
        other.kill()
    copy_database(app_dir, to / "killed")
    for job in maker.jobs:
        job["attempts"] = attempts_of(app_dir, job["id"])
        found = state_of(app_dir, job["id"])
        assert found == job["was"], f"{job['id']} is {found}, not {job['was']}"
    vacuum(app_dir / "hermod.db")
    copy_database(app_dir, to / "at-rest")
    lines = ",\n".join(json.dumps(job, ensure_ascii=False) for job in maker.jobs)
    (to / "record.json").write_text(f"[\n{lines}\n]\n", "utf-8")


@contextmanager
def alone(path: Path) -> Iterator[apsw.Connection]:
    """The only connection to a database."""
    with closing(apsw.Connection(str(path))) as connection:
        yield connection


def vacuum(path: Path) -> None:
    """Make the file small, and the log part of it."""
    with alone(path) as connection:
        connection.execute("VACUUM")
    assert not path.with_name(f"{path.name}-wal").exists()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to put them; must not exist")
    target: Path = parser.parse_args().folder
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        make(target, Path(temporary))
