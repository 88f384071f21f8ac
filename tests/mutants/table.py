"""Ways to break the product, and for each the test that must notice.

A mutant is a text of one file, found there exactly once, and what to put in its place. When the
code changes, its text changes here too; when a test is renamed, so is its name here.
One table, however long: it is data, and a mutant is looked for by its name.
"""

from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """One broken product."""

    name: str
    file: str
    """Below `src/hermod`."""
    old: str
    new: str
    test: str
    """`path::function` of the test that must fail, for at least one of its parameters."""
    only: str = ""
    """Words of those parameters, as for `pytest -k`."""


SQLITE: Final = "store/sqlite/queries.sql"
SQLITE_VERBS: Final = "store/sqlite/verbs.py"
SQLITE_METERS: Final = "store/sqlite/meters.py"
POSTGRES: Final = "store/postgres/queries.sql"
CONTRACT: Final = "tests/store/contract"
STALE: Final = f"{CONTRACT}/test_fencing.py::test_a_write_with_a_stale_lease_changes_nothing"
CLAIMS: Final = f"{CONTRACT}/test_claim.py"
RECOVERY: Final = f"{CONTRACT}/test_recovery.py"
READ: Final = f"{CONTRACT}/test_read.py"
CANCEL: Final = f"{CONTRACT}/test_cancel.py"
METERED: Final = f"{CONTRACT}/test_metered.py"
METERS: Final = f"{CONTRACT}/test_meters.py"
PENDING: Final = f"{CONTRACT}/test_pending.py"
DOCUMENTS: Final = f"{CONTRACT}/test_documents.py"
LEFTOVERS: Final = f"{CONTRACT}/test_leftovers.py"
ORDERED: Final = f"{CONTRACT}/test_ordered.py"
SEALED: Final = f"{CONTRACT}/test_sealed.py"
LIMITS: Final = "tests/store/postgres/test_limits.py"
TARGETS: Final = f"{CONTRACT}/test_targets.py"
NOT_TO_BE_SEEN: Final = f"{CANCEL}::test_a_job_that_is_not_to_be_seen_is_not_cancelled"
WORKER: Final = "tests/worker/test_worker.py"


def on_sqlite(name: str, old: str, new: str, test: str, only: str = "") -> Mutant:
    """A query of SQLite's."""
    only = f"SqliteDatabase and {only}" if only else "SqliteDatabase"
    return Mutant(f"sqlite: {name}", SQLITE, old, new, test, only)


def in_verbs(name: str, old: str, new: str, test: str) -> Mutant:
    """A verb of SQLite's."""
    return Mutant(f"sqlite: {name}", SQLITE_VERBS, old, new, test, "SqliteDatabase")


def on_postgres(name: str, old: str, new: str, test: str, only: str = "") -> Mutant:
    """A statement of PostgreSQL's."""
    only = f"PostgresDatabase and {only}" if only else "PostgresDatabase"
    return Mutant(f"postgresql: {name}", POSTGRES, old, new, test, only)


_FENCE: Final = "WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?"
_ANY_ATTEMPT: Final = "WHERE id = ? AND state = 'running' AND ? > 0 AND worker_id = ?"
_ANY_WORKER: Final = "WHERE id = ? AND state = 'running' AND attempt = ? AND ? <> ''"
_ANY_HOLDER: Final = "WHERE id = ? AND attempt = ? AND ? <> ''"

_FINISH: Final = "    suspicion = 0, worker_id = NULL, lease_until = NULL\n"
_PUT_BACK: Final = "    worker_id = NULL, lease_until = NULL\n"
_NEXT: Final = "suspicion = iif(?, 0, suspicion), lease_until = ?\n"
_RENEW: Final = "-- name: renew_lease\nUPDATE job SET lease_until = ?\n"
_HANDLE: Final = "    SELECT seq FROM job "
_REQUEST: Final = "FROM job LEFT JOIN request ON request.seq = job.seq\n"
_RESERVE: Final = "-- name: leased\nSELECT seq, held FROM job "
_OWNER: Final = "(owner = :owner OR (:sees_open AND owner = 'open') OR :is_admin)"

FENCES_ON_SQLITE: Final = tuple(
    on_sqlite(f"{verb} ignores {what}", before + _FENCE, before + broken, STALE, verb)
    for verb, before in {
        "finish_job": _FINISH,
        "put_back": _PUT_BACK,
        "begin_attempt": _NEXT,
        "renew_leases": _RENEW,
        "record_handle": _HANDLE,
        "read_request": _REQUEST,
        "reserve": _RESERVE,
    }.items()
    for what, broken in {
        "the fencing token": _ANY_ATTEMPT,
        "whose lease it is": _ANY_WORKER,
        "whether the job still runs": _ANY_HOLDER,
    }.items()
)

QUERIES_ON_SQLITE: Final = (
    on_sqlite(
        "attempts are not counted at the claim",
        "-- every claim returns the rank to sort by.\n"
        "UPDATE job SET state = 'running', attempt = attempt + 1,",
        "-- every claim returns the rank to sort by.\n"
        "UPDATE job SET state = 'running', attempt = attempt + 0,",
        f"{CLAIMS}::test_every_claim_is_one_attempt_more",
    ),
    on_sqlite(
        "a claim takes jobs past their deadline",
        "WHERE state = 'queued' AND lane = :lane AND deadline_at >= :now",
        "WHERE state = 'queued' AND lane = :lane",
        f"{CLAIMS}::test_a_queued_job_is_not_started_after_its_queue_deadline",
    ),
    on_sqlite(
        "a claim takes suspects",
        "WHERE state = 'waiting' AND suspicion < 2 AND lane = :lane AND run_at <= :now",
        "WHERE state = 'waiting' AND lane = :lane AND run_at <= :now",
        f"{CLAIMS}::test_suspects_are_left_to_the_claim_of_suspects",
    ),
    on_sqlite(
        "a claim takes waiting jobs before their time",
        "suspicion < 2 AND lane = :lane AND run_at <= :now",
        "suspicion < 2 AND lane = :lane",
        f"{CLAIMS}::test_a_waiting_job_is_not_claimed_before_its_time",
    ),
    on_sqlite(
        "a lease does not outlast its claim",
        "lease_until = :lease_until, started_at = :now",
        "lease_until = 0, started_at = :now",
        f"{CLAIMS}::test_the_lease_of_a_claim_lasts_as_long_as_it_says",
    ),
    on_sqlite(
        "recovery takes leases that hold",
        "state = 'running' AND lease_until < ? ORDER BY",
        "state = 'running' AND ? > 0 ORDER BY",
        f"{RECOVERY}::test_leases_that_hold_are_not_taken",
    ),
    on_sqlite(
        "releasing a worker takes everybody's leases",
        "state = 'running' AND worker_id = ? LIMIT ?",
        "state = 'running' AND ? <> '' LIMIT ?",
        f"{RECOVERY}::test_the_leases_of_other_workers_are_left_to_them",
    ),
    on_sqlite(
        "a lost lease raises no suspicion",
        "suspicion = suspicion + 1",
        "suspicion = suspicion",
        f"{RECOVERY}::test_every_lost_lease_raises_the_suspicion",
    ),
    on_sqlite(
        "results are deleted before they expire",
        "SELECT seq, id, tenant_id, lane, state FROM job\n"
        "WHERE expires_at IS NOT NULL AND expires_at <= ?",
        "SELECT seq, id, tenant_id, lane, state FROM job\nWHERE expires_at IS NOT NULL AND ? > 0",
        f"{CONTRACT}/test_ttl.py::test_a_job_is_kept_until_it_expires",
    ),
    on_sqlite(
        "what has expired can be read",
        "AND (expires_at IS NULL OR expires_at > ?6) AND (?7",
        "AND (?7",
        f"{READ}::test_a_job_is_gone_at_the_instant_it_expires",
    ),
    on_sqlite(
        "everybody of a tenant reads every job",
        "(owner = ? OR (?5 AND owner = 'open') OR ?4)\n",
        "(owner <> '')\n",
        f"{READ}::test_a_stranger_sees_no_job",
    ),
    on_sqlite(
        "an admin reads the jobs of other tenants",
        "FROM job LEFT JOIN result ON result.seq = job.seq\nWHERE id = ? AND tenant_id = ? AND",
        "FROM job LEFT JOIN result ON result.seq = job.seq\nWHERE id = ? AND ? <> '' AND",
        f"{READ}::test_a_stranger_sees_no_job",
    ),
    on_sqlite(
        "everybody of a tenant reads every attempt",
        f"{_OWNER}\n    AND (expires_at IS NULL OR expires_at > :now)\nORDER",
        "(owner <> '')\n    AND (expires_at IS NULL OR expires_at > :now)\nORDER",
        f"{READ}::test_a_stranger_sees_no_attempt",
    ),
    on_sqlite(
        "the pieces of young submits are taken for orphans",
        "WHERE chunk.job_id < ?",
        "WHERE ? <> ''",
        f"{CONTRACT}/test_payloads.py::test_the_pieces_of_a_young_submit_are_left_alone",
    ),
    on_sqlite(
        "a request that is there can be overwritten",
        "DO UPDATE SET data = excluded.data WHERE part > 0",
        "DO UPDATE SET data = excluded.data",
        f"{CONTRACT}/test_groups.py::test_a_second_submit_of_an_id_fails_and_changes_nothing",
    ),
)

_SUM: Final = "coalesce(cost_usd_nanos + ?6, cost_usd_nanos, ?6),\n    "

METERED_ON_SQLITE: Final = tuple(
    on_sqlite(name, _SUM + after, changed + after, f"{METERED}::{test}")
    for name, changed, after, test in (
        (
            "an attempt in the slot takes the place of what was used before it",
            "?6,\n    ",
            f"attempts_spent = attempts_spent + ?, {_NEXT}",
            "test_what_was_used_is_known_before_the_job_ends",
        ),
        (
            "a job that is put back forgets what it used",
            "cost_usd_nanos,\n    ",
            "attempts_spent = attempts_spent + ?, suspicion = iif(?, 0, suspicion), run_at = ?,\n",
            "test_what_was_used_is_known_before_the_job_ends",
        ),
        (
            "a call without a price takes the others' away",
            "coalesce(cost_usd_nanos, 0) + ?6,\n    ",
            "suspicion = 0,",
            "test_an_attempt_without_a_price_adds_its_tokens",
        ),
    )
)

_CANCELLABLE: Final = """-- name: cancellable
SELECT seq, attempt, tenant_id, lane, kind, model, held, state FROM job
WHERE id = :id AND tenant_id = :tenant_id
    AND (owner = :owner OR (:sees_open AND owner = 'open') OR :is_admin)
    AND (:kind IS NULL OR kind = :kind) AND completed_at IS NULL
"""

CANCELS_ON_SQLITE: Final = tuple(
    on_sqlite(name, _CANCELLABLE, _CANCELLABLE.replace(guard, ""), test, only)
    for name, guard, test, only in (
        (
            "everybody of a tenant cancels every job",
            f"\n    AND {_OWNER}",
            NOT_TO_BE_SEEN,
            "owner",
        ),
        (
            "an admin cancels the jobs of other tenants",
            " AND tenant_id = :tenant_id",
            NOT_TO_BE_SEEN,
            "admin",
        ),
        (
            "who sees what is open cancels every job",
            " AND owner = 'open'",
            NOT_TO_BE_SEEN,
            "owner",
        ),
        (
            "a job of another kind is cancelled",
            "(:kind IS NULL OR kind = :kind) AND ",
            NOT_TO_BE_SEEN,
            "kind",
        ),
        (
            "a job that has ended is cancelled",
            " AND completed_at IS NULL",
            f"{CANCEL}::test_a_job_that_has_ended_is_left_as_it_is",
            "",
        ),
    )
)

VERBS_OF_SQLITE: Final = (
    in_verbs(
        "the call of a cancelled job stays in flight",
        "            if was is State.RUNNING:\n",
        "            if was is State.FAILED:\n",
        f"{CANCEL}::test_a_job_that_has_not_ended_is_cancelled",
    ),
    in_verbs(
        "a cancel is not counted",
        "            tx.moved(tenant_id, lane, was, State.CANCELLED)\n",
        "            assert tenant_id\n",
        f"{CANCEL}::test_a_cancelled_job_is_counted_as_one",
    ),
    in_verbs(
        "a cancel passes for the result of the attempt",
        "_end_job(tx, seq, REQUEST_PART, State.CANCELLED, failure)",
        "_end_job(tx, seq, attempt, State.CANCELLED, failure)",
        f"{CANCEL}::test_pieces_of_a_result_whose_worker_gave_up_are_orphans",
    ),
    in_verbs(
        "a claim records no attempt",
        '        tx.run("insert_attempt", (seq, attempt, *goes_to, claim.worker_id, tx.now))\n',
        "        assert goes_to\n",
        f"{CLAIMS}::test_a_claimed_job_has_an_attempt_on_record",
    ),
    in_verbs(
        "a submit with a claim records no attempt",
        '    tx.run_many("insert_attempt", attempts)\n',
        "",
        f"{CONTRACT}/test_submit.py::test_a_job_submitted_with_a_claim_has_its_first_attempt",
    ),
    in_verbs(
        "the next attempt is not recorded",
        '            tx.run("insert_attempt", (seq, n, *goes_to, lease.worker_id, tx.now))\n',
        "            assert n and goes_to\n",
        f"{CONTRACT}/test_attempts.py::"
        "test_a_job_has_one_attempt_in_flight_while_it_runs_and_none_after",
    ),
    in_verbs(
        "a job that was put back goes to its own provider",
        "        goes_to = target or (lane, model)\n",
        "        goes_to = (lane, model)\n",
        f"{TARGETS}::test_a_job_put_back_goes_on_at_its_target",
    ),
    in_verbs(
        "the next attempt goes to the job's own provider",
        "            goes_to = ended.target or (lane, model)\n",
        "            goes_to = (lane, model)\n",
        f"{TARGETS}::test_the_next_attempt_goes_to_its_target",
    ),
    in_verbs(
        "a finish is not counted",
        "            tx.moved(tenant_id, lane, State.RUNNING, finish.state)\n",
        "            assert tenant_id\n",
        f"{CONTRACT}/test_counters.py::test_counters_equal_a_real_count_after_random_verbs",
    ),
    in_verbs(
        "a submit wakes nobody",
        "            tx.woken.add(job.lane)\n",
        "",
        f"{CONTRACT}/test_wake.py::test_a_queued_job_is_heard_of_once_it_is_committed",
    ),
    in_verbs(
        "a job that was put back wakes nobody",
        "            tx.moved(tenant_id, lane, State.RUNNING, State.WAITING)\n"
        "            tx.woken.add(lane)\n    return results",
        "            tx.moved(tenant_id, lane, State.RUNNING, State.WAITING)\n    return results",
        f"{CONTRACT}/test_wake.py::test_a_job_put_back_is_heard_of",
    ),
    in_verbs(
        "any end of an attempt clears its job",
        "    return ended.attempt_state is AttemptState.FAILED\n",
        "    return True\n",
        f"{CONTRACT}/test_attempts.py::test_a_job_put_back_with_an_unknown_outcome_stays_a_suspect",
    ),
    in_verbs(
        "a lost attempt counts as a spent one",
        "    ended = Retry(AttemptState.UNKNOWN, spent=False, error_type=why)\n",
        "    ended = Retry(AttemptState.FAILED, spent=True, error_type=why)\n",
        f"{RECOVERY}::test_the_outcome_of_a_lost_attempt_is_unknown",
    ),
    Mutant(
        "sqlite: a group whose commit is not known runs again",
        "store/sqlite/writer.py",
        "except (*HITS_EVERYBODY, StoreUnavailable) as error:",
        "except HITS_EVERYBODY as error:",
        f"{CONTRACT}/test_failpoints.py::test_a_group_whose_commit_is_not_known_is_not_run_again",
        "SqliteDatabase",
    ),
)


def in_meters(name: str, old: str, new: str, test: str) -> Mutant:
    """What SQLite does when something is reserved or settled."""
    return Mutant(f"sqlite: {name}", SQLITE_METERS, old, new, test, "SqliteDatabase")


SECRETS: Final = (
    on_sqlite(
        "secrets of somebody else's are overwritten",
        "WHERE id = ? AND options = ? AND completed_at IS NULL",
        "WHERE id = ? AND ? <> '' AND completed_at IS NULL",
        f"{SEALED}::test_options_that_somebody_else_has_replaced_stay",
    ),
    on_sqlite(
        "a job that has ended has its secrets sealed anew",
        "AND options = ? AND completed_at IS NULL",
        "AND options = ?",
        f"{SEALED}::test_a_job_that_has_ended_stays_as_it_is",
    ),
    on_postgres(
        "secrets of somebody else's are overwritten",
        "AND job.options = asked.was AND",
        "AND asked.was <> '' AND",
        f"{SEALED}::test_options_that_somebody_else_has_replaced_stay",
    ),
    on_postgres(
        "a job that has ended has its secrets sealed anew",
        "AND job.options = asked.was AND job.completed_at IS NULL",
        "AND job.options = asked.was",
        f"{SEALED}::test_a_job_that_has_ended_stays_as_it_is",
    ),
)

LIMITS_ON_SQLITE: Final = (
    on_sqlite(
        "what is settled stays reserved",
        "UPDATE meter SET reserved = reserved - ?,",
        "UPDATE meter SET reserved = reserved - 0 * ?,",
        f"{METERS}::test_the_end_of_an_attempt_settles_what_it_held",
    ),
    on_sqlite(
        "what was settled can be settled again",
        "-- name: delete_holds\nDELETE FROM hold WHERE seq = ?",
        "-- name: delete_holds\nDELETE FROM hold WHERE seq = -?",
        f"{METERS}::test_a_job_costs_what_its_attempts_do_estimated_or_not",
    ),
    on_sqlite(
        "a job that was put back as not begun keeps its old time",
        "-- every claim returns the rank to sort by.\n"
        "UPDATE job SET state = 'running', attempt = attempt + 1, worker_id = :worker_id,\n"
        "    lease_until = :lease_until, started_at = coalesce(started_at, :now),\n"
        "    deadline_at = iif(started_at IS NULL,",
        "-- every claim returns the rank to sort by.\n"
        "UPDATE job SET state = 'running', attempt = attempt + 1, worker_id = :worker_id,\n"
        "    lease_until = :lease_until, started_at = coalesce(started_at, :now),\n"
        "    deadline_at = iif(started_at < 0,",
        f"{PENDING}::test_a_job_put_back_as_not_begun_has_its_whole_time_once_it_is_claimed",
    ),
    on_sqlite(
        "every claim gives a job its whole time",
        "started_at = iif(?10 IS NULL, started_at, NULL)",
        "started_at = iif(?10 IS NULL, NULL, NULL)",
        f"{PENDING}::test_a_job_put_back_otherwise_keeps_its_deadline",
    ),
    on_sqlite(
        "an old version is deleted",
        "DELETE FROM document WHERE type = ? AND id = ? AND version = ?",
        "DELETE FROM document WHERE type = ? AND id = ? AND ? > 0",
        f"{DOCUMENTS}::test_a_conflict_changes_nothing",
        "deleting",
    ),
    on_sqlite(
        "what ended jobs have left is overlooked",
        "WHERE job.seq IS NULL OR job.completed_at IS NOT NULL LIMIT ?",
        "WHERE job.seq IS NULL LIMIT ?",
        f"{LEFTOVERS}::test_leftovers_are_settled_as_many_at_a_time_as_asked_for",
    ),
    on_sqlite(
        "meters that are forgotten forget what is reserved",
        "DELETE FROM meter WHERE id = ? AND reserved = 0",
        "DELETE FROM meter WHERE id = ?",
        f"{DOCUMENTS}::test_meters_that_are_forgotten_keep_what_is_reserved",
    ),
    in_meters(
        "whoever reserves again has reserved twice",
        "if held and not place:",
        "if held and not seq:",
        f"{METERS}::test_to_reserve_again_for_an_attempt_changes_nothing",
    ),
    in_meters(
        "a part is reserved where another one is refused",
        "    if not refused:\n        for id_, hold",
        "    if wanted:\n        for id_, hold",
        f"{METERS}::test_where_one_limit_refuses_nothing_is_reserved",
    ),
    in_meters(
        "a job that reserved is not marked",
        'tx.run("set_held", (bool(holds), seq))',
        'tx.run("set_held", (False, seq))',
        f"{METERS}::test_the_end_of_an_attempt_settles_what_it_held",
    ),
    in_meters(
        "a period never ends",
        "rolled(_meter(tx, id_), hold.window, tx.now)",
        "rolled(_meter(tx, id_), hold.window, 1)",
        f"{METERS}::test_the_end_of_a_period_makes_room",
    ),
    in_meters(
        "an estimate is added to what was metered",
        "        cost_usd_nanos -= metered.cost_usd_nanos or 0\n",
        "        cost_usd_nanos -= 0\n",
        f"{METERS}::test_tokens_stay_as_they_were_metered_where_the_cost_is_estimated",
    ),
    in_meters(
        "a job that may begin keeps its place in the queue",
        "            if place and not refused:\n",
        "            if place < 0:\n",
        f"{PENDING}::test_what_is_reserved_for_a_call_gives_the_place_free",
    ),
    in_meters(
        "a place in the queue is given up twice",
        '            tx.run("delete_hold", (seq, meter_id))\n',
        "",
        f"{PENDING}::test_what_is_reserved_for_a_call_gives_the_place_free",
    ),
    in_meters(
        "a job that may not begin yet loses its place",
        "            if place and not refused:\n",
        "            if place:\n",
        f"{PENDING}::test_a_job_that_may_not_begin_yet_keeps_its_place",
    ),
    in_verbs(
        "a job that waits for a limit loses its place",
        "if held and (ended.held or not _outlives(tx, seq, lease.attempt)):\n"
        "                settle(tx, seq, lease.attempt)\n            tx.moved",
        "if held:\n                settle(tx, seq, lease.attempt)\n            tx.moved",
        f"{PENDING}::test_a_job_that_may_not_begin_yet_keeps_its_place",
    ),
    in_verbs(
        "a job that goes elsewhere for a limit loses its place",
        "if held and (ended.held or not _outlives(tx, seq, lease.attempt)):\n"
        "                settle(tx, seq, lease.attempt)\n            n = ",
        "if held:\n                settle(tx, seq, lease.attempt)\n            n = ",
        f"{PENDING}::test_a_job_that_goes_on_elsewhere_without_a_call_keeps_its_place",
    ),
    in_verbs(
        "what an attempt before has left passes for a place",
        "if held and not (held := has_place(tx, seq)) and",
        "if held and not seq and",
        f"{LEFTOVERS}::test_what_an_attempt_has_left_is_settled_with_what_happens_next",
    ),
    in_verbs(
        "a finish settles nothing",
        "                holders.append((seq, lease.attempt))\n",
        "                assert seq\n",
        f"{METERS}::test_a_second_finish_settles_nothing",
    ),
    in_verbs(
        "a lost lease settles nothing",
        "if held and (failure is not None or not is_ordered(tx, seq, attempt)):",
        "if held < 0:",
        f"{METERS}::test_a_job_that_ends_with_its_lease_settles_what_it_held",
    ),
    in_verbs(
        "work that can be fetched is charged with its lease",
        "if held and (failure is not None or not is_ordered(tx, seq, attempt)):",
        "if held:",
        f"{ORDERED}::test_work_that_a_later_attempt_fetches_costs_what_it_costs_once",
    ),
    in_verbs(
        "work that can be fetched is settled by who fetches it, before",
        " and not is_ordered(tx, seq, attempt - 1):",
        ":",
        f"{ORDERED}::test_work_that_a_later_attempt_fetches_costs_what_it_costs_once",
    ),
    in_verbs(
        "an attempt that is begun again settles what is still out",
        "return has_place(tx, seq) or is_ordered(tx, seq, n)",
        "return has_place(tx, seq)",
        f"{ORDERED}::test_work_that_a_later_attempt_fetches_costs_what_it_costs_once",
    ),
    in_meters(
        "work that nobody fetches is free",
        "unfetched=ordered is not None",
        "unfetched=False",
        f"{ORDERED}::test_work_that_nobody_fetches_is_charged_as_estimated",
    ),
    on_sqlite(
        "what another provider was asked for passes for this one's work",
        "JOIN attempt AS ordered USING (seq, lane, model)",
        "JOIN attempt AS ordered USING (seq)",
        f"{ORDERED}::test_whoever_goes_elsewhere_pays_for_both",
    ),
    in_verbs(
        "a job without a place is stored",
        "                    results += refused\n                    continue\n",
        "                    results += refused\n",
        f"{PENDING}::test_a_job_for_which_there_is_no_place_is_refused_and_not_stored",
    ),
    Mutant(
        "sqlite: a change that conflicts has half happened",
        "store/sqlite/documents.py",
        '            tx.run("undo_changes", ())\n',
        "",
        f"{DOCUMENTS}::test_a_conflict_changes_nothing",
        "SqliteDatabase",
    ),
)

VERBS_OF_POSTGRES: Final = (
    Mutant(
        "postgresql: a submit wakes nobody",
        "store/postgres/statements.py",
        "            self._woken(lanes)\n\n    async def read_jobs",
        "            pass\n\n    async def read_jobs",
        f"{CONTRACT}/test_wake.py::test_a_queued_job_is_heard_of_once_it_is_committed",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: other processes are not told of work",
        "store/postgres/wake.py",
        '            self._call(payload.split("\\n"))\n',
        "            pass\n",
        "tests/store/postgres/test_told.py::test_work_of_one_process_is_heard_of_by_another",
    ),
)

ELSEWHERE: Final = (
    Mutant(
        "a body that breaks off is stored as far as it goes",
        "store/payloads.py",
        "    if left:\n        raise StoreUnavailable(",
        "    if left < 0:\n        raise StoreUnavailable(",
        f"{CONTRACT}/test_spooled.py::test_a_body_of_another_size_than_its_file_is_no_job",
        "SqliteDatabase",
    ),
    Mutant(
        "a 202 before the commit",
        "jobs/submit.py",
        "            await self._store.submit_job(job, pending=hold)\n",
        '            __import__("asyncio").ensure_future(self._store.submit_job(job))\n',
        "tests/http/test_committed.py::test_a_submit_whose_commit_fails_is_not_accepted",
        "large",
    ),
    Mutant(
        "a result that could not be written at once is lost",
        "worker/run.py",
        "await self._while_leased(run, self._store.finish_job, run.lease, finish)",
        "await self._store.finish_job(run.lease, finish)",
        "tests/worker/test_worker_faults.py::"
        "test_a_result_that_cannot_be_written_at_first_is_written_later",
    ),
    Mutant(
        "a worker claims more than its slots",
        "worker/worker.py",
        "        asked = min(room, CLAIM_BATCH)\n",
        "        asked = room and CLAIM_BATCH\n",
        "tests/worker/test_slots.py::test_a_backlog_is_claimed_as_far_as_there_are_slots",
    ),
    Mutant(
        "a living worker is taken for dead",
        "worker/identity.py",
        "    except BlockingIOError:\n        return False\n",
        "    except BlockingIOError:\n        return True\n",
        f"{WORKER}::test_a_living_worker_is_left_alone",
    ),
    Mutant(
        "a cancelled call leaves its connection open",
        "net/connection.py",
        "        if not (reader.is_clean and is_out):\n            self.abort()\n",
        "",
        "tests/net/test_cancellation.py::test_cancelling_closes_the_connection",
    ),
    Mutant(
        "a job that must not be sent twice is sent twice",
        "domain/suspicion.py",
        "    if on_unknown is OnUnknown.FAIL:\n        return unknown_outcome_failure()\n",
        "",
        f"{RECOVERY}::test_a_job_that_must_not_be_sent_twice_fails_with_its_lease",
        "SqliteDatabase",
    ),
    Mutant(
        "no job is poison",
        "domain/suspicion.py",
        "poison_failure() if suspicion + 1 >= POISON_AT else None",
        "poison_failure() if suspicion + 1 > 99 else None",
        f"{RECOVERY}::test_a_job_that_lost_its_lease_too_often_is_poison",
        "SqliteDatabase",
    ),
    Mutant(
        "a broken connection has a known outcome",
        "calls/faults.py",
        "Fault(failure, Retryable.BACKOFF, sent=error.sent, unknown=error.sent)",
        "Fault(failure, Retryable.BACKOFF, sent=error.sent)",
        "tests/unit/test_faults.py::"
        "test_a_call_that_went_out_and_was_not_answered_has_an_unknown_outcome",
    ),
    Mutant(
        "a 429 that says when costs a try",
        "domain/retry.py",
        "    return TryAgain(delay_s, spent=not free)",
        "    return TryAgain(delay_s, spent=True)",
        "tests/unit/test_retry.py::"
        "test_a_429_with_retry_after_costs_no_try_however_many_were_spent",
    ),
)

CSRF: Final = "tests/security/test_csrf.py"

MANAGEMENT: Final = (
    Mutant(
        "a route that says nothing is open",
        "http/app.py",
        "access: Level = Level.ADMIN",
        "access: Level = Level.PUBLIC",
        "tests/security/test_routes.py::test_without_a_gatekeeper_nobody_manages",
    ),
    Mutant(
        "whoever comes manages",
        "http/app.py",
        "            if route.access is Level.ADMIN:\n",
        "            if route.access is Level.CALLER:\n",
        "tests/security/test_routes.py::test_a_virtual_key_manages_nothing",
    ),
    Mutant(
        "pages of other sites change things with a session",
        "http/app.py",
        "            self._browsers.check_change(headers)\n",
        "            assert headers\n",
        f"{CSRF}::test_a_session_in_a_cookie_changes_nothing_for_a_page_of_another_site",
    ),
    Mutant(
        "a password that the browser remembers needs no page of our own",
        "http/app.py",
        'return identity.via in {"open", "basic"}',
        'return identity.via == "open"',
        f"{CSRF}::test_a_password_that_the_browser_remembers_is_no_better",
    ),
    Mutant(
        "pages of other sites log people in",
        "http/api/session.py",
        '        Browsers.check_change(scope["headers"])\n',
        '        assert scope["headers"]\n',
        f"{CSRF}::test_nobody_is_logged_in_by_a_page_of_another_site",
    ),
    Mutant(
        "a browser that names only the origin may change things for another site",
        "http/browsers.py",
        "ours = origin is None or origin.partition",
        "ours = origin is not None or origin.partition",
        f"{CSRF}::test_a_session_in_a_cookie_changes_nothing_for_a_page_of_another_site",
    ),
    Mutant(
        "what may not be written is passed over",
        "governance/wishes.py",
        "kw_only=True, forbid_unknown_fields=True",
        "kw_only=True, forbid_unknown_fields=False",
        "tests/security/test_mass_assignment.py::"
        "test_every_route_that_writes_refuses_what_may_not_be_written",
    ),
)

_ASKED: Final = "job.attempt = asked.attempt AND job.worker_id = asked.worker_id\n    RETURNING "
_TOKEN: Final = ("job.attempt = asked.attempt", "true")
_HOLDER: Final = ("job.worker_id = asked.worker_id", "true")
_GUARDS: Final = {
    "finish_job": (_ASKED + "job.id, asked.attempt, tenant_id, lane, asked.state", _TOKEN, _HOLDER),
    "put_back": (_ASKED + "job.id, asked.attempt, tenant_id, lane, outcome", _TOKEN, _HOLDER),
    "begin_attempt": (_ASKED + "job.id, asked.attempt, asked.worker_id", _TOKEN, _HOLDER),
    "renew_leases": (
        "job.attempt = held.attempt AND job.worker_id = held.worker_id",
        ("job.attempt = held.attempt", "true"),
        ("job.worker_id = held.worker_id", "true"),
    ),
    "record_handle": (
        "WHERE id = $1 AND attempt = $2 AND worker_id = $3)",
        ("attempt = $2", "$2 > 0"),
        ("worker_id = $3", "$3 <> ''"),
    ),
    "read_request": (
        "ON request.job_id = job.id\nWHERE id = $1 AND attempt = $2 AND worker_id = $3",
        ("attempt = $2", "$2 > 0"),
        ("worker_id = $3", "$3 <> ''"),
    ),
    "reserve": (
        "job.attempt = held.attempt\n    AND job.worker_id = held.worker_id\nFOR NO KEY UPDATE",
        ("job.attempt = held.attempt", "true"),
        ("job.worker_id = held.worker_id", "true"),
    ),
}
"""Of each verb its guard, and how the token and the holder are left out of it. A job that does not
run has no holder, so that condition is its state as well."""

FENCES_ON_POSTGRES: Final = tuple(
    on_postgres(f"{verb} ignores {what}", guard, guard.replace(*dropped, 1), STALE, verb)
    for verb, (guard, token, holder) in _GUARDS.items()
    for what, dropped in {
        "the fencing token": token,
        "whose lease it is, and the state": holder,
    }.items()
)

QUERIES_ON_POSTGRES: Final = (
    on_postgres(
        "two claims take the same queued job",
        "    ORDER BY priority DESC, seq LIMIT $4 - (SELECT count(*) FROM waiting)\n"
        "    FOR NO KEY UPDATE SKIP LOCKED\n",
        "    ORDER BY priority DESC, seq LIMIT $4 - (SELECT count(*) FROM waiting)\n",
        f"{CONTRACT}/test_two_stores.py::test_two_that_claim_at_once_never_share_a_job",
    ),
    on_postgres(
        "two recoveries take the same lease",
        "ORDER BY lease_until LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
        "ORDER BY lease_until LIMIT $2",
        f"{CONTRACT}/test_two_stores.py::test_two_that_recover_at_once_take_each_lease_once",
    ),
    on_postgres(
        "a claim records no attempt",
        "        $5, now FROM claimed\n"
        "), counts AS (\n    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)\n"
        "    SELECT tenant_id, lane, moved.state, pg_backend_pid() % 32, sum(delta) FROM claimed\n"
        "    CROSS JOIN LATERAL (VALUES (was, -1)",
        "        $5, now FROM claimed WHERE false\n"
        "), counts AS (\n    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)\n"
        "    SELECT tenant_id, lane, moved.state, pg_backend_pid() % 32, sum(delta) FROM claimed\n"
        "    CROSS JOIN LATERAL (VALUES (was, -1)",
        f"{CLAIMS}::test_a_claimed_job_has_an_attempt_on_record",
    ),
    on_postgres(
        "attempts are not counted at the claim",
        "attempt = attempt + 1, worker_id = $5, claim_no = $7,\n"
        "        lease_until = lease_now + $6, started_at = coalesce(started_at, now),\n"
        "        deadline_at = CASE WHEN started_at IS NULL THEN now + $8",
        "attempt = greatest(attempt, 1), worker_id = $5, claim_no = $7,\n"
        "        lease_until = lease_now + $6, started_at = coalesce(started_at, now),\n"
        "        deadline_at = CASE WHEN started_at IS NULL THEN now + $8",
        f"{CLAIMS}::test_every_claim_is_one_attempt_more",
    ),
    on_postgres(
        "a submit with a claim records no attempt",
        "    WHERE worker_id IS NOT NULL\n",
        "    WHERE worker_id IS NULL\n",
        f"{CONTRACT}/test_submit.py::test_a_job_submitted_with_a_claim_has_its_first_attempt",
    ),
    on_postgres(
        "a claim takes jobs past their deadline",
        "lane = $3 AND deadline_at + 0 >= (SELECT now FROM clock)\n    ORDER BY priority",
        "lane = $3\n    ORDER BY priority",
        f"{CLAIMS}::test_a_queued_job_is_not_started_after_its_queue_deadline",
    ),
    on_postgres(
        "a claim takes suspects",
        "WHERE state = 'waiting' AND suspicion < 2 AND lane = $3\n",
        "WHERE state = 'waiting' AND lane = $3\n",
        f"{CLAIMS}::test_suspects_are_left_to_the_claim_of_suspects",
    ),
    on_postgres(
        "recovery takes leases that hold",
        "    AND lease_until < coalesce(",
        "    AND 0 < coalesce(",
        f"{RECOVERY}::test_leases_that_hold_are_not_taken",
    ),
    on_postgres(
        "releasing a worker takes everybody's leases",
        "WHERE state = 'running' AND worker_id = $1\nORDER BY seq LIMIT",
        "WHERE state = 'running' AND $1 <> ''\nORDER BY seq LIMIT",
        f"{RECOVERY}::test_the_leases_of_other_workers_are_left_to_them",
    ),
    on_postgres(
        "a lost lease raises no suspicion",
        "suspicion = suspicion + 1",
        "suspicion = suspicion",
        f"{RECOVERY}::test_every_lost_lease_raises_the_suspicion",
    ),
    on_postgres(
        "results are deleted before they expire",
        "    WHERE expires_at <= coalesce(",
        "    WHERE expires_at IS NOT NULL AND 0 < coalesce(",
        f"{CONTRACT}/test_ttl.py::test_a_job_is_kept_until_it_expires",
    ),
    on_postgres(
        "everybody of a tenant reads every job",
        "    AND (job.owner = asked.owner OR (asked.sees_open AND job.owner = 'open')"
        " OR asked.is_admin)\n",
        "",
        f"{READ}::test_a_stranger_sees_no_job",
    ),
    on_postgres(
        "an admin reads the jobs of other tenants",
        "job.id = ANY (ARRAY[asked.id]) AND job.tenant_id = asked.tenant_id\n",
        "job.id = ANY (ARRAY[asked.id])\n",
        f"{READ}::test_a_stranger_sees_no_job",
    ),
    on_postgres(
        "what has expired can be read",
        "WHERE expires_at IS NULL\n    OR expires_at > coalesce(",
        "WHERE expires_at IS NULL\n    OR 0 < coalesce(",
        f"{READ}::test_a_job_is_gone_at_the_instant_it_expires",
    ),
    on_postgres(
        "a finish is not counted",
        "(VALUES ('running', -1), (ended_job.state, 1))",
        "(VALUES ('running', 0), (ended_job.state, 0))",
        f"{CONTRACT}/test_counters.py::test_counters_equal_a_real_count_after_random_verbs",
    ),
    on_postgres(
        "a request that is there can be overwritten",
        "DO UPDATE SET data = excluded.data WHERE payload_chunk.part > 0",
        "DO UPDATE SET data = excluded.data",
        f"{CONTRACT}/test_groups.py::test_a_second_submit_of_an_id_fails_and_changes_nothing",
    ),
)

_ALL_SUMS: Final = (
    "        cost_usd_nanos = coalesce(job.cost_usd_nanos + asked.cost_usd_nanos,"
    " job.cost_usd_nanos,\n            asked.cost_usd_nanos),\n"
)
_REPLACED: Final = "        cost_usd_nanos = asked.cost_usd_nanos,\n"
_SPENT: Final = """        attempts_spent = attempts_spent + spent::integer,
        suspicion = CASE WHEN outcome = 'failed' THEN 0 ELSE suspicion END,
"""

METERED_ON_POSTGRES: Final = tuple(
    on_postgres(name, _ALL_SUMS + after, _REPLACED + after, f"{METERED}::{test}")
    for name, after, test in (
        (
            "an attempt in the slot takes the place of what was used before it",
            f"{_SPENT}        lease_until =",
            "test_what_was_used_is_known_before_the_job_ends",
        ),
        (
            "a job that is put back forgets what it used before",
            f"{_SPENT}        worker_id = NULL",
            "test_a_job_has_used_what_its_attempts_have",
        ),
        (
            "a finish takes the place of what was used before it",
            "        suspicion = 0,",
            "test_what_was_used_outlives_a_lost_lease_and_a_crash",
        ),
    )
)

_AIMED: Final = """'sending', coalesce(target_provider, lane), coalesce(target_model, model),
        $5, now FROM claimed
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, moved.state, pg_backend_pid() % 32, sum(delta) FROM claimed
    CROSS JOIN LATERAL """
_AT_ITS_OWN: Final = ("coalesce(target_provider, lane)", "lane")

TARGETS_ON_POSTGRES: Final = (
    on_postgres(
        "the next attempt goes to the job's own provider",
        "coalesce(asked.target_provider, lane) AS provider",
        "lane AS provider",
        f"{TARGETS}::test_the_next_attempt_goes_to_its_target",
    ),
    *(
        on_postgres(name, _AIMED + claimed, _AIMED.replace(*_AT_ITS_OWN) + claimed, test)
        for name, claimed, test in (
            (
                "a job that was put back goes to its own provider",
                "(VALUES (was, -1)",
                f"{TARGETS}::test_a_job_put_back_goes_on_at_its_target",
            ),
            (
                "a suspect goes to its own provider",
                "(VALUES ('waiting', -1), ('running', 1)) AS moved",
                f"{TARGETS}::test_a_suspect_goes_on_at_its_target",
            ),
        )
    ),
    Mutant(
        "postgresql: what a claim took unheard forgets where it goes",
        POSTGRES,
        "ttl_s, options, target_provider, target_model, progress, held\n)",
        "ttl_s, options, NULL AS target_provider, target_model, progress, held\n)",
        "tests/store/postgres/test_connections.py::"
        "test_what_a_claim_took_unheard_is_still_on_its_way",
    ),
)

_CANCELLABLE_THERE: Final = """-- name: cancellable
SELECT id, attempt, tenant_id, lane, kind, model, state FROM hermod.job
WHERE id = $1 AND tenant_id = $2 AND (owner = $3 OR ($5 AND owner = 'open') OR $4)
    AND ($6::text IS NULL OR kind = $6) AND completed_at IS NULL
FOR NO KEY UPDATE
"""

CANCELS_ON_POSTGRES: Final = (
    Mutant(
        "postgresql: a cancel whose answer is lost fails",
        "store/postgres/store.py",
        "        view, _ = await self._ask.insist(cancel)\n",
        "        view = await cancel()\n",
        "tests/faults/test_lost_replies.py::test_a_verb_whose_answer_is_lost_has_happened_once",
        "cancel",
    ),
    *(
        on_postgres(name, _CANCELLABLE_THERE, _CANCELLABLE_THERE.replace(*guard), test, only)
        for name, guard, test, only in (
            (
                "everybody of a tenant cancels every job",
                ("(owner = $3 OR", "($3::text <> '' OR"),
                NOT_TO_BE_SEEN,
                "owner",
            ),
            (
                "who sees what is open cancels every job",
                ("$5 AND owner = 'open'", "$5"),
                NOT_TO_BE_SEEN,
                "owner",
            ),
            (
                "an admin cancels the jobs of other tenants",
                ("tenant_id = $2", "$2::text <> ''"),
                NOT_TO_BE_SEEN,
                "admin",
            ),
            (
                "a job of another kind is cancelled",
                ("OR kind = $6", "OR $6 <> ''"),
                NOT_TO_BE_SEEN,
                "kind",
            ),
            (
                "a job that has ended is cancelled",
                (" AND completed_at IS NULL", ""),
                f"{CANCEL}::test_a_job_that_has_ended_is_left_as_it_is",
                "",
            ),
        )
    ),
    Mutant(
        "postgresql: a cancel does not wait for who has the job",
        POSTGRES,
        _CANCELLABLE_THERE,
        _CANCELLABLE_THERE.replace("FOR NO KEY UPDATE\n", ""),
        "tests/store/postgres/test_cancel.py::"
        "test_a_cancel_waits_for_who_has_the_job_and_then_sees_what_it_did",
    ),
    Mutant(
        "postgresql: the call of a cancelled job stays in flight",
        "store/postgres/upkeep.py",
        "        if was is State.RUNNING:\n",
        "        if was is State.FAILED:\n",
        f"{CANCEL}::test_a_job_that_has_not_ended_is_cancelled",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: a cancel is not counted",
        "store/postgres/upkeep.py",
        "        change.moved(tenant_id, lane, was, State.CANCELLED)\n",
        "",
        f"{CANCEL}::test_a_cancelled_job_is_counted_as_one",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: a cancel passes for the result of the attempt",
        "store/postgres/upkeep.py",
        "[_End(job_id, REQUEST_PART, failure)]",
        "[_End(job_id, attempt, failure)]",
        f"{CANCEL}::test_pieces_of_a_result_whose_worker_gave_up_are_orphans",
        "PostgresDatabase",
    ),
)


def in_postgres_meters(name: str, old: str, new: str, test: str, only: str = "") -> Mutant:
    """What PostgreSQL does when something is reserved or settled."""
    return Mutant(f"postgresql: {name}", "store/postgres/meters.py", old, new, test, only)


LIMITS_ON_POSTGRES: Final = (
    on_postgres(
        "what is settled stays reserved",
        "SET reserved = reserved - freed",
        "SET reserved = reserved - 0 * freed",
        f"{METERS}::test_the_end_of_an_attempt_settles_what_it_held",
    ),
    Mutant(
        "postgresql: two reserve what one of them can have",
        POSTGRES,
        "FOR NO KEY UPDATE OF meter\n",
        "",
        f"{LIMITS}::test_who_reserves_waits_for_who_has_the_meter_and_then_judges_it",
    ),
    on_postgres(
        "a place in the queue is given up twice",
        "DELETE FROM hermod.hold WHERE job_id = ANY ($1::uuid[]) AND attempt = 0",
        "DELETE FROM hermod.hold WHERE job_id = ANY ($1::uuid[]) AND attempt < 0",
        f"{PENDING}::test_what_is_reserved_for_a_call_gives_the_place_free",
    ),
    in_postgres_meters(
        "a job that may not begin yet loses its place",
        "        if refusals:\n            continue\n",
        "",
        f"{PENDING}::test_a_job_that_may_not_begin_yet_keeps_its_place",
        "PostgresDatabase",
    ),
    in_postgres_meters(
        "a job that may begin keeps its place in the queue",
        "reserved=meter.reserved - amount",
        "reserved=meter.reserved",
        f"{PENDING}::test_what_is_reserved_for_a_call_gives_the_place_free",
        "PostgresDatabase",
    ),
    on_postgres(
        "a job that was put back as not begun keeps its old time",
        "deadline_at = CASE WHEN started_at IS NULL THEN now + $8",
        "deadline_at = CASE WHEN started_at < 0 THEN now + $8",
        f"{PENDING}::test_a_job_put_back_as_not_begun_has_its_whole_time_once_it_is_claimed",
    ),
    on_postgres(
        "a suspect that was put back as not begun keeps its old time",
        "deadline_at = CASE WHEN started_at IS NULL THEN now + $9",
        "deadline_at = CASE WHEN started_at < 0 THEN now + $9",
        f"{PENDING}::test_a_suspect_put_back_as_not_begun_has_its_whole_time_as_well",
    ),
    on_postgres(
        "every claim gives a job its whole time",
        "started_at = CASE WHEN asked.deadline_at IS NULL THEN started_at END",
        "started_at = NULL",
        f"{PENDING}::test_a_job_put_back_otherwise_keeps_its_deadline",
    ),
    on_postgres(
        "an old version is deleted",
        "= $1 AND version = $3\n",
        "= $1 AND $3::bigint > 0\n",
        f"{DOCUMENTS}::test_a_conflict_changes_nothing",
        "deleting",
    ),
    on_postgres(
        "what ended jobs have left is overlooked",
        "WHERE job.id IS NULL OR job.completed_at IS NOT NULL\nLIMIT",
        "WHERE job.id IS NULL\nLIMIT",
        f"{LEFTOVERS}::test_leftovers_are_settled_as_many_at_a_time_as_asked_for",
    ),
    on_postgres(
        "meters that are forgotten forget what is reserved",
        "SET began_at = 0, used = 0, total = 0\n",
        "SET began_at = 0, used = 0, total = 0, reserved = 0\n",
        f"{DOCUMENTS}::test_meters_that_are_forgotten_keep_what_is_reserved",
    ),
    Mutant(
        "postgresql: whoever reserves does not wait for who has the job",
        POSTGRES,
        "FOR NO KEY UPDATE OF job\n",
        "",
        f"{LIMITS}::test_who_reserves_waits_for_who_has_the_job_and_then_sees_what_it_did",
    ),
    in_postgres_meters(
        "whoever reserves again has reserved twice",
        "        if lease.job_id in unheard:\n",
        "        if lease.job_id in set[str]():\n",
        f"{METERS}::test_to_reserve_again_for_an_attempt_changes_nothing",
        "PostgresDatabase",
    ),
    in_postgres_meters(
        "what an attempt before has left passes for that of the present one",
        "if n not in {_PLACE, attempts[id_]}",
        "if n > attempts[id_]",
        f"{LEFTOVERS}::test_what_an_attempt_has_left_is_settled_with_what_happens_next",
        "PostgresDatabase and claim",
    ),
    in_postgres_meters(
        "a submit that was not heard of needs a second place",
        "if call.pending and call.job.id not in known",
        "if call.pending",
        f"{LIMITS}::test_a_place_is_held_once_when_the_reply_to_the_submit_is_lost",
    ),
    in_postgres_meters(
        "a finish without its lease settles",
        "_take(change, sorted(ours))).items()",
        "_take(change, sorted(lease.job_id for lease in ends))).items()",
        f"{LIMITS}::test_a_finish_without_its_lease_settles_nothing_of_the_attempt_that_has_it",
    ),
    Mutant(
        "postgresql: an estimate is added to what was metered",
        "store/postgres/ledger.py",
        "max(costs) - counted",
        "max(costs)",
        f"{METERS}::test_tokens_stay_as_they_were_metered_where_the_cost_is_estimated",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: a part is reserved where another one is refused",
        "store/postgres/ledger.py",
        "    if not refusals:\n        meters.update",
        "    if after:\n        meters.update",
        f"{LIMITS}::test_what_one_of_a_group_is_refused_leaves_room_for_the_others",
    ),
    Mutant(
        "postgresql: two that settle wait in a circle",
        "store/postgres/ledger.py",
        "for meter_id in sorted(sums)]",
        "for meter_id in sums]",
        f"{LIMITS}::test_nobody_waits_in_a_circle_for_meters",
    ),
    Mutant(
        "postgresql: a lost lease settles nothing",
        "store/postgres/upkeep.py",
        "    await meters.settle_ended(change, settled, ordered)\n",
        "",
        f"{METERS}::test_a_job_that_ends_with_its_lease_settles_what_it_held",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: work that can be fetched is charged with its lease",
        "store/postgres/upkeep.py",
        "if str(job_id) not in kept]",
        "if job_id]",
        f"{ORDERED}::test_work_that_a_later_attempt_fetches_costs_what_it_costs_once",
        "PostgresDatabase",
    ),
    in_postgres_meters(
        "work that is fetched is settled as that of who ordered it",
        "taken.setdefault((job_id, last[job_id]), [])",
        "taken.setdefault((job_id, _), [])",
        f"{ORDERED}::test_work_that_a_later_attempt_fetches_costs_what_it_costs_once",
        "PostgresDatabase",
    ),
    in_postgres_meters(
        "work that nobody fetches is free",
        "        if ordered.get(job_id) != n\n",
        "",
        f"{ORDERED}::test_work_that_nobody_fetches_is_charged_as_estimated",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: a cancel settles nothing",
        "store/postgres/upkeep.py",
        "        await meters.settle_ended(change, [job_id], ordered)\n",
        "",
        f"{PENDING}::test_a_cancel_gives_the_place_free",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: a job that expires settles nothing",
        "store/postgres/upkeep.py",
        "    await meters.settle_ended(change, ids, await meters.ordered(change, ids, attempts))\n",
        "",
        f"{PENDING}::test_a_queued_job_that_expires_gives_its_place_free",
        "PostgresDatabase",
    ),
    Mutant(
        "postgresql: a change that was not heard of is in its own way",
        "store/postgres/store.py",
        "            if documents.are_made(changes, there):\n",
        "            if not there:\n",
        f"{LIMITS}::test_documents_change_once_when_the_reply_is_lost",
    ),
    Mutant(
        "postgresql: a change that conflicts has half happened",
        "store/postgres/connections.py",
        'await connection.execute("ROLLBACK")\n                raise\n',
        'await connection.execute("COMMIT")\n                raise\n',
        f"{DOCUMENTS}::test_a_conflict_changes_nothing",
        "PostgresDatabase",
    ),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *FENCES_ON_SQLITE,
    *QUERIES_ON_SQLITE,
    *METERED_ON_SQLITE,
    *CANCELS_ON_SQLITE,
    *VERBS_OF_SQLITE,
    *LIMITS_ON_SQLITE,
    *SECRETS,
    *FENCES_ON_POSTGRES,
    *QUERIES_ON_POSTGRES,
    *METERED_ON_POSTGRES,
    *TARGETS_ON_POSTGRES,
    *CANCELS_ON_POSTGRES,
    *LIMITS_ON_POSTGRES,
    *VERBS_OF_POSTGRES,
    *MANAGEMENT,
    *ELSEWHERE,
)
"""All of them."""
