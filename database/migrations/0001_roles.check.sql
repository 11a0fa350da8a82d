-- Yields a row for everything that is not as it must be.
SELECT 'role missing or too strong: ' || wanted
FROM unnest(ARRAY['app', 'worker', 'auditor', 'migrator']) AS wanted
LEFT JOIN pg_roles ON rolname = wanted
WHERE rolname IS NULL OR rolsuper OR rolbypassrls OR rolcreaterole
UNION ALL
SELECT 'extension pgcrypto missing' WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pgcrypto')
UNION ALL
SELECT 'PUBLIC may create in schema public' WHERE has_schema_privilege('auditor', 'public', 'CREATE');
