"""What cards ask of an issuer processor."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState


class Processor(Protocol):
    """Makes cards, switches them and tells which it has.

    Every call raises UnavailableError processor_unavailable when the outcome is not known or a fault is transient, and
    ProviderRefusedError processor_refused when the processor understood and refused.
    """

    @property
    def name(self) -> str:
        """Kept with each card, so that it is known whose token it holds."""
        ...

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card; asked again for the same card id, with the same values, it answers the same card."""
        ...

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card; the state it has already is no error. One try with a short deadline."""
        ...

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Tell a card's limits, as far as the processor has such limits of its own. One try with a short deadline."""
        ...

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card that was made for our card id, or None when there is none."""
        ...

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return one page of all cards of ours, in an order in which cards made later come later; None begins."""
        ...

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Return the URL of a view, served by the processor, that shows this card's number and CVV until `expires_at`.

        `origins` are those whose pages may hold the view in a frame.
        """
        ...
