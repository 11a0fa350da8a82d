SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('virtual_cards', 'card_limits', 'card_issuances', 'card_tokens', 'card_fingerprints')
  AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT role_name || ' may read ciphertexts of PANs' FROM unnest(ARRAY['app', 'worker', 'auditor']) AS role_name
WHERE has_column_privilege(role_name, 'virtual_cards', 'card_number_encrypted', 'SELECT')
UNION ALL
SELECT 'app may write counters of spend' WHERE has_column_privilege('app', 'card_limits', 'day_spent', 'UPDATE');
