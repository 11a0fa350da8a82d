"""Doors of the notifications domain: one module per Lambda."""
