"""Doors of the webhooks domain: one module per Lambda."""
