"""The processor behind a circuit breaker."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from cardwright.cards.ports import Processor
from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.platform.breaker import Breaker


class GuardedProcessor:
    """A processor that is left alone while it is known not to answer: callers then get CircuitOpenError at once.

    Only calls that go over the line say whether it answers: the address of a view does not pass the breaker.
    """

    def __init__(self, processor: Processor, breaker: Breaker) -> None:
        self._processor = processor
        self._breaker = breaker

    @property
    def name(self) -> str:
        """The processor's own name."""
        return self._processor.name

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card."""
        return self._breaker.call(
            lambda: self._processor.create_card(
                card_id=card_id, program_id=program_id, bin_prefix=bin_prefix, currency=currency, expiry=expiry, limits=limits
            )
        )

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card."""
        self._breaker.call(lambda: self._processor.set_state(token, state))

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Tell a card's limits."""
        self._breaker.call(lambda: self._processor.set_limits(token, limits, currency))

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card made for our card id."""
        return self._breaker.call(lambda: self._processor.find_card(card_id))

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return one page of all cards."""
        return self._breaker.call(lambda: self._processor.list_cards(cursor))

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Return the URL of the processor's view of a card, whatever the breaker's state."""
        # Vendors' adapters sign it here or refuse here: as an answer that would close the circuit on a party that is down.
        return self._processor.reveal_url(token, expires_at=expires_at, origins=origins)
