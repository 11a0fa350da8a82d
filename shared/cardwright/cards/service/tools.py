"""What the use cases of cards are composed of, and what they have alike."""

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from cardwright.cards.ports import Processor
from cardwright.cards.rules import Card
from cardwright.kernel.clock import Clock, rfc3339
from cardwright.kernel.errors import NotFoundError
from cardwright.outbox.rules import Event
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.programs.service import ProgramService

if TYPE_CHECKING:
    # The encryption SDK is slow to import and only issuing needs it.
    from cardwright.vault.service import Vault

# Longer than any function may run: an issuance whose maker died stops counting after it.
LEASE = timedelta(seconds=60)


class KycStatuses(Protocol):
    """What cards ask of KYC."""

    def status_of(self, tx: Transaction, user_id: UUID) -> str:
        """Return the user's status; VERIFIED is the one that may hold cards."""
        ...


class CardTools(Protocol):
    """What the service is composed of, each built when it is first used, so that a caller needs no more than it uses."""

    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> IdSource: ...
    @property
    def database(self) -> Database: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def kyc(self) -> KycStatuses: ...
    @property
    def programs(self) -> ProgramService: ...
    @property
    def vault(self) -> "Vault": ...
    @property
    def processor(self) -> Processor: ...


# Who acts when nobody asked: the schedules.
SCHEDULE = Actor(None, "system")


def found(card: Card | None) -> Card:
    """The card. Raises NotFoundError card_not_found."""
    if card is None:
        raise NotFoundError("There is no such card.", code="card_not_found")
    return card


def card_event(ids: IdSource, event_type: str, card: Card, **more: object) -> Event:
    """An event about a card as it is after the change; `more` stands beside what every event of a card tells."""
    data: dict[str, object] = {
        "id": str(card.card_id),
        "card_id": str(card.card_id),
        "program_id": str(card.program_id),
        "status": card.status.value,
        "reason_code": card.status_reason_code,
        "last_four": card.last_four,
        "currency": card.currency,
        "version": card.version,
        **more,
    }
    if card.cancel_after is not None:
        data["cancel_after"] = rfc3339(card.cancel_after)
    return Event(ids.new(), event_type, card.updated_at, data, user_id=card.user_id, card_id=card.card_id)
