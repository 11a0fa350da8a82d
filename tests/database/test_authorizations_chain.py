"""What the spend row decides beyond money, and the hash chain that an outsider recomputes from the rows."""

import hashlib
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cardwright.authorizations.service.records import read_request, request_digest, write_detail
from tests.builders import SeededCard, set_limits
from tests.database.test_authorizations import World

Y2K = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def world(database_url: str, cache_url: str) -> Iterator[World]:
    """The engine, its connections closed afterwards."""
    made = World(database_url, cache_url)
    yield made
    made.database.close()
    made.cache.close()


def use(world: World, card: SeededCard, usage: str) -> None:
    """Change how often and where a card may be used."""
    set_limits(world.url, card, usage=usage)


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


# Columns a later life cycle may change, the chain itself, and what is told by others: the group an authorization is in, when
# its hold ends, whether its answer was asked for again.
MUTABLE = {
    "status", "held_amount", "spent_amount", "cleared_amount", "reversed_amount", "refunded_amount", "final", "expired", "flags",
    "updated_at", "published_at", "chain_seq", "chain_hash", "root_authorization_id", "hold_expires_at", "confirmed_at",
}  # fmt: skip


def sent(moment: datetime) -> bytes:
    """A time as PostgreSQL sends it: microseconds since 2000 in eight octets."""
    return struct.pack(">q", (moment - Y2K) // timedelta(microseconds=1))


def entry(row: dict[str, Any], token: str) -> bytes:
    """The octets of a decision's link, made from its row alone; what was asked stands in its digest."""
    request = read_request(row, token)
    none: dict[str, object] = {"risk_score": -1, "seen_day_spent": -1, "seen_month_spent": -1, "seen_approvals": -1}
    told = [
        row["authorization_id"] or "\x1d", row["type"], row["reason"], row["amount"], row["approved_amount"], row["currency"],
        row["config_version"], row["rule_version"], "t" if row["continued"] else "f",
        *(row[name] if row[name] is not None else other for name, other in none.items()),
        "-" if row["seen_available"] is None else row["seen_available"], row["seen_locked_merchant_id"] or "\x1d", "",
    ]  # fmt: skip
    return (
        request_digest(request, write_detail(request))
        + b"".join(row[name].bytes for name in ("card_id", "transaction_id", "user_id"))
        + b"".join(sent(row[name]) for name in ("day_start", "month_start", "decided_at"))
        + "\x1f".join(str(value) for value in told).encode()
        + (b"" if row["seen_velocity_at"] is None else sent(row["seen_velocity_at"]))
    )


def links(connection: psycopg.Connection[Any], card: SeededCard) -> list[bool]:
    """For each transaction in order: whether its hash follows from the one before and from its row, and its digest holds."""
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute("SELECT * FROM card_transactions WHERE card_id = %s ORDER BY chain_seq", (card.card_id,)).fetchall()
    head, found = b"", []
    for row in rows:
        told = entry(row, card.token)
        found.append(hashlib.sha256(head + told).digest() == row["chain_hash"] and told[:32] == row["request_digest"])
        head = row["chain_hash"]
    return found


def told_everything(world: World, card: SeededCard) -> None:
    """Decide requests that fill every column: two approvals, one a part, more of the first, and declines of three kinds."""
    whole = {"partial_approval": True, "device_id": "d_1", "ip": "192.0.2.1", "merchant_amount": Decimal("9.1")}
    answers = [
        world.decide(card, "10.00", authorization_id="auth_first", **whole),
        world.decide(card, "5.50", type="incremental", original_authorization_id="auth_first"),
        world.decide(card, "90.00", partial_approval=True),
        world.decide(card, "1.00"),
        world.decide(card, "600.00"),
    ]
    world.clock.at += timedelta(days=40)
    answers.append(world.decide(card, "2.00"))
    assert [(answer.reason, str(answer.approved_amount)) for answer in answers] == [
        ("approved", "10.00"), ("approved", "5.50"), ("approved", "34.50"), ("daily_limit_exceeded", "0.00"),
        ("per_transaction_limit_exceeded", "0.00"), ("approved", "2.00"),
    ]  # fmt: skip


def test_the_chain_is_recomputed_from_the_rows_alone(world: World) -> None:
    card = world.card(per_transaction="50.00", daily="50.00", velocity=1)
    set_limits(world.url, card, velocity_per_hour=3, balance=Decimal("70.00"))
    told_everything(world, card)
    with psycopg.connect(world.url) as connection:
        assert links(connection, card) == [True] * 6
    assert world.spend(card)["chain_head"] == world.transactions(card)[-1]["chain_hash"]


def test_the_first_link_follows_from_nothing_and_a_merchants_card_names_its_merchant(world: World) -> None:
    card = world.card()
    use(world, card, "merchant_locked")
    assert [world.decide(card, merchant_id=merchant).reason for merchant in ("m_1", "m_2", None)] == [
        "approved", "merchant_locked", "merchant_locked",
    ]  # fmt: skip
    with psycopg.connect(world.url) as connection:
        assert links(connection, card) == [True] * 3
    assert {row["seen_locked_merchant_id"] for row in world.transactions(card)} == {"m_1"}


OTHER = datetime(2026, 1, 1, tzinfo=UTC)
CHANGES: dict[str, object] = {
    "user_id": UUID(int=1),
    "authorization_id": "auth_other",
    "original_authorization_id": "auth_earlier",
    "type": "incremental",
    "reason": "velocity_exceeded",
    "amount": Decimal("700.00"),
    "currency": "EUR",
    "merchant_category": "7995",
    "detail": Jsonb({"merchant": {"id": "m_1", "name": "Somebody Else", "city": None, "country": None, "latitude": None,
                                  "longitude": None}, "channel": "chip", "occurred_at": None}),
    "risk_score": 7,
    "request_digest": b"\x00" * 32,
    "config_version": 9,
    "rule_version": 2,
    "continued": True,
    "seen_day_spent": Decimal("1.00"),
    "seen_month_spent": Decimal("1.00"),
    "seen_approvals": 1,
    "seen_velocity_at": OTHER,
    "seen_locked_merchant_id": "m_2",
    "seen_available": Decimal("1.00"),
    "day_start": OTHER,
    "month_start": OTHER,
    "decided_at": OTHER,
}  # fmt: skip


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
        assert links(connection, card) == [False, True]
        # No decision in the shared database is another than was made: they are all made again in the end (fix_replays).
        connection.rollback()


def test_every_column_that_never_changes_is_covered(world: World) -> None:
    with psycopg.connect(world.url) as connection:
        rows = connection.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'card_transactions' AND table_schema = 'public'"
        ).fetchall()
    columns = {str(row[0]) for row in rows}
    # Covered too: the keys that find the row, and the approved amount, which `entry` holds beside the amount.
    assert columns - MUTABLE - set(CHANGES) == {"card_id", "transaction_id", "approved_amount"}
