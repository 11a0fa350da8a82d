"""Doors of the settlement domain: one module per Lambda."""
