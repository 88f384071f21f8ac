"""Make the small databases that release 0.4.0 leaves, and a record of what it answered.

    python -m tests.upgrade.make_0_4_0 FOLDER

The release is killed, so SQLite's log is as full as `kill -9` leaves it. (What the releases before
it had left was made in the same manner, each until the next one.)

The code is the release's own, from its commit. One constant of it is raised: it allows deadlines
of a year, and the jobs that are to run in whatever year the test runs need a century. Those of a
second gateway have deadlines of seconds, which have passed by then: a minute after this program.
"""

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx

from tests.acceptance.test_ordered_work import MODEL as ORDERED
from tests.acceptance.test_ordered_work import Predictions
from tests.faults.places import Place, state_of
from tests.support.postgres import Cluster
from tests.support.program import chat
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import AUDIO, KINDS, RESPONSES, TRANSCRIBING
from tests.upgrade.maker import CENTURY_S, Maker, Upstreams
from tests.upgrade.release_before import VERSION, Release, install
from tests.upgrade.stored import CALLERS_KEY, STORES, TOLD, Job, id_text, new_place, pack

LARGE: Final = "A large text. " * 80_000
"""Two pieces of a mebibyte and less."""
BRIEF_S: Final = 40
"""For the deadlines of jobs that are to be found past them: longer than all of this takes."""
TTL_S: Final = 60
"""Likewise for a result."""
WAIT_S: Final = BRIEF_S - 10
"""Likewise for a wait that an upstream asks for."""
LIMITED: Final = f"mock/429?retry_after={WAIT_S}&times=1"
"""Refused once."""
REFUSED: Final = "mock/error?code=400"
"""Refused always: a job goes on to its fallbacks."""
HELD: Final = "openai/held"
"""Our upstream never answers this."""
HELD_TOO: Final = "openai/held-of-a-callers-key"
"""Likewise."""
BUSY: Final = "openai/busy"
"""Our upstream asks to wait."""
PRICED: Final = "openai/priced"
"""Our upstream says what was used."""
USAGE: Final = (
    b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"ok"}}],"usage":{"prompt_tokens":1000,"completion_tokens":77,"total_tokens":1077}}'
)
PATIENCE: Final[Mapping[str, float]] = {"queue_wait_s": CENTURY_S, "job_deadline_s": CENTURY_S}
HURRY: Final[Mapping[str, float]] = {
    "queue_wait_s": BRIEF_S,
    "job_deadline_s": BRIEF_S,
    "attempt_timeout_s": BRIEF_S,
}
API: Final[Mapping[str, Any]] = {"role": "api", "upkeep_s": 3600}
"""Runs no jobs, and does not look after those of the dead."""
PASSTHROUGH: Final = "x-bf-passthrough-extra-params"
EMBEDDED: Final[Mapping[str, str]] = {"embedding": "mock/embed?dim=4"}
"""The models of request types whose answers are large."""
OWN_KEY: Final = {"authorization": f"Bearer {CALLERS_KEY}"}
ENDS: Final[Job] = {"becomes": "completed"}
EXPIRES: Final[Job] = {"becomes": "expired"}
UNKNOWN: Final[Job] = {"becomes": "failed", "error_type": "outcome_unknown"}


def finish_jobs(maker: Maker) -> None:
    """Every request type, every end, small and large, of two owners."""
    with maker.gateway("first", **PATIENCE) as (_, http):
        for job in _submit_all(maker, http):
            maker.finish(http, job)
        _cancel(maker, http)
    with maker.gateway("late", job_deadline_s=0.2) as (late, http):
        maker.finish(http, maker.submit(http, chat(model=HELD), was="expired"))
        late.send(signal.SIGTERM)  # so that not everything is in the log
        late.wait_exit()


def _cancel(maker: Maker, http: httpx.Client) -> None:
    """While its call is out."""
    body = RESPONSES.body(HELD)
    job = maker.submit(http, body, RESPONSES.path, was="running")
    maker.reach(job, "sending")
    cancelled = http.post(f"/v1/responses/{job['id']}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    job["was"] = "cancelled"
    maker.finish(http, job)


def _submit_all(maker: Maker, http: httpx.Client) -> list[Job]:
    submit = maker.submit
    done: Job = {"was": "completed"}
    brief = {"x-bf-async-job-result-ttl": str(TTL_S)}
    shown = {"x-bf-send-back-raw-request": "true", "x-bf-send-back-raw-response": "true"}
    kinds = [
        maker.submit_kind(http, kind, EMBEDDED.get(kind.request_type, "mock/hello"), **done)
        for kind in KINDS
    ]
    return [
        *kinds,
        submit(http, chat("shown", "openai/shown"), headers=shown, **done),
        submit(http, chat("Grüße, 世界, 1e400"), **done),
        submit(http, chat(LARGE), **done),
        submit(http, chat("mine alone"), **done, owner="admin"),
        submit(http, chat("priced", PRICED), **done),
        submit(http, chat("elsewhere", REFUSED, fallbacks=[PRICED]), **done),
        submit(http, chat("a key of mine", "openai/of-a-callers-key"), headers=OWN_KEY, **done),
        submit(http, chat(model=REFUSED), was="failed"),
        submit(http, chat(model=REFUSED, fallbacks=["mock/error?code=403"]), was="failed"),
        submit(http, chat(model="mock/error?code=500"), was="failed"),
        submit(http, chat(model="mock/invalid"), was="failed"),
        submit(http, chat("brief"), headers=brief, **done, becomes="gone"),
    ]


def leave_jobs(maker: Maker) -> None:
    """Waiting for their time, running, given back, and queued."""
    # Whoever starts looks after the jobs of the dead once: before there are any.
    with (
        maker.gateway("hurried-api", **API, **HURRY) as (_, short),
        maker.gateway("patient-api", **API, **PATIENCE) as (_, long),
    ):
        _leave_begun(maker)
        _leave_queued(maker, short, long)
        _leave_with_secrets(maker, long)


def _leave_begun(maker: Maker) -> None:
    # It is told nothing of the others' jobs, and does not look for itself.
    budget = {"body_budget_mb": 4, "drain_s": 2, "upkeep_s": 3600, "worker_slots": 2}
    with maker.gateway("drained", **{**PATIENCE, **budget}) as (drained, http):
        given_back = [
            maker.reach(maker.submit(http, chat(LARGE, HELD), was="running", **ENDS), "sending")
            for _ in range(2)
        ]
        _leave_at_work(maker)
        drained.send(signal.SIGTERM)
        drained.wait_exit()
    for job, attempt in zip(given_back, ("unknown", "unsent"), strict=True):
        job["was"] = "waiting"
        maker.reach(job, attempt)


def _leave_at_work(maker: Maker) -> None:
    """Of two gateways, one of which is in a hurry."""
    once = {"x-hermod-on-unknown": "fail"}
    submit, reach = maker.submit, maker.reach
    with (
        maker.gateway("hurried", **HURRY) as (hurried, short),
        maker.gateway("patient", **PATIENCE) as (patient, long),
    ):
        limited, held = chat(model=LIMITED), chat(model=HELD)
        for http, ending in ((short, EXPIRES), (long, ENDS)):
            reach(submit(http, limited, was="waiting", **ending), "failed")
        for http, ending in ((short, EXPIRES), (long, ENDS), (long, ENDS)):
            reach(submit(http, held, was="running", **ending), "sending")
        reach(submit(long, held, headers=once, was="running", **UNKNOWN), "sending")
        _leave_on_their_way(maker, long)
        # At once: who is left for a moment takes the other's jobs.
        for gateway in (hurried, patient):
            gateway.send(signal.SIGKILL)


def _leave_on_their_way(maker: Maker, http: httpx.Client) -> None:
    """With a caller's key, at work that was ordered, and at fallbacks."""
    submit, reach = maker.submit, maker.reach
    running: Job = {"was": "running", **ENDS}
    own: Job = {"model": HELD_TOO, "key": CALLERS_KEY}
    reach(submit(http, chat(model=HELD_TOO), headers=OWN_KEY, **running, **own), "sending")
    job = reach(submit(http, chat(model=ORDERED), **running, ordered=True), "sending")
    wait_until(lambda: maker.upstreams.replicate.asked > 0, timeout_s=20)
    elsewhere = chat(model=REFUSED, fallbacks=[HELD])
    reach(submit(http, elsewhere, **running, by="openai"), "failed", "sending")
    # The last one: the provider is left alone from then on.
    elsewhere = chat(model=REFUSED, fallbacks=[BUSY])
    job = submit(http, elsewhere, was="waiting", **ENDS, by="openai")
    reach(job, "failed", "failed")
    sql = "SELECT target_provider, target_model, progress IS NOT NULL FROM job WHERE id = ?"
    assert maker.place.rows(sql, maker.place.key(job["id"])) == [(*BUSY.split("/"), True)]


def _leave_queued(maker: Maker, short: httpx.Client, long: httpx.Client) -> None:
    """By gateways that run no jobs."""
    submit = maker.submit
    submit(short, chat("too late"), was="queued", **EXPIRES)
    queued: Job = {"was": "queued", **ENDS}
    for text in ("first in the queue", "second in the queue"):
        submit(long, chat(text), **queued, says=text)
    submit(long, chat(LARGE), **queued)
    submit(long, chat("mine"), **queued, says="mine", owner="admin")
    elsewhere = chat(model=REFUSED, fallbacks=["openai/elsewhere"])
    submit(long, elsewhere, **queued, by="openai", refused_first=True)
    for told in ("true", "false", None):
        model = f"openai/passthrough-{told}"
        headers = {} if told is None else {PASSTHROUGH: told}
        record = queued | {"model": model, "forwards": told == "true"}
        submit(long, chat(model=model, unheard_of=1), headers=headers, **record)
    maker.submit_kind(long, TRANSCRIBING, "mock/echo", **queued, hears=AUDIO.told())


def _leave_with_secrets(maker: Maker, long: httpx.Client) -> None:
    """Which are encrypted with their jobs."""
    queued: Job = {"was": "queued", **ENDS}
    told = {f"x-bf-eh-{TOLD}": "a word", "x-bf-send-back-raw-response": "true"}
    model = "openai/told"
    maker.submit(long, chat(model=model), headers=told, **queued, model=model, told="a word")
    model = "openai/queued-with-a-callers-key"
    record = queued | {"model": model, "key": CALLERS_KEY}
    maker.submit(long, chat(model=model), headers=OWN_KEY, **record)


def make(place: Place, release: Release, to: Path) -> None:
    """Run the release and keep what it leaves. Fails when the machine was too slow to catch it."""
    held = threading.Event()
    replicate = Predictions()
    replicate.thread.start()
    with Upstream() as openai, closing(replicate):
        for model in (HELD, HELD_TOO):
            openai.plan(model.removeprefix("openai/"), Reply(held=held))
        openai.plan("busy", Reply(429, headers={"retry-after": str(WAIT_S)}))
        openai.plan("priced", Reply(body=USAGE))
        maker = Maker(place, release, Upstreams(openai, replicate))
        finish_jobs(maker)
        leave_jobs(maker)
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
