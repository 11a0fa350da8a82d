"""An issuer processor in memory, with the faults a real one has."""

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorPage, ProcessorState
from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret, luhn_valid


def new_pan(bin_prefix: str, seed: str) -> str:
    """Return 16 digits under the BIN with a valid check digit, the same for the same seed."""
    body = bin_prefix + str(int(hashlib.sha256(seed.encode()).hexdigest(), 16))[: 15 - len(bin_prefix)]
    return next(body + str(digit) for digit in range(10) if luhn_valid(body + str(digit)))


class FakeProcessor:
    """Makes one card per card id. `faults` are raised by the next calls of create_card, `bend` changes its answers.

    With `made_before_fault` the card is made although its caller sees the fault. `switch_faults` are raised by the next
    calls of set_state and set_limits, `view_faults` by those of find_card, list_cards and reveal_url. `strangers` are cards
    we did not make: they are listed after ours, `page_size` cards a page.
    """

    name = "fake"

    def __init__(self) -> None:
        self.cards: dict[UUID, IssuedCard] = {}
        self.states: dict[str, ProcessorState] = {}
        self.limits: dict[str, Limits] = {}
        self.strangers: list[ProcessorCard] = []
        self.page_size = 200
        self.told: list[tuple[str, ProcessorState]] = []
        self.asked: list[UUID] = []
        self.reveals: list[tuple[str, datetime, tuple[str, ...]]] = []
        self.faults: list[CardwrightError] = []
        self.switch_faults: list[CardwrightError] = []
        self.view_faults: list[CardwrightError] = []
        self.made_before_fault = False
        self.bend: Callable[[IssuedCard], IssuedCard] = lambda card: card
        self.before_switch: Callable[[ProcessorState], None] = lambda state: None
        self._lock = threading.Lock()

    def create_card(
        self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry, limits: Limits
    ) -> IssuedCard:
        """Make a card, or give the one that was made for this id."""
        with self._lock:
            self.asked.append(card_id)
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None and not self.made_before_fault:
                raise fault
            if card_id not in self.cards:
                pan = new_pan(bin_prefix, str(card_id))
                made = IssuedCard(f"card_{card_id.hex}", Secret(pan), pan[-4:], expiry, currency)
                self.cards[card_id] = self.bend(made)
                self.states[self.cards[card_id].token] = ProcessorState.ACTIVE
                self.limits[self.cards[card_id].token] = limits
            if fault is not None:
                raise fault
            return replace(self.cards[card_id])

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card."""
        self.before_switch(state)
        with self._lock:
            _raise_next(self.switch_faults)
            self.states[token] = state
            self.told.append((token, state))

    def set_limits(self, token: str, limits: Limits, currency: str) -> None:
        """Keep a card's limits."""
        with self._lock:
            _raise_next(self.switch_faults)
            self.limits[token] = limits

    def find_card(self, card_id: UUID) -> ProcessorCard | None:
        """Return the card made for this id."""
        with self._lock:
            _raise_next(self.view_faults)
            return next((card for card in self._all() if card.card_id == card_id), None)

    def list_cards(self, cursor: str | None) -> ProcessorPage:
        """Return a page; the cursor is how many cards came before it."""
        with self._lock:
            _raise_next(self.view_faults)
            start = int(cursor or 0)
            end = start + self.page_size
            cards = self._all()
            return ProcessorPage(tuple(cards[start:end]), str(end) if end < len(cards) else None)

    def reveal_url(self, token: str, *, expires_at: datetime, origins: Iterable[str]) -> str:
        """Note what was asked; another URL each time."""
        with self._lock:
            _raise_next(self.view_faults)
            self.reveals.append((token, expires_at, tuple(origins)))
            return f"https://processor.test/embed/{len(self.reveals)}"

    def _all(self) -> list[ProcessorCard]:
        ours = [ProcessorCard(card.token, card_id, self.states[card.token]) for card_id, card in self.cards.items()]
        return ours + self.strangers


def _raise_next(faults: list[CardwrightError]) -> None:
    if faults:
        raise faults.pop(0)
