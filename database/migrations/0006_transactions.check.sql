SELECT 'card_transactions has ' || count(*) || ' partitions' FROM pg_inherits
WHERE inhparent = 'card_transactions'::regclass HAVING count(*) <> 8
UNION ALL
SELECT 'app may write transactions past the function' WHERE has_table_privilege('app', 'card_transactions', 'INSERT, DELETE')
    OR has_column_privilege('app', 'card_transactions', 'status', 'UPDATE')
UNION ALL
SELECT proname || ' has no fixed search_path' FROM pg_proc
WHERE prosecdef AND pronamespace = 'public'::regnamespace AND NOT coalesce(proconfig::text, '') LIKE '%search_path%';
