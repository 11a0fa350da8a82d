SELECT 'may change the audit log: ' || role_name || ' ' || privilege || ' ' || table_name
FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name,
     unnest(ARRAY['card_audit_log', 'audit_log', 'audit_heads', 'card_audit_log_0']) AS table_name,
     unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
WHERE has_table_privilege(role_name, table_name, privilege)
UNION ALL
SELECT 'card_audit_log has ' || count(*) || ' partitions' FROM pg_inherits
WHERE inhparent = 'card_audit_log'::regclass HAVING count(*) <> 8;
