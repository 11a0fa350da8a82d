-- Programs as rows that administrators change: versions, an end, the threshold of a second factor; audited like everything else.
SET LOCAL ROLE migrator;

ALTER TABLE programs
    ADD COLUMN status text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'RETIRED')),
    -- Raising a card's limit above this needs a second factor shown in the last minutes; NULL: above the default daily limit.
    ADD COLUMN step_up_above numeric(12, 2) CHECK (step_up_above >= 0),
    ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    ADD COLUMN last_operation_id uuid,
    ADD COLUMN updated_at timestamptz,
    -- Cards are issued in a currency by its default program: one that issues no more cannot be it.
    ADD CHECK (NOT (is_default AND status = 'RETIRED'));

ALTER TABLE programs ENABLE ROW LEVEL SECURITY;
ALTER TABLE programs FORCE ROW LEVEL SECURITY;
CREATE POLICY read_programs ON programs FOR SELECT TO app, worker, auditor USING (true);
CREATE POLICY added_by_admin ON programs FOR INSERT TO app WITH CHECK ((SELECT actor_role()) = 'admin');
CREATE POLICY changed_by_admin ON programs FOR UPDATE TO app
    USING ((SELECT actor_role()) = 'admin') WITH CHECK ((SELECT actor_role()) = 'admin');
CREATE POLICY all_programs ON programs TO migrator USING (true) WITH CHECK (true);
GRANT INSERT ON programs TO app;
-- BIN, network, currency and funding are what its cards are: another one is another program.
GRANT UPDATE (name, is_default, status, max_open_cards, card_lifetime_months, default_per_transaction, default_daily, default_monthly,
              default_velocity_per_hour, step_up_above, version, last_operation_id, updated_at) ON programs TO app;
