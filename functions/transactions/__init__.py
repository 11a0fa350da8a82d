"""Doors of the transactions domain: one module per Lambda."""
