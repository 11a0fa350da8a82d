SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('card_batches', 'card_batch_items') AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'app may change ' || table_name FROM unnest(ARRAY['card_batches', 'card_batch_items']) AS table_name
WHERE has_any_column_privilege('app', table_name, 'UPDATE') OR has_table_privilege('app', table_name, 'DELETE, TRUNCATE')
UNION ALL
SELECT 'worker may change ' || column_name || ' of a batch item'
FROM unnest(ARRAY['user_id', 'job_id', 'position', 'card_id', 'item_key', 'request_digest', 'wish']) AS column_name
WHERE has_column_privilege('worker', 'card_batch_items', column_name, 'UPDATE')
UNION ALL
SELECT 'the auditor reads ' || column_name || ' of a batch item' FROM unnest(ARRAY['wish', 'item_key', 'failure']) AS column_name
WHERE has_column_privilege('auditor', 'card_batch_items', column_name, 'SELECT');
