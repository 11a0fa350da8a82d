"""What the relay asks of those who keep events and of the queue they go to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Transaction


class EventSource(Protocol):
    """A table whose rows are events; some domains' own rows are."""

    def take(self, tx: Transaction, limit: int) -> list[Event]:
        """Lock and return the oldest unpublished events that no other relay holds."""
        ...

    def mark(self, tx: Transaction, events: Sequence[Event], at: datetime) -> None:
        """Note that these events, taken in the same transaction, are published."""
        ...


class EventQueue(Protocol):
    """Where events go."""

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send up to 10 messages; tell for each whether the queue took it. Raises UnavailableError when none could be sent."""
        ...
