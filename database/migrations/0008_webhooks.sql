-- Who wants to hear of which events, and every delivery with its attempts.
SET LOCAL ROLE migrator;

CREATE TABLE webhook_subscriptions (
    user_id uuid NOT NULL REFERENCES users (user_id),
    subscription_id uuid NOT NULL,
    url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    event_types text[] NOT NULL CHECK (cardinality(event_types) BETWEEN 1 AND 50),
    -- NULL means every card.
    card_ids uuid[] CHECK (cardinality(card_ids) BETWEEN 1 AND 100),
    scope text NOT NULL CHECK (scope IN ('own', 'all')),
    status text NOT NULL CHECK (status IN ('PENDING_VERIFICATION', 'ACTIVE', 'VERIFICATION_FAILED', 'PAUSED', 'DISABLED')),
    -- Why the status is what it is: the outcome of the verification, or what disabled it.
    status_detail text,
    -- Sealed (AES-256-GCM), newest first: while a secret is rotated both sign. Emptied when the subscription ends.
    secrets_sealed bytea[] NOT NULL,
    consecutive_failures smallint NOT NULL DEFAULT 0 CHECK (consecutive_failures >= 0),
    -- Its receiver failed or was slow at the last attempt: the schedule serves it, where it holds nobody up.
    background boolean NOT NULL DEFAULT false,
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    last_operation_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (user_id, subscription_id),
    CHECK (deleted_at IS NOT NULL OR cardinality(secrets_sealed) BETWEEN 1 AND 5)
);
CREATE INDEX webhook_subscriptions_of_staff ON webhook_subscriptions (user_id, subscription_id)
    WHERE scope = 'all' AND status = 'ACTIVE' AND deleted_at IS NULL;
CREATE INDEX webhook_subscriptions_active ON webhook_subscriptions (user_id, subscription_id)
    WHERE status = 'ACTIVE' AND deleted_at IS NULL;
CALL protect_user_rows('webhook_subscriptions');

CREATE TABLE webhook_deliveries (
    user_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    -- Text, not jsonb: every attempt sends the same bytes.
    payload text NOT NULL,
    status text NOT NULL CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'CANCELLED')),
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 6),
    next_attempt_at timestamptz,
    -- One worker at a time: who holds the token may send, and records only while the token is still here.
    lease_token uuid,
    lease_until timestamptz,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (user_id, subscription_id, event_id),
    FOREIGN KEY (user_id, subscription_id) REFERENCES webhook_subscriptions (user_id, subscription_id),
    CHECK ((status = 'PENDING') = (next_attempt_at IS NOT NULL)),
    CHECK ((status = 'PENDING') = (finished_at IS NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CHECK (status = 'PENDING' OR lease_token IS NULL)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (user_id, subscription_id, next_attempt_at) WHERE status = 'PENDING';
CALL protect_user_rows('webhook_deliveries');

CREATE TABLE webhook_attempts (
    user_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    event_id uuid NOT NULL,
    number smallint NOT NULL CHECK (number BETWEEN 1 AND 6),
    started_at timestamptz NOT NULL,
    latency_ms integer NOT NULL CHECK (latency_ms >= 0),
    status_code smallint,
    outcome text NOT NULL,
    response text CHECK (length(response) <= 1024),
    PRIMARY KEY (user_id, subscription_id, event_id, number),
    FOREIGN KEY (user_id, subscription_id, event_id) REFERENCES webhook_deliveries (user_id, subscription_id, event_id)
);
CALL protect_user_rows('webhook_attempts');

-- The app role makes and ends subscriptions; attempts and their outcomes are the worker's.
GRANT SELECT, INSERT ON webhook_subscriptions TO app;
GRANT UPDATE (status, status_detail, secrets_sealed, version, last_operation_id, updated_at, deleted_at) ON webhook_subscriptions TO app;
GRANT SELECT ON webhook_deliveries, webhook_attempts TO app;
GRANT UPDATE (status, next_attempt_at, lease_token, lease_until, finished_at) ON webhook_deliveries TO app;
GRANT SELECT ON webhook_subscriptions TO worker;
GRANT UPDATE (status, status_detail, consecutive_failures, background, version, updated_at) ON webhook_subscriptions TO worker;
GRANT SELECT, INSERT ON webhook_deliveries, webhook_attempts TO worker;
GRANT UPDATE (status, attempts, next_attempt_at, lease_token, lease_until, finished_at) ON webhook_deliveries TO worker;
REVOKE SELECT ON webhook_subscriptions FROM auditor;
GRANT SELECT (user_id, subscription_id, event_types, card_ids, scope, status, status_detail, consecutive_failures, version, created_at,
              updated_at, deleted_at) ON webhook_subscriptions TO auditor;
