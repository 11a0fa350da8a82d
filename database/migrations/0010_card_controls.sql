-- Cards, complete: reasons, replacement, scheduled cancellation, limits as a resource, issuances that a sweeper can finish.
SET LOCAL ROLE migrator;

ALTER TABLE virtual_cards
    -- Why the status is what it is, as a code (cards/rules/states.py); the words of whoever set it stand in status_reason.
    ADD COLUMN status_reason_code text CHECK (status_reason_code ~ '^[a-z_]{1,40}$'),
    ADD COLUMN replaces_card_id uuid,
    ADD COLUMN replaced_by_card_id uuid,
    -- Cancelled at this time at the latest, and before it as soon as no authorization is pending.
    ADD COLUMN cancel_after timestamptz,
    -- Rises with each change of the limits; the processor knows them up to the second figure.
    ADD COLUMN limits_version integer NOT NULL DEFAULT 1 CHECK (limits_version > 0),
    ADD COLUMN processor_limits_version integer NOT NULL DEFAULT 1,
    -- When the processor's list of cards last held this one.
    ADD COLUMN processor_seen_at timestamptz,
    -- Name of the key under which the PAN is encrypted; what is not under the current one is due to be encrypted anew.
    ADD COLUMN vault_key text NOT NULL DEFAULT '',
    ADD CHECK (cancel_after IS NULL OR status IN ('ACTIVE', 'FROZEN')),
    ADD CHECK (processor_limits_version <= limits_version);
CREATE INDEX virtual_cards_cancel_due ON virtual_cards (cancel_after) WHERE cancel_after IS NOT NULL;
CREATE INDEX virtual_cards_expiring ON virtual_cards (expiry_year, expiry_month) WHERE status IN ('ACTIVE', 'FROZEN');
CREATE INDEX virtual_cards_limits_behind ON virtual_cards (updated_at) WHERE processor_limits_version < limits_version;
CREATE INDEX virtual_cards_by_vault_key ON virtual_cards (vault_key, card_id);
CREATE INDEX virtual_cards_by_last_four ON virtual_cards (last_four, card_id DESC);

GRANT SELECT (status_reason_code, replaces_card_id, replaced_by_card_id, cancel_after, limits_version, processor_limits_version,
              processor_seen_at, vault_key) ON virtual_cards TO app, worker;
GRANT SELECT (status_reason_code, replaces_card_id, replaced_by_card_id, cancel_after, vault_key) ON virtual_cards TO auditor;
GRANT UPDATE (status_reason_code, replaced_by_card_id, cancel_after, limits_version, processor_limits_version)
    ON virtual_cards TO app, worker;
GRANT UPDATE (processor_seen_at) ON virtual_cards TO worker;
-- Batches are worked off, and unfinished issuances finished, by workers.
GRANT INSERT ON virtual_cards, card_tokens, card_fingerprints, card_limits TO worker;
GRANT SELECT ON card_fingerprints TO worker;

ALTER TABLE card_issuances
    -- What was wished for with every default filled in, fixed at the first try: whoever finishes the issuance makes the same card.
    ADD COLUMN wish jsonb,
    -- Each counts against a quota of its own.
    ADD COLUMN origin text NOT NULL DEFAULT 'request' CHECK (origin IN ('request', 'batch', 'replacement')),
    ADD COLUMN replaces_card_id uuid,
    -- When it was made sure that a failed issuance left no live card at the processor.
    ADD COLUMN cleaned_at timestamptz,
    DROP CONSTRAINT card_issuances_state_check,
    -- ABANDONED: asked for, never made by the processor, and nobody came back; whoever does begins anew.
    ADD CONSTRAINT card_issuances_state_check CHECK (state IN ('REQUESTED', 'ISSUED', 'FAILED', 'ABANDONED')),
    ADD CHECK ((origin = 'replacement') = (replaces_card_id IS NOT NULL));
-- What was asked for before wishes were kept had its program's defaults; failures of that time are not looked into again.
UPDATE card_issuances i SET
    cleaned_at = CASE WHEN i.state = 'FAILED' THEN coalesce(i.finished_at, i.requested_at) END,
    wish = jsonb_build_object('label', NULL, 'usage', 'multi', 'controls', jsonb_build_object(
        'limits', jsonb_build_object('per_transaction', p.default_per_transaction::text, 'daily', p.default_daily::text,
                                     'monthly', p.default_monthly::text),
        'velocity_per_hour', p.default_velocity_per_hour, 'time_zone', 'UTC',
        'merchant_categories', '{"allow": [], "deny": []}'::jsonb, 'countries', '{"allow": [], "deny": []}'::jsonb,
        'channels_denied', '[]'::jsonb))
    FROM programs p WHERE p.program_id = i.program_id;
ALTER TABLE card_issuances ALTER COLUMN wish SET NOT NULL;
CREATE INDEX card_issuances_unclean ON card_issuances (finished_at) WHERE state = 'FAILED' AND cleaned_at IS NULL;
CREATE INDEX card_issuances_recent ON card_issuances (user_id, finished_at) WHERE state = 'ISSUED';

-- Change a card's limits and settings on its spend row. The caller has locked the card and checked whose it is; row-level security
-- is checked here again, as the function rises above it. Money that was spent stays spent: a window's sum ends only with the window
-- (p_day_start and p_month_start are the starts of the running ones), and the start it is counted from never goes back; another time
-- zone moves it ahead (p_new_day_start and p_new_month_start, cards/rules/windows.py). With velocity switched on or raised the
-- approvals of the last hour are counted anew from the transactions.
CREATE FUNCTION set_card_limits(
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
        day_start = greatest(l.day_start, p_new_day_start),
        month_spent = CASE WHEN l.month_start < p_month_start THEN 0 ELSE l.month_spent END,
        month_start = greatest(l.month_start, p_new_month_start),
        recent_approvals = CASE WHEN p_velocity_per_hour IS NULL THEN '{}'
            WHEN p_velocity_per_hour <= l.velocity_per_hour THEN l.recent_approvals
            ELSE ARRAY(
                SELECT recent.decided_at FROM (
                    SELECT t.decided_at FROM card_transactions t WHERE t.card_id = p_card_id AND t.transaction_id >= hour_floor
                        AND t.reason = 'approved' AND t.decided_at > p_now - interval '1 hour'
                        -- More of an approved authorization is no further use of the card.
                        AND (t.type = 'authorization' OR NOT EXISTS (
                            SELECT FROM card_transactions o WHERE o.card_id = p_card_id
                                AND o.authorization_id = t.original_authorization_id AND o.status <> 'DECLINED'))
                    ORDER BY t.decided_at DESC LIMIT p_velocity_per_hour
                ) AS recent ORDER BY recent.decided_at)
            END
    WHERE l.card_id = p_card_id AND (l.user_id = actor_id() OR actor_is_staff()) RETURNING l.config_version INTO version;
    RETURN version;
END
$limits$;

-- The spend row of a card that replaces another goes on where that one's stood: replacing a card gives no fresh limit.
CREATE FUNCTION continue_spend(p_card_id uuid, p_replaced_card_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $continue$
BEGIN
    UPDATE card_limits l SET day_start = o.day_start, day_spent = o.day_spent, month_start = o.month_start,
        month_spent = o.month_spent, approvals = o.approvals, locked_merchant_id = o.locked_merchant_id,
        recent_approvals = o.recent_approvals
    FROM card_limits o JOIN virtual_cards c ON c.card_id = p_card_id AND c.replaces_card_id = p_replaced_card_id
    WHERE l.card_id = p_card_id AND l.approvals = 0 AND l.day_spent = 0 AND l.month_spent = 0
        AND o.card_id = p_replaced_card_id AND o.user_id = l.user_id
        AND (l.user_id = actor_id() OR actor_is_staff() OR actor_role() = 'system');
END
$continue$;

-- Whether an operation stands in a subject's chain: a second run of it has nothing left to do.
CREATE FUNCTION audit_knows(p_subject_type text, p_subject_id uuid, p_entry_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $knows$
    SELECT CASE WHEN p_subject_type = 'card'
        THEN EXISTS (SELECT FROM card_audit_log a WHERE a.card_id = p_subject_id AND a.entry_id = p_entry_id)
        ELSE EXISTS (SELECT FROM audit_log a WHERE a.subject_id = p_subject_id AND a.subject_type = p_subject_type
                     AND a.entry_id = p_entry_id) END
$knows$;

-- Ciphertexts that are not under the current key, for the worker that encrypts them anew; nobody else gets one.
CREATE FUNCTION stale_card_numbers(p_vault_key text, p_after uuid, p_limit integer)
    RETURNS TABLE (card_id uuid, vault_key text, card_number_encrypted bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $stale$
    SELECT c.card_id, c.vault_key, c.card_number_encrypted FROM virtual_cards c
    WHERE c.vault_key <> p_vault_key AND c.card_id > p_after ORDER BY c.card_id LIMIT p_limit
$stale$;
-- False when the ciphertext is no longer the one that was read.
CREATE FUNCTION replace_card_number(p_card_id uuid, p_old bytea, p_new bytea, p_vault_key text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $number$
BEGIN
    UPDATE virtual_cards c SET card_number_encrypted = p_new, vault_key = p_vault_key
        WHERE c.card_id = p_card_id AND c.card_number_encrypted = p_old;
    RETURN FOUND;
END
$number$;

CREATE OR REPLACE FUNCTION audit_card_state() RETURNS trigger
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
        was := jsonb_strip_nulls(jsonb_build_object('status', OLD.status, 'version', OLD.version,
                                                    'reason_code', OLD.status_reason_code));
    END IF;
    PERFORM append_audit('card', NEW.card_id, NEW.last_operation_id, action, was,
                         jsonb_strip_nulls(jsonb_build_object(
                             'status', NEW.status, 'version', NEW.version, 'reason_code', NEW.status_reason_code,
                             'replaces', NEW.replaces_card_id, 'replaced_by', NEW.replaced_by_card_id,
                             'cancel_after', NEW.cancel_after)), happened_at);
    RETURN NULL;
END
$audit$;

GRANT EXECUTE ON FUNCTION continue_spend(uuid, uuid), audit_knows(text, uuid, uuid) TO app, worker;
GRANT EXECUTE ON FUNCTION
    set_card_limits(uuid, numeric, numeric, numeric, smallint, text, jsonb, jsonb, jsonb, timestamptz, timestamptz, timestamptz,
                    timestamptz, timestamptz) TO app;
GRANT EXECUTE ON FUNCTION stale_card_numbers(text, uuid, integer), replace_card_number(uuid, bytea, bytea, text) TO worker;
-- What the function writes nobody writes beside it.
REVOKE UPDATE (per_transaction, daily, monthly, velocity_per_hour, time_zone, merchant_categories, countries, channels)
    ON card_limits FROM app;
