SELECT 'row-level security is not forced on ' || relname FROM pg_class
WHERE relname IN ('kyc_cases', 'kyc_events') AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'app may write events of the KYC provider' WHERE has_table_privilege('app', 'kyc_events', 'INSERT');
