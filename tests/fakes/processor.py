"""An issuer processor in memory, with the faults a real one has."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from cardwright.cards.rules import Expiry, IssuedCard, ProcessorState
from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret, luhn_valid


def new_pan(bin_prefix: str, seed: str) -> str:
    """Return 16 digits under the BIN with a valid check digit, the same for the same seed."""
    body = bin_prefix + str(int(hashlib.sha256(seed.encode()).hexdigest(), 16))[: 15 - len(bin_prefix)]
    return next(body + str(digit) for digit in range(10) if luhn_valid(body + str(digit)))


class FakeProcessor:
    """Makes one card per card id. `faults` are raised by the next calls of create_card, `bend` changes its answers.

    With `made_before_fault` the card is made although its caller sees the fault.
    """

    name = "fake"

    def __init__(self) -> None:
        self.cards: dict[UUID, IssuedCard] = {}
        self.states: dict[str, ProcessorState] = {}
        self.told: list[tuple[str, ProcessorState]] = []
        self.asked: list[UUID] = []
        self.faults: list[CardwrightError] = []
        self.switch_faults: list[CardwrightError] = []
        self.made_before_fault = False
        self.bend: Callable[[IssuedCard], IssuedCard] = lambda card: card
        self.before_switch: Callable[[ProcessorState], None] = lambda state: None
        self._lock = threading.Lock()

    def create_card(self, *, card_id: UUID, program_id: UUID, bin_prefix: str, currency: str, expiry: Expiry) -> IssuedCard:
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
            if fault is not None:
                raise fault
            return replace(self.cards[card_id])

    def set_state(self, token: str, state: ProcessorState) -> None:
        """Switch a card."""
        self.before_switch(state)
        with self._lock:
            if self.switch_faults:
                raise self.switch_faults.pop(0)
            self.states[token] = state
            self.told.append((token, state))
