-- For whoever only looks (inspect.py).

-- name: integrity
PRAGMA integrity_check

-- name: jobs
SELECT id, coalesce(substr(body, 1, ?), (
        SELECT substr(data, 1, ?) FROM payload_chunk WHERE job_id = id AND part = 0 AND n = 0)),
    state, attempt, on_unknown, lane,
    (SELECT count(*) FROM result WHERE result.seq = job.seq), worker_id, completed_at,
    cost_usd_nanos, owner
FROM job LEFT JOIN request ON request.seq = job.seq

-- name: attempts
SELECT id, n, attempt.state, attempt.started_at, ended_at, error_type,
    attempt.worker_id, attempt.lane, attempt.model, attempt.cost_usd_nanos, attempt.estimated
FROM attempt LEFT JOIN job ON job.seq = attempt.seq

-- name: counts
SELECT lane, state, sum(n) FROM job_count GROUP BY lane, state

-- name: meters
SELECT id, began_at, used, reserved, total FROM meter

-- name: holds
SELECT id, meter_id, unit, amount FROM hold LEFT JOIN job ON job.seq = hold.seq

-- name: leases
SELECT id, attempt, lease_until FROM job WHERE state = 'running' ORDER BY lease_until LIMIT ?

-- name: overdue
SELECT id, state, deadline_at FROM job
WHERE state IN ('queued', 'waiting') AND deadline_at < ? ORDER BY deadline_at LIMIT ?
