"""Doors of the vault domain: one module per Lambda."""
