"""Telling the processor: after our own change has committed, and again by schedule when it did not hear."""

from cardwright.cards import rules
from cardwright.cards.rules import PROCESSOR_STATES, Card, ProcessorState
from cardwright.cards.service.tools import CardTools
from cardwright.cards.store import cards as store
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Actor
from cardwright.platform.telemetry import logger

TELLINGS = 3


class ProcessorTeller:
    """Keeps the processor's switch and limits as ours are. What it did not confirm stays marked and is told again."""

    def __init__(self, tools: CardTools) -> None:
        self._tools = tools

    def forget_profile(self, card: Card) -> None:
        """Drop the engine's profile of a card from the cache; a decision on an old one is refused by its version anyway."""
        self._tools.cache.exchange([("DEL", rules.profile_key(card.processor_card_token))])

    def tell_state(self, actor: Actor, card: Card) -> bool:
        """Tell a card's state, again when it moved meanwhile, so that the last one told is the last one true.

        Returns whether the processor confirmed it; when not, our state stands, because every authorization is decided here.
        """
        state: ProcessorState = PROCESSOR_STATES[card.status]
        for _ in range(TELLINGS):
            confirmed: ProcessorState | None = state
            try:
                self._tools.processor.set_state(card.processor_card_token, state)
            except (UnavailableError, ProviderRefusedError) as error:
                logger.warning("processor not told of a card's state", extra={"card_id": str(card.card_id), "code": error.code})
                confirmed = None
            try:
                with self._tools.database.transaction(actor) as tx:
                    wanted = PROCESSOR_STATES[store.set_processor_state(tx, card.card_id, confirmed)]
            except UnavailableError:
                return False
            if confirmed is None:
                return False
            if wanted is state:
                return True
            state = wanted
        return False

    def tell_limits(self, actor: Actor, card: Card) -> bool:
        """Tell a card's limits; a processor that did not hear is told again by schedule. Returns whether it confirmed them."""
        for _ in range(TELLINGS):
            try:
                self._tools.processor.set_limits(card.processor_card_token, card.limits, card.currency)
            except (UnavailableError, ProviderRefusedError) as error:
                logger.warning("processor not told of a card's limits", extra={"card_id": str(card.card_id), "code": error.code})
                return False
            try:
                with self._tools.database.transaction(actor) as tx:
                    newest = store.set_processor_limits(tx, card.card_id, card.limits_version)
            except UnavailableError:
                return False
            if newest is None or newest.limits_version == card.limits_version:
                return True
            card = newest
        return False
