"""Stored decisions made again: the same answer for each reason, and another one for a row somebody changed."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from cardwright.authorizations.rules import Reason
from cardwright.authorizations.service.replays import Replayed, Replays
from cardwright.kernel.errors import ConflictError, NotFoundError
from tests.builders import SeededCard, add_card, as_role, request, set_limits, set_status
from tests.database.test_authorizations import World
from tests.database.test_authorizations_amounts import Suspicious
from tests.fix_replays import differing


@pytest.fixture
def world(fresh_database: str, cache_url: str) -> Iterator[World]:
    """The engine over a database of the test's own."""
    made = World(fresh_database, cache_url)
    yield made
    made.database.close()
    made.cache.close()


@pytest.fixture
def replays(fresh_database: str) -> Iterator[Replays]:
    """Replays under the role of workers."""
    database = as_role(fresh_database, "worker")
    yield Replays(database)
    database.close()


def every_reason(world: World) -> set[str]:
    """Decide until each reason was given that a row can hold."""
    one = world.card(per_transaction="50.00", daily="100.00", monthly="120.00", velocity=4, channels_denied=["atm"],
                     categories={"allow": [], "deny": ["gambling"]}, countries={"allow": ["FR"], "deny": []})  # fmt: skip
    reasons = {
        world.decide(one, "50.01").reason,
        world.decide(one, mcc="7995").reason,
        world.decide(one, country="US").reason,
        world.decide(one, channel="atm").reason,
        world.decide(one, currency="EUR").reason,
        world.engine(Suspicious()).evaluate(request(one.token, device_id="90", ip="2001:db8::1")).reason,
    }
    reasons |= set(world.reasons(one, "50.00", "40.00", "20.00"))
    world.clock.at += timedelta(days=1)
    reasons |= {world.decide(one, "50.00").reason, world.decide(one, "50.00", partial_approval=True).reason}
    set_limits(world.url, one, monthly="900.00", daily="900.00", velocity_per_hour=1)
    reasons |= set(world.reasons(one, "1.00"))
    set_limits(world.url, one, balance=Decimal("0.50"), velocity_per_hour=None)
    reasons |= set(world.reasons(one, "1.00", "0.10"))
    single, locked = world.card(), world.card()
    set_limits(world.url, single, usage="single")
    set_limits(world.url, locked, usage="merchant_locked")
    reasons |= set(world.reasons(single, "1.00", "1.00"))
    world.decide(single, "1.00", type="incremental", original_authorization_id="auth_of_nobody")
    reasons |= {world.decide(locked, merchant_id=name).reason for name in ("m_1", "m_2")}
    for status in ("FROZEN", "CANCELLED"):
        set_status(world.url, one, status)
        reasons |= set(world.reasons(one, "1.00"))
    reasons |= set(world.reasons(world.card(expiry=(2026, 10)), "1.00"))
    return reasons


# Of these no row is left: there is no card, no new decision, or none at all.
NO_ROW = {Reason.CARD_NOT_FOUND, Reason.AUTHORIZATION_ID_REUSED, Reason.ISSUER_UNAVAILABLE}


def test_every_reason_is_found_again(world: World, fresh_database: str) -> None:
    assert {Reason(reason) for reason in every_reason(world)} == set(Reason) - NO_ROW
    assert differing(fresh_database) == []


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_asked_and_changed_between_comes_out_the_same_again(world: World, replays: Replays, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - nobody's secret
    card = world.card(per_transaction="30.00", daily="60.00", monthly="80.00", velocity=random.choice([None, 2]))
    set_limits(world.url, card, usage=random.choice(["multi", "multi", "single", "merchant_locked"]))
    named = [f"auth_{number}" for number in range(4)]
    changes = [("balance", "25.00"), ("velocity_per_hour", 3), ("per_transaction", "20.00"), ("daily", "70.00")]
    for _ in range(40):
        if random.random() < 0.15:
            set_limits(world.url, card, **dict([random.choice(changes)]))
        world.clock.at += timedelta(minutes=random.choice([0, 1, 20, 600, -30]))
        more = random.random() < 0.3
        world.decide(
            card,
            f"{random.randrange(0, 4000) / Decimal(100):.2f}",
            authorization_id=random.choice([*named, f"auth_{random.getrandbits(64)}"]),
            type="incremental" if more else "authorization",
            original_authorization_id=random.choice(named) if more else None,
            partial_approval=random.random() < 0.4,
            merchant_id=random.choice(["m_1", "m_2", None]),
        )
    again = list(replays.replay_card(card.card_id))
    assert len(again) == len(world.transactions(card)) > 0
    assert [one for one in again if not one.same] == []


def test_one_decision_is_made_again_beside_what_was_stored(world: World, replays: Replays) -> None:
    card = world.card(per_transaction="40.00")
    decision = world.decide(card, "50.00", partial_approval=True)
    assert decision.transaction_id is not None
    set_limits(world.url, card, per_transaction="1.00")
    set_status(world.url, card, "CANCELLED")
    assert replays.replay_decision(card.card_id, decision.transaction_id) == Replayed(
        decision.transaction_id, "approved", Decimal("40.00"), Reason.APPROVED, Decimal("40.00"), request_intact=True
    )


def test_the_decisions_of_a_card_are_made_again_page_by_page(
    world: World, replays: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = world.card(per_transaction="50.00", daily="60.00")
    world.reasons(card, "50.00", "60.00", "20.00", "10.00", "0.01")
    monkeypatch.setattr("cardwright.authorizations.service.replays._PAGE", 2)
    replayed = list(replays.replay_card(card.card_id))
    assert [again.reason for again in replayed] == [row["reason"] for row in world.transactions(card)]
    assert all(again.same for again in replayed)


# What somebody who can write to the table may want another.
TAMPERED: dict[str, object] = {
    "reason": "monthly_limit_exceeded",
    "amount": Decimal("59.00"),
    "currency": "EUR",
    "merchant_category": "7995",
    "risk_score": 95,
    "request_digest": b"\x00" * 32,
    "seen_day_spent": Decimal("0.00"),
    "seen_available": Decimal("0.00"),
    "config_version": 7,
    "detail": Jsonb({}),
    "original_authorization_id": "auth_another",
}


@pytest.mark.parametrize("column", sorted(TAMPERED))
def test_a_row_that_somebody_changed_is_no_longer_the_same(world: World, replays: Replays, column: str) -> None:
    card = world.card(per_transaction="60.00", daily="60.00")
    kept, changed = (world.decide(card, amount) for amount in ("50.00", "58.00"))
    assert changed.reason == "daily_limit_exceeded"
    with psycopg.connect(world.url) as connection:
        change = sql.SQL("UPDATE card_transactions SET {} = %s WHERE transaction_id = %s").format(sql.Identifier(column))
        connection.execute(change, (TAMPERED[column], changed.transaction_id))
    found = {again.transaction_id: again.same for again in replays.replay_card(card.card_id)}
    # Funds are asked for after the daily limit: what a row says was seen of them changes nothing of this answer.
    assert found == {kept.transaction_id: True, changed.transaction_id: column == "seen_available"}
    differ = [again.transaction_id for _, again in differing(world.url)]
    assert differ == ([] if column == "seen_available" else [changed.transaction_id])


def test_an_approval_nobody_gave_is_found_out(world: World, replays: Replays) -> None:
    card = world.card(per_transaction="60.00", daily="60.00")
    world.decide(card, "50.00")
    declined = world.decide(card, "58.00")
    with psycopg.connect(world.url) as connection:
        connection.execute(
            "UPDATE card_transactions SET reason = 'approved', status = 'AUTHORIZED', approved_amount = amount "
            "WHERE transaction_id = %s",
            (declined.transaction_id,),
        )
    assert declined.transaction_id is not None
    again = replays.replay_decision(card.card_id, declined.transaction_id)
    assert (again.same, again.again_reason, again.reason) == (False, Reason.DAILY_LIMIT_EXCEEDED, "approved")


def test_a_configuration_that_somebody_changed_shows_in_what_was_decided_on_it(world: World, replays: Replays) -> None:
    card = world.card(per_transaction="60.00")
    declined = world.decide(card, "61.00")
    with psycopg.connect(world.url) as connection:
        connection.execute("UPDATE card_configurations SET per_transaction = 900 WHERE card_id = %s", (card.card_id,))
    (again,) = replays.replay_card(card.card_id)
    assert (again.transaction_id, again.same, again.again_reason) == (declined.transaction_id, False, Reason.APPROVED)


def told_by_the_network(url: str, card: SeededCard) -> None:
    """Make a card's decisions what the network told us of."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE card_transactions SET type = 'advice', rule_version = 0 WHERE card_id = %s", (card.card_id,))


def test_what_is_no_decision_of_these_rules_is_refused_by_name(world: World, replays: Replays) -> None:
    card, other = world.card(), add_card(world.url)
    decision = world.decide(card)
    assert decision.transaction_id is not None
    for card_id, transaction_id in ((card.card_id, uuid4()), (other.card_id, decision.transaction_id)):
        with pytest.raises(NotFoundError) as missing:
            replays.replay_decision(card_id, transaction_id)
        assert missing.value.code == "transaction_not_found"
    with psycopg.connect(world.url) as connection:
        connection.execute("UPDATE card_transactions SET rule_version = 99 WHERE card_id = %s", (card.card_id,))
    with pytest.raises(ConflictError) as foreign:
        replays.replay_decision(card.card_id, decision.transaction_id)
    assert foreign.value.code == "rule_version_unknown"
    assert list(replays.replay_card(card.card_id)) == []
    told_by_the_network(world.url, card)
    with pytest.raises(NotFoundError):
        replays.replay_decision(card.card_id, decision.transaction_id)
