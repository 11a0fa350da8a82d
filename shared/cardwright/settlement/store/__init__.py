"""SQL of settlement; one module a subject."""
