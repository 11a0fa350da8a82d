SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('users', 'user_emails', 'user_data_keys', 'sessions', 'mfa_challenges', 'pending_registrations', 'recovery_codes')
  AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT role_name || ' may read ' || table_name || '.' || column_name
FROM (VALUES ('users', 'password_hash'), ('sessions', 'refresh_digest'), ('mfa_challenges', 'digest'),
             ('pending_registrations', 'digest'), ('pending_registrations', 'password_hash'))
         AS secret (table_name, column_name),
     unnest(ARRAY['app', 'worker', 'auditor']) AS role_name
WHERE has_column_privilege(role_name, table_name, column_name, 'SELECT')
UNION ALL
SELECT role_name || ' may read ' || table_name || '.' || column_name
FROM (VALUES ('users', 'totp_sealed'), ('users', 'email_sealed'), ('user_data_keys', 'wrapped_key'), ('user_emails', 'email_index'),
             ('recovery_codes', 'digest')) AS secret (table_name, column_name),
     unnest(ARRAY['worker', 'auditor']) AS role_name
WHERE has_column_privilege(role_name, table_name, column_name, 'SELECT')
UNION ALL
SELECT 'app may change ' || column_name FROM unnest(ARRAY['role', 'email_verified_at']) AS column_name
WHERE has_column_privilege('app', 'users', column_name, 'UPDATE');
