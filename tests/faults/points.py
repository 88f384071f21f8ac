"""What a gateway needs to pass every failpoint: leftovers of the dead, and clients.

The leftovers are made with the store itself, so they are the same on every store.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import httpx

from hermod.clock import SystemClock
from hermod.domain.errors import StoreError
from hermod.domain.failpoint import NAMES
from hermod.domain.ids import uuid7
from hermod.domain.job import AttemptState, Claim, Finish, Mode, NewJob, OnUnknown, State
from hermod.domain.meter import Hold, Unit, Window
from hermod.store.api import Store
from hermod.store.postgres import PostgresStore
from hermod.store.sqlite import SqliteStore
from tests.faults.governed import AUDIT, KEY, KEYS, LEFTOVER, PRICES, governance
from tests.support.database import rows as sqlite_rows
from tests.support.database import tamper
from tests.support.failpoints import armed
from tests.support.postgres import Cluster, Session
from tests.support.program import Gateway, MockUpstream, chat

ORDERED = ("read_attempts", "record_handle")
ROTATES = ("read_sealed_jobs", "reseal_jobs")
UNUSED = frozenset(name for name in NAMES if name.partition(".")[0] in (*ORDERED, *ROTATES))
"""Of verbs that only ordered work calls, or a command."""

PATH = "/v1/async/chat/completions"
RESPONSES = "/v1/async/responses"
CANCEL = "/v1/responses/{}/cancel"
HOUR_US = 3_600_000_000
BRIEF_TTL_S = 1
"""Over by the time a gateway starts."""
DEAD = Claim(uuid.UUID(int=0xDEAD).hex, 3_600.0, 3_600.0)
"""Of a worker that has left its lock file and a lease that would last."""
GONE = Claim(uuid.UUID(int=0x60E).hex, 0.0, 3_600.0)
"""Of a worker that has left nothing but leases that have run out."""
DONE = Finish(State.COMPLETED, 200, b'{"choices":[]}', AttemptState.SUCCEEDED)
LEFT = Hold(LEFTOVER, Unit.USD_NANOS, 1, 1_000, Window(), "")
LARGE_TEXT = "0123456789abcdef" * 80_000
"""1.2 MiB: two pieces as a request, and two as the answer that repeats it."""
HUGE_TEXT = "0123456789abcdef" * 1_000_000
"""More than the kernel takes at once."""
OURS: Mapping[str, Any] = {
    "lease_s": 30,
    "renew_s": 0.1,
    "upkeep_s": 0.2,
    "worker_slots": 4,
    "retry_backoff_initial_ms": 1,
    "retry_backoff_max_ms": 10,
}


class JobRow(NamedTuple):
    """A job as the database has it."""

    job_id: str
    state: str
    attempt: int
    on_unknown: str
    results: int


class AttemptRow(NamedTuple):
    """An attempt as the database has it."""

    job_id: str
    n: int
    state: str


class Kept(Protocol):
    """A database of one case's own."""

    @property
    def app_dir(self) -> Path: ...

    @property
    def flags(self) -> tuple[str, ...]: ...

    @property
    def job_key(self) -> str:
        """The column of `job` that the other tables refer to."""
        ...

    @property
    def reference(self) -> str:
        """What it is called in the other tables."""
        ...

    @property
    def drops_pieces(self) -> bool:
        """Whether it frees the pieces of expired bodies one by one."""
        ...

    def store(self) -> Store: ...

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]: ...

    def overlook(self) -> None:
        """Have verbs pass over what jobs hold, as those of a release do that knows of none."""
        ...

    def empty(self, folder: Path) -> "Kept":
        """Another database of this kind, with nothing in it."""
        ...

    def copy(self, folder: Path) -> "Kept":
        """Another one with all that is in this one, which nobody uses."""
        ...

    def close(self) -> None: ...


class SqliteKept:
    """A file in an app dir."""

    job_key, reference, drops_pieces = "seq", "seq", True

    def __init__(self, folder: Path) -> None:
        self.app_dir = folder / "app"
        self.flags = ()

    def store(self) -> SqliteStore:
        return SqliteStore(self.app_dir / "hermod.db", SystemClock())

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        return sqlite_rows(self.app_dir, sql)

    def overlook(self) -> None:
        tamper(self.app_dir, "UPDATE job SET held = 0")

    def empty(self, folder: Path) -> "SqliteKept":
        return SqliteKept(folder)

    def copy(self, folder: Path) -> "SqliteKept":
        shutil.copytree(self.app_dir, folder / "app")
        return SqliteKept(folder)

    def close(self) -> None:
        pass


class PostgresKept:
    """A database in a cluster that others use as well."""

    job_key, reference, drops_pieces = "id", "job_id", False

    def __init__(self, folder: Path, cluster: Cluster, template: str = "template1") -> None:
        self.app_dir = folder / "app"
        self._cluster = cluster
        self._session: Session | None = None
        self.name = f"test_{uuid.uuid4().hex}"
        cluster.create_database(self.name, template)
        self.flags = ("--database", cluster.url(self.name))

    def store(self) -> PostgresStore:
        return PostgresStore(self._cluster.url(self.name), SystemClock())

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        if self._session is None:
            self._session = Session(f"{self._cluster.url(self.name)}?search_path=hermod")
        return self._session.rows(sql)

    def overlook(self) -> None:
        """They do, unless they are told."""

    def empty(self, folder: Path) -> "PostgresKept":
        return PostgresKept(folder, self._cluster)

    def copy(self, folder: Path) -> "PostgresKept":
        shutil.copytree(self.app_dir, folder / "app")
        return PostgresKept(folder, self._cluster, self.name)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._cluster.drop_database(self.name)


def jobs_of(kept: Kept) -> list[JobRow]:
    """Every job there is."""
    found = kept.rows(
        f"""SELECT id, state, attempt, on_unknown,
            (SELECT count(*) FROM result WHERE result.{kept.reference} = job.{kept.job_key})
            FROM job"""
    )
    return [JobRow(_id(row[0]), *row[1:]) for row in found]


def attempts_of(kept: Kept) -> list[AttemptRow]:
    """Every attempt there is, in order."""
    found = kept.rows(
        f"""SELECT id, n, attempt.state FROM attempt
            JOIN job ON job.{kept.job_key} = attempt.{kept.reference} ORDER BY id, n"""
    )
    return [AttemptRow(_id(row[0]), *row[1:]) for row in found]


def miscounted(kept: Kept) -> list[tuple[Any, ...]]:
    """Where the maintained counters and the jobs disagree."""
    return list(
        kept.rows(
            """SELECT tenant_id, lane, state, sum(n) FROM (
                SELECT tenant_id, lane, state, n FROM job_count
                UNION ALL SELECT tenant_id, lane, state, -1 FROM job
            ) AS both_sides GROUP BY tenant_id, lane, state HAVING sum(n) <> 0"""
        )
    )


def _id(raw: Any) -> str:
    return str(uuid.UUID(bytes=raw) if isinstance(raw, bytes) else raw)


# Leftovers


async def leave_behind(kept: Kept) -> None:
    """One job for each thing that upkeep does, and for each way to come upon it."""
    kept.app_dir.mkdir(parents=True, exist_ok=True)
    store = kept.store()
    await store.open()
    try:
        for text in ("x", LARGE_TEXT):
            done = await store.submit_job(_job(text, ttl_s=BRIEF_TTL_S), GONE)
            assert done is not None
            large = DONE._replace(body=b" " * len(text) + DONE.body)
            assert await store.finish_job(done, large)
        holder = await store.submit_job(_job("holder"), GONE)
        assert holder is not None
        assert await store.reserve(holder, [LEFT]) == ()
        kept.overlook()
        assert await store.finish_job(holder, DONE)
        suspect = _job("suspect")
        await store.submit_job(suspect, GONE)
        await store.recover_lost_leases(9)
        assert len(await store.claim_jobs("openai", 9, GONE)) == 1
        await store.recover_lost_leases(9)
        await store.submit_job(_job("overdue", queue_deadline_at=SystemClock().now() - 1))
        await store.submit_job(_job("dead"), DEAD)
        await store.submit_job(_job("dead, once", on_unknown=OnUnknown.FAIL), DEAD)
        await store.submit_job(_job("gone"), GONE)
        await store.submit_job(_job("queued"))
        await store.submit_job(_job(LARGE_TEXT))
        orphan = _job(LARGE_TEXT, id=uuid7(SystemClock().now() - 2 * HOUR_US))
        with armed("submit_job.before=raise"), suppress(StoreError):
            await store.submit_job(orphan)
    finally:
        await store.close()
    lock = lock_of_the_dead(kept)
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    lock.touch(0o600)


def lock_of_the_dead(kept: Kept) -> Path:
    """The file that tells others that its worker is dead."""
    return kept.app_dir / "workers" / f"{DEAD.worker_id}.lock"


def _job(text: str, **changes: Any) -> NewJob:
    now = SystemClock().now()
    body = f'{{"model":"openai/any","messages":[{{"role":"user","content":"{text}"}}]}}'
    job = NewJob(
        id=uuid7(now),
        tenant_id="default",
        owner="open",
        kind="chat_completion",
        mode=Mode.ASYNC,
        lane="openai",
        model="any",
        created_at=now,
        queue_deadline_at=now + HOUR_US,
        ttl_s=3_600,
        ttl_requested=False,
        body=body.encode(),
    )
    return job._replace(**changes)


# Clients


class Clients:
    """Submit everything that makes a worker work, and remember what was accepted."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.accepted: list[str] = []
        self.refused: list[int] = []
        self.made: list[str] = []
        """Ids of keys whose making was answered."""
        self.limited: list[str] = []
        """Those of `accepted` that a key with limits submitted."""
        self._asked: dict[str, tuple[str, dict[str, str]]] = {}
        """Where to poll what was accepted, and with which headers."""
        self._lock = threading.Lock()

    def work(self, url: str, *, huge: bool = False) -> None:
        """One round of jobs, submitted at the same time, and a look at each of them.

        A gateway that dies meanwhile ends it early.
        """
        jobs: list[tuple[dict[str, Any], dict[str, str]]] = [
            *[(chat(f"small {n}", "openai/any"), KEY if n % 2 else {}) for n in range(8)],
            (chat("slow", "openai/slow?seconds=0.4"), {}),
            (chat("again", "openai/429?times=1"), KEY),
            (chat("once", "openai/any"), {"x-hermod-on-unknown": "fail"}),
            (chat("once, limited", "openai/any"), {"x-hermod-on-unknown": "fail", **KEY}),
            (chat("once, again", "openai/429?times=1"), {"x-hermod-on-unknown": "fail"}),
            (chat(LARGE_TEXT, "openai/any"), {}),
        ]
        if huge:
            jobs.append((chat(HUGE_TEXT, "openai/hello"), {}))
        with httpx.Client(base_url=url, timeout=20.0, trust_env=False) as http:
            with ThreadPoolExecutor(len(jobs) + 2) as pool:
                others = [pool.submit(act, http) for act in (self._cancel_one, self._make_a_key)]
                list(pool.map(lambda job: self._submit(http, *job), jobs))
                for other in others:
                    other.result()
            with suppress(httpx.TransportError):
                http.get("/metrics")
                for job_id in self.accepted:
                    path, headers = self._asked[job_id]
                    self._note(http.get(f"{path}/{job_id}", headers=headers))

    def _submit(
        self, http: httpx.Client, body: Any, headers: dict[str, str], path: str = PATH
    ) -> str | None:
        with suppress(httpx.TransportError):
            response = http.post(path, json=body, headers=headers)
            self._note(response)
            if response.status_code == 202:
                job_id: str = response.json()["id"]
                with self._lock:
                    self._asked[job_id] = path, headers
                    self.accepted.append(job_id)
                    if KEY.items() <= headers.items():
                        self.limited.append(job_id)
                return job_id
        return None

    def _cancel_one(self, http: httpx.Client) -> None:
        """Submit a job that takes its time, and think better of it."""
        body = {"model": "openai/slow?seconds=0.4", "input": "never mind"}
        job_id = self._submit(http, body, {}, RESPONSES)
        if job_id is not None:
            with suppress(httpx.TransportError):
                self._note(http.post(CANCEL.format(job_id)))

    def _make_a_key(self, http: httpx.Client) -> None:
        """And look at those there are, what is used of their limits, and who made them."""
        with suppress(httpx.TransportError):
            response = http.post(KEYS, json={"name": uuid.uuid4().hex})
            self._note(response)
            if response.status_code == 200:
                self.made.append(response.json()["virtual_key"]["id"])
            self._note(http.get(KEYS))
            self._note(http.get(AUDIT))

    def see_keys(self, url: str) -> None:
        """That each one whose making was answered is there."""
        found = httpx.get(f"{url}{KEYS}", trust_env=False)
        assert found.status_code == 200, found.text
        there = {key["id"] for key in found.json()["virtual_keys"]}
        assert there >= set(self.made)

    def _note(self, response: httpx.Response) -> None:
        """Nothing but an answer, or the word that the store is away."""
        if response.status_code not in (200, 202):
            assert response.status_code in (503, 507), response.text
            assert "retry-after" in response.headers
            self.refused.append(response.status_code)


def start(kept: Kept, upstream: MockUpstream, failpoints: str = "", **ours: Any) -> Gateway:
    """A gateway on this database."""
    config = {
        "providers": {"openai": upstream.provider()},
        "governance": governance(),
        "hermod": {**OURS, "prices": PRICES, **ours},
    }
    environ = {"HERMOD_FAILPOINTS": failpoints} if failpoints else {}
    return Gateway(kept.app_dir, *kept.flags, config=config, environ=environ)


def url_of(gateway: Gateway) -> str | None:
    """Where it listens; None when it died before it did."""
    try:
        return gateway.url
    except AssertionError:
        gateway.wait_exit()
        return None


def ended(kept: Kept) -> bool:
    """Whether no job has anything left to do."""
    undone = ("queued", "running", "waiting")
    return not any(job.state in undone for job in jobs_of(kept))


def tidy(kept: Kept) -> bool:
    """Whether what was left behind is gone: results past their TTL, pieces of no job, what jobs
    that have ended hold, the dead."""
    expired = kept.rows(f"SELECT id FROM job WHERE ttl_s = {BRIEF_TTL_S}")
    orphans = kept.rows(
        "SELECT n FROM payload_chunk WHERE job_id < (SELECT id FROM job ORDER BY id LIMIT 1)"
    )
    held = kept.rows(f"SELECT amount FROM hold WHERE meter_id = '{LEFTOVER}'")
    return not (expired or orphans or held) and not lock_of_the_dead(kept).exists()
