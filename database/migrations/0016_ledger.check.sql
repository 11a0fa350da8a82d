SELECT role_name || ' may write ' || table_name FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name,
    unnest(ARRAY['ledger_postings', 'ledger_entries']) AS table_name
WHERE has_any_column_privilege(role_name, table_name, 'INSERT, UPDATE') OR has_table_privilege(role_name, table_name, 'DELETE, TRUNCATE')
UNION ALL
SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('ledger_postings', 'ledger_entries') AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT table_name || ' lacks the trigger ' || table_name || '_' || what
FROM unnest(ARRAY['ledger_postings', 'ledger_entries']) AS table_name, unnest(ARRAY['append_only', 'no_truncate', 'balanced']) AS what
WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = table_name::regclass AND t.tgname = table_name || '_' || what
                  AND t.tgenabled = 'O');
