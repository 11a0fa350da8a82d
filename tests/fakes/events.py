"""Events as their schemas show them, for tests that need one and not what it tells of."""

from typing import Any
from uuid import UUID

from cardwright.outbox.rules import EVENT_TYPES
from cardwright.webhooks.rules import schemas


def sample(event_type: str, card_id: UUID) -> dict[str, Any]:
    """Data of an event, that of the schema's example with the card's id in it; something short for types that have no schema."""
    if event_type not in EVENT_TYPES:
        return {"id": str(card_id)}
    data: dict[str, Any] = schemas.schema(event_type)["examples"][0]["data"]
    if "card_id" not in data:
        return data
    of_the_card = {"id", "card_id"} if event_type.startswith("card.") and event_type != "card.fraud_detected" else {"card_id"}
    data |= {name: str(card_id) for name in of_the_card}
    if "merchant" in data:
        # Not all the world is ASCII.
        data["merchant"]["name"] = "Café"
    return data
