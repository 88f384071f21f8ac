-- For whoever only looks (inspect.py).

-- name: is_there
SELECT to_regclass('hermod.job') IS NOT NULL

-- name: unfinished
SELECT count(*) FILTER (WHERE completed_at IS NULL), count(*) FROM hermod.job

-- name: jobs
-- Ids are time-ordered: those since an id are those made since.
SELECT id, coalesce(substr(body, 1, $2), (
        SELECT substr(data, 1, $2) FROM hermod.payload_chunk AS chunk
        WHERE chunk.job_id = job.id AND part = 0 AND n = 0)),
    state, attempt, on_unknown, lane,
    (SELECT count(*) FROM hermod.result WHERE result.job_id = job.id), worker_id, completed_at,
    cost_usd_nanos, owner
FROM hermod.job AS job LEFT JOIN hermod.request AS request ON request.job_id = job.id
WHERE id >= $1

-- name: attempts
SELECT job.id, n, attempt.state, attempt.started_at, ended_at, error_type,
    attempt.worker_id, attempt.lane, attempt.model, attempt.cost_usd_nanos, attempt.estimated
FROM hermod.attempt AS attempt LEFT JOIN hermod.job AS job ON job.id = attempt.job_id
WHERE attempt.job_id >= $1

-- name: counts
SELECT lane, state, sum(n)::bigint FROM hermod.job_count GROUP BY lane, state

-- name: others
SELECT lane, state, count(*) FROM hermod.job WHERE id < $1 GROUP BY lane, state

-- name: meters
SELECT id, began_at, used, reserved, total FROM hermod.meter

-- name: holds
SELECT job.id, meter_id, unit, amount
FROM hermod.hold AS hold LEFT JOIN hermod.job AS job ON job.id = hold.job_id

-- name: clock
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: leases
SELECT id, attempt, lease_until FROM hermod.job
WHERE state = 'running' AND id >= $1 ORDER BY lease_until LIMIT $2

-- name: overdue
SELECT id, state, deadline_at FROM hermod.job
WHERE state IN ('queued', 'waiting') AND id >= $1 AND deadline_at < $2
ORDER BY deadline_at LIMIT $3
