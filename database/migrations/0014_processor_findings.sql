-- How far the comparison with the processor's cards is, and what it found that was not as it must be.
SET LOCAL ROLE migrator;

CREATE TABLE processor_sweeps (
    processor text PRIMARY KEY,
    -- Where the processor's list goes on; NULL at its beginning.
    list_cursor text,
    -- NULL while the list is read; then the last of our open cards that was looked for in it in vain.
    unseen_after uuid,
    started_at timestamptz NOT NULL,
    -- One sweep at a time: until then somebody is at it.
    lease_until timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE TABLE processor_findings (
    processor text NOT NULL,
    finding_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('state_differs', 'closed_at_processor', 'unknown_at_processor', 'missing_at_processor')),
    -- Ours; of an unknown one what the processor's reference says, which need not be an id of ours.
    card_id uuid,
    -- SHA-256 of the processor's token: what a stranger's list holds may be anything.
    token_digest bytea NOT NULL CHECK (octet_length(token_digest) = 32),
    found_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    -- NULL while somebody has to look at it.
    mended_at timestamptz,
    PRIMARY KEY (processor, finding_id)
);
CREATE UNIQUE INDEX processor_findings_open ON processor_findings (processor, token_digest, kind) WHERE mended_at IS NULL;
-- The two lists staff reads, the newest first.
CREATE INDEX processor_findings_waiting ON processor_findings (finding_id) WHERE mended_at IS NULL;
CREATE INDEX processor_findings_mended ON processor_findings (finding_id) WHERE mended_at IS NOT NULL;
-- A processor's reference names a card without its user.
CREATE INDEX card_issuances_by_card ON card_issuances (card_id);

GRANT SELECT, INSERT, UPDATE ON processor_sweeps, processor_findings TO worker;
GRANT SELECT ON processor_findings TO app;
-- Staff alone reads findings.
ALTER TABLE processor_findings ENABLE ROW LEVEL SECURITY;
ALTER TABLE processor_findings FORCE ROW LEVEL SECURITY;
CREATE POLICY read_by_staff ON processor_findings FOR SELECT TO app USING ((SELECT actor_is_staff()));
CREATE POLICY all_findings ON processor_findings TO worker, migrator USING (true) WITH CHECK (true);
CREATE POLICY read_findings ON processor_findings FOR SELECT TO auditor USING (true);
