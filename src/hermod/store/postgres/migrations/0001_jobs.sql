-- Instants are microseconds since the epoch, UTC, of the database's own clock; leases too.
-- The same tables as SQLite's. Their differences: ids are uuids and the key of what belongs to a job;
-- counters are spread over shards, so that two processes seldom wait for each other's commit.

-- The hot row: small, because every step of a job rewrites it. Payloads lie apart. `lease_until` is in
-- no index, so that a renewal can stay within its page (a HOT update).
CREATE TABLE hermod.job (
    id             uuid     PRIMARY KEY,
    seq            bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_id      text COLLATE "C"     NOT NULL,
    owner          text COLLATE "C"     NOT NULL,
    kind           text     NOT NULL,
    mode           text     NOT NULL CHECK (mode IN ('async', 'sync')),
    lane           text COLLATE "C"     NOT NULL,
    model          text     NOT NULL,
    state          text COLLATE "C"     NOT NULL CHECK (state IN (
                       'queued', 'running', 'waiting',
                       'completed', 'failed', 'cancelled', 'expired')),
    priority       integer  NOT NULL,
    run_at         bigint   NOT NULL,
    attempt        integer  NOT NULL CHECK (attempt >= 0),
    attempts_spent integer  NOT NULL CHECK (attempts_spent >= 0),
    suspicion      integer  NOT NULL CHECK (suspicion >= 0),
    on_unknown     text     NOT NULL CHECK (on_unknown IN ('retry', 'fail')),
    worker_id      text COLLATE "C",
    claim_no       bigint,
    lease_until    bigint,
    deadline_at    bigint   NOT NULL,
    created_at     bigint   NOT NULL,
    started_at     bigint,
    completed_at   bigint,
    expires_at     bigint,
    ttl_s          bigint   NOT NULL CHECK (ttl_s > 0),
    ttl_requested  boolean  NOT NULL,
    status_code    integer,
    request_id     text,
    options        text,
    CHECK ((state = 'running') = (worker_id IS NOT NULL)),
    CHECK ((worker_id IS NULL) = (lease_until IS NULL)),
    CHECK (state <> 'queued' OR attempt = 0),
    CHECK ((state IN ('completed', 'failed', 'cancelled', 'expired')) = (completed_at IS NOT NULL)),
    CHECK ((completed_at IS NULL) = (expires_at IS NULL)),
    CHECK ((completed_at IS NULL) = (status_code IS NULL))
) WITH (fillfactor = 70);

CREATE INDEX job_queued ON hermod.job (lane, priority DESC, seq) WHERE state = 'queued';
CREATE INDEX job_waiting ON hermod.job (lane, run_at) WHERE state = 'waiting' AND suspicion < 2;
CREATE INDEX job_suspect ON hermod.job (run_at) WHERE state = 'waiting' AND suspicion >= 2;
CREATE INDEX job_leased ON hermod.job (worker_id) WHERE state = 'running';
-- Not by state: a claim that asks for the state could be planned as a walk through all of this one.
CREATE INDEX job_overdue ON hermod.job (deadline_at)
    WHERE worker_id IS NULL AND completed_at IS NULL;
CREATE INDEX job_expiring ON hermod.job (expires_at) WHERE expires_at IS NOT NULL;

-- A body of more than 64 KiB lies in `payload_chunk` and is NULL here. Bodies are kept as they are:
-- compressing them would be most of what a submit costs the database.
CREATE TABLE hermod.request (
    job_id uuid    PRIMARY KEY,
    size   integer NOT NULL,
    body   bytea
);
ALTER TABLE hermod.request ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE hermod.result (
    job_id uuid    PRIMARY KEY,
    part   integer NOT NULL,
    size   integer NOT NULL,
    body   bytea
);
ALTER TABLE hermod.result ALTER COLUMN body SET STORAGE EXTERNAL;

-- Chunks of at most 1 MiB, written before the transaction that refers to them. `part` is 0 for the
-- request and the attempt's number for a result, so that a stale attempt cannot mix into another's.
CREATE TABLE hermod.payload_chunk (
    job_id uuid    NOT NULL,
    part   integer NOT NULL,
    n      integer NOT NULL,
    data   bytea   NOT NULL,
    PRIMARY KEY (job_id, part, n)
);
ALTER TABLE hermod.payload_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

-- One upstream call each, committed before its first byte leaves.
CREATE TABLE hermod.attempt (
    job_id      uuid    NOT NULL,
    n           integer NOT NULL,
    state       text COLLATE "C"    NOT NULL CHECK (state IN (
                    'sending', 'succeeded', 'failed', 'unknown', 'unsent')),
    lane        text COLLATE "C"    NOT NULL,
    model       text    NOT NULL,
    key_name    text,
    worker_id   text COLLATE "C"    NOT NULL,
    started_at  bigint  NOT NULL,
    ended_at    bigint,
    status_code integer,
    error_type  text,
    handle      text,
    PRIMARY KEY (job_id, n),
    CHECK ((state = 'sending') = (ended_at IS NULL))
) WITH (fillfactor = 80);

-- Maintained in the same transaction as every change of a state: nothing ever counts the jobs. One
-- shard may be below zero, the sum over the shards is the truth.
CREATE TABLE hermod.job_count (
    tenant_id text COLLATE "C"     NOT NULL,
    lane      text COLLATE "C"     NOT NULL,
    state     text COLLATE "C"     NOT NULL,
    shard     smallint NOT NULL,
    n         bigint   NOT NULL,
    PRIMARY KEY (tenant_id, lane, state, shard)
) WITH (fillfactor = 50);

-- A queue turns its rows over faster than a share of the table could say: vacuum early, at full speed.
ALTER TABLE hermod.job SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000);
ALTER TABLE hermod.attempt SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE hermod.job_count SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE hermod.request SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE hermod.result SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE hermod.payload_chunk SET (autovacuum_vacuum_scale_factor = 0.05);
