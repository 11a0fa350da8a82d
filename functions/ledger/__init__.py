"""Doors of the ledger domain: one module per Lambda."""
