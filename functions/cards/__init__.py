"""Doors of the cards domain: one module per Lambda."""
