SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('virtual_cards', 'card_limits', 'card_issuances', 'card_tokens', 'card_fingerprints')
  AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT role_name || ' may read ciphertexts of PANs' FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name
WHERE has_column_privilege(role_name, 'virtual_cards', 'card_number_encrypted', 'SELECT')
UNION ALL
SELECT role_name || ' may write ' || column_name || ' of the spend row' FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name,
    unnest(ARRAY['held', 'day_start', 'day_spent', 'month_start', 'month_spent', 'approvals', 'locked_merchant_id',
                 'recent_approvals', 'chain_seq', 'chain_head']) AS column_name
WHERE has_column_privilege(role_name, 'card_limits', column_name, 'UPDATE');
