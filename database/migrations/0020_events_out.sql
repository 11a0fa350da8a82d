-- Events out: the outbox is the feed of all events, subscriptions say more of what they want, what was missed is replayed.
SET LOCAL ROLE migrator;

-- Replays, and the order of a card's events, are read from the feed. Decisions are copied into it by the relay.
CREATE INDEX outbox_of_user ON outbox (user_id, event_id);
CREATE INDEX outbox_of_card ON outbox (card_id, event_id) WHERE card_id IS NOT NULL;

ALTER TABLE webhook_subscriptions
    ADD COLUMN organization_id uuid,
    -- Events of one card one after the other, each after the end of the one before.
    ADD COLUMN ordered boolean NOT NULL DEFAULT false,
    -- The version of event schemas it was made for; newer ones change nothing for it.
    ADD COLUMN api_version text NOT NULL DEFAULT '2026-11-21' CHECK (api_version ~ '^\d{4}-\d{2}-\d{2}$'),
    ADD COLUMN description text CHECK (length(description) BETWEEN 1 AND 200),
    -- Until when each secret but the newest still signs, in the order of secrets_sealed.
    ADD COLUMN secrets_until timestamptz[] NOT NULL DEFAULT '{}',
    -- When its URL answered the challenge; NULL again when the URL changes.
    ADD COLUMN verified_at timestamptz,
    -- When the schedule asks for the verification if the queue has not; whoever asks moves it first.
    ADD COLUMN verification_due_at timestamptz,
    -- Since when it has heard nothing; what happened since is replayed when it is ACTIVE again.
    ADD COLUMN inactive_since timestamptz,
    -- Since when its events in a row have failed for good; they are replayed with what it missed.
    ADD COLUMN failing_since timestamptz,
    -- Since when it wants what it wants; NULL: since it was made.
    ADD COLUMN filter_since timestamptz;
ALTER TABLE webhook_subscriptions ALTER COLUMN api_version DROP DEFAULT;
UPDATE webhook_subscriptions SET
    secrets_until = array_fill(updated_at + interval '1 day', ARRAY[cardinality(secrets_sealed) - 1])
    WHERE cardinality(secrets_sealed) > 1;
UPDATE webhook_subscriptions SET
    verified_at = CASE WHEN status IN ('ACTIVE', 'PAUSED', 'DISABLED') THEN updated_at END,
    verification_due_at = CASE WHEN status = 'PENDING_VERIFICATION' THEN updated_at END,
    inactive_since = CASE WHEN status <> 'ACTIVE' THEN updated_at END,
    failing_since = CASE WHEN consecutive_failures > 0 THEN updated_at END;
ALTER TABLE webhook_subscriptions
    ADD CHECK (cardinality(secrets_until) = greatest(cardinality(secrets_sealed) - 1, 0)),
    ADD CHECK (deleted_at IS NOT NULL OR (status = 'PENDING_VERIFICATION') = (verification_due_at IS NOT NULL)),
    ADD CHECK (status <> 'ACTIVE' OR verified_at IS NOT NULL),
    ADD CHECK ((status = 'ACTIVE') = (inactive_since IS NULL)),
    ADD CHECK ((consecutive_failures > 0) = (failing_since IS NOT NULL));
CREATE INDEX webhook_subscriptions_unverified ON webhook_subscriptions (verification_due_at)
    WHERE status = 'PENDING_VERIFICATION' AND deleted_at IS NULL;

ALTER TABLE webhook_deliveries
    DROP CONSTRAINT webhook_deliveries_attempts_check,
    ADD COLUMN card_id uuid,
    ADD COLUMN ordered boolean NOT NULL DEFAULT false,
    -- When the event happened; the delivery's own created_at is when it was made.
    ADD COLUMN event_created_at timestamptz,
    -- Attempts of earlier rounds: a replay is a new round of six.
    ADD COLUMN round_start smallint NOT NULL DEFAULT 0 CHECK (round_start >= 0);
UPDATE webhook_deliveries SET event_created_at = created_at;
ALTER TABLE webhook_deliveries
    ALTER COLUMN event_created_at SET NOT NULL,
    ADD CHECK (attempts - round_start BETWEEN 0 AND 6),
    ADD CHECK (NOT ordered OR card_id IS NOT NULL);
ALTER TABLE webhook_attempts
    DROP CONSTRAINT webhook_attempts_number_check,
    ADD CONSTRAINT webhook_attempts_number_check CHECK (number >= 1);
-- What is due is looked for subscription by subscription, or, in order, card by card: the first of each stands first.
DROP INDEX webhook_deliveries_due;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (user_id, subscription_id, ordered, next_attempt_at)
    WHERE status = 'PENDING';
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (user_id, subscription_id, card_id, event_id)
    WHERE status = 'PENDING' AND ordered;
CREATE INDEX webhook_deliveries_of_card ON webhook_deliveries (user_id, subscription_id, card_id, event_id) WHERE ordered;
CREATE INDEX webhook_deliveries_undelivered ON webhook_deliveries (user_id, subscription_id, event_id)
    WHERE status IN ('FAILED', 'CANCELLED');
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (event_id, subscription_id) WHERE status = 'FAILED';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id, subscription_id);
CREATE INDEX webhook_attempts_by_time ON webhook_attempts (started_at);

-- Events sent again on request, or because they were missed: worked off in pages, newest position kept.
CREATE TABLE webhook_replays (
    user_id uuid NOT NULL,
    replay_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    -- One event, or all of a range of time.
    event_id uuid,
    range_from timestamptz,
    range_until timestamptz,
    -- Leaves alone what was delivered before.
    only_missed boolean NOT NULL,
    status text NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED')),
    -- The last event that was looked at; all before it are done.
    position uuid,
    done integer NOT NULL DEFAULT 0 CHECK (done >= 0),
    total integer CHECK (total >= 0),
    -- Who waited longest for a page gets the next one.
    moved_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (user_id, replay_id),
    FOREIGN KEY (user_id, subscription_id) REFERENCES webhook_subscriptions (user_id, subscription_id),
    CHECK ((event_id IS NULL) = (range_from IS NOT NULL AND range_until IS NOT NULL)),
    CHECK (range_from < range_until),
    CHECK ((status IN ('DONE', 'FAILED')) = (finished_at IS NOT NULL))
);
CREATE INDEX webhook_replays_open ON webhook_replays (moved_at, replay_id) WHERE status IN ('QUEUED', 'RUNNING');
CREATE INDEX webhook_replays_of_subscription ON webhook_replays (user_id, subscription_id, replay_id);
CALL protect_user_rows('webhook_replays');

GRANT UPDATE (url, event_types, card_ids, organization_id, ordered, api_version, description, secrets_until, verified_at,
              verification_due_at, inactive_since, failing_since, filter_since, consecutive_failures, background) ON webhook_subscriptions TO app;
GRANT UPDATE (verified_at, verification_due_at, inactive_since, failing_since) ON webhook_subscriptions TO worker;
GRANT UPDATE (round_start) ON webhook_deliveries TO worker;
GRANT SELECT, INSERT ON webhook_replays TO app, worker;
GRANT UPDATE (status, position, done, total, moved_at, finished_at) ON webhook_replays TO worker;
-- Ending a subscription ends what is replayed to it.
GRANT UPDATE (status, finished_at) ON webhook_replays TO app;
GRANT SELECT (organization_id, ordered, api_version, verified_at, verification_due_at, inactive_since, failing_since, filter_since)
    ON webhook_subscriptions TO auditor;

-- What a user's events belong to: the filter by organization rests on it.
CREATE FUNCTION user_organization(p_user_id uuid) RETURNS uuid
    LANGUAGE sql STABLE
    RETURN (SELECT organization_id FROM users WHERE user_id = p_user_id);
GRANT EXECUTE ON FUNCTION user_organization(uuid) TO app, worker;
