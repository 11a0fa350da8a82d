"""The technical floor: the only importers of psycopg, the Valkey protocol, boto3 and the encryption SDKs."""
