"""Cardwright's domain: cards, authorizations, identity, webhooks and the services under them."""
