SELECT 'app may change ' || table_name FROM unnest(ARRAY['processor_findings', 'processor_sweeps']) AS table_name
WHERE has_table_privilege('app', table_name, 'INSERT, UPDATE, DELETE')
UNION ALL
SELECT 'worker may delete ' || table_name FROM unnest(ARRAY['processor_findings', 'processor_sweeps']) AS table_name
WHERE has_table_privilege('worker', table_name, 'DELETE, TRUNCATE')
UNION ALL
SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname = 'processor_findings' AND NOT (relrowsecurity AND relforcerowsecurity);
