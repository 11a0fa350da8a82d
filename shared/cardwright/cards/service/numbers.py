"""Card numbers under a new key: each is encrypted anew by itself, so that the work may stop anywhere and be done by several."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from cardwright.cards.service.tools import SCHEDULE, note
from cardwright.cards.store import numbers as store
from cardwright.cards.store.numbers import StaleNumber
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from cardwright.platform.telemetry import logger

if TYPE_CHECKING:
    # The encryption SDK is slow to import.
    from cardwright.vault.service import Vault

PAGE = 100
# What is left of a run's time when no further card is begun: two calls of KMS and a transaction fit.
RESERVE_S = 15.0


class CardNumberRotation:
    """Encrypts under the vault's current key what is still under another; without such cards a run is one query.

    A run that dies leaves each card under its old key or its new one, and the next goes on with the old ones. Of two that
    take the same card one replaces its ciphertext. Cards made meanwhile are under the current key and not looked at.
    """

    def __init__(self, database: Database, vault: "Vault", clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._ids = ids

    def run(self, deadline: Callable[[], float]) -> int:
        """Go through the cards until none is left or `deadline()`, the seconds left, is under RESERVE_S; return how many moved.

        A number that does not open is logged and left for somebody to look at. Raises UnavailableError when the key service
        or the database does not answer; what was done by then stays done.
        """
        moved, after = 0, UUID(int=0)
        while deadline() > RESERVE_S:
            with self._database.transaction(SCHEDULE) as tx:
                page = store.stale(tx, self._vault.key_name, after, PAGE)
            for number in page:
                if deadline() < RESERVE_S:
                    return moved
                moved += self._move(number)
                after = number.card_id
            if len(page) < PAGE:
                break
        return moved

    def _move(self, number: StaleNumber) -> bool:
        """True when this run brought the card under the current key."""
        current = self._vault.key_name
        try:
            ciphertext = self._vault.reencrypt(number.card_id, number.card_number_encrypted)
        except BrokenInvariantError:
            logger.error("a card number does not open", extra={"card_id": str(number.card_id)})
            return False
        with self._database.transaction(SCHEDULE) as tx:
            # One that is under the current key already, from before its name was kept, only gets the name.
            if not store.replace(tx, number, ciphertext or number.card_number_encrypted, current):
                return False
            if ciphertext is not None:
                old, new = {"vault_key": number.vault_key}, {"vault_key": current}
                note(tx, number.card_id, self._ids.new(), "card.number_reencrypted", self._clock.now(), old=old, new=new)
        return True
