SELECT role_name || ' may read ciphertexts of PANs' FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name
WHERE has_column_privilege(role_name, 'virtual_cards', 'card_number_encrypted', 'SELECT')
UNION ALL
SELECT role_name || ' may change ' || column_name || ' of the spend row' FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name,
    unnest(ARRAY['held', 'day_start', 'day_spent', 'month_start', 'month_spent', 'approvals', 'recent_approvals', 'daily']) AS column_name
WHERE has_column_privilege(role_name, 'card_limits', column_name, 'UPDATE')
UNION ALL
SELECT role_name || ' may run ' || function_name FROM unnest(ARRAY['app', 'auditor']) AS role_name,
    unnest(ARRAY['stale_card_numbers(text, uuid, integer)', 'replace_card_number(uuid, bytea, bytea, text)']) AS function_name
WHERE has_function_privilege(role_name, function_name, 'EXECUTE');
