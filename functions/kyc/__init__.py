"""Doors of the kyc domain: one module per Lambda."""
