"""Many cards with many transactions, copied from one that the real service made: far quicker than making each."""

from datetime import timedelta
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from cardwright.cards.rules import Card
from cardwright.kernel.ids import uuid7
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld

# Copies of a row under other keys; foreign keys and triggers are left aside, as what they keep is kept by the first row.
_CARDS = """
INSERT INTO virtual_cards SELECT (jsonb_populate_record(c, jsonb_build_object(
    'card_id', made.card_id, 'processor_card_token', 'tok_' || made.card_id))).*
FROM virtual_cards c, unnest(%s::uuid[]) AS made (card_id) WHERE c.card_id = %s
"""
_LIMITS = """
INSERT INTO card_limits SELECT (jsonb_populate_record(l, jsonb_build_object('card_id', made.card_id))).*
FROM card_limits l, unnest(%s::uuid[]) AS made (card_id) WHERE l.card_id = %s
"""
_TRANSACTIONS = """
INSERT INTO card_transactions SELECT (jsonb_populate_record(t, jsonb_build_object(
    'card_id', made.card_id, 'transaction_id', made.transaction_id, 'authorization_id', 'auth_' || made.transaction_id,
    'root_authorization_id', 'auth_' || made.transaction_id, 'decided_at', made.decided_at, 'published_at', made.decided_at,
    'detail', jsonb_set(t.detail, '{merchant,name}', to_jsonb(made.name))))).*
FROM card_transactions t, unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::text[])
    AS made (card_id, transaction_id, decided_at, name)
WHERE t.transaction_id = %s
"""


class HistoryWorld:
    """A holder whose card has one transaction of the real engine's."""

    def __init__(self, world: CardWorld) -> None:
        self.world = world
        self.holder: Actor = world.add_user()
        self.card: Card = world.issue(self.holder)
        self.first: UUID = world.pay(self.card).transaction_id or UUID(int=0)

    def add_cards(self, count: int) -> list[UUID]:
        """Give the holder more cards."""
        made = [self.world.ids.new() for _ in range(count)]
        self._copy(_CARDS, made, self.card.card_id)
        self._copy(_LIMITS, made, self.card.card_id)
        return made

    def add_transactions(self, cards: list[UUID], names: list[str] | None = None) -> list[UUID]:
        """Add a transaction of each card named, a second after the one before; published, and without words to search by."""
        moments = [NOW + timedelta(seconds=place + 1) for place in range(len(cards))]
        made = [uuid7(moment, self.world.ids.new().bytes[6:]) for moment in moments]
        self._copy(_TRANSACTIONS, cards, made, moments, names or ["Corner Shop"] * len(cards), self.first)
        return made

    def _copy(self, statement: str, *parameters: object) -> None:
        url = make_conninfo(self.world.url, options="-c session_replication_role=replica")
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode(), parameters)
