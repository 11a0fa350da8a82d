"""Decisions on the real database and cache: limits, windows, velocity, repeats, and thirty-two threads on one card."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg.rows import dict_row

from cardwright.authorizations.ports import RiskScorer
from cardwright.authorizations.rules import AuthorizationRequest, Decision, Profile, Reason
from cardwright.authorizations.service import AuthorizationService, decision_key
from cardwright.cards.rules import profile_key
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from tests.builders import NOW, SeededCard, add_card, as_role, request, set_limits, set_status

Row = dict[str, object]


class World:
    """The engine on real servers with a standing clock."""

    def __init__(self, url: str, cache_url: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.database = as_role(url, "app")
        self.cache = Cache(cache_url, budget_s=2.0)
        self.service = self.engine()

    def engine(self, scorer: RiskScorer | None = None) -> AuthorizationService:
        """An engine over these servers."""
        return AuthorizationService(
            self.database, self.cache, self.clock, IdSource(self.clock), scorer, secrets=lambda: [Secret("the processor's")]
        )

    def card(self, **changes: object) -> SeededCard:
        """A card of its own."""
        return add_card(self.url, **changes)  # type: ignore[arg-type]  # fields by name, as a test gives them

    def decide(self, card: SeededCard, amount: str = "10.00", **changes: object) -> Decision:
        """Decide one request."""
        return self.service.evaluate(request(card.token, amount, **changes))

    def reasons(self, card: SeededCard, *amounts: str) -> list[str]:
        """Decide requests one after the other and return their reasons."""
        return [self.decide(card, amount).reason for amount in amounts]

    def forget(self, card: SeededCard, wanted: AuthorizationRequest | None = None) -> None:
        """Take a card's profile, or one decision, out of the cache."""
        key = profile_key(card.token) if wanted is None else decision_key(card.token, wanted.authorization_id)
        assert self.cache.exchange([("DEL", key)]) is not None

    def rows(self, sql: str, card: SeededCard) -> list[Row]:
        """Rows of a card, as the superuser sees them."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(sql.encode(), (card.card_id,)).fetchall()

    def transactions(self, card: SeededCard) -> list[Row]:
        """The card's transactions in the order of their chain."""
        return self.rows("SELECT * FROM card_transactions WHERE card_id = %s ORDER BY chain_seq", card)

    def spend(self, card: SeededCard) -> Row:
        """The card's spend row."""
        return self.rows("SELECT * FROM card_limits WHERE card_id = %s", card)[0]


@pytest.fixture
def world(database_url: str, cache_url: str) -> Iterator[World]:
    """The engine, its connections closed afterwards."""
    made = World(database_url, cache_url)
    yield made
    made.database.close()
    made.cache.close()


def test_an_approval_is_a_transaction_a_hold_and_a_link_of_the_chain(world: World) -> None:
    card = world.card()
    decision = world.decide(card, "42.10", mcc="5812")
    assert (decision.reason, decision.approved_amount, decision.final, decision.risk_score) == (
        "approved",
        Decimal("42.10"),
        True,
        None,
    )
    (row,) = world.transactions(card)
    assert row["transaction_id"] == decision.transaction_id
    assert (row["status"], row["amount"], row["approved_amount"], row["merchant_category"]) == (
        "AUTHORIZED", Decimal("42.10"), Decimal("42.10"), "5812",
    )  # fmt: skip
    assert row["user_id"] == card.user_id
    assert row["published_at"] is None
    spend = world.spend(card)
    assert (spend["held"], spend["day_spent"], spend["month_spent"]) == (Decimal("42.10"),) * 3
    assert (spend["chain_seq"], spend["chain_head"]) == (1, row["chain_hash"])


def test_a_decline_is_recorded_and_takes_nothing(world: World) -> None:
    card = world.card(per_transaction="20.00")
    decision = world.decide(card, "20.01")
    assert (decision.reason, decision.approved_amount, decision.final) == (
        "per_transaction_limit_exceeded",
        Decimal("0.00"),
        True,
    )
    (row,) = world.transactions(card)
    assert (row["status"], row["amount"], row["approved_amount"]) == ("DECLINED", Decimal("20.01"), Decimal("0.00"))
    assert world.spend(card)["held"] == Decimal("0.00")


def test_limits_hold_to_the_cent_and_a_declined_request_leaves_room_for_a_smaller_one(world: World) -> None:
    daily = world.card(per_transaction="60.00", daily="100.00", monthly="1000.00")
    assert world.reasons(daily, "60.00", "40.01", "40.00", "0.01") == [
        "approved", "daily_limit_exceeded", "approved", "daily_limit_exceeded",
    ]  # fmt: skip
    monthly = world.card(per_transaction="60.00", daily="100.00", monthly="100.00")
    world.decide(monthly, "60.00")
    world.clock.at += timedelta(days=1)
    assert world.reasons(monthly, "40.01", "40.00", "0.01") == ["monthly_limit_exceeded", "approved", "monthly_limit_exceeded"]


def test_the_daily_limit_is_named_before_the_monthly_one_and_velocity_last(world: World) -> None:
    card = world.card(per_transaction="50.00", daily="50.00", monthly="50.00", velocity=1)
    assert world.reasons(card, "50.00", "1.00") == ["approved", "daily_limit_exceeded"]
    set_limits(world.url, card, monthly="60.00", daily="60.00", month_spent="60.00")
    assert world.reasons(card, "1.00") == ["monthly_limit_exceeded"]
    set_limits(world.url, card, month_spent="50.00")
    assert world.reasons(card, "1.00") == ["velocity_exceeded"]


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("UTC", "2026-11-21T23:59:59.999999", "2026-11-22T00:00:00"),
        ("Europe/Paris", "2026-10-25T22:59:59", "2026-10-25T23:00:00"),
        ("America/New_York", "2026-03-09T03:59:59", "2026-03-09T04:00:00"),
    ],
)
def test_the_daily_window_turns_at_the_cards_own_midnight(world: World, zone: str, before: str, after: str) -> None:
    card = world.card(per_transaction="50.00", daily="50.00", monthly="500.00", time_zone=zone)
    world.clock.at = datetime.fromisoformat(before).replace(tzinfo=UTC)
    assert world.reasons(card, "50.00", "1.00") == ["approved", "daily_limit_exceeded"]
    world.clock.at = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert world.reasons(card, "50.00", "1.00") == ["approved", "daily_limit_exceeded"]
    assert world.spend(card)["month_spent"] == Decimal("100.00")


def test_the_monthly_window_turns_at_the_end_of_a_leap_february(world: World) -> None:
    card = world.card(per_transaction="50.00", daily="50.00", monthly="50.00")
    world.clock.at = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)
    assert world.reasons(card, "50.00") == ["approved"]
    world.clock.at = datetime(2028, 3, 1, tzinfo=UTC)
    assert world.reasons(card, "50.00", "1.00") == ["approved", "daily_limit_exceeded"]


def test_a_server_whose_clock_is_behind_at_midnight_opens_no_second_window(world: World) -> None:
    card = world.card(per_transaction="50.00", daily="50.00", monthly="500.00")
    world.clock.at = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    assert world.reasons(card, "50.00") == ["approved"]
    world.clock.at = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
    assert world.reasons(card, "1.00") == ["daily_limit_exceeded"]
    set_limits(world.url, card, daily="60.00")
    decision = world.decide(card, "1.00")
    assert decision.reason == "approved"
    last = world.transactions(card)[-1]
    assert last["day_start"] == datetime(2026, 11, 22, tzinfo=UTC)


def test_five_approvals_in_any_rolling_hour(world: World) -> None:
    card = world.card(velocity=5)
    for _ in range(5):
        assert world.reasons(card, "1.00") == ["approved"]
        world.clock.at += timedelta(minutes=10)
    assert world.reasons(card, "1.00") == ["velocity_exceeded"]
    world.clock.at = NOW + timedelta(hours=1) - timedelta(microseconds=1)
    assert world.reasons(card, "1.00") == ["velocity_exceeded"]
    world.clock.at = NOW + timedelta(hours=1)
    assert world.reasons(card, "1.00", "1.00") == ["approved", "velocity_exceeded"]
    world.clock.at = NOW + timedelta(hours=1, minutes=10)
    assert world.reasons(card, "1.00") == ["approved"]


def test_declines_do_not_count_for_velocity_and_a_lower_limit_counts_the_newest(world: World) -> None:
    card = world.card(velocity=3, per_transaction="5.00")
    assert (
        world.reasons(card, "9.00", "9.00", "9.00", "1.00", "1.00") == ["per_transaction_limit_exceeded"] * 3 + ["approved"] * 2
    )
    set_limits(world.url, card, velocity_per_hour=1)
    assert world.reasons(card, "1.00") == ["velocity_exceeded"]
    set_limits(world.url, card, velocity_per_hour=None)
    assert world.reasons(card, *["1.00"] * 8) == ["approved"] * 8


@pytest.mark.parametrize(
    ("card", "asked", "reason"),
    [
        ({"status": "FROZEN"}, {}, "card_frozen"),
        ({"status": "CANCELLED"}, {}, "card_cancelled"),
        ({"status": "EXPIRED"}, {}, "card_expired"),
        ({"expiry": (2026, 10)}, {}, "card_expired"),
        ({}, {"currency": "EUR"}, "currency_mismatch"),
        ({"categories": {"deny": ["7995"]}}, {"mcc": "7995"}, "merchant_category_blocked"),
        ({"categories": {"allow": ["5411"]}}, {"mcc": "5812"}, "merchant_category_blocked"),
        ({"countries": {"deny": ["KP"]}}, {"country": "KP"}, "country_blocked"),
        ({"countries": {"allow": ["FR"]}}, {"country": "US"}, "country_blocked"),
        ({"channels_denied": ["atm"]}, {"channel": "atm"}, "channel_blocked"),
        ({"status": "FROZEN", "per_transaction": "1.00"}, {"currency": "EUR"}, "card_frozen"),
    ],
)
def test_what_the_card_forbids_is_declined_and_recorded(world: World, card: Row, asked: Row, reason: str) -> None:
    made = world.card(**card)
    assert world.service.evaluate(request(made.token, "10.00", **asked)).reason == reason
    assert [row["reason"] for row in world.transactions(made)] == [reason]


def test_an_unknown_card_is_declined_and_answered_the_same_again(world: World) -> None:
    wanted = request("tok_unknown_" + "x" * 8)
    first = world.service.evaluate(wanted)
    world.clock.at += timedelta(minutes=1)
    again = world.service.evaluate(wanted)
    assert (first.reason, first.final, first.approved_amount) == ("card_not_found", True, Decimal("0.00"))
    assert again == first
    other = world.service.evaluate(replace(wanted, amount=Decimal("11.00")))
    assert other.reason == "authorization_id_reused"


@pytest.mark.parametrize("cached", [True, False])
def test_the_same_id_has_the_same_answer(world: World, cached: bool) -> None:
    card = world.card(daily="500.00")
    wanted = request(card.token, "10.00")
    first = world.service.evaluate(wanted)
    world.clock.at += timedelta(seconds=90)
    set_status(world.url, card, "FROZEN")
    if not cached:
        world.forget(card, wanted)
    assert world.service.evaluate(wanted) == first
    assert len(world.transactions(card)) == 1
    assert world.spend(card)["held"] == Decimal("10.00")


@pytest.mark.parametrize("cached", [True, False])
def test_a_declined_id_stays_declined(world: World, cached: bool) -> None:
    card = world.card(status="FROZEN")
    wanted = request(card.token)
    first = world.service.evaluate(wanted)
    set_status(world.url, card, "ACTIVE")
    if not cached:
        world.forget(card, wanted)
    assert world.service.evaluate(wanted) == first
    assert first.reason == "card_frozen"
    assert world.decide(card).reason == "approved"


@pytest.mark.parametrize("cached", [True, False])
def test_the_same_id_with_another_body_is_refused_and_the_first_answer_stays(world: World, cached: bool) -> None:
    card = world.card()
    wanted = request(card.token, "10.00")
    first = world.service.evaluate(wanted)
    if not cached:
        world.forget(card, wanted)
    other = world.service.evaluate(replace(wanted, amount=Decimal("10.01")))
    assert (other.reason, str(other.approved_amount), other.transaction_id) == (
        "authorization_id_reused",
        "0.00",
        first.transaction_id,
    )
    assert world.service.evaluate(wanted) == first
    assert world.spend(card)["held"] == Decimal("10.00")


def test_two_cards_may_be_given_the_same_id(world: World) -> None:
    one, two = world.card(), world.card()
    first = world.decide(one, authorization_id="auth_same")
    second = world.decide(two, authorization_id="auth_same")
    assert (first.reason, second.reason) == ("approved", "approved")
    assert first.transaction_id != second.transaction_id


def test_a_profile_gone_stale_in_the_cache_is_not_believed(world: World) -> None:
    card = world.card()
    assert world.reasons(card, "1.00") == ["approved"]
    set_status(world.url, card, "FROZEN")
    assert world.reasons(card, "1.00", "1.00") == ["card_frozen", "card_frozen"]
    set_status(world.url, card, "ACTIVE")
    set_limits(world.url, card, per_transaction="1.00")
    assert world.reasons(card, "1.01", "1.00") == ["per_transaction_limit_exceeded", "approved"]


def together(world: World, count: int, work: Callable[[int], Decision]) -> list[Decision]:
    """Run the work in as many threads, all let go at once, each with connections of its own."""
    gate = threading.Barrier(count)

    def run(number: int) -> Decision:
        try:
            gate.wait()
            return work(number)
        finally:
            world.database.close()
            world.cache.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_thirty_two_at_once_exactly_as_many_are_approved_as_the_limit_has_room_for(world: World) -> None:
    card = world.card(per_transaction="10.00", daily="70.00", monthly="5000.00")
    decisions = together(world, 32, lambda _: world.decide(card, "10.00"))
    assert sorted(decision.reason for decision in decisions) == ["approved"] * 7 + ["daily_limit_exceeded"] * 25
    assert world.spend(card)["day_spent"] == Decimal("70.00")
    rows = world.transactions(card)
    assert [row["chain_seq"] for row in rows] == list(range(1, 33))
    assert sum(row["status"] == "AUTHORIZED" for row in rows) == 7


def test_of_thirty_two_at_once_velocity_lets_five_through(world: World) -> None:
    card = world.card(velocity=5)
    decisions = together(world, 32, lambda _: world.decide(card, "1.00"))
    assert sorted(decision.reason for decision in decisions) == ["approved"] * 5 + ["velocity_exceeded"] * 27


def test_the_same_request_thirty_two_times_at_once_is_one_transaction(world: World) -> None:
    card = world.card()
    wanted = request(card.token, "10.00")
    decisions = together(world, 32, lambda _: world.service.evaluate(wanted))
    assert {(decision.reason, decision.transaction_id) for decision in decisions} == {("approved", decisions[0].transaction_id)}
    assert len(world.transactions(card)) == 1
    assert world.spend(card)["held"] == Decimal("10.00")


def test_a_freeze_between_reading_and_recording_is_seen(world: World) -> None:
    card = world.card()

    class FreezesInBetween:
        def __init__(self) -> None:
            self.scored = 0

        def activity_key(self, card_token: str) -> str:
            return f"card:{{{card_token}}}:activity"

        def score(self, asked: AuthorizationRequest, profile: Profile, activity: bytes | None) -> int:
            self.scored += 1
            if self.scored == 1:
                set_status(world.url, card, "FROZEN")
            return 7

    scorer = FreezesInBetween()
    service = world.engine(scorer)
    decision = service.evaluate(request(card.token))
    assert (decision.reason, decision.risk_score, scorer.scored) == ("card_frozen", 7, 2)
    assert [row["reason"] for row in world.transactions(card)] == ["card_frozen"]


def test_a_card_that_changes_without_end_is_unavailable_not_wrong(world: World) -> None:
    card = world.card()

    class ChangesAlways:
        def activity_key(self, card_token: str) -> str:
            return f"card:{{{card_token}}}:activity"

        def score(self, asked: AuthorizationRequest, profile: Profile, activity: bytes | None) -> int:
            set_limits(world.url, card)
            return 0

    service = world.engine(ChangesAlways())
    decision = service.evaluate(request(card.token))
    assert (decision.reason, decision.final) == (Reason.ISSUER_UNAVAILABLE, False)
    assert world.transactions(card) == []


def test_the_app_role_cannot_move_money_past_the_function(world: World) -> None:
    card = world.card()
    world.decide(card)
    for statement in (
        "UPDATE card_limits SET day_spent = 0 WHERE card_id = %s",
        "UPDATE card_transactions SET status = 'DECLINED' WHERE card_id = %s",
        "DELETE FROM card_transactions WHERE card_id = %s",
        "SELECT card_number_encrypted FROM virtual_cards WHERE card_id = %s",
        "SELECT * FROM unmatched_authorizations WHERE card_token_digest = %s::uuid::text::bytea",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.database.call(statement, (card.card_id,))


def test_the_database_stays_reachable_after_a_refused_statement(world: World) -> None:
    database: Database = world.database
    with pytest.raises(psycopg.errors.UndefinedTable):
        database.call("SELECT * FROM no_such_table")
    assert database.ping()
