SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('notification_preferences', 'notification_devices', 'notifications', 'notification_messages')
    AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'the app may write messages' WHERE has_table_privilege('app', 'notification_messages', 'INSERT, UPDATE, DELETE')
UNION ALL
SELECT 'the app may rewrite what people were told' WHERE has_column_privilege('app', 'notifications', 'params', 'UPDATE')
    OR has_table_privilege('app', 'notifications', 'INSERT, DELETE')
UNION ALL
SELECT 'the app reads which addresses are dead' WHERE has_any_column_privilege('app', 'notification_suppressions', 'SELECT')
UNION ALL
SELECT 'the app opens contacts of others' WHERE has_function_privilege('app', 'find_contact(uuid)', 'EXECUTE')
UNION ALL
SELECT 'the auditor reads sealed addresses' WHERE has_column_privilege('auditor', 'notification_devices', 'address_sealed', 'SELECT');
