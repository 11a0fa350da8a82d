"""What the relay asks of those who keep events and of the queues they go to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Transaction


class EventSource(Protocol):
    """A table whose rows are events until they are copied into the feed; some domains' own rows are."""

    def take(self, tx: Transaction, limit: int) -> list[Event]:
        """Lock and return the oldest events that are not in the feed and that no other relay holds."""
        ...

    def take_of_card(self, tx: Transaction, card_id: UUID) -> list[Event]:
        """Lock and return the card's events that are not in the feed, waiting for who holds them."""
        ...

    def mark(self, tx: Transaction, events: Sequence[Event], at: datetime) -> None:
        """Note that these events, taken in the same transaction, are in the feed."""
        ...


class EventQueue(Protocol):
    """Where events go."""

    def send_batch(self, bodies: Sequence[str]) -> list[bool]:
        """Send up to 10 messages; tell for each whether the queue took it. Raises UnavailableError when none could be sent."""
        ...


@dataclass(frozen=True, slots=True)
class QueueRoute:
    """A queue and the types of events that go to it.

    Rows that wait for the queue bear its name, lower-case letters: it never changes, and a queue that is given up leaves with a
    migration that takes its name out of them.
    """

    name: str
    queue: EventQueue
    wants: Callable[[str], bool]
