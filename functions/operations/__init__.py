"""Doors of the operations domain: one module per Lambda."""
