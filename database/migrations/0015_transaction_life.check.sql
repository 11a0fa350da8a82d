SELECT 'card_transactions is still partitioned' FROM pg_class WHERE oid = 'card_transactions'::regclass AND relkind <> 'r'
UNION ALL
SELECT 'app may write transactions past the function' WHERE has_table_privilege('app', 'card_transactions', 'INSERT, DELETE')
    OR has_column_privilege('app', 'card_transactions', 'status', 'UPDATE')
UNION ALL
SELECT 'a decision may be changed: ' || name FROM unnest(ARRAY['reason', 'amount', 'approved_amount', 'chain_hash', 'decided_at']) AS name
    WHERE has_column_privilege('worker', 'card_transactions', name, 'UPDATE')
UNION ALL
SELECT 'a card without its configuration: ' || l.card_id FROM card_limits l
    WHERE NOT EXISTS (SELECT FROM card_configurations k WHERE k.card_id = l.card_id AND k.config_version = l.config_version)
UNION ALL
SELECT proname || ' has no fixed search_path' FROM pg_proc
WHERE prosecdef AND pronamespace = 'public'::regnamespace AND NOT coalesce(proconfig::text, '') LIKE '%search_path%';
