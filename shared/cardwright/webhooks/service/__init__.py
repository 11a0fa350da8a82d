"""Use cases of webhooks: subscriptions of users, and the work of delivering to them."""

from cardwright.webhooks.service.subscriptions import NewSubscription, WebhookSubscriptions
from cardwright.webhooks.service.webhooks import WebhookService
from cardwright.webhooks.service.worker import WebhookWorker

__all__ = ["NewSubscription", "WebhookService", "WebhookSubscriptions", "WebhookWorker"]
