"""Use cases of notifications: what people see and wish, their devices, and the work of telling them."""

from cardwright.notifications.service.addresses import NotificationBounces
from cardwright.notifications.service.carriers import Carriers
from cardwright.notifications.service.devices import NotificationDevices
from cardwright.notifications.service.inbox import UserNotifications
from cardwright.notifications.service.notifications import NotificationService, gauges
from cardwright.notifications.service.worker import NotificationWorker

__all__ = [
    "Carriers",
    "NotificationBounces",
    "NotificationDevices",
    "NotificationService",
    "NotificationWorker",
    "UserNotifications",
    "gauges",
]
