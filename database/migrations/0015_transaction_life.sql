-- The life of a transaction: what the network tells of it after the decision, the hold it moves, and the record a decision leaves.
SET LOCAL ROLE migrator;

-- Partitions and two indexes cost the decision more than they gave (docs/decisions/0021).
DROP INDEX card_transactions_of_user, card_transactions_unpublished;
ALTER TABLE card_transactions RENAME TO partitioned_transactions;

-- The row is the transaction, the hold, the outbox record (published_at), the record of the decision and the audit entry in one.
CREATE TABLE card_transactions (
    card_id uuid NOT NULL,
    transaction_id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- The network's id. What it posts without asking may have none.
    authorization_id text CHECK (authorization_id !~ '[[:cntrl:]]'),
    original_authorization_id text CHECK (original_authorization_id !~ '[[:cntrl:]]'),
    -- The authorization whose row bears the amounts of all that belongs together; its own id but for incrementals.
    root_authorization_id text,
    type text NOT NULL CHECK (type IN ('authorization', 'incremental', 'advice', 'force_post', 'refund')),
    status transaction_status NOT NULL,
    reason text NOT NULL,
    amount numeric(12, 2) NOT NULL CHECK (amount >= 0),
    approved_amount numeric(12, 2) NOT NULL CHECK (approved_amount BETWEEN 0 AND amount),
    -- What the network's events made of it (transactions/rules/life.py). Sums of amounts, so wider than one.
    held_amount numeric(14, 2) NOT NULL DEFAULT 0 CHECK (held_amount >= 0),
    spent_amount numeric(14, 2) NOT NULL DEFAULT 0 CHECK (spent_amount >= 0),
    cleared_amount numeric(14, 2) NOT NULL DEFAULT 0 CHECK (cleared_amount >= 0),
    reversed_amount numeric(14, 2) NOT NULL DEFAULT 0 CHECK (reversed_amount >= 0),
    refunded_amount numeric(14, 2) NOT NULL DEFAULT 0 CHECK (refunded_amount >= 0),
    final boolean NOT NULL DEFAULT false,
    expired boolean NOT NULL DEFAULT false,
    flags text[] NOT NULL DEFAULT '{}',
    currency char(3) NOT NULL,
    merchant_category char(4) NOT NULL,
    -- What the network told beyond the columns: merchant, channel, its own time, the amount in the merchant's currency.
    detail jsonb NOT NULL,
    risk_score smallint CHECK (risk_score BETWEEN 0 AND 100),
    -- SHA-256 of the request without its signature: the same id with another body is refused.
    request_digest bytea NOT NULL,
    config_version integer NOT NULL,
    -- With the configuration of that version and what was seen on the spend row the decision can be made again.
    rule_version smallint NOT NULL DEFAULT 0,
    continued boolean NOT NULL DEFAULT false,
    seen_day_spent numeric(14, 2),
    seen_month_spent numeric(14, 2),
    seen_approvals bigint,
    -- The approval that must be an hour old; NULL when there are too few for the limit, or none is set.
    seen_velocity_at timestamptz,
    seen_locked_merchant_id text,
    -- Balance less holds; NULL where limits alone fund the card.
    seen_available numeric(14, 2),
    -- The windows the amount was taken from.
    day_start timestamptz NOT NULL,
    month_start timestamptz NOT NULL,
    hold_expires_at timestamptz,
    decided_at timestamptz NOT NULL,
    -- When a repeated request got the stored approval for an answer: then the network has it.
    confirmed_at timestamptz,
    updated_at timestamptz,
    chain_seq bigint NOT NULL,
    chain_hash bytea NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (card_id, transaction_id),
    UNIQUE (card_id, authorization_id),
    CHECK (status <> 'DECLINED' OR (reason <> 'approved' AND approved_amount = 0))
);
INSERT INTO card_transactions (
    card_id, transaction_id, user_id, authorization_id, original_authorization_id, root_authorization_id, type, status, reason, amount,
    approved_amount, held_amount, spent_amount, currency, merchant_category, detail, risk_score, request_digest, config_version,
    day_start, month_start, hold_expires_at, decided_at, chain_seq, chain_hash, published_at)
SELECT card_id, transaction_id, user_id, authorization_id, original_authorization_id, authorization_id, type, status, reason, amount,
    approved_amount, approved_amount, approved_amount, currency, merchant_category, detail, risk_score, request_digest, config_version,
    day_start, month_start, CASE WHEN approved_amount > 0 THEN decided_at + interval '7 days' END, decided_at, chain_seq, chain_hash,
    published_at
FROM partitioned_transactions;
DROP TABLE partitioned_transactions;
ALTER INDEX card_transactions_pkey1 RENAME TO card_transactions_pkey;
ALTER INDEX card_transactions_card_id_authorization_id_key1 RENAME TO card_transactions_card_id_authorization_id_key;
CREATE INDEX card_transactions_unpublished ON card_transactions (transaction_id) WHERE published_at IS NULL;
CREATE INDEX card_transactions_holds ON card_transactions (hold_expires_at) WHERE held_amount > 0;
-- More of an authorization, and what was posted under the id of one, are found by it.
CREATE INDEX card_transactions_roots ON card_transactions (card_id, root_authorization_id) WHERE type IN ('incremental', 'force_post');
CALL protect_user_rows('card_transactions');
GRANT SELECT ON card_transactions TO app, worker;
GRANT UPDATE (published_at, status, held_amount, spent_amount, cleared_amount, reversed_amount, refunded_amount, final, expired, flags,
              hold_expires_at, updated_at) ON card_transactions TO worker;

-- What the network told after its request, each event once. PARKED: kept until what it belongs to is known, or somebody closes it.
CREATE TABLE transaction_events (
    card_id uuid NOT NULL,
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    -- Id of the outbox event, the audit entry and the ledger posting that it leads to.
    record_id uuid NOT NULL,
    user_id uuid NOT NULL,
    transaction_id uuid,
    type text NOT NULL CHECK (type IN ('transaction.cleared', 'transaction.reversed', 'transaction.refunded', 'transaction.expired',
                                       'transaction.force_posted', 'authorization.advice')),
    authorization_id text,
    amount numeric(12, 2) NOT NULL CHECK (amount >= 0),
    currency char(3) NOT NULL,
    final_clearing boolean NOT NULL DEFAULT false,
    merchant_category char(4),
    detail jsonb NOT NULL,
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    state text NOT NULL CHECK (state IN ('APPLIED', 'PARKED', 'CLOSED')),
    parked_reason text,
    due_at timestamptz,
    tries integer NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL,
    applied_at timestamptz,
    PRIMARY KEY (card_id, event_id),
    CHECK ((state = 'PARKED') = (due_at IS NOT NULL)),
    CHECK ((state = 'APPLIED') = (transaction_id IS NOT NULL AND applied_at IS NOT NULL)),
    CHECK (state <> 'PARKED' OR parked_reason IS NOT NULL)
);
CREATE INDEX transaction_events_of_transaction ON transaction_events (card_id, transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX transaction_events_parked ON transaction_events (due_at) WHERE state = 'PARKED';
CREATE INDEX transaction_events_by_authorization ON transaction_events (card_id, authorization_id) WHERE state = 'PARKED';
CALL protect_user_rows('transaction_events');
GRANT SELECT ON transaction_events TO app;
-- Staff closes what will never find its place.
GRANT UPDATE (state, due_at) ON transaction_events TO app;
CREATE POLICY closed_by_admin ON transaction_events AS RESTRICTIVE FOR UPDATE TO app USING ((SELECT actor_role()) = 'admin');
GRANT SELECT, INSERT ON transaction_events TO worker;
GRANT UPDATE (transaction_id, state, parked_reason, due_at, tries, applied_at) ON transaction_events TO worker;

-- Events for a token that names no card of ours (yet). The token is kept as a digest: what a stranger sends may be anything, a PAN too.
CREATE TABLE unmatched_processor_events (
    card_token_digest bytea NOT NULL CHECK (octet_length(card_token_digest) = 32),
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    type text NOT NULL,
    authorization_id text,
    amount numeric(12, 2) NOT NULL CHECK (amount >= 0),
    currency char(3) NOT NULL,
    final_clearing boolean NOT NULL DEFAULT false,
    detail jsonb NOT NULL,
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (card_token_digest, event_id)
);
CREATE INDEX unmatched_processor_events_due ON unmatched_processor_events (due_at);
GRANT SELECT, INSERT, DELETE ON unmatched_processor_events TO worker;
GRANT UPDATE (due_at, tries) ON unmatched_processor_events TO worker;
CREATE FUNCTION card_token_digest(token text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN sha256(convert_to(token, 'UTF8'));
CREATE INDEX card_tokens_by_digest ON card_tokens (card_token_digest(processor_card_token));
GRANT EXECUTE ON FUNCTION card_token_digest(text) TO app, worker;

ALTER TABLE card_limits
    ALTER COLUMN day_spent TYPE numeric(14, 2),
    ALTER COLUMN month_spent TYPE numeric(14, 2),
    -- First transaction of the card's chain that the sums count: what was taken is given back to the window it was taken from.
    ADD COLUMN day_first_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN month_first_seq bigint NOT NULL DEFAULT 0,
    -- Money loaded and not spent; holds are still in it. NULL: the card is funded by its limits alone.
    ADD COLUMN balance numeric(14, 2),
    -- Rises with every change that events make to the card's transactions.
    ADD COLUMN event_seq bigint NOT NULL DEFAULT 0;
-- Which of the old transactions the sums count is known by the windows they name.
UPDATE card_limits l SET
    day_first_seq = coalesce((SELECT min(t.chain_seq) FROM card_transactions t WHERE t.card_id = l.card_id AND t.day_start = l.day_start),
                             l.chain_seq + 1),
    month_first_seq = coalesce((SELECT min(t.chain_seq) FROM card_transactions t
                                WHERE t.card_id = l.card_id AND t.month_start = l.month_start), l.chain_seq + 1)
    WHERE l.chain_seq > 0;

-- What decisions were made on, version by version.
CREATE TABLE card_configurations (
    card_id uuid NOT NULL,
    config_version integer NOT NULL,
    user_id uuid NOT NULL,
    status card_status NOT NULL,
    currency char(3) NOT NULL,
    expiry_year smallint NOT NULL,
    expiry_month smallint NOT NULL,
    per_transaction numeric(12, 2) NOT NULL,
    daily numeric(12, 2) NOT NULL,
    monthly numeric(12, 2) NOT NULL,
    velocity_per_hour smallint,
    time_zone text NOT NULL,
    merchant_categories jsonb NOT NULL,
    countries jsonb NOT NULL,
    channels jsonb NOT NULL,
    usage text NOT NULL,
    funding text NOT NULL,
    PRIMARY KEY (card_id, config_version)
);
CALL protect_user_rows('card_configurations');
GRANT SELECT ON card_configurations TO app, worker;

-- At the end of the transaction, when card and limits both are what they are going to be.
CREATE FUNCTION keep_card_configuration() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $keep$
BEGIN
    INSERT INTO card_configurations
        SELECT l.card_id, NEW.config_version, l.user_id, c.status, c.currency, c.expiry_year, c.expiry_month, l.per_transaction, l.daily,
            l.monthly, l.velocity_per_hour, l.time_zone, l.merchant_categories, l.countries, l.channels, l.usage,
            CASE WHEN l.balance IS NULL THEN 'limits' ELSE 'balance' END
        FROM card_limits l JOIN virtual_cards c ON c.card_id = l.card_id WHERE l.card_id = NEW.card_id
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$keep$;
CREATE CONSTRAINT TRIGGER card_limits_keep_configuration AFTER INSERT OR UPDATE OF config_version ON card_limits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keep_card_configuration();
INSERT INTO card_configurations
    SELECT l.card_id, l.config_version, l.user_id, c.status, c.currency, c.expiry_year, c.expiry_month, l.per_transaction, l.daily,
        l.monthly, l.velocity_per_hour, l.time_zone, l.merchant_categories, l.countries, l.channels, l.usage, 'limits'
    FROM card_limits l JOIN virtual_cards c ON c.card_id = l.card_id;

-- Links of rows without a rule version, made before, are recomputed with authorization_entry (0006).
-- A link of the card's chain: what never changes of a row, in bytes that cost little to make. The request's digest stands for the
-- request, detail included; texts are parted by a character that none of them can hold, and another stands for none. STABLE, so that the planner takes it apart.
CREATE FUNCTION decision_entry(
    p_card_id uuid, p_transaction_id uuid, p_user_id uuid, p_authorization_id text, p_type text, p_reason text, p_amount numeric,
    p_approved_amount numeric, p_currency text, p_request_digest bytea, p_config_version integer, p_rule_version smallint,
    p_continued boolean, p_seen_day_spent numeric, p_seen_month_spent numeric, p_seen_approvals bigint, p_seen_velocity_at timestamptz,
    p_seen_locked_merchant_id text, p_seen_available numeric, p_risk_score smallint, p_day_start timestamptz,
    p_month_start timestamptz, p_decided_at timestamptz
) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN p_request_digest || uuid_send(p_card_id) || uuid_send(p_transaction_id) || uuid_send(p_user_id)
        || timestamptz_send(p_day_start) || timestamptz_send(p_month_start) || timestamptz_send(p_decided_at)
        || convert_to(concat_ws(
            E'\x1f', coalesce(p_authorization_id, E'\x1d'), p_type, p_reason, p_amount, p_approved_amount, p_currency, p_config_version,
            p_rule_version, p_continued, coalesce(p_risk_score, -1), coalesce(p_seen_day_spent, -1), coalesce(p_seen_month_spent, -1),
            coalesce(p_seen_approvals, -1), coalesce(p_seen_available::text, '-'), coalesce(p_seen_locked_merchant_id, E'\x1d'), ''), 'UTF8')
        || coalesce(timestamptz_send(p_seen_velocity_at), '\x'::bytea);

-- Why a spend row declines an amount, or NULL; in the order of docs/decisions/0013. An incremental is the same use of the card once
-- more: it spends money, but no use and no velocity. With p_partial the amounts decline only what is left nothing of.
DROP FUNCTION decline_reason(uuid, integer, numeric, text, boolean, timestamptz, timestamptz, timestamptz);
CREATE FUNCTION decline_reason(
    spend card_limits, p_amount numeric, p_merchant_id text, p_continued boolean, p_partial boolean, p_day_start timestamptz,
    p_month_start timestamptz, p_now timestamptz
) RETURNS text
    LANGUAGE plpgsql STABLE AS $reason$
DECLARE
    -- The least that must be left: all of it, or anything at all. Limits and balances have the currency's minor digits.
    wanted CONSTANT numeric := CASE WHEN p_partial AND p_amount > 0 THEN least(p_amount, 0.01) ELSE p_amount END;
BEGIN
    RETURN CASE
        WHEN spend.usage = 'single' AND spend.approvals > 0 AND NOT p_continued THEN 'card_already_used'
        WHEN spend.usage = 'merchant_locked' AND NOT p_continued
            AND (p_merchant_id IS NULL OR coalesce(spend.locked_merchant_id, p_merchant_id) <> p_merchant_id)
            THEN 'merchant_locked'
        WHEN CASE WHEN spend.day_start >= p_day_start THEN spend.day_spent ELSE 0 END + wanted > spend.daily
            THEN 'daily_limit_exceeded'
        WHEN CASE WHEN spend.month_start >= p_month_start THEN spend.month_spent ELSE 0 END + wanted > spend.monthly
            THEN 'monthly_limit_exceeded'
        WHEN spend.balance - spend.held < wanted THEN 'insufficient_funds'
        WHEN spend.velocity_per_hour IS NOT NULL AND NOT p_continued AND cardinality(spend.recent_approvals) >= spend.velocity_per_hour
            AND spend.recent_approvals[cardinality(spend.recent_approvals) + 1 - spend.velocity_per_hour] > p_now - interval '1 hour'
            THEN 'velocity_exceeded'
        END;
END
$reason$;

DROP FUNCTION record_authorization(uuid, integer, text, bytea, uuid, text, numeric, text, text, text, text, text, jsonb, smallint,
                                   timestamptz, timestamptz, timestamptz);
-- Record one decision. p_reason is NULL when the rules that need no counters approve; use, money and velocity are decided here, on
-- the locked row. Outcomes: recorded (with the final reason), repeated (the stored answer of this id), reused (the id was used
-- with another body), voided (the hold was given back since: the network has no approval), stale (the card changed since
-- p_config_version; nothing was written, decide again). With p_partial what is left of the limits is approved where it is less than
-- asked. Raises unique_violation when the same id is being recorded at this moment: call again and it is found.
CREATE FUNCTION record_authorization(
    p_card_id uuid, p_config_version integer, p_authorization_id text, p_request_digest bytea, p_transaction_id uuid,
    p_reason text, p_amount numeric, p_currency text, p_type text, p_original_authorization_id text, p_merchant_category text,
    p_merchant_id text, p_detail jsonb, p_risk_score smallint, p_day_start timestamptz, p_month_start timestamptz, p_now timestamptz,
    p_partial boolean, p_hold_expires_at timestamptz, p_rule_version smallint
) RETURNS authorization_answer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    -- Planned once a connection.
    SET plan_cache_mode = force_generic_plan
    -- Under the caller's patience: who waits no longer must not be recorded as approved.
    SET lock_timeout = '1s' AS $record$
DECLARE
    earlier record;
    spend card_limits;
    declined text := p_reason;
    offer numeric(12, 2) := p_amount;
    root text := p_authorization_id;
    -- An incremental shows what its group shows.
    begun_as transaction_status := 'AUTHORIZED';
    is_continued boolean := false;
BEGIN
    IF p_type = 'incremental' THEN
        -- The spend row is held before its group is looked at: an event that ends the group comes before or after, not in between.
        PERFORM FROM card_limits l WHERE l.card_id = p_card_id FOR NO KEY UPDATE;
        SELECT t.root_authorization_id, t.status INTO root, begun_as FROM card_transactions t WHERE t.card_id = p_card_id
            AND t.authorization_id = p_original_authorization_id AND t.status IN ('AUTHORIZED', 'PARTIALLY_CLEARED')
            AND t.approved_amount > 0;
        is_continued := FOUND;
        root := coalesce(root, p_authorization_id);
        begun_as := coalesce(begun_as, 'AUTHORIZED');
    END IF;
    FOR attempt IN 1..2 LOOP
        IF declined IS NULL THEN
            -- One statement: the row it locks, what it takes from it and what is written are of one moment.
            WITH spent AS (
                UPDATE card_limits l SET
                    held = l.held + offer,
                    day_spent = CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END + offer,
                    day_first_seq = CASE WHEN l.day_start >= p_day_start THEN l.day_first_seq ELSE l.chain_seq + 1 END,
                    day_start = greatest(l.day_start, p_day_start),
                    month_spent = CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END + offer,
                    month_first_seq = CASE WHEN l.month_start >= p_month_start THEN l.month_first_seq ELSE l.chain_seq + 1 END,
                    month_start = greatest(l.month_start, p_month_start),
                    approvals = l.approvals + 1,
                    locked_merchant_id = CASE WHEN l.usage = 'merchant_locked' THEN coalesce(l.locked_merchant_id, p_merchant_id) END,
                    -- One more than the limit is kept: the one that had to be an hour old.
                    recent_approvals = CASE WHEN l.velocity_per_hour IS NULL OR is_continued THEN l.recent_approvals
                        ELSE (l.recent_approvals || p_now)[greatest(1, cardinality(l.recent_approvals) + 1 - l.velocity_per_hour):] END,
                    chain_seq = l.chain_seq + 1,
                    chain_head = sha256(l.chain_head || decision_entry(
                        p_card_id, p_transaction_id, l.user_id, p_authorization_id, p_type, 'approved', p_amount::numeric(12, 2), offer, p_currency,
                        p_request_digest, p_config_version, p_rule_version, is_continued,
                        CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0.00 END,
                        CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0.00 END, l.approvals,
                        CASE WHEN NOT is_continued
                            THEN l.recent_approvals[cardinality(l.recent_approvals) + 1 - l.velocity_per_hour] END,
                        CASE WHEN l.usage = 'merchant_locked' THEN coalesce(l.locked_merchant_id, p_merchant_id) END,
                        l.balance - l.held, p_risk_score, greatest(l.day_start, p_day_start), greatest(l.month_start, p_month_start), p_now))
                WHERE l.card_id = p_card_id AND l.config_version = p_config_version
                    AND (l.usage = 'multi' OR is_continued OR (l.usage = 'single' AND l.approvals = 0)
                         OR (l.usage = 'merchant_locked' AND coalesce(l.locked_merchant_id, p_merchant_id) = p_merchant_id))
                    AND (NOT p_partial OR offer <= l.per_transaction)
                    AND CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END + offer <= l.daily
                    AND CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END + offer <= l.monthly
                    AND (l.balance IS NULL OR l.balance - l.held >= offer)
                    AND (l.velocity_per_hour IS NULL OR is_continued
                         OR cardinality(l.recent_approvals) < l.velocity_per_hour
                         OR l.recent_approvals[cardinality(l.recent_approvals) + 1 - l.velocity_per_hour] <= p_now - interval '1 hour')
                    AND NOT EXISTS (SELECT FROM card_transactions t
                                    WHERE t.card_id = p_card_id AND t.authorization_id = p_authorization_id)
                RETURNING l.user_id, l.chain_seq, l.chain_head, l.day_start, l.month_start, l.day_spent, l.month_spent, l.approvals,
                    l.locked_merchant_id, l.balance - l.held AS available,
                    CASE WHEN NOT is_continued
                        THEN l.recent_approvals[cardinality(l.recent_approvals) - l.velocity_per_hour] END AS velocity_at
            )
            INSERT INTO card_transactions (
                card_id, transaction_id, user_id, authorization_id, original_authorization_id, root_authorization_id, type, status,
                reason, amount, approved_amount, held_amount, spent_amount, currency, merchant_category, detail, risk_score,
                request_digest, config_version, rule_version, continued, seen_day_spent, seen_month_spent, seen_approvals,
                seen_velocity_at, seen_locked_merchant_id, seen_available, day_start, month_start, hold_expires_at, decided_at,
                chain_seq, chain_hash)
            SELECT p_card_id, p_transaction_id, s.user_id, p_authorization_id, p_original_authorization_id, root, p_type, begun_as,
                'approved', p_amount, offer, offer, offer, p_currency, p_merchant_category, p_detail, p_risk_score, p_request_digest,
                p_config_version, p_rule_version, is_continued, s.day_spent - offer, s.month_spent - offer, s.approvals - 1,
                s.velocity_at, s.locked_merchant_id, s.available + offer, s.day_start, s.month_start, p_hold_expires_at, p_now,
                s.chain_seq, s.chain_head
            FROM spent s;
            IF FOUND THEN
                RETURN ('recorded', p_transaction_id, 'approved', offer, p_risk_score, p_now)::authorization_answer;
            END IF;
        END IF;

        SELECT t.transaction_id, t.request_digest, t.type, t.reason, t.approved_amount, t.risk_score, t.decided_at, t.flags,
            t.confirmed_at INTO earlier FROM card_transactions t WHERE t.card_id = p_card_id AND t.authorization_id = p_authorization_id;
        IF FOUND THEN
            IF earlier.request_digest = p_request_digest AND earlier.reason = 'approved' AND earlier.confirmed_at IS NULL THEN
                -- Waits for whoever is giving the hold back at this moment.
                UPDATE card_transactions t SET confirmed_at = p_now
                    WHERE t.card_id = p_card_id AND t.authorization_id = p_authorization_id RETURNING t.flags INTO earlier.flags;
            END IF;
            -- What the network approved in our place before its request came is approved, up to what is asked.
            RETURN (CASE WHEN earlier.type = 'advice' AND p_type = 'authorization' THEN 'repeated'
                         WHEN earlier.request_digest <> p_request_digest THEN 'reused'
                         WHEN 'voided' = ANY (earlier.flags) THEN 'voided' ELSE 'repeated' END,
                    earlier.transaction_id, earlier.reason, least(earlier.approved_amount, p_amount), earlier.risk_score,
                    earlier.decided_at)::authorization_answer;
        END IF;
        -- From here on the row is held: what it declines stays declined, and what it has room for is taken in the second round.
        SELECT * INTO spend FROM card_limits l WHERE l.card_id = p_card_id AND l.config_version = p_config_version FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN ('stale', NULL, NULL, NULL, NULL, NULL)::authorization_answer;
        END IF;
        declined := coalesce(declined, decline_reason(
            spend, p_amount, p_merchant_id, is_continued, p_partial, p_day_start, p_month_start, p_now));
        EXIT WHEN declined IS NOT NULL;
        IF p_partial THEN
            offer := least(p_amount, spend.per_transaction,
                           spend.daily - CASE WHEN spend.day_start >= p_day_start THEN spend.day_spent ELSE 0 END,
                           spend.monthly - CASE WHEN spend.month_start >= p_month_start THEN spend.month_spent ELSE 0 END,
                           coalesce(spend.balance - spend.held, p_amount));
        END IF;
    END LOOP;
    IF declined IS NULL THEN
        RAISE EXCEPTION 'a spend row that has room took nothing';
    END IF;

    -- A decline opens the running windows too: what is cleared all the same counts in them.
    WITH said AS (
        UPDATE card_limits l SET
            day_spent = CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END,
            day_first_seq = CASE WHEN l.day_start >= p_day_start THEN l.day_first_seq ELSE l.chain_seq + 1 END,
            day_start = greatest(l.day_start, p_day_start),
            month_spent = CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END,
            month_first_seq = CASE WHEN l.month_start >= p_month_start THEN l.month_first_seq ELSE l.chain_seq + 1 END,
            month_start = greatest(l.month_start, p_month_start),
            chain_seq = l.chain_seq + 1,
            chain_head = sha256(l.chain_head || decision_entry(
                p_card_id, p_transaction_id, l.user_id, p_authorization_id, p_type, declined, p_amount::numeric(12, 2), 0.00, p_currency,
                p_request_digest, p_config_version, p_rule_version, is_continued,
                CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0.00 END,
                CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0.00 END, l.approvals,
                CASE WHEN NOT is_continued THEN l.recent_approvals[cardinality(l.recent_approvals) + 1 - l.velocity_per_hour] END,
                l.locked_merchant_id, l.balance - l.held, p_risk_score, greatest(l.day_start, p_day_start),
                greatest(l.month_start, p_month_start), p_now))
            WHERE l.card_id = p_card_id RETURNING l.*
    )
    INSERT INTO card_transactions (
        card_id, transaction_id, user_id, authorization_id, original_authorization_id, root_authorization_id, type, status, reason,
        amount, approved_amount, currency, merchant_category, detail, risk_score, request_digest, config_version, rule_version,
        continued, seen_day_spent, seen_month_spent, seen_approvals, seen_velocity_at, seen_locked_merchant_id, seen_available,
        day_start, month_start, decided_at, chain_seq, chain_hash)
    -- A declined incremental is nothing of its original: what is told of it moves no hold of that one.
    SELECT p_card_id, p_transaction_id, s.user_id, p_authorization_id, p_original_authorization_id, p_authorization_id, p_type,
        'DECLINED', declined,
        p_amount, 0, p_currency, p_merchant_category, p_detail, p_risk_score, p_request_digest, p_config_version, p_rule_version,
        is_continued, s.day_spent, s.month_spent, s.approvals,
        CASE WHEN NOT is_continued THEN s.recent_approvals[cardinality(s.recent_approvals) + 1 - s.velocity_per_hour] END,
        s.locked_merchant_id, s.balance - s.held, s.day_start, s.month_start, p_now, s.chain_seq, s.chain_head
    FROM said s;
    RETURN ('recorded', p_transaction_id, declined, 0, p_risk_score, p_now)::authorization_answer;
END
$record$;

-- Write a transaction that the network made without asking (an advice, a force post, a refund of none of ours) into the card's chain.
-- Its amounts are moved by the event that tells of it; the windows it will count in begin here.
CREATE FUNCTION record_told_transaction(
    p_card_id uuid, p_transaction_id uuid, p_type text, p_authorization_id text, p_original_authorization_id text, p_amount numeric,
    p_currency text, p_merchant_category text, p_detail jsonb, p_request_digest bytea, p_day_start timestamptz,
    p_month_start timestamptz, p_hold_expires_at timestamptz, p_now timestamptz
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $told$
DECLARE
    approved CONSTANT numeric := CASE WHEN p_type = 'advice' THEN p_amount ELSE 0.00 END;
    why CONSTANT text := CASE p_type WHEN 'advice' THEN 'approved' WHEN 'force_post' THEN 'force_posted' ELSE 'refunded' END;
BEGIN
    IF actor_role() <> 'system' OR p_type NOT IN ('advice', 'force_post', 'refund') THEN
        RAISE EXCEPTION 'only the network tells of transactions' USING ERRCODE = 'insufficient_privilege';
    END IF;
    WITH said AS (
        UPDATE card_limits l SET
            day_spent = CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END,
            day_first_seq = CASE WHEN l.day_start >= p_day_start THEN l.day_first_seq ELSE l.chain_seq + 1 END,
            day_start = greatest(l.day_start, p_day_start),
            month_spent = CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END,
            month_first_seq = CASE WHEN l.month_start >= p_month_start THEN l.month_first_seq ELSE l.chain_seq + 1 END,
            month_start = greatest(l.month_start, p_month_start),
            chain_seq = l.chain_seq + 1,
            chain_head = sha256(l.chain_head || decision_entry(
                p_card_id, p_transaction_id, l.user_id, p_authorization_id, p_type, why, p_amount::numeric(12, 2), approved::numeric(12, 2), p_currency,
                p_request_digest, l.config_version, 0::smallint, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                greatest(l.day_start, p_day_start), greatest(l.month_start, p_month_start), p_now))
            WHERE l.card_id = p_card_id RETURNING l.*
    )
    INSERT INTO card_transactions (
        card_id, transaction_id, user_id, authorization_id, original_authorization_id, root_authorization_id, type, status, reason,
        amount, approved_amount, currency, merchant_category, detail, request_digest, config_version, day_start, month_start,
        hold_expires_at, decided_at, updated_at, chain_seq, chain_hash, published_at)
    SELECT p_card_id, p_transaction_id, s.user_id, p_authorization_id, p_original_authorization_id,
        coalesce(p_authorization_id, p_original_authorization_id), p_type,
        CASE p_type WHEN 'advice' THEN 'AUTHORIZED' WHEN 'force_post' THEN 'FORCE_POSTED' ELSE 'REFUNDED' END::transaction_status, why,
        p_amount, approved, p_currency, p_merchant_category, p_detail, p_request_digest, s.config_version, s.day_start, s.month_start,
        p_hold_expires_at, p_now, p_now, s.chain_seq, s.chain_head, p_now
    FROM said s;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the card has no spend row';
    END IF;
END
$told$;

-- Move what a card holds and has spent, by the changes of its transactions: p_seqs are their places in the card's chain, p_spent what
-- each takes more (or, negative, gives back). A sum changes by the transactions it still counts, here and on the cards that replaced
-- this one and began with its sums. p_balance is money that came or went for good; cards funded by limits have none.
CREATE FUNCTION move_spend(p_card_id uuid, p_held numeric, p_balance numeric, p_seqs bigint[], p_spent numeric[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $move$
DECLARE
    of_day numeric;
    of_month numeric;
    place uuid := p_card_id;
    here record;
    successor record;
BEGIN
    IF actor_role() NOT IN ('system', 'admin') THEN
        RAISE EXCEPTION 'spend rows are moved by the network and by administrators' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT l.day_first_seq, l.month_first_seq, l.day_start, l.month_start INTO here
        FROM card_limits l WHERE l.card_id = p_card_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the card has no spend row';
    END IF;
    SELECT coalesce(sum(m.spent) FILTER (WHERE m.seq >= here.day_first_seq), 0),
           coalesce(sum(m.spent) FILTER (WHERE m.seq >= here.month_first_seq), 0) INTO of_day, of_month
        FROM unnest(p_seqs, p_spent) AS m (seq, spent);
    UPDATE card_limits l SET held = l.held + p_held, balance = l.balance + p_balance, day_spent = l.day_spent + of_day,
        month_spent = l.month_spent + of_month, event_seq = l.event_seq + 1 WHERE l.card_id = p_card_id;
    WHILE of_day <> 0 OR of_month <> 0 LOOP
        SELECT c.replaced_by_card_id INTO place FROM virtual_cards c WHERE c.card_id = place;
        EXIT WHEN place IS NULL;
        SELECT l.day_first_seq, l.month_first_seq, l.day_start, l.month_start INTO successor
            FROM card_limits l WHERE l.card_id = place FOR NO KEY UPDATE;
        -- Its sums hold this card's as long as they have not begun anew, and this card's are not of a later window.
        of_day := CASE WHEN successor.day_first_seq = 0 AND successor.day_start >= here.day_start THEN of_day ELSE 0 END;
        of_month := CASE WHEN successor.month_first_seq = 0 AND successor.month_start >= here.month_start THEN of_month ELSE 0 END;
        UPDATE card_limits l SET day_spent = l.day_spent + of_day, month_spent = l.month_spent + of_month WHERE l.card_id = place;
    END LOOP;
END
$move$;

-- As before (0010), and what the sums count is told by the chain; approvals of the last hour are those that were no continuation.
CREATE OR REPLACE FUNCTION set_card_limits(
    p_card_id uuid, p_per_transaction numeric, p_daily numeric, p_monthly numeric, p_velocity_per_hour smallint, p_time_zone text,
    p_merchant_categories jsonb, p_countries jsonb, p_channels jsonb, p_day_start timestamptz, p_new_day_start timestamptz,
    p_month_start timestamptz, p_new_month_start timestamptz, p_now timestamptz
) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $limits$
DECLARE
    version integer;
    -- Ids begin with their time in milliseconds: no id of the last hour is below this one. The minute is for clocks that differ.
    hour_floor CONSTANT uuid := lpad(to_hex(floor(extract(epoch FROM p_now - interval '61 minutes') * 1000)::bigint), 12, '0')
        || repeat('0', 20);
BEGIN
    UPDATE card_limits l SET
        config_version = l.config_version + 1,
        per_transaction = p_per_transaction,
        daily = p_daily,
        monthly = p_monthly,
        velocity_per_hour = p_velocity_per_hour,
        time_zone = p_time_zone,
        merchant_categories = p_merchant_categories,
        countries = p_countries,
        channels = p_channels,
        day_spent = CASE WHEN l.day_start < p_day_start THEN 0 ELSE l.day_spent END,
        day_first_seq = CASE WHEN l.day_start < p_day_start THEN l.chain_seq + 1 ELSE l.day_first_seq END,
        day_start = greatest(l.day_start, p_new_day_start),
        month_spent = CASE WHEN l.month_start < p_month_start THEN 0 ELSE l.month_spent END,
        month_first_seq = CASE WHEN l.month_start < p_month_start THEN l.chain_seq + 1 ELSE l.month_first_seq END,
        month_start = greatest(l.month_start, p_new_month_start),
        recent_approvals = CASE WHEN p_velocity_per_hour IS NULL THEN '{}'
            WHEN p_velocity_per_hour <= l.velocity_per_hour THEN l.recent_approvals
            ELSE ARRAY(
                SELECT recent.decided_at FROM (
                    SELECT t.decided_at FROM card_transactions t WHERE t.card_id = p_card_id AND t.transaction_id >= hour_floor
                        AND t.type IN ('authorization', 'incremental') AND t.reason = 'approved' AND NOT t.continued
                        AND t.decided_at > p_now - interval '1 hour'
                    ORDER BY t.decided_at DESC LIMIT p_velocity_per_hour
                ) AS recent ORDER BY recent.decided_at)
            END
    WHERE l.card_id = p_card_id AND (l.user_id = actor_id() OR actor_is_staff()) RETURNING l.config_version INTO version;
    RETURN version;
END
$limits$;

-- As before (0010); the row that is gone on from is held, so that money given back at this moment is not carried over.
CREATE OR REPLACE FUNCTION continue_spend(p_card_id uuid, p_replaced_card_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $continue$
BEGIN
    PERFORM FROM card_limits o JOIN virtual_cards c ON c.card_id = p_card_id AND c.replaces_card_id = o.card_id
        WHERE o.card_id = p_replaced_card_id AND (o.user_id = actor_id() OR actor_is_staff() OR actor_role() = 'system')
        FOR NO KEY UPDATE OF o;
    UPDATE card_limits l SET day_start = o.day_start, day_spent = o.day_spent, month_start = o.month_start,
        month_spent = o.month_spent, approvals = o.approvals, locked_merchant_id = o.locked_merchant_id,
        recent_approvals = o.recent_approvals
    FROM card_limits o JOIN virtual_cards c ON c.card_id = p_card_id AND c.replaces_card_id = p_replaced_card_id
    WHERE l.card_id = p_card_id AND l.approvals = 0 AND l.day_spent = 0 AND l.month_spent = 0
        AND o.card_id = p_replaced_card_id AND o.user_id = l.user_id
        AND (l.user_id = actor_id() OR actor_is_staff() OR actor_role() = 'system');
END
$continue$;

GRANT EXECUTE ON FUNCTION
    record_authorization(uuid, integer, text, bytea, uuid, text, numeric, text, text, text, text, text, jsonb, smallint, timestamptz,
                         timestamptz, timestamptz, boolean, timestamptz, smallint) TO app;
GRANT EXECUTE ON FUNCTION
    record_told_transaction(uuid, uuid, text, text, text, numeric, text, text, jsonb, bytea, timestamptz, timestamptz, timestamptz,
                            timestamptz) TO worker;
GRANT EXECUTE ON FUNCTION move_spend(uuid, numeric, numeric, bigint[], numeric[]) TO app, worker;
