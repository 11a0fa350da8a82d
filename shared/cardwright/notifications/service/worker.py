"""The consumer of the notifications queue."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cardwright.notifications.service.notifications import NotificationService
from cardwright.notifications.store.messages import Lease
from cardwright.outbox.rules import from_message
from cardwright.platform.batch import run_batch


class NotificationWorker:
    """Consumes the notifications queue. A message may come any number of times: a person is told once."""

    def __init__(self, notifications: NotificationService) -> None:
        self._notifications = notifications

    def process_notification_queue(self, event: Mapping[str, Any], time_left: Callable[[], float]) -> dict[str, Any]:
        """Handle one SQS batch; answer which messages must come again. `time_left` is in seconds.

        A message is done when what it means is committed; what was not sent then is due in the database.
        """
        leases: list[Lease] = []

        def handle(_message_id: str, body: str) -> None:
            leases.extend(self._notifications.process(from_message(json.loads(body))))

        failed = run_batch(event, handle)
        self._notifications.send(leases, time_left)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}
