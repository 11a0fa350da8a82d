"""What the spend row decides beyond money, and the hash chain that an outsider recomputes from the rows."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.builders import SeededCard
from tests.database.test_authorizations import World

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def world(database_url: str, cache_url: str) -> Iterator[World]:
    """The engine, its connections closed afterwards."""
    made = World(database_url, cache_url)
    yield made
    made.database.close()
    made.cache.close()


def use(world: World, card: SeededCard, usage: str) -> None:
    """Change how often and where a card may be used."""
    with psycopg.connect(world.url) as connection:
        connection.execute("UPDATE card_limits SET usage = %s WHERE card_id = %s", (usage, card.card_id))


def test_a_single_use_card_is_approved_once(world: World) -> None:
    card = world.card()
    use(world, card, "single")
    assert world.reasons(card, "900.00") == ["per_transaction_limit_exceeded"]
    assert world.reasons(card, "10.00", "10.00", "1.00") == ["approved", "card_already_used", "card_already_used"]
    assert world.spend(card)["approvals"] == 1


def test_a_merchant_locked_card_stays_with_its_first_merchant(world: World) -> None:
    card = world.card()
    use(world, card, "merchant_locked")
    answers = [world.decide(card, "10.00", merchant_id=merchant).reason for merchant in (None, "m_1", "m_2", "m_1", None)]
    assert answers == ["merchant_locked", "approved", "merchant_locked", "approved", "merchant_locked"]


def test_an_incremental_of_an_approved_authorization_is_the_same_use(world: World) -> None:
    card = world.card(velocity=1, per_transaction="100.00", daily="100.00")
    use(world, card, "single")
    first = world.decide(card, "60.00", authorization_id="auth_hotel")
    more = world.decide(card, "30.00", type="incremental", original_authorization_id="auth_hotel")
    over = world.decide(card, "30.00", type="incremental", original_authorization_id="auth_hotel")
    stranger = world.decide(card, "1.00", type="incremental", original_authorization_id="auth_nobody")
    assert [answer.reason for answer in (first, more, over, stranger)] == [
        "approved",
        "approved",
        "daily_limit_exceeded",
        "card_already_used",
    ]
    assert world.spend(card)["day_spent"] == Decimal("90.00")


# Columns a later life cycle may change, and the chain itself.
MUTABLE = {"status", "cleared_amount", "published_at", "chain_seq", "chain_hash"}


def links(world: World, card: SeededCard) -> list[bool]:
    """For each transaction in order: whether its hash follows from the one before and from its columns."""
    with psycopg.connect(world.url) as connection:
        rows = connection.execute(
            "SELECT card_id::text, transaction_id::text, user_id::text, authorization_id, "
            "coalesce(original_authorization_id, '-'), type, reason, amount::text, approved_amount::text, currency::text, "
            "merchant_category::text, detail::text, coalesce(risk_score::text, '-'), encode(request_digest, 'hex'), "
            "config_version::text, day_start, month_start, decided_at, chain_hash FROM card_transactions WHERE card_id = %s "
            "ORDER BY chain_seq",
            (card.card_id,),
        ).fetchall()
    head, found = b"", []
    for row in rows:
        moments = [str((moment - EPOCH) // timedelta(microseconds=1)) for moment in row[15:18]]
        wanted = hashlib.sha256(head + "\x1f".join((*row[:15], *moments)).encode()).digest()
        found.append(wanted == row[18])
        head = row[18]
    return found


def test_the_chain_is_recomputed_from_the_rows_alone(world: World) -> None:
    card = world.card(per_transaction="50.00", daily="50.00")
    world.reasons(card, "10.00", "45.00", "20.50", "600.00")
    assert links(world, card) == [True] * 4
    assert world.spend(card)["chain_head"] == world.transactions(card)[-1]["chain_hash"]


CHANGES: dict[str, object] = {
    "user_id": UUID(int=1),
    "authorization_id": "auth_other",
    "original_authorization_id": "auth_earlier",
    "type": "incremental",
    "reason": "velocity_exceeded",
    "amount": Decimal("700.00"),
    "currency": "EUR",
    "merchant_category": "7995",
    "detail": Jsonb({"merchant": {"name": "Somebody Else"}}),
    "risk_score": 7,
    "request_digest": b"\x00" * 32,
    "config_version": 9,
    "day_start": datetime(2026, 1, 1, tzinfo=UTC),
    "month_start": datetime(2026, 1, 1, tzinfo=UTC),
    "decided_at": datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("column", sorted(CHANGES))
def test_a_changed_column_breaks_the_chain(world: World, column: str) -> None:
    card = world.card()
    # A decline: all its amounts but the requested one are nought, so the requested one must be covered by itself.
    world.reasons(card, "600.00", "10.00")
    with psycopg.connect(world.url) as connection:
        change = sql.SQL("UPDATE card_transactions SET {} = %s WHERE card_id = %s AND chain_seq = 1").format(
            sql.Identifier(column)
        )
        connection.execute(change, (CHANGES[column], card.card_id))
    assert links(world, card) == [False, True]


def test_every_column_that_never_changes_is_covered(world: World) -> None:
    with psycopg.connect(world.url) as connection:
        rows = connection.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'card_transactions' AND table_schema = 'public'"
        ).fetchall()
    columns = {str(row[0]) for row in rows}
    # Covered too: the keys that find the row, and the approved amount, which a constraint ties to the reason.
    assert columns - MUTABLE - set(CHANGES) == {"card_id", "transaction_id", "approved_amount"}
