"""Proofs of money under concurrency, duplicates, disorder and crashes; quick forms in tests and long ones share their code."""
