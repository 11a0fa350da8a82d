"""Decide what the card network asks, once per authorization id, in one round trip to PostgreSQL."""
