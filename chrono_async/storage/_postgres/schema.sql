-- The first version of the tables, for the prefix `chrono_`; another namespace has another prefix.

CREATE TABLE chrono_meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema_version integer NOT NULL,
    token_floor bigint NOT NULL DEFAULT 0,
    revision_floor bigint NOT NULL DEFAULT 0
);

-- One row for each job, or for a lock that has no job: then `name` and all that belongs to a record is null.
-- `version` is the transaction that last wrote the row: no two lives of an id ever share one. `due_at` is the later of
-- the moment at which there is something to do and the end of the lock, so that one index finds what can be claimed.
CREATE TABLE chrono_jobs (
    id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    name text,
    status text,
    paused boolean,
    last_run timestamptz,
    next_run timestamptz,
    run_count bigint,
    error_count bigint,
    last_error text,
    revision bigint,
    scheduled_runs bigint,
    last_success timestamptz,
    token bigint,
    settled_token bigint,
    owner text,
    lease_until timestamptz,
    running timestamptz,
    claimed timestamptz,
    attempt bigint,
    tries bigint,
    not_before timestamptz,
    declared text,
    bound text,
    options text,
    triggered text,
    manual text,
    flights text,
    lock_owner text,
    lock_until bigint,
    lock_ttl bigint,
    due_at timestamptz,
    bury_at bigint
) WITH (fillfactor = 80);

CREATE INDEX chrono_jobs_due ON chrono_jobs (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX chrono_jobs_bury ON chrono_jobs (bury_at) WHERE bury_at IS NOT NULL;

CREATE TABLE chrono_runs (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    added timestamptz NOT NULL DEFAULT statement_timestamp(),
    job_id text COLLATE "C" NOT NULL,
    fire_time timestamptz NOT NULL,
    status text NOT NULL,
    instance_id text NOT NULL,
    attempt bigint NOT NULL,
    token bigint NOT NULL,
    manual boolean NOT NULL,
    started timestamptz,
    finished timestamptz,
    error text NOT NULL,
    retry_count bigint NOT NULL,
    missed_count bigint,
    missed_first timestamptz,
    missed_last timestamptz
);

CREATE INDEX chrono_runs_of_job ON chrono_runs (job_id, seq);

CREATE TABLE chrono_instances (
    instance_id text COLLATE "C" PRIMARY KEY,
    started timestamptz NOT NULL,
    seen timestamptz NOT NULL,
    jobs text[] NOT NULL
);
