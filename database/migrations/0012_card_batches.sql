-- Many cards in one request: a job, and one row for each card it is to make.
SET LOCAL ROLE migrator;

CREATE TABLE card_batches (
    user_id uuid NOT NULL REFERENCES users (user_id),
    job_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED')),
    total integer NOT NULL CHECK (total BETWEEN 1 AND 1000),
    request_id text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (user_id, job_id),
    CHECK ((status IN ('DONE', 'FAILED')) = (finished_at IS NOT NULL))
);
CREATE INDEX card_batches_recent ON card_batches (user_id, created_at);
CREATE INDEX card_batches_by_job ON card_batches (job_id);
CREATE INDEX card_batches_open ON card_batches (user_id, job_id) WHERE finished_at IS NULL;
CALL protect_user_rows('card_batches');

CREATE TABLE card_batch_items (
    user_id uuid NOT NULL,
    job_id uuid NOT NULL,
    position integer NOT NULL CHECK (position BETWEEN 0 AND 999),
    -- Fixed when the batch is taken: however often the item is run, it makes this card.
    card_id uuid NOT NULL,
    -- The caller's own key of the item; the same key with the same wish is the same card in every batch.
    item_key text CHECK (length(item_key) BETWEEN 1 AND 255),
    -- Of the wish. An item that could not be read has an empty one: what its sender wrote is kept nowhere.
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    wish jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('PENDING', 'DONE', 'FAILED')),
    -- How often it was taken; with it a worker knows whether the item is still its own.
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- While PENDING: nobody looks at it before; a worker that takes it moves this past the time it can possibly need.
    due_at timestamptz NOT NULL,
    -- Why it failed, as a problem's code and detail.
    failure jsonb,
    finished_at timestamptz,
    PRIMARY KEY (user_id, job_id, position),
    FOREIGN KEY (user_id, job_id) REFERENCES card_batches (user_id, job_id),
    CHECK ((state = 'PENDING') = (finished_at IS NULL)),
    CHECK ((state = 'FAILED') = (failure IS NOT NULL))
);
CREATE INDEX card_batch_items_pending ON card_batch_items (user_id, job_id, due_at, position) WHERE state = 'PENDING';
CREATE INDEX card_batch_items_by_key ON card_batch_items (user_id, item_key) WHERE item_key IS NOT NULL;
CALL protect_user_rows('card_batch_items');

GRANT SELECT, INSERT ON card_batches, card_batch_items TO app;
GRANT SELECT ON card_batches, card_batch_items TO worker;
GRANT UPDATE (status, finished_at) ON card_batches TO worker;
GRANT UPDATE (state, attempts, due_at, failure, finished_at) ON card_batch_items TO worker;
-- A wish holds the label a person gave a card, which the auditor does not read on cards either.
REVOKE SELECT ON card_batch_items FROM auditor;
GRANT SELECT (user_id, job_id, position, card_id, state, attempts, due_at, finished_at) ON card_batch_items TO auditor;
