SELECT 'app may change ' || column_name || ' of a program'
FROM unnest(ARRAY['bin', 'network', 'currency', 'funding', 'program_id', 'created_at']) AS column_name
WHERE has_column_privilege('app', 'programs', column_name, 'UPDATE')
UNION ALL
SELECT 'app may delete programs' WHERE has_table_privilege('app', 'programs', 'DELETE, TRUNCATE')
UNION ALL
SELECT role_name || ' may write programs' FROM unnest(ARRAY['worker', 'auditor']) AS role_name
WHERE has_table_privilege(role_name, 'programs', 'INSERT, UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT 'row-level security is not forced on programs' FROM pg_class
WHERE relname = 'programs' AND NOT (relrowsecurity AND relforcerowsecurity);
