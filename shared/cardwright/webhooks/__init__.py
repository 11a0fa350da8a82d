"""Webhooks: who wants to hear of what, at which URL, and the deliveries to them."""
