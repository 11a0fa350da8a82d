-- Settlement with the processor: how far it is, what was settled, and the cases somebody has to look at.
SET LOCAL ROLE migrator;

CREATE TABLE settlement_sources (
    processor text PRIMARY KEY,
    -- One run at a time: until then somebody is at it. It also names whose, as every renewal is later than the one before.
    lease_until timestamptz NOT NULL,
    -- The pass over the processor's transactions: those changed in [listed_from, listed_to), nothing once it is over.
    listed_from timestamptz,
    listed_to timestamptz,
    -- Where the list goes on; NULL at its beginning.
    list_cursor text,
    -- The list was read to its end; what it should have held is looked for.
    list_read boolean NOT NULL DEFAULT false,
    -- Up to when holds of the pass that the list should have held, and does not, were dealt with; NULL before the first.
    missing_after timestamptz,
    -- Last open case that was looked at again; that goes round.
    rechecked_after uuid,
    -- Last card whose spend row was compared with its ledger; the comparison goes round.
    checked_after uuid,
    -- Events of ours that were applied up to here were looked for in the files.
    unsettled_after timestamptz,
    CHECK ((listed_from IS NULL) = (listed_to IS NULL))
);

CREATE TABLE settlement_runs (
    processor text NOT NULL,
    run_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    -- NULL while it is under way, and of one that was killed.
    finished_at timestamptz,
    -- What broke it off, a stable code; NULL when nothing did.
    failure text,
    transactions integer NOT NULL DEFAULT 0 CHECK (transactions >= 0),
    lines integer NOT NULL DEFAULT 0 CHECK (lines >= 0),
    settled integer NOT NULL DEFAULT 0 CHECK (settled >= 0),
    mended integer NOT NULL DEFAULT 0 CHECK (mended >= 0),
    cases_opened integer NOT NULL DEFAULT 0 CHECK (cases_opened >= 0),
    cases_closed integer NOT NULL DEFAULT 0 CHECK (cases_closed >= 0),
    PRIMARY KEY (processor, run_id)
);
CREATE INDEX settlement_runs_newest ON settlement_runs (run_id);

CREATE TABLE settlement_files (
    processor text NOT NULL,
    file_id text NOT NULL CHECK (file_id !~ '[[:cntrl:]]'),
    -- SHA-256 of the whole file: other bytes under the same id are seen.
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    state text NOT NULL CHECK (state IN ('READING', 'DONE', 'REFUSED')),
    lines integer NOT NULL CHECK (lines >= 0),
    -- Every line up to this one is settled or a case.
    lines_done integer NOT NULL DEFAULT 0 CHECK (lines_done BETWEEN 0 AND lines),
    -- Of a refused one: which line, and the stable code of what is wrong with it.
    refused_line integer,
    refused_code text,
    found_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (processor, file_id),
    CHECK ((state = 'REFUSED') = (refused_code IS NOT NULL)),
    CHECK ((state = 'READING') = (finished_at IS NULL))
);

-- What of a card was settled, by the id of the event (of a fee: by its own reference): nothing is settled twice.
CREATE TABLE settled_events (
    card_id uuid NOT NULL REFERENCES virtual_cards (card_id),
    reference text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('sale', 'credit', 'cash', 'fee', 'fee_credit')),
    processor text NOT NULL,
    file_id text NOT NULL,
    line integer NOT NULL CHECK (line > 0),
    amount numeric(12, 2) NOT NULL CHECK (amount > 0),
    currency char(3) NOT NULL,
    settled_at timestamptz NOT NULL,
    PRIMARY KEY (card_id, reference)
);

-- What waits for its settlement is found by when it was applied.
CREATE INDEX transaction_events_to_settle ON transaction_events (applied_at)
    WHERE state = 'APPLIED' AND type IN ('transaction.cleared', 'transaction.refunded', 'transaction.force_posted');

-- The processor's view of each transaction, as it was last listed.
CREATE TABLE processor_transactions (
    card_id uuid NOT NULL REFERENCES virtual_cards (card_id),
    authorization_id text NOT NULL,
    processor text NOT NULL,
    state text NOT NULL CHECK (state IN ('APPROVED', 'DECLINED')),
    approved_amount numeric(12, 2) NOT NULL CHECK (approved_amount >= 0),
    cleared_amount numeric(12, 2) NOT NULL CHECK (cleared_amount >= 0),
    currency char(3) NOT NULL,
    changed_at timestamptz NOT NULL,
    listed_at timestamptz NOT NULL,
    PRIMARY KEY (card_id, authorization_id)
);
CREATE INDEX processor_transactions_listed ON processor_transactions (processor, listed_at);

CREATE TABLE settlement_cases (
    processor text NOT NULL,
    case_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'amount_differs', 'currency_differs', 'unknown_card', 'unknown_authorization', 'settled_twice', 'missing_at_processor',
        'missing_with_us', 'parked_event', 'ledger_differs', 'file_refused', 'file_changed', 'line_broken')),
    -- What it was found in, and how it is looked at again.
    source text NOT NULL CHECK (source IN ('line', 'listing', 'event', 'card', 'file')),
    -- SHA-256 of what the case is about: found again it is the same case.
    subject_digest bytea NOT NULL CHECK (octet_length(subject_digest) = 32),
    card_id uuid,
    transaction_id uuid,
    authorization_id text,
    event_id text,
    file_id text,
    line integer,
    our_amount numeric(16, 2),
    their_amount numeric(16, 2),
    difference numeric(16, 2) GENERATED ALWAYS AS (their_amount - our_amount) STORED,
    currency char(3),
    their_currency char(3),
    -- What was compared, so that it can be compared again.
    detail jsonb NOT NULL,
    found_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    -- NULL while somebody has to look at it.
    closed_at timestamptz,
    closed_how text CHECK (closed_how IN ('mended', 'by_hand')),
    closed_by uuid,
    note text CHECK (length(note) BETWEEN 1 AND 1000),
    PRIMARY KEY (processor, case_id),
    UNIQUE (processor, subject_digest, kind),
    CHECK ((closed_at IS NULL) = (closed_how IS NULL)),
    CHECK ((closed_how IS NOT DISTINCT FROM 'by_hand') = (note IS NOT NULL)),
    CHECK ((closed_how IS NOT DISTINCT FROM 'by_hand') = (closed_by IS NOT NULL))
);
-- The lists staff reads, the newest first.
CREATE INDEX settlement_cases_open ON settlement_cases (case_id) WHERE closed_at IS NULL;
CREATE INDEX settlement_cases_closed ON settlement_cases (case_id) WHERE closed_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON settlement_sources, settlement_runs, settlement_files, processor_transactions, settlement_cases
    TO worker;
GRANT SELECT, INSERT ON settled_events TO worker;
GRANT DELETE ON processor_transactions TO worker;
GRANT SELECT ON settlement_runs, settlement_cases TO app;
GRANT UPDATE (closed_at, closed_how, closed_by, note) ON settlement_cases TO app;
-- Staff alone reads them, administrators close cases.
ALTER TABLE settlement_cases ENABLE ROW LEVEL SECURITY;
ALTER TABLE settlement_cases FORCE ROW LEVEL SECURITY;
CREATE POLICY read_by_staff ON settlement_cases FOR SELECT TO app USING ((SELECT actor_is_staff()));
CREATE POLICY closed_by_administrators ON settlement_cases FOR UPDATE TO app
    USING ((SELECT actor_role()) = 'admin') WITH CHECK ((SELECT actor_role()) = 'admin');
CREATE POLICY all_cases ON settlement_cases TO worker, migrator USING (true) WITH CHECK (true);
CREATE POLICY read_cases ON settlement_cases FOR SELECT TO auditor USING (true);
ALTER TABLE settlement_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE settlement_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY read_by_staff ON settlement_runs FOR SELECT TO app USING ((SELECT actor_is_staff()));
CREATE POLICY all_runs ON settlement_runs TO worker, migrator USING (true) WITH CHECK (true);
CREATE POLICY read_runs ON settlement_runs FOR SELECT TO auditor USING (true);
