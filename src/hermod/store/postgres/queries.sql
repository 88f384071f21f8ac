-- A lease is `id`, `attempt` and `worker_id`: the last is set while the job runs, and only then (a CHECK
-- of the table). That the state is 'running' is not asked for beside it, as the planner would take it
-- for an invitation to go through everything that runs. For the same reason a claim compares
-- `deadline_at + 0`, which no index has.
--
-- Every query is planned once per connection and never again for its values, so its plan must be
-- right for tables of any size, also when it is made while they are empty. Hence joins by
-- `id = ANY (ARRAY[x])`: only a look into the index can answer that, or a scan of the table, which our
-- sessions rule out. `id = x` could also be planned as a walk through the whole index.

-- name: now
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: submit_job
WITH clock AS (
    SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now,
        coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS lease_now
), asked AS (
    SELECT * FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::integer[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[],
        $15::boolean[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[],
        $21::boolean[])
        WITH ORDINALITY AS asked (id, tenant_id, owner, kind, mode, lane, model, priority,
            on_unknown, created_at, queue_deadline_at, ttl_s, ttl_requested, request_id, options,
            worker_id, lease_us, deadline_us, held, place)
), stored AS (
    INSERT INTO hermod.job (id, tenant_id, owner, kind, mode, lane, model, state, priority, run_at,
        attempt, attempts_spent, suspicion, on_unknown, worker_id, lease_until, deadline_at,
        created_at, started_at, ttl_s, ttl_requested, request_id, options, held)
    SELECT id, tenant_id, owner, kind, mode, lane, model,
        CASE WHEN worker_id IS NULL THEN 'queued' ELSE 'running' END, priority, 0,
        CASE WHEN worker_id IS NULL THEN 0 ELSE 1 END, 0, 0, on_unknown, worker_id,
        lease_now + lease_us, coalesce(now + deadline_us, queue_deadline_at),
        created_at, CASE WHEN worker_id IS NULL THEN NULL ELSE now END, ttl_s, ttl_requested,
        request_id, options, held
    FROM asked, clock ORDER BY place
    ON CONFLICT (id) DO NOTHING
    RETURNING id, tenant_id, lane, model, state, worker_id, started_at
), requests AS (
    INSERT INTO hermod.request (job_id, size, body)
    SELECT * FROM unnest($3::uuid[], $22::integer[], $23::bytea[])
    ON CONFLICT (job_id) DO NOTHING
), attempts AS (
    INSERT INTO hermod.attempt (job_id, n, state, lane, model, worker_id, started_at)
    SELECT id, 1, 'sending', lane, model, worker_id, started_at FROM stored
    WHERE worker_id IS NOT NULL
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, state, pg_backend_pid() % 32, count(*) FROM stored
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n
)
SELECT id FROM stored

-- name: put_chunk
-- An attempt whose finish failed may come to write another result; a request never changes.
INSERT INTO hermod.payload_chunk (job_id, part, n, data) VALUES ($1, $2, $3, $4)
ON CONFLICT (job_id, part, n) DO UPDATE SET data = excluded.data WHERE payload_chunk.part > 0

-- name: drop_chunk
DELETE FROM hermod.payload_chunk AS chunk
USING unnest($1::uuid[], $2::integer[], $3::integer[]) AS gone (job_id, part, n)
WHERE chunk.job_id = ANY (ARRAY[gone.job_id]) AND chunk.part = gone.part AND chunk.n = gone.n

-- name: read_job
SELECT asked.place, kind, state, created_at, completed_at, expires_at, ttl_s, ttl_requested,
    status_code, request_id, lane, model, result.part, result.size, result.body, input_tokens,
    output_tokens, cost_usd_nanos, estimated
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[])
    WITH ORDINALITY AS asked (id, tenant_id, owner, is_admin, sees_open, wanted_kind, place)
JOIN hermod.job ON job.id = ANY (ARRAY[asked.id]) AND job.tenant_id = asked.tenant_id
    AND (job.owner = asked.owner OR (asked.sees_open AND job.owner = 'open') OR asked.is_admin)
    AND (asked.wanted_kind IS NULL OR job.kind = asked.wanted_kind)
LEFT JOIN hermod.result ON result.job_id = ANY (ARRAY[job.id])
WHERE expires_at IS NULL
    OR expires_at > coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)

-- name: read_attempts
SELECT n, attempt.state, attempt.lane, attempt.model, key_name, attempt.worker_id,
    attempt.started_at, ended_at, attempt.status_code, error_type, handle, attempt.input_tokens,
    attempt.output_tokens, attempt.cost_usd_nanos, attempt.estimated
FROM hermod.job JOIN hermod.attempt ON attempt.job_id = job.id
WHERE id = $2 AND tenant_id = $3 AND (owner = $4 OR ($6 AND owner = 'open') OR $5)
    AND (expires_at IS NULL
         OR expires_at > coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint))
ORDER BY n

-- name: read_chunks
SELECT data FROM hermod.payload_chunk
WHERE job_id = $1 AND part = $2 AND n >= $3 AND n < $4 ORDER BY n

-- name: read_request
SELECT request.size, request.body FROM hermod.job
LEFT JOIN hermod.request ON request.job_id = job.id
WHERE id = $1 AND attempt = $2 AND worker_id = $3

-- name: claim_jobs
-- The jobs that were started before go first: they are the oldest. A claim skips what another one
-- has locked, so two never wait for each other.
WITH clock AS (
    SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now,
        coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS lease_now
), waiting AS MATERIALIZED (
    SELECT id, run_at AS rank, state FROM hermod.job
    WHERE state = 'waiting' AND suspicion < 2 AND lane = $3
        AND run_at <= (SELECT now FROM clock) AND deadline_at + 0 >= (SELECT now FROM clock)
    ORDER BY run_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
), queued AS MATERIALIZED (
    SELECT id, -priority::bigint AS rank, state FROM hermod.job
    WHERE state = 'queued' AND lane = $3 AND deadline_at + 0 >= (SELECT now FROM clock)
    ORDER BY priority DESC, seq LIMIT $4 - (SELECT count(*) FROM waiting)
    FOR NO KEY UPDATE SKIP LOCKED
), due AS (
    SELECT * FROM waiting UNION ALL SELECT * FROM queued
), claimed AS (
    UPDATE hermod.job SET state = 'running', attempt = attempt + 1, worker_id = $5, claim_no = $7,
        lease_until = lease_now + $6, started_at = coalesce(started_at, now),
        deadline_at = CASE WHEN started_at IS NULL THEN now + $8 ELSE deadline_at END
    FROM due, clock WHERE job.id = ANY (ARRAY[due.id])
    RETURNING due.state AS was, due.rank, seq, job.id, attempt, tenant_id, owner, kind, lane, model,
        created_at, deadline_at, attempts_spent, suspicion, on_unknown, ttl_s, options, target_provider,
        target_model, progress, held, now
), attempts AS (
    INSERT INTO hermod.attempt (job_id, n, state, lane, model, worker_id, started_at)
    SELECT id, attempt, 'sending', coalesce(target_provider, lane), coalesce(target_model, model),
        $5, now FROM claimed
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, moved.state, pg_backend_pid() % 32, sum(delta) FROM claimed
    CROSS JOIN LATERAL (VALUES (was, -1), ('running', 1)) AS moved (state, delta)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n
)
SELECT id, attempt, tenant_id, owner, kind, lane, model, created_at, deadline_at, attempts_spent,
    suspicion, on_unknown, ttl_s, options, coalesce(size, 0), body, target_provider, target_model, progress,
    held
FROM claimed LEFT JOIN hermod.request ON request.job_id = ANY (ARRAY[claimed.id])
ORDER BY was DESC, rank, seq

-- name: claim_suspects
WITH clock AS (
    SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now,
        coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS lease_now
), due AS MATERIALIZED (
    SELECT id FROM hermod.job
    WHERE state = 'waiting' AND suspicion >= 2 AND run_at <= (SELECT now FROM clock)
        AND suspicion BETWEEN $3 AND $8 AND deadline_at + 0 >= (SELECT now FROM clock)
    ORDER BY run_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE hermod.job SET state = 'running', attempt = attempt + 1, worker_id = $5, claim_no = $7,
        lease_until = lease_now + $6, started_at = coalesce(started_at, now),
        deadline_at = CASE WHEN started_at IS NULL THEN now + $9 ELSE deadline_at END
    FROM due, clock WHERE job.id = ANY (ARRAY[due.id])
    RETURNING run_at, seq, job.id, attempt, tenant_id, owner, kind, lane, model, created_at,
        deadline_at, attempts_spent, suspicion, on_unknown, ttl_s, options, target_provider,
        target_model, progress, held, now
), attempts AS (
    INSERT INTO hermod.attempt (job_id, n, state, lane, model, worker_id, started_at)
    SELECT id, attempt, 'sending', coalesce(target_provider, lane), coalesce(target_model, model),
        $5, now FROM claimed
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, moved.state, pg_backend_pid() % 32, sum(delta) FROM claimed
    CROSS JOIN LATERAL (VALUES ('waiting', -1), ('running', 1)) AS moved (state, delta)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n
)
SELECT id, attempt, tenant_id, owner, kind, lane, model, created_at, deadline_at, attempts_spent,
    suspicion, on_unknown, ttl_s, options, coalesce(size, 0), body, target_provider, target_model, progress,
    held
FROM claimed LEFT JOIN hermod.request ON request.job_id = ANY (ARRAY[claimed.id])
ORDER BY run_at, seq

-- name: claimed_before
-- What a claim took whose reply was lost, leased anew.
WITH claimed AS (
    UPDATE hermod.job
    SET lease_until = coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) + $2
    WHERE state = 'running' AND worker_id = $3 AND claim_no = $4
    RETURNING seq, id, attempt, tenant_id, owner, kind, lane, model, created_at, deadline_at,
        attempts_spent, suspicion, on_unknown, ttl_s, options, target_provider, target_model, progress, held
)
SELECT id, attempt, tenant_id, owner, kind, lane, model, created_at, deadline_at, attempts_spent,
    suspicion, on_unknown, ttl_s, options, coalesce(size, 0), body, target_provider, target_model, progress,
    held
FROM claimed LEFT JOIN hermod.request ON request.job_id = ANY (ARRAY[claimed.id])
ORDER BY seq

-- name: renew_leases
UPDATE hermod.job
SET lease_until = coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) + $2
FROM unnest($3::uuid[], $4::integer[], $5::text[]) AS held (id, attempt, worker_id)
WHERE job.id = ANY (ARRAY[held.id]) AND job.attempt = held.attempt AND job.worker_id = held.worker_id
RETURNING job.id

-- name: begin_attempt
WITH clock AS (
    SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now,
        coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS lease_now
), asked AS (
    SELECT * FROM unnest($3::uuid[], $4::integer[], $5::text[], $6::text[], $7::boolean[],
        $8::text[], $9::integer[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::bigint[], $15::text[], $16::text[], $17::text[], $18::bigint[])
        AS asked (id, attempt, worker_id, outcome, spent, error_type, status_code, key_name,
            ended_at, input_tokens, output_tokens, cost_usd_nanos, target_provider, target_model,
            progress, lease_us)
), moved AS (
    UPDATE hermod.job SET attempt = job.attempt + 1,
        target_provider = asked.target_provider, target_model = asked.target_model,
        progress = asked.progress,
        input_tokens = coalesce(job.input_tokens + asked.input_tokens, job.input_tokens,
            asked.input_tokens),
        output_tokens = coalesce(job.output_tokens + asked.output_tokens, job.output_tokens,
            asked.output_tokens),
        cost_usd_nanos = coalesce(job.cost_usd_nanos + asked.cost_usd_nanos, job.cost_usd_nanos,
            asked.cost_usd_nanos),
        attempts_spent = attempts_spent + spent::integer,
        suspicion = CASE WHEN outcome = 'failed' THEN 0 ELSE suspicion END,
        lease_until = lease_now + lease_us
    FROM asked, clock
    WHERE job.id = ANY (ARRAY[asked.id]) AND job.attempt = asked.attempt AND job.worker_id = asked.worker_id
    RETURNING job.id, asked.attempt, asked.worker_id, outcome, error_type, asked.status_code,
        key_name, least(ended_at, now) AS ended_at, asked.input_tokens, asked.output_tokens,
        asked.cost_usd_nanos, coalesce(asked.target_provider, lane) AS provider,
        coalesce(asked.target_model, model) AS model, now
), ended AS (
    UPDATE hermod.attempt SET state = outcome,
        ended_at = greatest(moved.ended_at, attempt.started_at),
        status_code = moved.status_code, error_type = moved.error_type, key_name = moved.key_name,
        input_tokens = moved.input_tokens, output_tokens = moved.output_tokens,
        cost_usd_nanos = moved.cost_usd_nanos
    FROM moved WHERE attempt.job_id = ANY (ARRAY[moved.id]) AND attempt.n = moved.attempt
), begun AS (
    INSERT INTO hermod.attempt (job_id, n, state, lane, model, worker_id, started_at)
    SELECT id, attempt + 1, 'sending', provider, model, worker_id, now FROM moved
)
SELECT id FROM moved

-- name: put_back
WITH clock AS (
    SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
), asked AS (
    SELECT * FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::boolean[],
        $7::text[], $8::integer[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::text[], $15::text[], $16::text[], $17::bigint[], $18::bigint[])
        AS asked (id, attempt, worker_id, outcome, spent, error_type, status_code, key_name,
            ended_at, input_tokens, output_tokens, cost_usd_nanos, target_provider, target_model,
            progress, run_at, deadline_at)
), moved AS (
    UPDATE hermod.job SET state = 'waiting', run_at = asked.run_at,
        started_at = CASE WHEN asked.deadline_at IS NULL THEN started_at END,
        deadline_at = coalesce(asked.deadline_at, job.deadline_at),
        target_provider = asked.target_provider, target_model = asked.target_model,
        progress = asked.progress,
        input_tokens = coalesce(job.input_tokens + asked.input_tokens, job.input_tokens,
            asked.input_tokens),
        output_tokens = coalesce(job.output_tokens + asked.output_tokens, job.output_tokens,
            asked.output_tokens),
        cost_usd_nanos = coalesce(job.cost_usd_nanos + asked.cost_usd_nanos, job.cost_usd_nanos,
            asked.cost_usd_nanos),
        attempts_spent = attempts_spent + spent::integer,
        suspicion = CASE WHEN outcome = 'failed' THEN 0 ELSE suspicion END,
        worker_id = NULL, lease_until = NULL
    FROM asked, clock
    WHERE job.id = ANY (ARRAY[asked.id]) AND job.attempt = asked.attempt AND job.worker_id = asked.worker_id
    RETURNING job.id, asked.attempt, tenant_id, lane, outcome, error_type, asked.status_code,
        key_name, least(ended_at, now) AS ended_at, asked.input_tokens, asked.output_tokens,
        asked.cost_usd_nanos
), ended AS (
    UPDATE hermod.attempt SET state = outcome,
        ended_at = greatest(moved.ended_at, attempt.started_at),
        status_code = moved.status_code, error_type = moved.error_type, key_name = moved.key_name,
        input_tokens = moved.input_tokens, output_tokens = moved.output_tokens,
        cost_usd_nanos = moved.cost_usd_nanos
    FROM moved WHERE attempt.job_id = ANY (ARRAY[moved.id]) AND attempt.n = moved.attempt
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, step.state, pg_backend_pid() % 32, sum(delta) FROM moved
    CROSS JOIN LATERAL (VALUES ('running', -1), ('waiting', 1)) AS step (state, delta)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n
)
SELECT id, lane FROM moved

-- name: record_handle
UPDATE hermod.attempt SET handle = $4
WHERE n = $2 AND job_id = (
    SELECT id FROM hermod.job
    WHERE id = $1 AND attempt = $2 AND worker_id = $3)
RETURNING 1

-- name: finish_job
WITH clock AS (
    SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
), asked AS (
    SELECT * FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::integer[],
        $7::text[], $8::text[], $9::integer[], $10::text[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::integer[], $15::bytea[])
        AS asked (id, attempt, worker_id, state, status_code, outcome, error_type,
            attempt_status_code, key_name, input_tokens, output_tokens, cost_usd_nanos, size, body)
), ended_job AS (
    UPDATE hermod.job SET state = asked.state, status_code = asked.status_code, completed_at = now,
        expires_at = now + ttl_s * 1000000,
        input_tokens = coalesce(job.input_tokens + asked.input_tokens, job.input_tokens,
            asked.input_tokens),
        output_tokens = coalesce(job.output_tokens + asked.output_tokens, job.output_tokens,
            asked.output_tokens),
        cost_usd_nanos = coalesce(job.cost_usd_nanos + asked.cost_usd_nanos, job.cost_usd_nanos,
            asked.cost_usd_nanos),
        suspicion = 0, worker_id = NULL, lease_until = NULL
    FROM asked, clock
    WHERE job.id = ANY (ARRAY[asked.id]) AND job.attempt = asked.attempt AND job.worker_id = asked.worker_id
    RETURNING job.id, asked.attempt, tenant_id, lane, asked.state, outcome, error_type,
        attempt_status_code, key_name, asked.input_tokens, asked.output_tokens,
        asked.cost_usd_nanos, size, body, now
), ended AS (
    UPDATE hermod.attempt SET state = outcome, ended_at = now, status_code = attempt_status_code,
        error_type = ended_job.error_type, key_name = ended_job.key_name,
        input_tokens = ended_job.input_tokens, output_tokens = ended_job.output_tokens,
        cost_usd_nanos = ended_job.cost_usd_nanos
    FROM ended_job WHERE attempt.job_id = ANY (ARRAY[ended_job.id]) AND attempt.n = ended_job.attempt
), results AS (
    INSERT INTO hermod.result (job_id, part, size, body)
    SELECT id, attempt, size, body FROM ended_job
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, step.state, pg_backend_pid() % 32, sum(delta) FROM ended_job
    CROSS JOIN LATERAL (VALUES ('running', -1), (ended_job.state, 1)) AS step (state, delta)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n
)
SELECT id FROM ended_job

-- name: holds_lease
SELECT 1 FROM hermod.job WHERE id = $1 AND attempt = $2 AND worker_id = $3

-- name: what_became
-- Of attempts whose write may have happened although its reply was lost: how they ended, and where
-- their jobs stand.
SELECT job.id, job.state, job.attempt, job.worker_id, job.run_at, attempt.state, attempt.error_type
FROM unnest($1::uuid[], $2::integer[]) AS asked (id, n)
JOIN hermod.job ON job.id = ANY (ARRAY[asked.id])
JOIN hermod.attempt ON attempt.job_id = ANY (ARRAY[asked.id]) AND attempt.n = asked.n

-- name: leases_of_worker
SELECT id, attempt, tenant_id, lane, kind, model, suspicion, on_unknown FROM hermod.job
WHERE state = 'running' AND worker_id = $1
ORDER BY seq LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED

-- name: leases_run_out
SELECT id, attempt, tenant_id, lane, kind, model, suspicion, on_unknown FROM hermod.job
WHERE state = 'running'
    AND lease_until < coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
ORDER BY lease_until LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED

-- name: lose_leases
UPDATE hermod.job SET state = 'waiting', run_at = $1, suspicion = suspicion + 1, worker_id = NULL,
    lease_until = NULL, held = false
WHERE id = ANY($2::uuid[])

-- name: overdue
SELECT id, attempt, tenant_id, lane, kind, model, state, started_at FROM hermod.job
WHERE worker_id IS NULL AND completed_at IS NULL
    AND deadline_at < coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
ORDER BY deadline_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED

-- name: cancellable
SELECT id, attempt, tenant_id, lane, kind, model, state FROM hermod.job
WHERE id = $1 AND tenant_id = $2 AND (owner = $3 OR ($5 AND owner = 'open') OR $4)
    AND ($6::text IS NULL OR kind = $6) AND completed_at IS NULL
FOR NO KEY UPDATE

-- name: lost_attempts
UPDATE hermod.attempt SET state = 'unknown', ended_at = $1, error_type = $4
FROM unnest($2::uuid[], $3::integer[]) AS lost (job_id, n)
WHERE attempt.job_id = ANY (ARRAY[lost.job_id]) AND attempt.n = lost.n

-- name: ordered
-- Of attempts: which asked for the work that a handle names, and they can ask for.
SELECT lost.job_id, (
    SELECT max(ordered.n) FROM hermod.attempt AS last, hermod.attempt AS ordered
    WHERE last.job_id = lost.job_id AND last.n = lost.n
        AND ordered.job_id = lost.job_id AND ordered.n <= lost.n
        AND ordered.lane = last.lane AND ordered.model = last.model AND ordered.handle IS NOT NULL
)
FROM unnest($1::uuid[], $2::integer[]) AS lost (job_id, n)

-- name: end_unleased
UPDATE hermod.job SET state = $2, status_code = ended.status_code, completed_at = $1,
    expires_at = $1 + ttl_s * 1000000, worker_id = NULL, lease_until = NULL, held = false
FROM unnest($3::uuid[], $4::integer[]) AS ended (id, status_code)
WHERE job.id = ANY (ARRAY[ended.id])

-- name: insert_results
INSERT INTO hermod.result (job_id, part, size, body)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::bytea[])

-- name: add_counts
INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
SELECT tenant_id, lane, state, pg_backend_pid() % 32, delta
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS moved (tenant_id, lane, state, delta)
ORDER BY 1, 2, 3
ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n

-- name: delete_expired
WITH gone AS MATERIALIZED (
    SELECT id FROM hermod.job
    WHERE expires_at <= coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM hermod.job USING gone WHERE job.id = ANY (ARRAY[gone.id]) RETURNING tenant_id, lane, state
), chunks AS (
    DELETE FROM hermod.payload_chunk WHERE job_id = ANY (ARRAY(SELECT id FROM gone))
), attempts AS (
    DELETE FROM hermod.attempt WHERE job_id = ANY (ARRAY(SELECT id FROM gone))
), requests AS (
    DELETE FROM hermod.request WHERE job_id = ANY (ARRAY(SELECT id FROM gone))
), results AS (
    DELETE FROM hermod.result WHERE job_id = ANY (ARRAY(SELECT id FROM gone))
), counts AS (
    INSERT INTO hermod.job_count (tenant_id, lane, state, shard, n)
    SELECT tenant_id, lane, state, pg_backend_pid() % 32, -count(*) FROM deleted
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, lane, state, shard) DO UPDATE SET n = job_count.n + excluded.n
)
SELECT count(*) FROM deleted

-- name: delete_orphans
-- Ids are time-ordered, so the old chunks are one range of the index.
WITH orphans AS MATERIALIZED (
    SELECT chunk.job_id, chunk.part, chunk.n FROM hermod.payload_chunk AS chunk
    LEFT JOIN hermod.job ON job.id = ANY (ARRAY[chunk.job_id])
    LEFT JOIN hermod.result ON result.job_id = ANY (ARRAY[chunk.job_id])
    WHERE chunk.job_id < $1
        AND (job.id IS NULL
             OR (chunk.part > 0 AND job.completed_at IS NOT NULL
                 AND chunk.part IS DISTINCT FROM result.part))
    LIMIT $2
), deleted AS (
    DELETE FROM hermod.payload_chunk AS chunk USING orphans
    WHERE chunk.job_id = ANY (ARRAY[orphans.job_id]) AND chunk.part = orphans.part AND chunk.n = orphans.n
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: lock_leases
-- Those that are still ours, and what time it is.
SELECT job.id, coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
FROM unnest($2::uuid[], $3::integer[], $4::text[]) AS held (id, attempt, worker_id)
JOIN hermod.job ON job.id = ANY (ARRAY[held.id]) AND job.attempt = held.attempt
    AND job.worker_id = held.worker_id
FOR NO KEY UPDATE OF job

-- name: known_jobs
SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint),
    ARRAY(SELECT id FROM hermod.job WHERE id = ANY ($2::uuid[]))

-- name: lock_meters
-- Asked for in the order of their ids.
SELECT meter.id, began_at, used, reserved, total
FROM unnest($1::text[]) AS asked (id)
JOIN hermod.meter ON meter.id = ANY (ARRAY[asked.id])
FOR NO KEY UPDATE OF meter

-- name: held_by
SELECT job_id, attempt, meter_id, amount FROM hermod.hold WHERE job_id = ANY ($1::uuid[])

-- name: give_places_up
WITH gone AS (
    DELETE FROM hermod.hold WHERE job_id = ANY ($1::uuid[]) AND attempt = 0
)
UPDATE hermod.job SET held = false
FROM unnest($1::uuid[]) AS begun (id) WHERE job.id = ANY (ARRAY[begun.id])

-- name: hold
-- Meters that are locked, meters that nobody has made yet, and what is held of either. Fewer made
-- than asked for: somebody was faster.
WITH moved AS (
    UPDATE hermod.meter SET began_at = asked.began_at, used = asked.used, reserved = asked.reserved
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
        AS asked (id, began_at, used, reserved)
    WHERE meter.id = ANY (ARRAY[asked.id])
), made AS (
    INSERT INTO hermod.meter (id, began_at, used, reserved, total)
    SELECT *, 0 FROM unnest($5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
), held AS (
    INSERT INTO hermod.hold (job_id, meter_id, attempt, unit, amount)
    SELECT * FROM unnest($9::uuid[], $10::text[], $11::integer[], $12::text[], $13::bigint[])
)
SELECT count(*) FROM made

-- name: take_holds
DELETE FROM hermod.hold WHERE job_id = ANY ($1::uuid[])
RETURNING job_id, attempt, meter_id, unit, amount

-- name: settle_meters
UPDATE hermod.meter SET reserved = reserved - freed, used = meter.used + charge.used,
    total = total + charge.used
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS charge (id, freed, used)
WHERE meter.id = ANY (ARRAY[charge.id])

-- name: outcomes
SELECT job_id, attempt.n, state, input_tokens, output_tokens, cost_usd_nanos
FROM unnest($1::uuid[], $2::integer[]) AS asked (id, n)
JOIN hermod.attempt ON attempt.job_id = ANY (ARRAY[asked.id]) AND attempt.n = asked.n

-- name: show_estimates
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[])
        AS asked (id, n, cost, beyond)
), of_jobs AS (
    UPDATE hermod.job SET estimated = true,
        cost_usd_nanos = coalesce(cost_usd_nanos + beyond, beyond, cost_usd_nanos)
    FROM asked WHERE job.id = ANY (ARRAY[asked.id])
)
UPDATE hermod.attempt SET estimated = true, cost_usd_nanos = coalesce(cost, cost_usd_nanos)
FROM asked WHERE attempt.job_id = ANY (ARRAY[asked.id]) AND attempt.n = asked.n

-- name: leftovers
-- Ids are time-ordered: what was left over is soon among the oldest, so nobody looks at all there is.
WITH oldest AS MATERIALIZED (
    SELECT job_id FROM hermod.hold ORDER BY job_id LIMIT 4096
)
SELECT DISTINCT oldest.job_id FROM oldest LEFT JOIN hermod.job ON job.id = ANY (ARRAY[oldest.job_id])
WHERE job.id IS NULL OR job.completed_at IS NOT NULL
LIMIT $1

-- name: read_meters
-- But for those that were never used, or were emptied.
SELECT id, began_at, used, reserved, total FROM hermod.meter
WHERE id = ANY ($1::text[]) AND (began_at > 0 OR reserved > 0 OR total > 0)

-- name: empty_meters
UPDATE hermod.meter SET began_at = 0, used = 0, total = 0
FROM unnest($1::text[]) AS gone (id) WHERE meter.id = ANY (ARRAY[gone.id])

-- name: documents_revision
SELECT value::bigint FROM hermod.meta WHERE name = 'documents_revision'

-- name: count_change
UPDATE hermod.meta SET value = (value::bigint + $1)::text WHERE name = 'documents_revision'
RETURNING value::bigint

-- name: read_documents
-- One statement, so that the revision is of the same instant.
SELECT value::bigint, type, id, document.name, secret_hash, body, version
FROM hermod.meta LEFT JOIN hermod.document ON true
WHERE meta.name = 'documents_revision' ORDER BY type, seq

-- name: rivals
-- What stands where a document is to go, or has what is to be its own. `type || ''` is in no index:
-- what is looked for is an id, a name, a secret.
SELECT type, id, name, secret_hash, version FROM hermod.document WHERE id = $2 AND type || '' = $1
UNION ALL
SELECT type, id, name, secret_hash, version FROM hermod.document
WHERE name = $3 AND type || '' = $1 AND id <> $2
UNION ALL
SELECT type, id, name, secret_hash, version FROM hermod.document
WHERE secret_hash = $4 AND (type <> $1 OR id <> $2)

-- name: put_document
INSERT INTO hermod.document (type, id, name, secret_hash, body, version) VALUES ($1, $2, $3, $4, $5, 1)
ON CONFLICT (type, id) DO UPDATE SET name = excluded.name, secret_hash = excluded.secret_hash,
    body = excluded.body, version = document.version + 1

-- name: delete_document
DELETE FROM hermod.document WHERE id = $2 AND type || '' = $1 AND version = $3
RETURNING 1

-- name: insert_audit
INSERT INTO hermod.audit (at, subject, action, target, detail) VALUES ($1, $2, $3, $4, $5)

-- name: read_audit
SELECT n, at, subject, action, target, detail FROM hermod.audit
WHERE n < coalesce($2, 9223372036854775807) ORDER BY n DESC LIMIT $1

-- name: read_sealed_jobs
-- So many rows by id, whatever they are: what has nothing to say is only looked at.
SELECT id::text, CASE WHEN completed_at IS NULL AND mode = 'async'
    AND position('"sealed":' IN options) > 0 THEN options END
FROM hermod.job WHERE id > $1::uuid ORDER BY id LIMIT $2

-- name: reseal_jobs
UPDATE hermod.job SET options = asked.becomes
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS asked (id, was, becomes)
WHERE job.id = ANY (ARRAY[asked.id]) AND job.options = asked.was AND job.completed_at IS NULL
RETURNING job.id

-- name: due_lanes
-- One step of an index per lane, however many jobs there are.
WITH RECURSIVE queued (lane) AS (
    (SELECT lane FROM hermod.job WHERE state = 'queued' ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT job.lane FROM hermod.job WHERE state = 'queued' AND job.lane > queued.lane
            ORDER BY job.lane LIMIT 1)
    FROM queued WHERE queued.lane IS NOT NULL
), waiting (lane) AS (
    (SELECT lane FROM hermod.job WHERE state = 'waiting' AND suspicion < 2 ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT job.lane FROM hermod.job
            WHERE state = 'waiting' AND suspicion < 2 AND job.lane > waiting.lane
            ORDER BY job.lane LIMIT 1)
    FROM waiting WHERE waiting.lane IS NOT NULL
)
SELECT lane, (SELECT min(run_at) FROM hermod.job
              WHERE state = 'waiting' AND suspicion < 2 AND job.lane = waiting.lane)
FROM waiting WHERE lane IS NOT NULL
UNION ALL
SELECT lane, 0 FROM queued WHERE lane IS NOT NULL

-- name: suspects_due_at
SELECT min(run_at) FROM hermod.job WHERE state = 'waiting' AND suspicion >= 2

-- name: counts
SELECT tenant_id, lane, state, sum(n)::bigint FROM hermod.job_count
GROUP BY 1, 2, 3 HAVING sum(n) > 0

-- name: notify
SELECT pg_notify('hermod_work', $1)
