"""A world whose cards are compared with the processor's."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from cardwright.cards.rules import Card, ProcessorCard, ProcessorState
from cardwright.cards.service import CardService, finding_gauges
from cardwright.kernel.errors import UnavailableError
from cardwright.platform.postgres import Actor, Database
from tests.fakes.card_world import CardWorld
from tests.fakes.processor import FakeProcessor

ACTIVE, PAUSED, CLOSED = ProcessorState.ACTIVE, ProcessorState.PAUSED, ProcessorState.CLOSED
GONE = UnavailableError("gone", code="processor_unavailable")


class ListingProcessor(FakeProcessor):
    """Lists strangers' cards in the state they were switched to, and nothing of `lost` tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()

    def _all(self) -> list[ProcessorCard]:
        cards = [card for card in super()._all() if card.token not in self.lost]
        return [replace(card, state=self.states.get(card.token, card.state)) for card in cards]


class DriftWorld(CardWorld):
    """A card world in a database of its own: what the processor is said to miss would be the other tests' cards."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.listing = ListingProcessor()
        self.processor = self.listing
        self.schedules = self.under(self._worker)
        self.holder: Actor = self.add_user()

    def under(self, database: Database) -> CardService:
        """A service like the schedule's, with another way to the database."""
        tools = copy.copy(self)
        tools.database = database
        return tools.serving(creations_per_hour=None)

    def compare(self, deadline: Callable[[], float] = lambda: 300.0) -> int:
        """Run the comparison once."""
        return self.schedules.compare_processor_cards(deadline)

    def later(self, **span: float) -> None:
        """Let time pass; without a span, until another pass may begin."""
        self.clock.at += timedelta(**span) if span else timedelta(hours=1)

    def old_card(self) -> Card:
        """A card that did not change in the last minutes."""
        card = self.issue(self.holder)
        self.later(minutes=5)
        return card

    def stranger(self, name: str, card_id: UUID | None = None, state: ProcessorState = ACTIVE) -> str:
        """Let the processor hold a card that is not ours; returns its token."""
        token = f"stranger_{name}"
        self.processor.strangers.append(ProcessorCard(token, card_id, state))
        return token

    def given_up(self, state: str = "ABANDONED") -> UUID:
        """Let the processor make a card whose maker never heard of it; returns its id, of an issuance in this state."""
        card_id = self.ids.new()
        self.processor.faults = [GONE] * 4
        self.processor.made_before_fault = True
        try:
            self.service.issue_card(self.holder, self.wish(), card_id)
        except UnavailableError:
            self.sql(
                "UPDATE card_issuances SET state = %s, finished_at = %s WHERE card_id = %s",
                state,
                None if state == "REQUESTED" else self.clock.at,
                card_id,
            )
        self.later(minutes=5)
        return card_id

    def findings(self) -> list[tuple[str, UUID | None, bool]]:
        """Kind, card and whether it is open, of every finding, in the order of kinds and cards."""
        rows = self.sql("SELECT kind, card_id, mended_at FROM processor_findings ORDER BY kind, card_id, finding_id")
        return [(row["kind"], row["card_id"], row["mended_at"] is None) for row in rows]

    def sweep(self) -> dict[str, Any]:
        """Where the comparison stands."""
        (row,) = self.sql("SELECT * FROM processor_sweeps")
        return row

    def open_findings(self) -> float:
        """What the gauge says."""
        ((name, value),) = finding_gauges(self._worker)
        assert name == "cardwright_processor_findings_open"
        return value
