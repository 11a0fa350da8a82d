-- Events out: the outbox is the feed of all events, subscriptions say more of what they want, what was missed is replayed.
SET LOCAL ROLE migrator;

-- Replays, and the order of a card's events, are read from the feed. Decisions are copied into it by the relay.
CREATE INDEX outbox_of_user ON outbox (user_id, event_id);
CREATE INDEX outbox_of_card ON outbox (card_id, event_id) WHERE card_id IS NOT NULL;
ALTER TABLE outbox
    -- Names of the queues that were offered the event, want it and have not taken it; NULL before the first offer and when all have it.
    ADD COLUMN waits_for text[],
    -- When it was offered last: who has waited longest is offered next.
    ADD COLUMN left_at timestamptz,
    ADD CHECK ((waits_for IS NULL) = (left_at IS NULL)),
    ADD CHECK (waits_for IS NULL OR (published_at IS NULL AND cardinality(waits_for) > 0));
-- What waits for one queue is out of the way of what nobody has been offered.
DROP INDEX outbox_unpublished;
CREATE INDEX outbox_unpublished ON outbox (event_id) WHERE published_at IS NULL AND waits_for IS NULL;
CREATE INDEX outbox_left ON outbox (waits_for, left_at, event_id) WHERE waits_for IS NOT NULL;
GRANT UPDATE (waits_for, left_at) ON outbox TO worker;

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
-- A fan-out under way does not see that its subscription is deleted: the schedule ends what it leaves.
CREATE INDEX webhook_subscriptions_deleted ON webhook_subscriptions (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX webhook_subscriptions_unverified ON webhook_subscriptions (verification_due_at)
    WHERE status = 'PENDING_VERIFICATION' AND deleted_at IS NULL;

ALTER TABLE webhook_deliveries
    DROP CONSTRAINT webhook_deliveries_attempts_check,
    ADD COLUMN card_id uuid,
    ADD COLUMN ordered boolean NOT NULL DEFAULT false,
    -- Stands behind an earlier one of its card that waits; only what does not is looked at by those who claim.
    ADD COLUMN blocked boolean NOT NULL DEFAULT false,
    -- When the event happened; the delivery's own created_at is when it was made.
    ADD COLUMN event_created_at timestamptz,
    -- Made or renewed by a replay: its delay says nothing of ours.
    ADD COLUMN replayed boolean NOT NULL DEFAULT false,
    -- A replay is a new round of six attempts; what earlier rounds had.
    ADD COLUMN rounds smallint NOT NULL DEFAULT 1 CHECK (rounds >= 1),
    ADD COLUMN round_start integer NOT NULL DEFAULT 0 CHECK (round_start >= 0),
    ALTER COLUMN attempts TYPE integer;
UPDATE webhook_deliveries SET event_created_at = created_at;
ALTER TABLE webhook_deliveries
    ALTER COLUMN event_created_at SET NOT NULL,
    ADD CHECK (attempts - round_start BETWEEN 0 AND 6),
    ADD CHECK (NOT ordered OR card_id IS NOT NULL),
    ADD CHECK (NOT blocked OR ordered);
ALTER TABLE webhook_attempts
    DROP CONSTRAINT webhook_attempts_number_check,
    ALTER COLUMN number TYPE integer,
    ADD CONSTRAINT webhook_attempts_number_check CHECK (number >= 1);
-- What is due is looked for subscription by subscription.
DROP INDEX webhook_deliveries_due;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (user_id, subscription_id, next_attempt_at)
    WHERE status = 'PENDING' AND NOT blocked;
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (user_id, subscription_id, card_id, event_id)
    WHERE status = 'PENDING' AND ordered;
CREATE INDEX webhook_deliveries_in_turn ON webhook_deliveries (user_id, subscription_id, card_id, event_id)
    WHERE status = 'PENDING' AND ordered AND NOT blocked;
CREATE INDEX webhook_deliveries_of_card ON webhook_deliveries (user_id, subscription_id, card_id, event_id) WHERE ordered;
CREATE INDEX webhook_deliveries_undelivered ON webhook_deliveries (user_id, subscription_id, event_id)
    WHERE status IN ('FAILED', 'CANCELLED');
CREATE INDEX webhook_deliveries_not_delivered ON webhook_deliveries (event_id, subscription_id) WHERE status <> 'DELIVERED';
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
    -- The owner asked for it; else it was made because the subscription missed something, and at most one such is open.
    asked boolean NOT NULL,
    -- QUEUED: begins at the beginning of its range, also when that was widened meanwhile.
    status text NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED')),
    -- What happened before this has been looked at, and of what happened then all up to this event.
    looked_until timestamptz,
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
GRANT UPDATE (round_start, rounds, ordered, blocked, replayed) ON webhook_deliveries TO worker;
GRANT SELECT, INSERT ON webhook_replays TO app, worker;
GRANT UPDATE (status, looked_until, position, done, total, moved_at, finished_at) ON webhook_replays TO worker;
-- Ending a subscription ends what is replayed to it.
GRANT UPDATE (status, finished_at) ON webhook_replays TO app;
-- What was missed again is added to what is still being replayed.
GRANT UPDATE (range_from, range_until) ON webhook_replays TO app, worker;
GRANT SELECT (organization_id, ordered, api_version, verified_at, verification_due_at, inactive_since, failing_since, filter_since)
    ON webhook_subscriptions TO auditor;

-- What a user's events belong to: the filter by organization rests on it.
CREATE FUNCTION user_organization(p_user_id uuid) RETURNS uuid
    LANGUAGE sql STABLE
    RETURN (SELECT organization_id FROM users WHERE user_id = p_user_id);
GRANT EXECUTE ON FUNCTION user_organization(uuid) TO app, worker;
