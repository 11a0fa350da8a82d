-- Roles, the context of a transaction, and the conventions every later migration follows.
-- Run by an owner that may create roles. From 0002 on each file begins with SET LOCAL ROLE migrator.

CREATE EXTENSION IF NOT EXISTS pgcrypto;

DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['app', 'worker', 'auditor', 'migrator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', wanted);
        END IF;
    END LOOP;
    -- The managed database signs its users in by IAM token.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
        GRANT rds_iam TO app, worker, auditor, migrator;
    END IF;
    -- An owner that is no superuser (a managed database's master user) must be a member to SET ROLE.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT migrator TO %I', current_user);
    END IF;
END
$roles$;

-- Deadlines live on the role: a SET would pin a proxied connection.
ALTER ROLE app SET statement_timeout = '3s';
ALTER ROLE app SET lock_timeout = '2s';
ALTER ROLE app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE worker SET statement_timeout = '30s';
ALTER ROLE worker SET lock_timeout = '5s';
ALTER ROLE worker SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE auditor SET default_transaction_read_only = on;
ALTER ROLE auditor SET statement_timeout = '5min';

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO app, worker, auditor;
GRANT USAGE, CREATE ON SCHEMA public TO migrator;
ALTER DEFAULT PRIVILEGES FOR ROLE migrator IN SCHEMA public GRANT SELECT ON TABLES TO auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE migrator REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

SET LOCAL ROLE migrator;

-- Who acts in this transaction; set by cardwright.platform.postgres with set_config(..., is_local => true).
CREATE FUNCTION actor_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('cardwright.actor_id', true), '')::uuid;
CREATE FUNCTION actor_role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('cardwright.actor_role', true), ''), 'nobody');
CREATE FUNCTION actor_is_staff() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN actor_role() IN ('support', 'admin', 'compliance_officer');
GRANT EXECUTE ON FUNCTION actor_id(), actor_role(), actor_is_staff() TO app, worker, auditor;

-- Row-level security for a table whose rows belong to a user: the app role sees the actor's rows (staff sees all),
-- worker and the functions owned by migrator see all, the auditor reads all.
CREATE PROCEDURE protect_user_rows(table_name regclass, user_column text DEFAULT 'user_id')
    LANGUAGE plpgsql AS $protect$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format(
        'CREATE POLICY own_rows ON %s TO app USING (%2$I = (SELECT actor_id()) OR (SELECT actor_is_staff())) '
        'WITH CHECK (%2$I = (SELECT actor_id()) OR (SELECT actor_is_staff()))', table_name, user_column);
    EXECUTE format('CREATE POLICY all_rows ON %s TO worker, migrator USING (true) WITH CHECK (true)', table_name);
    EXECUTE format('CREATE POLICY read_rows ON %s FOR SELECT TO auditor USING (true)', table_name);
END
$protect$;
