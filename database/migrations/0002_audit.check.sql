SELECT 'may change the audit log: ' || role_name || ' ' || privilege || ' ' || table_name
FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name,
     unnest(ARRAY['card_audit_log', 'audit_log', 'audit_heads', 'card_audit_log_0']) AS table_name,
     unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
WHERE has_table_privilege(role_name, table_name, privilege)
UNION ALL
SELECT 'card_audit_log has ' || count(*) || ' partitions' FROM pg_inherits
WHERE inhparent = 'card_audit_log'::regclass HAVING count(*) <> 8
UNION ALL
SELECT 'may be truncated: ' || c.relname FROM pg_class c
WHERE c.relname ~ '^(card_)?audit_log(_[0-9])?$' AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname LIKE '%no_truncate');
