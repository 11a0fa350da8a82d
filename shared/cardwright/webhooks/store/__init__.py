"""SQL of webhooks, a module a subject: subscriptions, deliveries."""
