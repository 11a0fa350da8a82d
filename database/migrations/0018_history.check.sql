SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname = 'transaction_search' AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'app may change transaction_search' WHERE has_table_privilege('app', 'transaction_search', 'INSERT, UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT 'worker may take words back' WHERE has_table_privilege('worker', 'transaction_search', 'UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT 'the words have no index' WHERE NOT EXISTS (
    SELECT FROM pg_indexes WHERE tablename = 'transaction_search' AND indexdef LIKE '%USING gin (document) WITH (fastupdate=off)%')
UNION ALL
SELECT 'find_transactions does not rise' WHERE NOT EXISTS (
    SELECT FROM pg_proc WHERE proname = 'find_transactions' AND prosecdef AND proconfig::text LIKE '%search_path%');
