"""Reading a job, and how long one can be read (wire-contract 12, points 5, 6 and 18; 3.2, 3.5)."""

import uuid
from datetime import UTC, datetime
from typing import Any

from tests.acceptance.conftest import Served
from tests.support.waiting import wait_until
from tests.support.wire import (
    CHATTING,
    KINDS,
    NO_SUCH_JOB,
    TRANSCRIBING,
    Kind,
    assert_refused,
    completed,
    each_kind,
    instant,
)

BRIEF = {"x-bf-async-job-result-ttl": "1"}


def now() -> datetime:
    """By the clock of this machine, which is the gateway's."""
    return datetime.now(UTC)


def rows_of(served: Served, job_id: str) -> int:
    """How many rows the database has of a job, large contents included."""
    key = served.place.key(job_id)
    sql = (
        "SELECT (SELECT count(*) FROM job WHERE id = ?)"
        " + (SELECT count(*) FROM payload_chunk WHERE job_id = ?)"
    )
    ((count,),) = served.place.rows(sql, key, key)
    return count


# Point 5


def test_an_expired_job_is_gone_at_once(served: Served) -> None:
    """Point 5: to the microsecond, whatever the cleaner does."""
    wire = served.wire
    jobs = {kind: wire.submit(kind, headers=BRIEF)["id"] for kind in KINDS}
    ends = {kind: instant(wire.ended(kind, job_id)["expires_at"]) for kind, job_id in jobs.items()}
    for kind, job_id in jobs.items():

        def is_gone(kind: Kind = kind, job_id: str = job_id) -> bool:
            asked_at = now()
            response = wire.get(kind, job_id)
            if response.status_code == 200:
                assert asked_at < ends[kind]
                return False
            assert_refused(response, 404, NO_SUCH_JOB)
            assert now() >= ends[kind]
            return True

        wait_until(is_gone, every_s=0.005)


def test_an_expired_job_is_soon_gone_from_the_database_and_others_stay(served: Served) -> None:
    """Point 5: the job, its large request and its large result."""
    wire = served.wire
    large: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 100_000}]}
    file = TRANSCRIBING.files[0]._replace(content=b"RIFF" + bytes(100_000))
    kept = wire.submit(CHATTING, "openai/echo", **large)["id"]
    gone = [
        wire.submit(CHATTING, "openai/echo", headers=BRIEF, **large)["id"],
        wire.submit(TRANSCRIBING, "openai/echo", headers=BRIEF, files=(file,))["id"],
    ]
    completed(wire.ended(CHATTING, kept))
    wait_until(lambda: [rows_of(served, job_id) for job_id in gone] == [0, 0])
    assert rows_of(served, kept) > 2
    assert wire.get(CHATTING, kept).status_code == 200


def test_a_job_that_runs_does_not_expire(served: Served) -> None:
    """Point 5: the time counts from the end, though an earlier one was announced (3.4)."""
    wire = served.wire
    accepted = wire.submit(CHATTING, "openai/slow?seconds=1.5", headers=BRIEF)
    seen: list[str] = []

    def is_past_the_announced_end() -> bool:
        asked_at = now()
        response = wire.get(CHATTING, accepted["id"])
        seen.append(response.json()["status"])
        assert response.status_code == 202
        return asked_at > instant(accepted["expires_at"])

    wait_until(is_past_the_announced_end)
    assert wire.ended(CHATTING, accepted["id"])["status"] == "completed"


# Point 6


@each_kind
def test_a_job_is_only_there_on_its_own_route(served: Served, kind: Kind) -> None:
    """Point 6."""
    wire = served.wire
    job_id = wire.submit(kind)["id"]
    assert wire.get(kind, job_id).status_code in (200, 202)
    others = [wire.get(other, job_id) for other in KINDS if other is not kind]
    unknown = (str(uuid.uuid4()), str(uuid.UUID(int=0)), "no-uuid", job_id + "x", job_id[:-1])
    missing = [wire.get(kind, each) for each in unknown]
    for response in (*others, *missing):
        assert_refused(response, 404, NO_SUCH_JOB)
        response.headers.pop("date")
    assert len({tuple(each.headers.multi_items()) for each in (*others, *missing)}) == 1


def test_there_is_no_route_without_a_kind(served: Served) -> None:
    """Point 6, and section 1.1."""
    job_id = served.wire.submit(CHATTING)["id"]
    for path in (f"/v1/async/jobs/{job_id}", f"/v1/async/{job_id}", "/v1/async"):
        response = served.http.get(path)
        assert response.status_code == 404
        assert response.json()["is_bifrost_error"] is False


def test_the_same_job_can_be_read_however_its_id_is_written(served: Served) -> None:
    """Point 6: an id is opaque; what names no job is a 404 and never a 500."""
    job_id = served.wire.submit(CHATTING)["id"]
    for written in (job_id.upper(), job_id.replace("-", ""), f"{{{job_id}}}", f"urn:uuid:{job_id}"):
        response = served.wire.get(CHATTING, written)
        assert response.status_code in (200, 202, 404)


# Point 18


@each_kind
def test_the_instants_of_a_job_are_written_the_same_each_time(served: Served, kind: Kind) -> None:
    """Point 18."""
    wire = served.wire
    accepted = wire.submit(kind, kind.at_upstream("hello"), headers={"x-request-id": "one"})
    seen = [accepted]

    def has_ended() -> bool:
        seen.append(wire.get(kind, accepted["id"]).json())
        return "completed_at" in seen[-1]

    wait_until(has_ended, every_s=0.001)
    again = [wire.get(kind, accepted["id"]) for _ in range(3)]
    assert {job["created_at"] for job in seen} == {accepted["created_at"]}
    assert {job["request_id"] for job in seen} == {"one"}
    assert len({response.content for response in again}) == 1
    assert again[0].json() == seen[-1]
    for name in ("created_at", "completed_at", "expires_at"):
        instant(seen[-1][name])
