"""The queue's consumer: events become deliveries, and each delivery's first attempt follows at once."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cardwright.outbox.rules import VERIFICATION_REQUESTED, from_message
from cardwright.platform.batch import run_batch
from cardwright.webhooks.service.dispatch import Job
from cardwright.webhooks.service.webhooks import WebhookService


class WebhookWorker:
    """Consumes the events queue. A message may come any number of times: a subscription gets one delivery an event."""

    def __init__(self, webhooks: WebhookService) -> None:
        self._webhooks = webhooks

    def process_event_queue(self, event: Mapping[str, Any], time_left: Callable[[], float]) -> dict[str, Any]:
        """Handle one SQS batch; answer which messages must come again. `time_left` is in seconds.

        A message is done when its deliveries are committed; attempts of them go on being due in the database.
        """
        jobs: list[Job] = []
        verifications: dict[Job, str] = {}

        def handle(message_id: str, body: str) -> None:
            told = from_message(json.loads(body))
            if told.type == VERIFICATION_REQUESTED:
                job = self._webhooks.verification(told)
                if job is not None:
                    jobs.append(job)
                    verifications[job] = message_id
            else:
                jobs.extend(self._webhooks.send_event(told))

        failed = run_batch(event, handle)
        unfinished = self._webhooks.attempt(jobs, time_left)
        failed += [verifications[job] for job in unfinished if job in verifications]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}
