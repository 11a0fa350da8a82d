"""Doors of the programs domain: one module per Lambda."""
