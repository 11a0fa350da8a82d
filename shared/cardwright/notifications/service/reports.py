"""Reports of providers, of messages they took and could not deliver."""

from collections.abc import Mapping
from typing import Any

from cardwright.kernel.clock import Clock
from cardwright.notifications.ports import BounceScheme
from cardwright.notifications.service.addresses import NotificationBounces
from cardwright.platform.batch import run_batch


class BounceReports:
    """Takes the reports of one provider: at least once, in any order."""

    def __init__(self, bounces: NotificationBounces, clock: Clock, scheme: BounceScheme) -> None:
        self._bounces = bounces
        self._clock = clock
        self._scheme = scheme

    def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """Send nothing more to the addresses a report calls dead.

        Each is recorded by itself: of a report that was taken in part, the rest is recorded when it comes again. Raises
        UnauthenticatedError, InvalidRequestError and UnavailableError as `BounceScheme.read` does.
        """
        for bounce in self._scheme.read(headers, body, self._clock.now()):
            self._bounces.record_bounce(bounce.kind, bounce.address, bounce.because)

    def process_message_events(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Take one SQS batch of reports; answer which messages must come again."""
        failed = run_batch(event, lambda _message_id, body: self.receive({}, body.encode()))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}
