"""Levers that part the processor's cards from what the issuer knows, so that its reconciliation has something to find.

They are the local world's own, like the clock and the faults: no key, under /simulate. No fault acts on them.
"""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from local.simulators.processor.cards import Bin, Cards, Currency, State


class UnaskedCard(BaseModel):
    """A card to make; `reference` is a random UUID unless given, and need not be a UUID."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bin: Bin
    currency: Currency
    reference: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class ForcedState(BaseModel):
    """A card and the state it is to be in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    card_token: str
    state: State


class LostCard(BaseModel):
    """A card to forget."""

    model_config = ConfigDict(extra="forbid", strict=True)

    card_token: str


def routes(cards: Cards) -> APIRouter:
    """POST /simulate/cards, /simulate/card-state and /simulate/lose-card."""
    router = APIRouter(prefix="/simulate")

    @router.post("/cards", status_code=201)
    async def make_unasked(wanted: UnaskedCard) -> dict[str, Any]:
        """Make a card the issuer never asked for and does not know."""
        return cards.make_unasked(wanted.reference or str(uuid.uuid4()), wanted.bin, wanted.currency)

    @router.post("/card-state")
    async def force_state(wanted: ForcedState) -> dict[str, Any]:
        """Set a card's state behind the issuer's back, out of CLOSED too; 404 for an unknown token."""
        return cards.force_state(wanted.card_token, wanted.state)

    @router.post("/lose-card")
    async def lose_card(wanted: LostCard) -> dict[str, Any]:
        """Forget a card as if it had never been made, and answer how it was; 404 for an unknown token."""
        return cards.lose(wanted.card_token)

    return router
