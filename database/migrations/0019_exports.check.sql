SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname = 'transaction_exports' AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'app may change exports' WHERE has_any_column_privilege('app', 'transaction_exports', 'UPDATE')
    OR has_table_privilege('app', 'transaction_exports', 'DELETE, TRUNCATE')
UNION ALL
SELECT 'worker may change ' || column_name || ' of an export'
FROM unnest(ARRAY['user_id', 'job_id', 'card_id', 'filters', 'request_digest', 'created_at']) AS column_name
WHERE has_column_privilege('worker', 'transaction_exports', column_name, 'UPDATE')
UNION ALL
SELECT 'the auditor reads ' || column_name || ' of an export' FROM unnest(ARRAY['filters', 'upload_id', 'parts']) AS column_name
WHERE has_column_privilege('auditor', 'transaction_exports', column_name, 'SELECT');
