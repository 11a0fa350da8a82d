-- Transactions of cards, and the one function that decides about money.
SET LOCAL ROLE migrator;

CREATE TYPE transaction_status AS ENUM (
    'AUTHORIZED', 'DECLINED', 'CLEARED', 'PARTIALLY_CLEARED', 'REVERSED', 'EXPIRED', 'REFUNDED', 'PARTIALLY_REFUNDED', 'FORCE_POSTED'
);

-- The row is the transaction, the hold, the outbox record (published_at) and the audit entry (chain) in one.
CREATE TABLE card_transactions (
    card_id uuid NOT NULL REFERENCES virtual_cards (card_id),
    transaction_id uuid NOT NULL,
    user_id uuid NOT NULL,
    authorization_id text NOT NULL CHECK (authorization_id !~ '[[:cntrl:]]'),
    original_authorization_id text CHECK (original_authorization_id !~ '[[:cntrl:]]'),
    type text NOT NULL CHECK (type IN ('authorization', 'incremental')),
    status transaction_status NOT NULL,
    reason text NOT NULL,
    amount numeric(12, 2) NOT NULL CHECK (amount >= 0),
    approved_amount numeric(12, 2) NOT NULL CHECK (approved_amount BETWEEN 0 AND amount),
    cleared_amount numeric(12, 2) NOT NULL DEFAULT 0 CHECK (cleared_amount >= 0),
    currency char(3) NOT NULL,
    merchant_category char(4) NOT NULL,
    -- What the network told beyond the columns: merchant, channel, its own time, the amount in the merchant's currency.
    detail jsonb NOT NULL,
    risk_score smallint CHECK (risk_score BETWEEN 0 AND 100),
    -- SHA-256 of the request without its signature: the same id with another body is refused.
    request_digest bytea NOT NULL,
    config_version integer NOT NULL,
    -- The windows the amount was taken from, so that a reversal gives it back to them.
    day_start timestamptz NOT NULL,
    month_start timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    chain_seq bigint NOT NULL,
    chain_hash bytea NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (card_id, transaction_id),
    UNIQUE (card_id, authorization_id),
    CHECK ((status = 'DECLINED') = (reason <> 'approved')),
    CHECK (status <> 'DECLINED' OR approved_amount = 0)
) PARTITION BY HASH (card_id);
DO $partitions$
BEGIN
    FOR remainder IN 0..7 LOOP
        EXECUTE format('CREATE TABLE card_transactions_%s PARTITION OF card_transactions FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                       remainder, remainder);
    END LOOP;
END
$partitions$;
CREATE INDEX card_transactions_of_user ON card_transactions (user_id, transaction_id DESC);
CREATE INDEX card_transactions_unpublished ON card_transactions (transaction_id) WHERE published_at IS NULL;
CALL protect_user_rows('card_transactions');
GRANT SELECT ON card_transactions TO app, worker;
GRANT UPDATE (published_at) ON card_transactions TO worker;

-- Requests that name no card of ours. The token is kept as a digest: what a stranger sends may be anything, a PAN too.
CREATE TABLE unmatched_authorizations (
    card_token_digest bytea NOT NULL CHECK (octet_length(card_token_digest) = 32),
    authorization_id text NOT NULL,
    transaction_id uuid NOT NULL,
    request_digest bytea NOT NULL,
    amount numeric(12, 2) NOT NULL,
    currency char(3) NOT NULL,
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (card_token_digest, authorization_id)
);
GRANT SELECT ON unmatched_authorizations TO worker;

CREATE TYPE authorization_answer AS (
    outcome text,             -- recorded, repeated, reused, stale
    transaction_id uuid,
    reason text,
    approved_amount numeric(12, 2),
    risk_score smallint,
    decided_at timestamptz
);

-- What the authorization engine must know of a card. One row or none.
CREATE FUNCTION find_authorization_profile(p_card_token text)
    RETURNS TABLE (card_id uuid, user_id uuid, config_version integer, status card_status, currency char(3),
                   expiry_year smallint, expiry_month smallint, per_transaction numeric, time_zone text,
                   merchant_categories jsonb, countries jsonb, channels jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $profile$
    SELECT c.card_id, c.user_id, l.config_version, c.status, c.currency, c.expiry_year, c.expiry_month, l.per_transaction,
           l.time_zone, l.merchant_categories, l.countries, l.channels
    FROM card_tokens t JOIN virtual_cards c ON c.card_id = t.card_id JOIN card_limits l ON l.card_id = t.card_id
    WHERE t.processor_card_token = p_card_token
$profile$;

-- Record one decision. p_reason is NULL when the rules that need no counters approve; use, money and velocity are decided here, on
-- the locked row. Outcomes: recorded (with the final reason), repeated (the stored answer of this id), reused (the id was used
-- with another body), stale (the card changed since p_config_version; nothing was written, decide again). An incremental of an
-- approved authorization is the same use of the card once more: it spends money, but no use and no velocity.
-- Raises unique_violation when the same id is being recorded at this moment: call again and it is found.
CREATE FUNCTION record_authorization(
    p_card_id uuid, p_config_version integer, p_authorization_id text, p_request_digest bytea, p_transaction_id uuid,
    p_reason text, p_amount numeric, p_currency text, p_type text, p_original_authorization_id text, p_merchant_category text,
    p_merchant_id text, p_detail jsonb, p_risk_score smallint, p_day_start timestamptz, p_month_start timestamptz, p_now timestamptz
) RETURNS authorization_answer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    -- Planned once a connection: with a plan for every call the partitions cost more than the work.
    SET plan_cache_mode = force_generic_plan
    -- Under the caller's patience: who waits no longer must not be recorded as approved.
    SET lock_timeout = '1s' AS $record$
DECLARE
    earlier record;
    spend record;
    final_reason text := p_reason;
    approved numeric(12, 2) := 0;
    continued boolean := false;
BEGIN
    SELECT t.transaction_id, t.request_digest, t.reason, t.approved_amount, t.risk_score, t.decided_at INTO earlier
        FROM card_transactions t WHERE t.card_id = p_card_id AND t.authorization_id = p_authorization_id;
    IF FOUND THEN
        RETURN (CASE WHEN earlier.request_digest = p_request_digest THEN 'repeated' ELSE 'reused' END, earlier.transaction_id,
                earlier.reason, earlier.approved_amount, earlier.risk_score, earlier.decided_at)::authorization_answer;
    END IF;
    IF p_type = 'incremental' THEN
        continued := EXISTS (SELECT FROM card_transactions t WHERE t.card_id = p_card_id
                             AND t.authorization_id = p_original_authorization_id AND t.status <> 'DECLINED');
    END IF;

    IF p_reason IS NULL THEN
        UPDATE card_limits l SET
            held = l.held + p_amount,
            day_spent = CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END + p_amount,
            day_start = greatest(l.day_start, p_day_start),
            month_spent = CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END + p_amount,
            month_start = greatest(l.month_start, p_month_start),
            approvals = l.approvals + 1,
            locked_merchant_id = CASE WHEN l.usage = 'merchant_locked' THEN coalesce(l.locked_merchant_id, p_merchant_id) END,
            recent_approvals = CASE WHEN l.velocity_per_hour IS NULL OR continued THEN l.recent_approvals
                ELSE (l.recent_approvals || p_now)[greatest(1, cardinality(l.recent_approvals) + 2 - l.velocity_per_hour):] END,
            chain_seq = l.chain_seq + 1,
            chain_head = sha256(l.chain_head || authorization_entry(
                p_card_id, p_transaction_id, l.user_id, p_authorization_id, p_original_authorization_id, p_type, 'approved', p_amount,
                p_amount, p_currency, p_merchant_category, p_detail, p_risk_score, p_request_digest, p_config_version,
                greatest(l.day_start, p_day_start), greatest(l.month_start, p_month_start), p_now))
        WHERE l.card_id = p_card_id AND l.config_version = p_config_version
            AND (l.usage = 'multi' OR continued OR (l.usage = 'single' AND l.approvals = 0)
                 OR (l.usage = 'merchant_locked' AND coalesce(l.locked_merchant_id, p_merchant_id) = p_merchant_id))
            AND CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END + p_amount <= l.daily
            AND CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END + p_amount <= l.monthly
            AND (l.velocity_per_hour IS NULL OR continued
                 OR cardinality(l.recent_approvals) < l.velocity_per_hour
                 OR l.recent_approvals[cardinality(l.recent_approvals) + 1 - l.velocity_per_hour] <= p_now - interval '1 hour')
        RETURNING l.user_id, l.chain_seq, l.chain_head, l.day_start, l.month_start INTO spend;
        IF FOUND THEN
            final_reason := 'approved';
            approved := p_amount;
        END IF;
    END IF;

    IF final_reason IS DISTINCT FROM 'approved' THEN
        final_reason := coalesce(final_reason, decline_reason(
            p_card_id, p_config_version, p_amount, p_merchant_id, continued, p_day_start, p_month_start, p_now));
        UPDATE card_limits l SET chain_seq = l.chain_seq + 1, chain_head = sha256(l.chain_head || authorization_entry(
                p_card_id, p_transaction_id, l.user_id, p_authorization_id, p_original_authorization_id, p_type, final_reason,
                p_amount, 0, p_currency, p_merchant_category, p_detail, p_risk_score, p_request_digest, p_config_version,
                p_day_start, p_month_start, p_now))
            WHERE l.card_id = p_card_id AND l.config_version = p_config_version AND final_reason IS NOT NULL
            RETURNING l.user_id, l.chain_seq, l.chain_head, p_day_start AS day_start, p_month_start AS month_start INTO spend;
        IF NOT FOUND THEN
            RETURN ('stale', NULL, NULL, NULL, NULL, NULL)::authorization_answer;
        END IF;
    END IF;

    INSERT INTO card_transactions (
        card_id, transaction_id, user_id, authorization_id, original_authorization_id, type, status, reason, amount, approved_amount,
        currency, merchant_category, detail, risk_score, request_digest, config_version, day_start, month_start, decided_at,
        chain_seq, chain_hash)
    VALUES (
        p_card_id, p_transaction_id, spend.user_id, p_authorization_id, p_original_authorization_id, p_type,
        CASE WHEN final_reason = 'approved' THEN 'AUTHORIZED' ELSE 'DECLINED' END::transaction_status, final_reason, p_amount,
        approved, p_currency, p_merchant_category, p_detail, p_risk_score, p_request_digest, p_config_version, spend.day_start,
        spend.month_start, p_now, spend.chain_seq, spend.chain_head);
    RETURN ('recorded', p_transaction_id, final_reason, approved, p_risk_score, p_now)::authorization_answer;
END
$record$;

-- Why the guarded update found nothing, on the row locked from here on. NULL when the card has changed, or when it has become
-- possible since: then the caller decides again.
CREATE FUNCTION decline_reason(
    p_card_id uuid, p_config_version integer, p_amount numeric, p_merchant_id text, p_continued boolean,
    p_day_start timestamptz, p_month_start timestamptz, p_now timestamptz
) RETURNS text
    LANGUAGE plpgsql AS $reason$
DECLARE
    spend card_limits;
BEGIN
    SELECT * INTO spend FROM card_limits l WHERE l.card_id = p_card_id AND l.config_version = p_config_version FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN CASE
        WHEN spend.usage = 'single' AND spend.approvals > 0 AND NOT p_continued THEN 'card_already_used'
        WHEN spend.usage = 'merchant_locked' AND NOT p_continued
            AND (p_merchant_id IS NULL OR coalesce(spend.locked_merchant_id, p_merchant_id) <> p_merchant_id)
            THEN 'merchant_locked'
        WHEN CASE WHEN spend.day_start >= p_day_start THEN spend.day_spent ELSE 0 END + p_amount > spend.daily
            THEN 'daily_limit_exceeded'
        WHEN CASE WHEN spend.month_start >= p_month_start THEN spend.month_spent ELSE 0 END + p_amount > spend.monthly
            THEN 'monthly_limit_exceeded'
        WHEN spend.velocity_per_hour IS NOT NULL AND NOT p_continued AND cardinality(spend.recent_approvals) >= spend.velocity_per_hour
            AND spend.recent_approvals[cardinality(spend.recent_approvals) + 1 - spend.velocity_per_hour] > p_now - interval '1 hour'
            THEN 'velocity_exceeded'
        END;
END
$reason$;

-- Microseconds since 1970, so that no session's time zone or date style enters a hash.
CREATE FUNCTION audit_epoch(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (extract(epoch FROM moment) * 1000000)::bigint;

-- A link of the card's transaction chain: every column that never changes afterwards, parted by a character that no column can
-- hold. The offline verifier recomputes it from the row.
CREATE FUNCTION authorization_entry(
    p_card_id uuid, p_transaction_id uuid, p_user_id uuid, p_authorization_id text, p_original_authorization_id text, p_type text,
    p_reason text, p_amount numeric, p_approved_amount numeric, p_currency text, p_merchant_category text, p_detail jsonb,
    p_risk_score smallint, p_request_digest bytea, p_config_version integer, p_day_start timestamptz, p_month_start timestamptz,
    p_decided_at timestamptz
) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN convert_to(concat_ws(
        E'\x1f', p_card_id, p_transaction_id, p_user_id, p_authorization_id, coalesce(p_original_authorization_id, '-'), p_type,
        p_reason, p_amount::numeric(12, 2), p_approved_amount::numeric(12, 2), p_currency, p_merchant_category, p_detail,
        coalesce(p_risk_score::text, '-'), encode(p_request_digest, 'hex'), p_config_version, audit_epoch(p_day_start),
        audit_epoch(p_month_start), audit_epoch(p_decided_at)), 'UTF8');

-- Record a request for a card we do not know. Answers like record_authorization; the reason is card_not_found.
CREATE FUNCTION record_unmatched_authorization(
    p_card_token_digest bytea, p_authorization_id text, p_request_digest bytea, p_transaction_id uuid, p_amount numeric,
    p_currency text, p_now timestamptz
) RETURNS authorization_answer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $unmatched$
DECLARE
    stored unmatched_authorizations;
BEGIN
    INSERT INTO unmatched_authorizations VALUES (
        p_card_token_digest, p_authorization_id, p_transaction_id, p_request_digest, p_amount, p_currency, p_now)
        ON CONFLICT DO NOTHING RETURNING * INTO stored;
    IF FOUND THEN
        RETURN ('recorded', p_transaction_id, 'card_not_found', 0, NULL, p_now)::authorization_answer;
    END IF;
    SELECT * INTO STRICT stored FROM unmatched_authorizations u
        WHERE u.card_token_digest = p_card_token_digest AND u.authorization_id = p_authorization_id;
    RETURN (CASE WHEN stored.request_digest = p_request_digest THEN 'repeated' ELSE 'reused' END, stored.transaction_id,
            'card_not_found', 0, NULL, stored.decided_at)::authorization_answer;
END
$unmatched$;

GRANT EXECUTE ON FUNCTION find_authorization_profile(text),
    record_authorization(uuid, integer, text, bytea, uuid, text, numeric, text, text, text, text, text, jsonb, smallint, timestamptz,
                         timestamptz, timestamptz),
    record_unmatched_authorization(bytea, text, bytea, uuid, numeric, text, timestamptz) TO app;
