"""What cards ask of an issuer processor."""

from typing import Protocol
from uuid import UUID

from cardwright.cards.rules import Expiry, IssuedCard, ProcessorState


class Processor(Protocol):
    """Makes cards and switches them.

    Both calls raise UnavailableError processor_unavailable when the outcome is not known or a fault is transient, and
    ProviderRefusedError processor_refused when the processor understood and refused.
    """

    @property
    def name(self) -> str:
        """Kept with each card, so that it is known whose token it holds."""
        ...

    def create_card(self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry) -> IssuedCard:
        """Make a card; asked again for the same card id it answers the same card."""
        ...

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card; the state it has already is no error. One try with a short deadline."""
        ...
