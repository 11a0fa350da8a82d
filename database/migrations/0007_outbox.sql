-- Events that committed with their change, and the keys that make writes repeatable.
SET LOCAL ROLE migrator;

CREATE TABLE outbox (
    event_id uuid PRIMARY KEY,
    type text NOT NULL CHECK (type ~ '^[a-z_]+(\.[a-z_]+)+$'),
    user_id uuid,
    card_id uuid,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    published_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX outbox_unpublished ON outbox (event_id) WHERE published_at IS NULL;
CALL protect_user_rows('outbox');
GRANT SELECT, INSERT ON outbox TO app, worker;
GRANT UPDATE (published_at) ON outbox TO worker;

CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- Digest of method, path and body: the same key with another request is refused.
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    -- Fixed at the first try and used as the id of what is created, so that a second run finds the first one's work.
    operation_id uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    status smallint CHECK (status BETWEEN 200 AND 499),
    -- Sealed (AES-256-GCM); once-shown secrets are left out before sealing.
    response_sealed bytea,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key),
    CHECK ((status IS NULL) = (response_sealed IS NULL))
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CALL protect_user_rows('idempotency_keys');
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO app;
GRANT UPDATE (lease_until, status, response_sealed) ON idempotency_keys TO app;
GRANT SELECT, DELETE ON idempotency_keys TO worker;
