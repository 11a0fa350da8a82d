"""Use cases of webhooks: subscriptions of users, and the work of delivering to them."""

from cardwright.webhooks.service.changes import KEEP, Keep, SubscriptionChanges
from cardwright.webhooks.service.measuring import gauges
from cardwright.webhooks.service.replaying import Replays
from cardwright.webhooks.service.replays import ReplayRequest
from cardwright.webhooks.service.subscriptions import NewSubscription, WebhookSubscriptions
from cardwright.webhooks.service.webhooks import WebhookService
from cardwright.webhooks.service.worker import WebhookWorker

__all__ = [
    "KEEP",
    "Keep",
    "NewSubscription",
    "ReplayRequest",
    "Replays",
    "SubscriptionChanges",
    "WebhookService",
    "WebhookSubscriptions",
    "WebhookWorker",
    "gauges",
]
