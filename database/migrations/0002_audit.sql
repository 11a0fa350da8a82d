-- Append-only audit, one hash chain per subject. Cards have a table of their own, partitioned by card.
SET LOCAL ROLE migrator;

-- The head of each chain, locked by every append, so that a chain has one order.
CREATE TABLE audit_heads (
    subject_type text NOT NULL,
    subject_id uuid NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (subject_id, subject_type)
);

CREATE TABLE card_audit_log (
    card_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    entry_id uuid NOT NULL,
    action text NOT NULL,
    actor_id uuid,
    actor_role text NOT NULL,
    reason text,
    old_values jsonb,
    new_values jsonb,
    request_id text,
    occurred_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (card_id, seq),
    UNIQUE (card_id, entry_id)
) PARTITION BY HASH (card_id);

CREATE TABLE audit_log (
    subject_type text NOT NULL CHECK (subject_type <> 'card'),
    subject_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    entry_id uuid NOT NULL,
    action text NOT NULL,
    actor_id uuid,
    actor_role text NOT NULL,
    reason text,
    old_values jsonb,
    new_values jsonb,
    request_id text,
    occurred_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (subject_id, subject_type, seq)
);

DO $partitions$
BEGIN
    FOR remainder IN 0..7 LOOP
        EXECUTE format('CREATE TABLE card_audit_log_%s PARTITION OF card_audit_log FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                       remainder, remainder);
    END LOOP;
END
$partitions$;

CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $refuse$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$refuse$;
CREATE TRIGGER card_audit_log_append_only BEFORE UPDATE OR DELETE ON card_audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER card_audit_log_no_truncate BEFORE TRUNCATE ON card_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Row triggers are handed down to partitions, statement triggers are not: each partition needs its own against TRUNCATE.
DO $truncate$
BEGIN
    FOR remainder IN 0..7 LOOP
        EXECUTE format('CREATE TRIGGER card_audit_log_no_truncate BEFORE TRUNCATE ON card_audit_log_%s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', remainder);
    END LOOP;
END
$truncate$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One entry in canonical form: every field as octet length, colon, text; NULL as a dash. A verifier outside recomputes it.
CREATE FUNCTION audit_canonical(VARIADIC fields text[]) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (
        SELECT convert_to(string_agg(coalesce(octet_length(field) || ':' || field, '-'), ',' ORDER BY position), 'UTF8')
        FROM unnest(fields) WITH ORDINALITY AS listed (field, position)
    );

-- Times enter the hash in UTC with microseconds, whatever the session's time zone.
CREATE FUNCTION audit_time(moment timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- Append one entry to the subject's chain in the caller's transaction and return its hash.
-- The actor, request and reason come from the transaction's context, the time from the caller's clock.
CREATE FUNCTION append_audit(
    p_subject_type text, p_subject_id uuid, p_entry_id uuid, p_action text,
    p_old jsonb, p_new jsonb, p_occurred_at timestamptz
) RETURNS bytea
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $append$
DECLARE
    head audit_heads;
    who uuid := actor_id();
    role_name text := actor_role();
    why text := nullif(current_setting('cardwright.reason', true), '');
    request text := nullif(current_setting('cardwright.request_id', true), '');
    new_hash bytea;
BEGIN
    INSERT INTO audit_heads VALUES (p_subject_type, p_subject_id, 0, '\x'::bytea) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT head FROM audit_heads
        WHERE subject_id = p_subject_id AND subject_type = p_subject_type FOR UPDATE;
    new_hash := digest(head.hash || audit_canonical(
        p_subject_type, p_subject_id::text, (head.seq + 1)::text, p_entry_id::text, p_action, who::text, role_name, why,
        p_old::text, p_new::text, request, audit_time(p_occurred_at)), 'sha256');
    IF p_subject_type = 'card' THEN
        INSERT INTO card_audit_log VALUES (p_subject_id, head.seq + 1, p_entry_id, p_action, who, role_name, why,
                                           p_old, p_new, request, p_occurred_at, head.hash, new_hash);
    ELSE
        INSERT INTO audit_log VALUES (p_subject_type, p_subject_id, head.seq + 1, p_entry_id, p_action, who, role_name, why,
                                      p_old, p_new, request, p_occurred_at, head.hash, new_hash);
    END IF;
    UPDATE audit_heads SET seq = head.seq + 1, hash = new_hash
        WHERE subject_id = p_subject_id AND subject_type = p_subject_type;
    RETURN new_hash;
END
$append$;

-- Only the functions write; nobody but the owner of the functions touches the tables.
REVOKE ALL ON audit_heads, card_audit_log, audit_log FROM app, worker;
GRANT SELECT ON card_audit_log, audit_log TO worker;
GRANT EXECUTE ON FUNCTION append_audit(text, uuid, uuid, text, jsonb, jsonb, timestamptz) TO app, worker;
GRANT EXECUTE ON FUNCTION audit_canonical(text[]), audit_time(timestamptz) TO auditor, worker;
