"""Doors of the outbox domain: one module per Lambda."""
