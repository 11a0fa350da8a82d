"""Doors of the authorizations domain: one module per Lambda."""
