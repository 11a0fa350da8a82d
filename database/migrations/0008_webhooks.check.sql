SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('webhook_subscriptions', 'webhook_deliveries', 'webhook_attempts') AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT role_name || ' may rewrite what was sent' FROM unnest(ARRAY['app', 'worker']) AS role_name
WHERE has_column_privilege(role_name, 'webhook_deliveries', 'payload', 'UPDATE')
   OR has_table_privilege(role_name, 'webhook_attempts', 'UPDATE, DELETE')
UNION ALL
SELECT 'app may record attempts' WHERE has_table_privilege('app', 'webhook_attempts', 'INSERT')
UNION ALL
SELECT 'the auditor reads sealed secrets' WHERE has_column_privilege('auditor', 'webhook_subscriptions', 'secrets_sealed', 'SELECT');
