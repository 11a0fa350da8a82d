SELECT 'app or worker may write programs' WHERE has_table_privilege('app', 'programs', 'INSERT, UPDATE, DELETE')
    OR has_table_privilege('worker', 'programs', 'INSERT, UPDATE, DELETE');
