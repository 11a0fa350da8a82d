-- Cards, their limits with the spend row, and issuances in progress.
SET LOCAL ROLE migrator;

CREATE TYPE card_status AS ENUM ('ACTIVE', 'FROZEN', 'CANCELLED', 'EXPIRED');

CREATE TABLE virtual_cards (
    card_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (user_id),
    program_id uuid NOT NULL REFERENCES programs (program_id),
    status card_status NOT NULL DEFAULT 'ACTIVE',
    status_reason text,
    status_actor_role text,
    last_four char(4) NOT NULL CHECK (last_four ~ '^[0-9]{4}$'),
    -- Ciphertext of the aws-encryption-sdk message format; the encryption context is the card id.
    card_number_encrypted bytea NOT NULL CHECK (octet_length(card_number_encrypted) > 64),
    processor text NOT NULL,
    processor_card_token text NOT NULL,
    expiry_month smallint NOT NULL CHECK (expiry_month BETWEEN 1 AND 12),
    expiry_year smallint NOT NULL CHECK (expiry_year BETWEEN 2020 AND 2099),
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    label text CHECK (length(label) <= 100),
    usage text NOT NULL DEFAULT 'multi' CHECK (usage IN ('multi', 'single', 'merchant_locked')),
    -- The processor's own switch as it last confirmed it; NULL when a call's outcome is not known.
    processor_state text CHECK (processor_state IN ('ACTIVE', 'PAUSED', 'CLOSED')),
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    last_operation_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX virtual_cards_of_user ON virtual_cards (user_id, card_id DESC);
-- Cards whose processor has not confirmed their status: due to be told again.
CREATE INDEX virtual_cards_processor_behind ON virtual_cards (updated_at)
    WHERE processor_state IS DISTINCT FROM CASE status WHEN 'ACTIVE' THEN 'ACTIVE' WHEN 'FROZEN' THEN 'PAUSED' ELSE 'CLOSED' END;
CALL protect_user_rows('virtual_cards');

-- A processor's token and a PAN's fingerprint name one card; each is its own table's shard key.
CREATE TABLE card_tokens (
    processor_card_token text PRIMARY KEY,
    card_id uuid NOT NULL,
    user_id uuid NOT NULL
);
CALL protect_user_rows('card_tokens');
CREATE TABLE card_fingerprints (
    fingerprint bytea PRIMARY KEY CHECK (octet_length(fingerprint) = 32),
    card_id uuid NOT NULL,
    user_id uuid NOT NULL
);
CALL protect_user_rows('card_fingerprints');

-- Limits and the spend row in one: whoever records a spend locks the limits it was measured against.
CREATE TABLE card_limits (
    card_id uuid PRIMARY KEY REFERENCES virtual_cards (card_id),
    user_id uuid NOT NULL,
    -- Rises with every change of status, limits or settings; a decision names the version it was made on.
    config_version integer NOT NULL DEFAULT 1,
    per_transaction numeric(12, 2) NOT NULL CHECK (per_transaction > 0),
    daily numeric(12, 2) NOT NULL,
    monthly numeric(12, 2) NOT NULL,
    velocity_per_hour smallint CHECK (velocity_per_hour BETWEEN 1 AND 100),
    time_zone text NOT NULL DEFAULT 'UTC',
    merchant_categories jsonb NOT NULL DEFAULT '{"allow": [], "deny": []}',
    countries jsonb NOT NULL DEFAULT '{"allow": [], "deny": []}',
    channels jsonb NOT NULL DEFAULT '{"deny": []}',
    -- As on the card: how often and where it may be used is decided on this row.
    usage text NOT NULL DEFAULT 'multi' CHECK (usage IN ('multi', 'single', 'merchant_locked')),
    approvals bigint NOT NULL DEFAULT 0,
    locked_merchant_id text,
    -- A sum over days, so wider than the amounts in it.
    held numeric(14, 2) NOT NULL DEFAULT 0 CHECK (held >= 0),
    day_start timestamptz NOT NULL,
    day_spent numeric(12, 2) NOT NULL DEFAULT 0 CHECK (day_spent >= 0),
    month_start timestamptz NOT NULL,
    month_spent numeric(12, 2) NOT NULL DEFAULT 0 CHECK (month_spent >= 0),
    -- Times of the last approvals, ascending, no more than velocity_per_hour of them.
    recent_approvals timestamptz[] NOT NULL DEFAULT '{}',
    -- Head of the hash chain over this card's transactions.
    chain_seq bigint NOT NULL DEFAULT 0,
    chain_head bytea NOT NULL DEFAULT '\x',
    CHECK (per_transaction <= daily AND daily <= monthly)
) WITH (fillfactor = 50);
CALL protect_user_rows('card_limits');

-- A card on its way: written before the processor is asked, so that a crash leaves a trace to finish or undo.
CREATE TABLE card_issuances (
    user_id uuid NOT NULL REFERENCES users (user_id),
    card_id uuid NOT NULL,
    program_id uuid NOT NULL REFERENCES programs (program_id),
    state text NOT NULL CHECK (state IN ('REQUESTED', 'ISSUED', 'FAILED')),
    failure_code text,
    -- What the processor is asked for, fixed at the first try.
    expiry_year smallint NOT NULL,
    expiry_month smallint NOT NULL,
    requested_at timestamptz NOT NULL,
    -- Until then somebody is at it and the card counts as one being made.
    lease_until timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (user_id, card_id)
);
CREATE INDEX card_issuances_open ON card_issuances (requested_at) WHERE state = 'REQUESTED';
CALL protect_user_rows('card_issuances');

-- Every new card and every change of status leaves an audit entry in the same transaction, whoever makes it.
CREATE FUNCTION audit_card_state() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $audit$
DECLARE
    action text;
    was jsonb;
    happened_at timestamptz := coalesce(NEW.updated_at, NEW.created_at);
BEGIN
    IF TG_OP = 'INSERT' THEN
        action := 'card.created';
    ELSE
        action := CASE NEW.status WHEN 'FROZEN' THEN 'card.frozen' WHEN 'ACTIVE' THEN 'card.unfrozen'
                                  WHEN 'CANCELLED' THEN 'card.cancelled' ELSE 'card.expired' END;
        was := jsonb_build_object('status', OLD.status, 'version', OLD.version);
    END IF;
    PERFORM append_audit('card', NEW.card_id, NEW.last_operation_id, action, was,
                         jsonb_build_object('status', NEW.status, 'version', NEW.version), happened_at);
    RETURN NULL;
END
$audit$;
CREATE TRIGGER virtual_cards_audit_insert AFTER INSERT ON virtual_cards
    FOR EACH ROW EXECUTE FUNCTION audit_card_state();
CREATE TRIGGER virtual_cards_audit_status AFTER UPDATE OF status ON virtual_cards
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION audit_card_state();

-- The legal moves, as in cards/rules.py; a test compares the two.
CREATE FUNCTION guard_card_state() RETURNS trigger
    LANGUAGE plpgsql AS $guard$
BEGIN
    IF NOT (OLD.status, NEW.status) IN (
        ('ACTIVE'::card_status, 'FROZEN'::card_status), ('FROZEN', 'ACTIVE'),
        ('ACTIVE', 'CANCELLED'), ('FROZEN', 'CANCELLED'),
        ('ACTIVE', 'EXPIRED'), ('FROZEN', 'EXPIRED')
    ) THEN
        RAISE EXCEPTION 'a card cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$guard$;
CREATE TRIGGER virtual_cards_legal_status BEFORE UPDATE OF status ON virtual_cards
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION guard_card_state();

-- The app role never reads the ciphertext of a PAN.
GRANT SELECT (card_id, user_id, program_id, status, status_reason, status_actor_role, last_four, processor, processor_state,
              processor_card_token, expiry_month, expiry_year, currency, label, usage, version, last_operation_id,
              created_at, updated_at) ON virtual_cards TO app, worker;
GRANT INSERT ON virtual_cards TO app;
GRANT UPDATE (status, status_reason, status_actor_role, label, processor_state, version, last_operation_id, updated_at)
    ON virtual_cards TO app, worker;
REVOKE SELECT ON virtual_cards FROM auditor;
GRANT SELECT (card_id, user_id, program_id, status, status_reason, status_actor_role, last_four, processor,
              expiry_month, expiry_year, currency, usage, version, created_at, updated_at) ON virtual_cards TO auditor;
GRANT SELECT, INSERT ON card_tokens, card_fingerprints TO app;
GRANT SELECT ON card_tokens TO worker;
GRANT SELECT, INSERT ON card_limits TO app;
GRANT UPDATE (config_version, per_transaction, daily, monthly, velocity_per_hour, time_zone, merchant_categories, countries,
              channels) ON card_limits TO app;
GRANT SELECT ON card_limits TO worker;
GRANT UPDATE (config_version) ON card_limits TO worker;
GRANT SELECT, INSERT, UPDATE ON card_issuances TO app, worker;
