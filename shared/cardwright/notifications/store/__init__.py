"""SQL of notifications; one module a subject."""
