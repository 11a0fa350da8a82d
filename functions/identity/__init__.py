"""Doors of the identity domain: one module per Lambda."""
