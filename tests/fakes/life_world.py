"""What a processor tells of a card's transactions, taken by the real service over the world's database."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from cardwright.authorizations.rules import Decision
from cardwright.cards.rules import Card
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent
from cardwright.transactions.service.life import Receipt, TransactionLife
from tests.fakes.card_world import CardWorld, as_role


class LifeWorld:
    """Events of one card. Amounts are given as text."""

    def __init__(self, world: CardWorld, url: str, card: Card) -> None:
        self._numbers = count(1)
        self._database = as_role(url, "worker")
        self.world = world
        self.card = card
        self.life = TransactionLife(self._database, world.clock, world.ids)

    def event(self, kind: EventType, amount: str, authorization_id: str | None, **changes: Any) -> ProcessorEvent:
        """An event with an id of its own."""
        said: dict[str, Any] = {
            "event_id": f"evt_{self.card.card_id.hex}_{next(self._numbers)}",
            "type": kind,
            "card_token": self.card.processor_card_token,
            "amount": Decimal(amount),
            "currency": self.card.currency,
            "authorization_id": authorization_id,
            "merchant": EventMerchant(id="m_1", name="Corner Shop", category_code="5411", city="Lyon", country="FR"),
        }
        return ProcessorEvent(**{**said, **changes})

    def tell(self, kind: EventType, amount: str, about: Decision | str | None, **changes: Any) -> Receipt:
        """Deliver an event about a decision, an authorization id, or nothing."""
        named = about.authorization_id if isinstance(about, Decision) else about
        return self.life.receive(self.event(kind, amount, named, **changes))

    def transaction(self, about: Decision | str) -> dict[str, Any]:
        """The row of an authorization."""
        named = about.authorization_id if isinstance(about, Decision) else about
        statement = "SELECT * FROM card_transactions WHERE card_id = %s AND authorization_id = %s"
        (row,) = self.world.sql(statement, self.card.card_id, named)
        return row

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The card's transactions of a type, the oldest first."""
        statement = "SELECT * FROM card_transactions WHERE card_id = %s AND type = %s ORDER BY chain_seq"
        return self.world.sql(statement, self.card.card_id, kind)

    def spend(self) -> dict[str, Any]:
        """The card's spend row."""
        (row,) = self.world.rows("card_limits", self.card.card_id)
        return row

    def money(self) -> tuple[str, str, str]:
        """What the spend row holds and has spent of day and month."""
        row = self.spend()
        return str(row["held"]), str(row["day_spent"]), str(row["month_spent"])

    def ledger(self) -> dict[str, str]:
        """The card's balances in the ledger, by account."""
        rows = self.world.sql(
            "SELECT account, sum(amount) AS amount FROM ledger_entries WHERE card_id = %s GROUP BY account", self.card.card_id
        )
        return {row["account"]: str(row["amount"]) for row in rows}

    def later(self, by: timedelta) -> None:
        """Let time pass."""
        self.world.clock.at += by

    def close(self) -> None:
        """Close the service's connections."""
        self._database.close()
