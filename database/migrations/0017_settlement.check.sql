SELECT 'app may change ' || table_name
FROM unnest(ARRAY['settlement_sources', 'settlement_runs', 'settlement_files', 'settled_events', 'processor_transactions']) AS table_name
WHERE has_table_privilege('app', table_name, 'INSERT, UPDATE, DELETE')
UNION ALL
SELECT 'app may make or delete cases' WHERE has_table_privilege('app', 'settlement_cases', 'INSERT, DELETE')
UNION ALL
SELECT 'worker may change or delete what was settled' WHERE has_table_privilege('worker', 'settled_events', 'UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT 'worker may delete ' || table_name FROM unnest(ARRAY['settlement_cases', 'settlement_files', 'settlement_runs']) AS table_name
WHERE has_table_privilege('worker', table_name, 'DELETE, TRUNCATE')
UNION ALL
SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('settlement_cases', 'settlement_runs') AND NOT (relrowsecurity AND relforcerowsecurity);
