"""What a processor tells of a transaction after its request (CONTRACT, from the processor): at least once and in any order."""

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

# Built once: json.dumps with options builds an encoder for every call.
_JSON = json.JSONEncoder(separators=(",", ":"))


class EventType(StrEnum):
    """Types of a processor's events."""

    CLEARED = "transaction.cleared"
    REVERSED = "transaction.reversed"
    REFUNDED = "transaction.refunded"
    EXPIRED = "transaction.expired"
    FORCE_POSTED = "transaction.force_posted"
    ADVICE = "authorization.advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMerchant:
    """Where the card was used, as the event tells it. `category_code` is an ISO 18245 code, `country` ISO 3166-1 alpha-2."""

    id: str | None = None
    name: str | None = None
    category_code: str | None = None
    city: str | None = None
    country: str | None = None

    def document(self) -> dict[str, object]:
        """As JSON, in the shape in which a decision keeps its merchant."""
        return {
            "id": self.id,
            "name": self.name,
            "category_code": self.category_code,
            "city": self.city,
            "country": self.country,
            "latitude": None,
            "longitude": None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorEvent:
    """One event. `amount` is this event's own, in the card's currency; `final_clearing` ends the hold, whatever is left of it.

    `voids` marks a reversal of our own: the network never got an approval for what is held. `from_file` marks an event that was
    taken from a settlement file, because it had not been told.
    """

    event_id: str
    type: EventType
    card_token: str
    amount: Decimal
    currency: str
    authorization_id: str | None = None
    final_clearing: bool = False
    merchant: EventMerchant | None = None
    occurred_at: str | None = None
    voids: bool = False
    from_file: bool = False

    def detail(self) -> dict[str, object]:
        """What is kept beside the columns."""
        told: dict[str, object] = {"occurred_at": self.occurred_at}
        if self.merchant is not None:
            told["merchant"] = self.merchant.document()
        if self.voids:
            told["voids"] = True
        if self.from_file:
            told["from_file"] = True
        return told

    def digest(self) -> bytes:
        """SHA-256 over what the event does: the same id with another deed is refused.

        Where and when are no part of it: networks stamp a repeated message anew, and a settlement file tells the same event in
        other words.
        """
        told = (self.type, self.authorization_id, f"{self.amount:.2f}", self.currency, self.final_clearing, self.voids)
        return hashlib.sha256(_JSON.encode(told).encode()).digest()
