-- What is asked of the tables. Another namespace has another prefix than `chrono_`; what stands in braces is filled in
-- from the columns that jobs and runs have as rows.

-- name: schema_version
SELECT schema_version FROM chrono_meta;

-- name: set_schema_version
INSERT INTO chrono_meta (schema_version) VALUES ($1) ON CONFLICT (one) DO UPDATE SET schema_version = $1;

-- name: read
-- One row at least, for the time and the floors.
SELECT statement_timestamp(), m.token_floor, m.revision_floor, j.version, {j.columns}
FROM chrono_meta m LEFT JOIN chrono_jobs j ON j.id = ANY ($1::text[]);

-- name: lock
-- Before a job is settled in a user's transaction: so nobody changes it between its being read and written there.
SELECT FROM chrono_jobs WHERE id = $1 FOR UPDATE;

-- name: write
-- What was decided as of a certain time is written only if the clock here shows no less, and no more than it may.
-- Rows are locked in the order of their ids, so that no two such statements can wait for each other. A row whose
-- version has changed by the time its lock is free is none of `held`: somebody else was first. No two lists are joined,
-- and `IS TRUE` has the ids that were written hashed: the planner thinks lists short, and would go through all pairs.
WITH given AS (
    SELECT {values} FROM unnest({arrays}) AS u ({listed})
    WHERE ({earliest} IS NULL OR {earliest} <= statement_timestamp())
      AND ({latest} IS NULL OR statement_timestamp() <= {latest})
), held AS MATERIALIZED (
    SELECT g.* FROM given g JOIN chrono_jobs j ON j.id = g.id AND j.version = g.was
    ORDER BY j.id FOR UPDATE OF j
), updated AS (
    UPDATE chrono_jobs j
    SET version = pg_current_xact_id()::text::bigint,
        lock_ttl = CASE WHEN g.lock_owner IS NULL THEN NULL
                        WHEN g.lock_until = j.lock_until THEN j.lock_ttl
                        ELSE g.lock_until - {now} END,
        {assignments}
    FROM held g WHERE j.id = g.id AND NOT g.gone
    RETURNING j.id, j.version
), deleted AS (
    DELETE FROM chrono_jobs j USING held g WHERE j.id = g.id AND g.gone
    RETURNING j.id
), created AS (
    INSERT INTO chrono_jobs (version, lock_ttl, {columns})
    SELECT pg_current_xact_id()::text::bigint,
           CASE WHEN g.lock_owner IS NOT NULL THEN g.lock_until - {now} END,
           {g.columns}
    FROM given g WHERE g.was = 0 AND NOT g.gone ORDER BY g.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, version
), written AS (
    SELECT id, version FROM updated UNION ALL SELECT id, NULL FROM deleted UNION ALL SELECT id, version FROM created
), told AS (
    INSERT INTO chrono_runs ({run_columns})
    SELECT {run_values} FROM unnest({run_arrays}) WITH ORDINALITY AS u ({run_listed}, place)
    WHERE (u.job_id IN (SELECT id FROM written)) IS TRUE ORDER BY u.place
), raised AS (
    UPDATE chrono_meta
    SET token_floor = GREATEST(token_floor, {token_floor}), revision_floor = GREATEST(revision_floor, {revision_floor})
    WHERE token_floor < {token_floor} OR revision_floor < {revision_floor}
)
SELECT statement_timestamp(), ARRAY(SELECT id FROM written), (SELECT max(version) FROM written);

-- name: due
-- One row at least, for the time and the jobs that have a dead run to bury. What is excluded is hashed once, and the
-- index is read in order until the page is full.
SELECT t.now, t.dead, d.*
FROM (
    SELECT statement_timestamp() AS now,
           ARRAY(SELECT id FROM chrono_jobs WHERE bury_at <= {now} ORDER BY bury_at LIMIT 500) AS dead
) t LEFT JOIN LATERAL (
    SELECT {due_columns}
    FROM chrono_jobs
    WHERE due_at < LEAST(statement_timestamp() + $1::interval, '9999-12-31 23:59:59.999999+00')
      AND (due_at, id) > ($2::timestamptz, $3::text)
      AND id NOT IN (SELECT unnest($4::text[]))
    ORDER BY due_at, id LIMIT $5
) d ON true
ORDER BY d.due_at, d.id;

-- name: list_jobs
SELECT {columns} FROM chrono_jobs
WHERE name IS NOT NULL AND id > $1 AND ($2::timestamptz IS NULL OR (NOT paused AND next_run <= $2))
ORDER BY id LIMIT $3;

-- name: list_runs
SELECT {run_columns} FROM chrono_runs ORDER BY seq DESC LIMIT $1 OFFSET $2;

-- name: list_runs_of
-- For several jobs at once: the latest of each, the newest first.
SELECT {r.run_columns} FROM unnest($1::text[]) AS j (id) CROSS JOIN LATERAL (
    SELECT * FROM chrono_runs WHERE job_id = j.id ORDER BY seq DESC LIMIT $2 OFFSET $3
) r ORDER BY r.seq DESC;

-- name: heartbeat
WITH forgotten AS (
    DELETE FROM chrono_instances WHERE seen < statement_timestamp() - $4::interval AND instance_id <> $1
)
INSERT INTO chrono_instances (instance_id, started, seen, jobs) VALUES ($1, $2, statement_timestamp(), $3::text[])
ON CONFLICT (instance_id) DO UPDATE SET started = excluded.started, seen = excluded.seen, jobs = excluded.jobs
RETURNING seen;

-- name: list_instances
SELECT instance_id, started, seen, jobs FROM chrono_instances
WHERE seen >= statement_timestamp() - $1::interval ORDER BY started, instance_id;

-- name: clamp_locks
-- A lock that has longer to go than it was ever given tells that the server's clock was set back. What is manual goes
-- before the pointer; it may wait for a retry of its own, as whoever claims it is told.
UPDATE chrono_jobs j
SET version = pg_current_xact_id()::text::bigint,
    lock_until = {now} + j.lock_ttl,
    lease_until = CASE WHEN j.lease_until > ends.at THEN ends.at ELSE j.lease_until END,
    due_at = CASE WHEN j.due_at <= ends.at OR j.due_at IS NULL THEN j.due_at
                  WHEN j.triggered IS NOT NULL OR j.manual IS NOT NULL THEN ends.at
                  ELSE GREATEST(ends.at, j.next_run, j.not_before) END,
    bury_at = CASE WHEN j.bury_at > {now} + j.lock_ttl THEN {now} + j.lock_ttl ELSE j.bury_at END
FROM chrono_jobs o CROSS JOIN LATERAL (SELECT statement_timestamp() + o.lock_ttl * interval '1 microsecond' AS at) ends
WHERE j.id = o.id AND j.lock_until > {now} + j.lock_ttl + 1000000;

-- name: prune_jobs
DELETE FROM chrono_runs r
USING unnest($1::text[]) AS j (id) CROSS JOIN LATERAL (
    SELECT seq FROM chrono_runs WHERE job_id = j.id ORDER BY seq DESC OFFSET $2 LIMIT 1
) edge
WHERE r.job_id = j.id AND r.seq <= edge.seq;

-- name: prune_total
DELETE FROM chrono_runs WHERE seq <= (SELECT seq FROM chrono_runs ORDER BY seq DESC OFFSET $1 LIMIT 1);

-- name: prune_old
-- The oldest come first in the order of their coming.
DELETE FROM chrono_runs
WHERE seq IN (SELECT seq FROM chrono_runs ORDER BY seq LIMIT 1000) AND added < statement_timestamp() - $1::interval;

-- name: notify
SELECT pg_notify($1, $2);

-- name: erase
DROP TABLE IF EXISTS chrono_meta, chrono_jobs, chrono_runs, chrono_instances;
