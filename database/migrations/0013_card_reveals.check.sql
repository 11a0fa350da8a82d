SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname = 'card_reveals' AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'app may change ' || column_name || ' of a reveal' FROM unnest(ARRAY['user_id', 'card_id', 'digest', 'expires_at']) AS column_name
WHERE has_column_privilege('app', 'card_reveals', column_name, 'UPDATE')
UNION ALL
SELECT 'app may delete reveals, and so its quota' WHERE has_table_privilege('app', 'card_reveals', 'DELETE, TRUNCATE');
