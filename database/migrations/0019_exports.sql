-- Histories too long for one answer: a job that writes them to a file, part by part.
SET LOCAL ROLE migrator;

CREATE TABLE transaction_exports (
    -- Who asked for it: the card's owner, or staff.
    user_id uuid NOT NULL REFERENCES users (user_id),
    job_id uuid NOT NULL,
    card_id uuid NOT NULL,
    filters jsonb NOT NULL,
    -- Of card and filters: who asks again while the job is open is told of the same one.
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    status text NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED')),
    -- Rows to write as far as they have been counted, and rows in the parts that are stored.
    total integer NOT NULL CHECK (total >= 0),
    done integer NOT NULL DEFAULT 0 CHECK (done >= 0),
    -- Transactions below it are still to be written; at first the time of the request, so that what comes later is left out.
    before_id uuid NOT NULL,
    -- The multipart upload and what it holds: [{"etag", "size"}] in their order; all there is to write is in them once `written`.
    upload_id text,
    parts jsonb NOT NULL DEFAULT '[]',
    written boolean NOT NULL DEFAULT false,
    -- How often it was taken; with it a worker knows whether the job is still its own.
    runs integer NOT NULL DEFAULT 0 CHECK (runs >= 0),
    -- Of the runs those that ended in an error or not at all.
    tries smallint NOT NULL DEFAULT 0 CHECK (tries >= 0),
    -- While it is open: nobody looks at it before; a worker that takes it moves this to the end of its lease.
    due_at timestamptz NOT NULL,
    size bigint CHECK (size >= 0),
    sha256 bytea CHECK (octet_length(sha256) = 32),
    -- Why it failed, as a problem's code.
    failure text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (user_id, job_id),
    CHECK ((status IN ('DONE', 'FAILED')) = (finished_at IS NOT NULL)),
    CHECK ((status = 'DONE') = (size IS NOT NULL AND sha256 IS NOT NULL)),
    CHECK ((status = 'FAILED') = (failure IS NOT NULL)),
    CHECK (upload_id IS NOT NULL OR parts = '[]')
);
CREATE INDEX transaction_exports_by_job ON transaction_exports (job_id);
CREATE INDEX transaction_exports_due ON transaction_exports (due_at, job_id) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX transaction_exports_open ON transaction_exports (user_id, request_digest) WHERE finished_at IS NULL;
-- One at a time for each user.
CREATE UNIQUE INDEX transaction_exports_running ON transaction_exports (user_id) WHERE status = 'RUNNING';
CALL protect_user_rows('transaction_exports');

GRANT SELECT, INSERT ON transaction_exports TO app;
GRANT SELECT ON transaction_exports TO worker;
GRANT UPDATE (status, total, done, before_id, upload_id, parts, written, runs, tries, due_at, size, sha256, failure, finished_at)
    ON transaction_exports TO worker;
-- Filters hold what a person searched for.
REVOKE SELECT ON transaction_exports FROM auditor;
GRANT SELECT (user_id, job_id, card_id, status, total, done, runs, tries, due_at, size, sha256, failure, created_at, finished_at)
    ON transaction_exports TO auditor;
