-- readable from: 0001
-- A release from before this refuses every virtual key, so it accepts no job that something is reserved
-- for. It may still run, end or delete one that this release accepted: what that job holds is settled by
-- `settle_leftovers`, or by whoever of this release claims it next.

-- What an operator made over the API, in the order of `seq`. The store does not read the body.
CREATE TABLE document (
    seq         INTEGER PRIMARY KEY,
    type        TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    secret_hash TEXT    UNIQUE,
    body        BLOB    NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    UNIQUE (type, id),
    UNIQUE (type, name)
) STRICT;

CREATE INDEX document_age ON document (type, seq);

-- Counted up by every change of documents: each gateway asks for it every second.
INSERT INTO meta (name, value) VALUES ('documents_revision', '0');

CREATE TABLE audit (
    n       INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    subject TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;

-- What counts against a limit. `reserved` is the sum of what is held of it, whenever that was begun;
-- `used` is of the period that began at `began_at`, `total` of all periods.
CREATE TABLE meter (
    id       TEXT    PRIMARY KEY,
    began_at INTEGER NOT NULL,
    used     INTEGER NOT NULL CHECK (used >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    total    INTEGER NOT NULL CHECK (total >= 0)
) STRICT, WITHOUT ROWID;

-- What a job has reserved, until it is claimed or its attempt ends.
CREATE TABLE hold (
    seq      INTEGER NOT NULL,
    meter_id TEXT    NOT NULL,
    unit     TEXT    NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (seq, meter_id)
) STRICT, WITHOUT ROWID;

-- Whether there is anything in `hold`, so that nobody looks there for jobs without limits.
ALTER TABLE job ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

-- Whether a part of the cost is the estimate, because what was really used is not known.
ALTER TABLE job ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0;
