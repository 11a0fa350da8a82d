SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname = 'webhook_replays' AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'an ACTIVE subscription whose URL never answered' WHERE EXISTS (
    SELECT FROM webhook_subscriptions WHERE status = 'ACTIVE' AND verified_at IS NULL)
UNION ALL
SELECT role_name || ' may rewrite what a replay is of' FROM unnest(ARRAY['app', 'worker']) AS role_name
WHERE has_column_privilege(role_name, 'webhook_replays', 'event_id', 'UPDATE')
   OR has_column_privilege(role_name, 'webhook_replays', 'only_missed', 'UPDATE')
   OR has_column_privilege(role_name, 'webhook_replays', 'asked', 'UPDATE')
UNION ALL
SELECT 'the app may move a replay on' WHERE has_column_privilege('app', 'webhook_replays', 'position', 'UPDATE')
UNION ALL
SELECT 'the app may say which queues an event waits for' WHERE has_column_privilege('app', 'outbox', 'waits_for', 'UPDATE');
