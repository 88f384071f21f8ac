-- name: next_seq
SELECT coalesce(max(seq), 0) + 1 FROM job

-- name: insert_job
INSERT INTO job (seq, id, tenant_id, owner, kind, mode, lane, model, state, priority, run_at,
    attempt, attempts_spent, suspicion, on_unknown, worker_id, lease_until, deadline_at,
    created_at, started_at, ttl_s, ttl_requested, request_id, options)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_request
INSERT INTO request (seq, size, body) VALUES (?, ?, ?)

-- name: insert_attempt
INSERT INTO attempt (seq, n, state, lane, model, worker_id, started_at)
VALUES (?, ?, 'sending', ?, ?, ?, ?)

-- name: insert_chunk
-- An attempt whose finish failed may come to write another result; a request never changes.
INSERT INTO payload_chunk (job_id, part, n, data) VALUES (?, ?, ?, ?)
ON CONFLICT (job_id, part, n) DO UPDATE SET data = excluded.data WHERE part > 0

-- name: read_job
SELECT kind, state, created_at, completed_at, expires_at, ttl_s, ttl_requested,
    status_code, request_id, lane, model, result.part, result.size, result.body,
    input_tokens, output_tokens, cost_usd_nanos, estimated
FROM job LEFT JOIN result ON result.seq = job.seq
WHERE id = ? AND tenant_id = ? AND (owner = ? OR (?5 AND owner = 'open') OR ?4)
    AND (expires_at IS NULL OR expires_at > ?6) AND (?7 IS NULL OR kind = ?7)

-- name: read_attempts
SELECT n, attempt.state, attempt.lane, attempt.model, key_name, attempt.worker_id,
    attempt.started_at, ended_at, attempt.status_code, error_type, handle,
    attempt.input_tokens, attempt.output_tokens, attempt.cost_usd_nanos,
    attempt.estimated
FROM job JOIN attempt ON attempt.seq = job.seq
WHERE id = :id AND tenant_id = :tenant_id
    AND (owner = :owner OR (:sees_open AND owner = 'open') OR :is_admin)
    AND (expires_at IS NULL OR expires_at > :now)
ORDER BY n

-- name: read_chunks
SELECT data FROM payload_chunk WHERE job_id = ? AND part = ? AND n < ? ORDER BY n

-- name: read_request
SELECT request.size, request.body FROM job LEFT JOIN request ON request.seq = job.seq
WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?

-- name: holds_lease
SELECT 1 FROM job WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?

-- name: claim_waiting
-- A job that was put back as not begun has its deadline from here. The jobs that were started
-- before go first: they are the oldest. RETURNING keeps no order, so
-- every claim returns the rank to sort by.
UPDATE job SET state = 'running', attempt = attempt + 1, worker_id = :worker_id,
    lease_until = :lease_until, started_at = coalesce(started_at, :now),
    deadline_at = iif(started_at IS NULL, :job_deadline_at, deadline_at)
WHERE seq IN (
    SELECT seq FROM job
    WHERE state = 'waiting' AND suspicion < 2 AND lane = :lane AND run_at <= :now
        AND deadline_at >= :now
    ORDER BY run_at LIMIT :limit)
RETURNING run_at, seq, id, attempt, tenant_id, owner, kind, lane, model, created_at, deadline_at,
    attempts_spent, suspicion, on_unknown, ttl_s, options, target_provider, target_model,
    progress, held

-- name: claim_queued
UPDATE job SET state = 'running', attempt = attempt + 1, worker_id = :worker_id,
    lease_until = :lease_until, started_at = :now, deadline_at = :job_deadline_at
WHERE seq IN (
    SELECT seq FROM job WHERE state = 'queued' AND lane = :lane AND deadline_at >= :now
    ORDER BY priority DESC, seq LIMIT :limit)
RETURNING -priority, seq, id, attempt, tenant_id, owner, kind, lane, model, created_at,
    deadline_at, attempts_spent, suspicion, on_unknown, ttl_s, options, target_provider, target_model,
    progress, held

-- name: claim_suspects
UPDATE job SET state = 'running', attempt = attempt + 1, worker_id = :worker_id,
    lease_until = :lease_until, started_at = coalesce(started_at, :now),
    deadline_at = iif(started_at IS NULL, :job_deadline_at, deadline_at)
WHERE seq IN (
    SELECT seq FROM job
    WHERE state = 'waiting' AND suspicion >= 2 AND run_at <= :now
        AND suspicion BETWEEN :min_suspicion AND :max_suspicion AND deadline_at >= :now
    ORDER BY run_at LIMIT :limit)
RETURNING run_at, seq, id, attempt, tenant_id, owner, kind, lane, model, created_at, deadline_at,
    attempts_spent, suspicion, on_unknown, ttl_s, options, target_provider, target_model,
    progress, held

-- name: request_body
SELECT size, body FROM request WHERE seq = ?

-- name: renew_lease
UPDATE job SET lease_until = ?
WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?
RETURNING 1

-- name: next_attempt
-- `coalesce` in the sums: nothing metered changes nothing, and the first that is begins them.
UPDATE job SET attempt = attempt + 1, target_provider = ?, target_model = ?, progress = ?,
    input_tokens = coalesce(input_tokens + ?4, input_tokens, ?4),
    output_tokens = coalesce(output_tokens + ?5, output_tokens, ?5),
    cost_usd_nanos = coalesce(cost_usd_nanos + ?6, cost_usd_nanos, ?6),
    attempts_spent = attempts_spent + ?, suspicion = iif(?, 0, suspicion), lease_until = ?
WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?
RETURNING seq, lane, model, held

-- name: put_back
UPDATE job SET state = 'waiting', target_provider = ?, target_model = ?, progress = ?,
    input_tokens = coalesce(input_tokens + ?4, input_tokens, ?4),
    output_tokens = coalesce(output_tokens + ?5, output_tokens, ?5),
    cost_usd_nanos = coalesce(cost_usd_nanos + ?6, cost_usd_nanos, ?6),
    attempts_spent = attempts_spent + ?, suspicion = iif(?, 0, suspicion), run_at = ?,
    started_at = iif(?10 IS NULL, started_at, NULL), deadline_at = coalesce(?10, deadline_at),
    worker_id = NULL, lease_until = NULL
WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?
RETURNING seq, tenant_id, lane, held

-- name: record_handle
UPDATE attempt SET handle = ?
WHERE n = ? AND seq = (
    SELECT seq FROM job WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?)
RETURNING 1

-- name: finish_job
UPDATE job SET state = ?, status_code = ?, completed_at = ?3, expires_at = ?3 + ttl_s * 1000000,
    input_tokens = coalesce(input_tokens + ?4, input_tokens, ?4),
    output_tokens = coalesce(output_tokens + ?5, output_tokens, ?5),
    cost_usd_nanos = coalesce(cost_usd_nanos + ?6, cost_usd_nanos, ?6),
    suspicion = 0, worker_id = NULL, lease_until = NULL
WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?
RETURNING seq, tenant_id, lane, held

-- name: cancellable
SELECT seq, attempt, tenant_id, lane, kind, model, held, state FROM job
WHERE id = :id AND tenant_id = :tenant_id
    AND (owner = :owner OR (:sees_open AND owner = 'open') OR :is_admin)
    AND (:kind IS NULL OR kind = :kind) AND completed_at IS NULL

-- name: end_attempt
UPDATE attempt SET state = ?, ended_at = max(?, started_at), status_code = ?, error_type = ?, key_name = ?,
    input_tokens = ?, output_tokens = ?, cost_usd_nanos = ?
WHERE seq = ? AND n = ?

-- name: insert_result
INSERT INTO result (seq, part, size, body) VALUES (?, ?, ?, ?)

-- name: leases_of_worker
SELECT seq, attempt, tenant_id, lane, kind, model, held, suspicion, on_unknown FROM job
WHERE state = 'running' AND worker_id = ? LIMIT ?

-- name: leases_run_out
SELECT seq, attempt, tenant_id, lane, kind, model, held, suspicion, on_unknown FROM job
WHERE state = 'running' AND lease_until < ? ORDER BY lease_until LIMIT ?

-- name: forget_leases
-- After a reboot the boot clock starts anew and every holder of a lease is gone.
UPDATE job SET lease_until = -1 WHERE state = 'running'

-- name: lose_lease
UPDATE job SET state = 'waiting', run_at = ?, suspicion = suspicion + 1, worker_id = NULL,
    lease_until = NULL
WHERE seq = ?

-- name: overdue
SELECT seq, attempt, tenant_id, lane, kind, model, held, state, started_at FROM job
WHERE state IN ('queued', 'waiting') AND deadline_at < ? ORDER BY deadline_at LIMIT ?

-- name: end_unleased
UPDATE job SET state = ?, status_code = ?, completed_at = ?, expires_at = ? + ttl_s * 1000000,
    worker_id = NULL, lease_until = NULL
WHERE seq = ?

-- name: expired
SELECT seq, id, tenant_id, lane, state FROM job
WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?

-- name: delete_job
DELETE FROM job WHERE seq = ?

-- name: delete_request
DELETE FROM request WHERE seq = ?

-- name: delete_result
DELETE FROM result WHERE seq = ?

-- name: delete_attempts
DELETE FROM attempt WHERE seq = ?

-- name: delete_chunks
DELETE FROM payload_chunk WHERE job_id = ?

-- name: delete_chunk
DELETE FROM payload_chunk WHERE job_id = ? AND part = ? AND n = ?

-- name: expired_chunks
SELECT job_id, part, n FROM payload_chunk WHERE job_id IN (
    SELECT id FROM job
    WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?)

-- name: orphans
-- Ids are time-ordered, so the old chunks are one range of the index.
SELECT chunk.job_id, chunk.part, chunk.n FROM payload_chunk AS chunk
LEFT JOIN job ON job.id = chunk.job_id
LEFT JOIN result ON result.seq = job.seq
WHERE chunk.job_id < ?
    AND (job.id IS NULL
         OR (chunk.part > 0 AND job.completed_at IS NOT NULL AND chunk.part IS NOT result.part))
LIMIT ?

-- name: queued_lanes
SELECT DISTINCT lane FROM job_count WHERE state = 'queued' AND n > 0

-- name: waiting_lanes
SELECT DISTINCT lane FROM job_count WHERE state = 'waiting' AND n > 0

-- name: waiting_due_at
SELECT min(run_at) FROM job WHERE state = 'waiting' AND suspicion < 2 AND lane = ?

-- name: suspects_due_at
SELECT min(run_at) FROM job WHERE state = 'waiting' AND suspicion >= 2

-- name: counts
SELECT tenant_id, lane, state, n FROM job_count WHERE n > 0

-- name: leased
SELECT seq, held FROM job WHERE id = ? AND state = 'running' AND attempt = ? AND worker_id = ?

-- name: set_held
UPDATE job SET held = ? WHERE seq = ?

-- name: read_meter
SELECT began_at, used, reserved, total FROM meter WHERE id = ?

-- name: put_meter
INSERT INTO meter (id, began_at, used, reserved, total) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET began_at = excluded.began_at, used = excluded.used,
    reserved = excluded.reserved, total = excluded.total

-- name: settle_meter
UPDATE meter SET reserved = reserved - ?, used = used + ?2, total = total + ?2 WHERE id = ?

-- name: forget_meter
DELETE FROM meter WHERE id = ? AND reserved = 0

-- name: empty_meter
UPDATE meter SET began_at = 0, used = 0, total = 0 WHERE id = ?

-- name: insert_hold
-- Where an older release deleted a job that held something, its number may have been given again.
INSERT INTO hold (seq, meter_id, unit, amount) VALUES (?, ?, ?, ?)
ON CONFLICT (seq, meter_id) DO UPDATE SET amount = amount + excluded.amount

-- name: holds
SELECT meter_id, unit, amount FROM hold WHERE seq = ?

-- name: delete_hold
DELETE FROM hold WHERE seq = ? AND meter_id = ?

-- name: delete_holds
DELETE FROM hold WHERE seq = ?

-- name: leftovers
-- In order, and to the end of all holds: for a connection that only reads.
SELECT hold.seq FROM hold LEFT JOIN job ON job.seq = hold.seq
WHERE job.seq IS NULL OR job.completed_at IS NOT NULL LIMIT ?

-- name: last_attempt
SELECT attempt, completed_at FROM job WHERE seq = ?

-- name: outcome
SELECT state, input_tokens, output_tokens, cost_usd_nanos FROM attempt WHERE seq = ? AND n = ?

-- name: ordered
-- Which attempt asked for the work that a handle names, and this one can ask for.
SELECT ordered.n FROM attempt AS last JOIN attempt AS ordered USING (seq, lane, model)
WHERE seq = ? AND last.n = ? AND ordered.n <= last.n AND ordered.handle IS NOT NULL
ORDER BY ordered.n DESC LIMIT 1

-- name: estimate_attempt
UPDATE attempt SET cost_usd_nanos = coalesce(?, cost_usd_nanos), estimated = 1
WHERE seq = ? AND n = ?

-- name: estimate_job
UPDATE job SET cost_usd_nanos = coalesce(cost_usd_nanos + ?1, ?1, cost_usd_nanos), estimated = 1
WHERE seq = ?

-- name: begin_changes
SAVEPOINT changes

-- name: keep_changes
RELEASE changes

-- name: undo_changes
ROLLBACK TO changes

-- name: read_documents
-- One statement, so that the revision is of the same instant.
SELECT meta.value, type, id, document.name, secret_hash, body, version
FROM meta LEFT JOIN document ON true
WHERE meta.name = ? ORDER BY type, seq

-- name: document_there
SELECT version FROM document WHERE type = ? AND id = ?

-- name: document_named
SELECT 1 FROM document WHERE type = ? AND name = ? AND id <> ?

-- name: document_with_secret
SELECT 1 FROM document WHERE secret_hash = ? AND (type, id) <> (?, ?)

-- name: insert_document
INSERT INTO document (type, id, name, secret_hash, body, version) VALUES (?, ?, ?, ?, ?, 1)

-- name: update_document
UPDATE document SET name = ?, secret_hash = ?, body = ?, version = version + 1
WHERE type = ? AND id = ?

-- name: delete_document
DELETE FROM document WHERE type = ? AND id = ? AND version = ?
RETURNING 1

-- name: count_change
UPDATE meta SET value = value + 1 WHERE name = ?

-- name: insert_audit
INSERT INTO audit (at, subject, action, target, detail) VALUES (?, ?, ?, ?, ?)

-- name: read_audit
SELECT n, at, subject, action, target, detail FROM audit WHERE n < ? ORDER BY n DESC LIMIT ?

-- name: read_sealed_jobs
-- So many rows by id, whatever they are: what has nothing to say is only looked at.
SELECT id, CASE WHEN completed_at IS NULL AND mode = 'async' AND instr(options, '"sealed":') > 0
    THEN options END
FROM job WHERE id > ? ORDER BY id LIMIT ?

-- name: reseal_job
UPDATE job SET options = ? WHERE id = ? AND options = ? AND completed_at IS NULL
RETURNING 1

-- name: add_count
-- The CHECK judges the row to insert even where it is not inserted, hence max().
INSERT INTO job_count (tenant_id, lane, state, n) VALUES (:tenant_id, :lane, :state, max(:delta, 0))
ON CONFLICT (tenant_id, lane, state) DO UPDATE SET n = n + :delta

-- name: get_meta
SELECT value FROM meta WHERE name = ?

-- name: set_meta
INSERT INTO meta (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
