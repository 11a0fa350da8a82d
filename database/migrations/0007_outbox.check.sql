SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('outbox', 'idempotency_keys') AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'app may mark events as published' WHERE has_column_privilege('app', 'outbox', 'published_at', 'UPDATE');
