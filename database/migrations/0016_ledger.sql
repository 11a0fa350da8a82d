-- The ledger: double entry, append-only. Amounts are signed, positive is a debit; each posting sums to zero in each currency.
SET LOCAL ROLE migrator;

CREATE TABLE ledger_postings (
    card_id uuid NOT NULL REFERENCES virtual_cards (card_id),
    posting_id uuid NOT NULL,
    user_id uuid NOT NULL,
    program_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind ~ '^[a-z][a-z_]{1,39}$'),
    transaction_id uuid,
    -- What the outside world calls it: a settlement file's line, the wording of whoever loaded money.
    reference text CHECK (length(reference) BETWEEN 1 AND 255),
    -- How many entries it has: none is added later.
    lines smallint NOT NULL CHECK (lines >= 2),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (card_id, posting_id)
);
CREATE INDEX ledger_postings_of_transaction ON ledger_postings (card_id, transaction_id) WHERE transaction_id IS NOT NULL;
CALL protect_user_rows('ledger_postings');

CREATE TABLE ledger_entries (
    card_id uuid NOT NULL,
    posting_id uuid NOT NULL,
    line smallint NOT NULL CHECK (line > 0),
    user_id uuid NOT NULL,
    account text NOT NULL CHECK (account IN (
        'card_holds', 'cardholder_spend', 'cardholder_funds', 'settlement', 'fees', 'adjustments')),
    amount numeric(14, 2) NOT NULL CHECK (amount <> 0),
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (card_id, posting_id, line),
    FOREIGN KEY (card_id, posting_id) REFERENCES ledger_postings (card_id, posting_id)
);
CALL protect_user_rows('ledger_entries');

-- How far the round over all postings is that looks whether each still balances.
CREATE TABLE ledger_checks (
    check_name text PRIMARY KEY CHECK (check_name = 'postings'),
    -- The last posting looked at; NULL at the beginning of a round.
    after_card_id uuid,
    after_posting_id uuid,
    -- Found in the round under way, and in the last whole one: what is wrong is told until a round finds it no more.
    discrepancies bigint NOT NULL DEFAULT 0 CHECK (discrepancies >= 0),
    last_discrepancies bigint NOT NULL DEFAULT 0 CHECK (last_discrepancies >= 0),
    started_at timestamptz NOT NULL,
    -- When the last whole round ended.
    finished_at timestamptz,
    CHECK ((after_card_id IS NULL) = (after_posting_id IS NULL))
);
GRANT SELECT, INSERT, UPDATE ON ledger_checks TO worker;

CREATE TRIGGER ledger_postings_append_only BEFORE UPDATE OR DELETE ON ledger_postings
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_postings_no_truncate BEFORE TRUNCATE ON ledger_postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_entries_no_truncate BEFORE TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- At the end of a transaction every posting it touched is whole and balanced, whoever wrote the rows.
CREATE FUNCTION guard_posting() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $guard$
BEGIN
    IF (SELECT count(*) FROM ledger_entries e WHERE e.card_id = NEW.card_id AND e.posting_id = NEW.posting_id)
        IS DISTINCT FROM (SELECT p.lines::bigint FROM ledger_postings p WHERE p.card_id = NEW.card_id AND p.posting_id = NEW.posting_id)
    THEN
        RAISE EXCEPTION 'a posting has other entries than it says' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_lines';
    END IF;
    IF EXISTS (SELECT FROM ledger_entries e WHERE e.card_id = NEW.card_id AND e.posting_id = NEW.posting_id
               GROUP BY e.currency HAVING sum(e.amount) <> 0) THEN
        RAISE EXCEPTION 'a posting does not sum to zero' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balanced';
    END IF;
    RETURN NULL;
END
$guard$;
CREATE CONSTRAINT TRIGGER ledger_postings_balanced AFTER INSERT ON ledger_postings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION guard_posting();
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION guard_posting();

-- Write one posting with its entries in the caller's transaction: the one way in. The three lists are its entries, in order.
-- Outcomes: posted; repeated (it was posted before, with the same entries); differs (its id stands for another posting).
-- Raises check_violation when the lists are of different lengths, have fewer than two entries or do not sum to zero in a currency,
-- foreign_key_violation when the card is not this user's in this program.
-- Two callers with one id: the second waits for the first and finds its posting.
CREATE FUNCTION post_to_ledger(
    p_posting_id uuid, p_kind text, p_card_id uuid, p_user_id uuid, p_program_id uuid, p_occurred_at timestamptz,
    p_accounts text[], p_amounts numeric[], p_currencies text[], p_transaction_id uuid, p_reference text
) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $post$
DECLARE
    stored ledger_postings;
BEGIN
    IF cardinality(p_accounts) < 2 OR cardinality(p_accounts) <> cardinality(p_amounts)
        OR cardinality(p_accounts) <> cardinality(p_currencies) THEN
        RAISE EXCEPTION 'a posting has two entries or more' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_lines';
    END IF;
    IF EXISTS (SELECT FROM unnest(p_amounts, p_currencies) AS e (amount, currency)
               GROUP BY e.currency HAVING sum(e.amount) IS DISTINCT FROM 0) THEN
        RAISE EXCEPTION 'a posting does not sum to zero' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balanced';
    END IF;
    -- A cardholder's own session posts what goes over to the card that replaces another, and nothing else.
    IF actor_role() NOT IN ('system', 'admin')
        AND NOT (p_kind IN ('carried_out', 'carried_in') AND (p_user_id = actor_id() OR actor_is_staff())) THEN
        RAISE EXCEPTION 'this is not the actor''s to post' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT EXISTS (SELECT FROM virtual_cards c WHERE c.card_id = p_card_id AND c.user_id = p_user_id
                   AND c.program_id = p_program_id) THEN
        RAISE EXCEPTION 'the card of a posting is another' USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_card';
    END IF;
    INSERT INTO ledger_postings (
        card_id, posting_id, user_id, program_id, kind, transaction_id, reference, lines, occurred_at)
    VALUES (
        p_card_id, p_posting_id, p_user_id, p_program_id, p_kind, p_transaction_id, p_reference, cardinality(p_accounts), p_occurred_at)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO ledger_entries (card_id, posting_id, line, user_id, account, amount, currency)
        SELECT p_card_id, p_posting_id, e.line, p_user_id, e.account, e.amount, e.currency
        FROM unnest(p_accounts, p_amounts, p_currencies) WITH ORDINALITY AS e (account, amount, currency, line);
        RETURN 'posted';
    END IF;
    SELECT * INTO STRICT stored FROM ledger_postings p WHERE p.card_id = p_card_id AND p.posting_id = p_posting_id;
    RETURN CASE WHEN stored.kind = p_kind AND stored.transaction_id IS NOT DISTINCT FROM p_transaction_id
        AND stored.lines = cardinality(p_accounts)
        AND NOT EXISTS (
            SELECT e.account, e.amount, e.currency::text FROM ledger_entries e
                WHERE e.card_id = p_card_id AND e.posting_id = p_posting_id
            EXCEPT ALL
            SELECT told.account, told.amount, told.currency
                FROM unnest(p_accounts, p_amounts, p_currencies) AS told (account, amount, currency))
        THEN 'repeated' ELSE 'differs' END;
END
$post$;

-- What is free of a replaced card's balance goes over to the card in its place; what is held stays for the network to claim. Returns
-- the amount, below zero where the old card owes; zero for cards that limits alone fund. The two ledger postings are the caller's.
CREATE FUNCTION carry_funds(p_card_id uuid, p_replaced_card_id uuid) RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $carry$
DECLARE
    carried numeric(14, 2);
BEGIN
    SELECT o.balance - o.held INTO carried
        FROM card_limits o JOIN virtual_cards c ON c.card_id = p_card_id AND c.replaces_card_id = p_replaced_card_id
        JOIN card_limits l ON l.card_id = p_card_id AND l.balance IS NOT NULL
        WHERE o.card_id = p_replaced_card_id AND o.user_id = l.user_id
            AND (o.user_id = actor_id() OR actor_is_staff() OR actor_role() = 'system')
        FOR NO KEY UPDATE OF o;
    IF coalesce(carried, 0) = 0 THEN
        RETURN 0;
    END IF;
    UPDATE card_limits o SET balance = o.balance - carried WHERE o.card_id = p_replaced_card_id;
    UPDATE card_limits l SET balance = l.balance + carried WHERE l.card_id = p_card_id;
    RETURN carried;
END
$carry$;

GRANT SELECT ON ledger_postings, ledger_entries TO app, worker;
GRANT EXECUTE ON FUNCTION
    post_to_ledger(uuid, text, uuid, uuid, uuid, timestamptz, text[], numeric[], text[], uuid, text) TO app, worker;
GRANT EXECUTE ON FUNCTION carry_funds(uuid, uuid) TO app, worker;
