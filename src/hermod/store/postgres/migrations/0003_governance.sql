-- readable from: 0001
-- A release from before this refuses every virtual key, so it accepts no job that something is reserved
-- for. It may still run, end or delete one that this release accepted: what that job holds is settled by
-- `settle_leftovers`, or by whoever of this release reserves for it next.

-- First `job`, then `attempt`: in the order in which statements of gateways that run meanwhile lock
-- them. `held`: whether the job holds its place in the queue; what attempts hold is found in `hold`.
-- `estimated`: whether a part of what was used is an estimate, because nobody knows it.
ALTER TABLE hermod.job
    ADD COLUMN held boolean NOT NULL DEFAULT false,
    ADD COLUMN estimated boolean NOT NULL DEFAULT false;
ALTER TABLE hermod.attempt ADD COLUMN estimated boolean NOT NULL DEFAULT false;

-- What an operator made over the API, in the order of `seq`. The store does not read the body.
CREATE TABLE hermod.document (
    type        text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    seq         bigint           NOT NULL GENERATED ALWAYS AS IDENTITY,
    name        text COLLATE "C" NOT NULL,
    secret_hash text COLLATE "C" UNIQUE,
    body        bytea            NOT NULL,
    version     bigint           NOT NULL CHECK (version > 0),
    PRIMARY KEY (id, type),
    UNIQUE (name, type)
);

-- Counted up by every change of documents: each gateway asks for it every second. Whoever changes
-- documents locks it first, so that there is one such change at a time.
INSERT INTO hermod.meta (name, value) VALUES ('documents_revision', '0');

CREATE TABLE hermod.audit (
    n       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at      bigint NOT NULL,
    subject text   NOT NULL,
    action  text   NOT NULL,
    target  text   NOT NULL,
    detail  text   NOT NULL
);

-- What counts against a limit. `reserved` is the sum of what is held of it, whenever that was begun;
-- `used` is of the period that began at `began_at`, `total` of all periods. Nothing but the key is in
-- an index, so that a change stays within its page.
CREATE TABLE hermod.meter (
    id       text COLLATE "C" PRIMARY KEY,
    began_at bigint NOT NULL,
    used     bigint NOT NULL CHECK (used >= 0),
    reserved bigint NOT NULL CHECK (reserved >= 0),
    total    bigint NOT NULL CHECK (total >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0);

-- What is reserved: for a place in the queue (attempt 0) until the job is claimed, or for an attempt
-- until that ends.
CREATE TABLE hermod.hold (
    job_id   uuid    NOT NULL,
    meter_id text COLLATE "C" NOT NULL,
    attempt  integer NOT NULL,
    unit     text    NOT NULL,
    amount   bigint  NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (job_id, meter_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0);
