-- Instants are microseconds since the epoch, UTC. Leases are microseconds of the boot clock.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The hot row: small, because every step of a job rewrites it. Payloads lie apart.
CREATE TABLE job (
    seq            INTEGER PRIMARY KEY,
    id             BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    tenant_id      TEXT    NOT NULL,
    owner          TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    mode           TEXT    NOT NULL CHECK (mode IN ('async', 'sync')),
    lane           TEXT    NOT NULL,
    model          TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN (
                       'queued', 'running', 'waiting',
                       'completed', 'failed', 'cancelled', 'expired')),
    priority       INTEGER NOT NULL,
    run_at         INTEGER NOT NULL,
    attempt        INTEGER NOT NULL CHECK (attempt >= 0),
    attempts_spent INTEGER NOT NULL CHECK (attempts_spent >= 0),
    suspicion      INTEGER NOT NULL CHECK (suspicion >= 0),
    on_unknown     TEXT    NOT NULL CHECK (on_unknown IN ('retry', 'fail')),
    worker_id      TEXT,
    lease_until    INTEGER,
    deadline_at    INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    completed_at   INTEGER,
    expires_at     INTEGER,
    ttl_s          INTEGER NOT NULL CHECK (ttl_s > 0),
    ttl_requested  INTEGER NOT NULL CHECK (ttl_requested IN (0, 1)),
    status_code    INTEGER,
    request_id     TEXT,
    options        TEXT,
    CHECK ((state = 'running') = (worker_id IS NOT NULL)),
    CHECK ((worker_id IS NULL) = (lease_until IS NULL)),
    CHECK ((state = 'queued') <= (attempt = 0)),
    CHECK ((state IN ('completed', 'failed', 'cancelled', 'expired')) = (completed_at IS NOT NULL)),
    CHECK ((completed_at IS NULL) = (expires_at IS NULL)),
    CHECK ((completed_at IS NULL) = (status_code IS NULL))
) STRICT;

-- The deadline is in it so that a claim passes over the overdue without looking at their rows.
CREATE INDEX job_queued ON job (lane, priority DESC, seq, deadline_at) WHERE state = 'queued';
CREATE INDEX job_waiting ON job (lane, run_at) WHERE state = 'waiting' AND suspicion < 2;
CREATE INDEX job_suspect ON job (run_at) WHERE state = 'waiting' AND suspicion >= 2;
CREATE INDEX job_leased ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_overdue ON job (deadline_at) WHERE state IN ('queued', 'waiting');
CREATE INDEX job_expiring ON job (expires_at) WHERE expires_at IS NOT NULL;

-- A body of more than 64 KiB lies in `payload_chunk` and is NULL here.
CREATE TABLE request (
    seq  INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    body BLOB
) STRICT;

CREATE TABLE result (
    seq  INTEGER PRIMARY KEY,
    part INTEGER NOT NULL,
    size INTEGER NOT NULL,
    body BLOB
) STRICT;

-- Chunks of at most 1 MiB, written before the transaction that refers to them. `part` is 0 for the
-- request and the attempt's number for a result, so that a stale attempt cannot mix into another's.
CREATE TABLE payload_chunk (
    job_id BLOB    NOT NULL,
    part   INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    data   BLOB    NOT NULL,
    UNIQUE (job_id, part, n)
) STRICT;

-- One upstream call each, committed before its first byte leaves.
CREATE TABLE attempt (
    seq         INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN (
                    'sending', 'succeeded', 'failed', 'unknown', 'unsent')),
    lane        TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    key_name    TEXT,
    worker_id   TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    status_code INTEGER,
    error_type  TEXT,
    handle      TEXT,
    PRIMARY KEY (seq, n),
    CHECK ((state = 'sending') = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

-- Maintained in the same transaction as every change of a state: nothing ever counts the jobs.
CREATE TABLE job_count (
    tenant_id TEXT    NOT NULL,
    lane      TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    n         INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (tenant_id, lane, state)
) STRICT, WITHOUT ROWID;
