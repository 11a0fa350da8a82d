"""Answers that get lost between commit and network: found again by their id, or their holds given back."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest

from cardwright.authorizations.rules import AuthorizationRequest, Decision
from cardwright.authorizations.service import AuthorizationService, authorizations
from cardwright.authorizations.service import unanswered as reconciling
from cardwright.authorizations.service.entries import UNANSWERED_KEY, entry_keys, write_unanswered
from cardwright.authorizations.service.unanswered import UnansweredHolds
from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from cardwright.transactions.service.life import TransactionLife
from tests.builders import SeededCard, as_role, request
from tests.database.test_authorizations import World
from tests.fakes.losing import LossyWay, losing
from tests.fakes.tcp import closed_port

SECRETS = [Secret("the processor's")]


class LossyWorld(World):
    """The engine with a database whose answers get lost when a test says so, and what gives holds back."""

    def __init__(self, url: str, cache_url: str, way: LossyWay) -> None:
        super().__init__(url, cache_url)
        at = urlsplit(url)
        lossy = at._replace(netloc=f"{at.username}:{at.password}@127.0.0.1:{way.port}").geturl()
        self.way = way
        self.lossy_database = as_role(lossy, "app")
        self.worker = as_role(url, "worker")
        self.life = TransactionLife(self.worker, self.clock, IdSource(self.clock))
        self.holds = self.holding(self.cache)
        self.lossy = self.over(self.lossy_database, self.cache)

    def over(self, database: Database, cache: Cache) -> AuthorizationService:
        """An engine over a database and a cache."""
        return AuthorizationService(database, cache, self.clock, IdSource(self.clock), secrets=lambda: SECRETS)

    def holding(self, cache: Cache) -> UnansweredHolds:
        """What gives holds back, as a cache tells of them."""
        return UnansweredHolds(cache, self.life, self.clock, secrets=lambda: SECRETS)

    def lost(self, card: SeededCard, amount: str = "10.00") -> AuthorizationRequest:
        """Ask, and lose the answer for good: the network is told that we are unavailable."""
        # With a connection and the card's profile at hand, only the answer itself can get lost.
        assert self.lossy.evaluate(request(card.token, "0.00")).reason == "approved"
        wanted = request(card.token, amount)
        self.way.lose(-1)
        decision = self.lossy.evaluate(wanted)
        self.way.lose(0)
        assert (decision.reason, decision.final, decision.transaction_id) == ("issuer_unavailable", False, None)
        return wanted

    def reconcile(self) -> Counter[str]:
        """Run the schedule with time enough."""
        return self.holds.reconcile(lambda: 60.0)

    def remembered(self) -> int:
        """How many transactions are remembered as unanswered."""
        replies = self.cache.exchange([("LLEN", UNANSWERED_KEY)])
        assert replies is not None
        return int(str(replies[0]))

    def row_of(self, card: SeededCard, wanted: AuthorizationRequest) -> dict[str, object]:
        """The row of a request."""
        (row,) = [row for row in self.transactions(card) if row["authorization_id"] == wanted.authorization_id]
        return row

    def close(self) -> None:
        """Close all connections."""
        for held in (self.database, self.lossy_database, self.worker, self.cache):
            held.close()


@pytest.fixture
def world(database_url: str, cache_url: str) -> Iterator[LossyWorld]:
    """The world, with nothing remembered yet."""
    with losing(urlsplit(database_url).port or 5432) as way:
        made = LossyWorld(database_url, cache_url, way)
        assert made.cache.exchange([("DEL", UNANSWERED_KEY)]) is not None
        yield made
        made.close()


def test_an_approval_whose_answer_got_lost_is_given_back_after_two_minutes(world: LossyWorld) -> None:
    card = world.card(daily="500.00")
    wanted = world.lost(card, "200.00")
    assert (world.row_of(card, wanted)["status"], world.spend(card)["held"]) == ("AUTHORIZED", Decimal("200.00"))
    world.clock.at += timedelta(minutes=2) - timedelta(microseconds=1)
    assert (world.reconcile(), world.remembered()) == ({"young": 1}, 1)
    world.clock.at += timedelta(microseconds=1)
    assert (world.reconcile(), world.remembered()) == ({"voided": 1}, 0)
    row, spend = world.row_of(card, wanted), world.spend(card)
    assert (row["status"], row["reason"], row["held_amount"], row["flags"]) == ("REVERSED", "approved", Decimal(0), ["voided"])
    assert (spend["held"], spend["day_spent"], spend["month_spent"]) == (Decimal(0),) * 3
    again = world.service.evaluate(wanted)
    assert (again.reason, again.final, again.transaction_id) == ("issuer_unavailable", False, None)
    assert world.reconcile() == {}


def test_an_answer_that_got_lost_once_is_found_in_the_same_breath(world: LossyWorld) -> None:
    card = world.card()
    assert world.lossy.evaluate(request(card.token)).reason == "approved"
    world.way.lose(1)
    assert world.lossy.evaluate(request(card.token)).reason == "approved"
    assert world.spend(card)["held"] == Decimal("20.00")
    assert world.remembered() == 0


def test_who_asks_again_gets_the_lost_answer_and_keeps_the_hold(world: LossyWorld) -> None:
    card = world.card()
    wanted = world.lost(card)
    again = world.service.evaluate(wanted)
    row = world.row_of(card, wanted)
    assert (again.reason, again.transaction_id, again.decided_at) == ("approved", row["transaction_id"], row["decided_at"])
    assert row["confirmed_at"] == world.clock.now()
    world.clock.at += timedelta(minutes=5)
    assert (world.reconcile(), world.remembered()) == ({"kept": 1}, 0)
    assert world.spend(card)["held"] == Decimal("10.00")


def test_a_hold_whose_approval_was_answered_is_not_lost_by_a_repetition_that_was_not(world: LossyWorld) -> None:
    card = world.card()
    wanted = request(card.token)
    assert world.service.evaluate(wanted).reason == "approved"
    world.forget(card, wanted)
    assert world.lossy.evaluate(request(card.token, "0.00")).reason == "approved"
    world.way.lose(-1)
    assert world.lossy.evaluate(wanted).reason == "issuer_unavailable"
    world.way.lose(0)
    world.clock.at += timedelta(minutes=5)
    assert world.reconcile() == {"kept": 1}
    assert world.spend(card)["held"] == Decimal("10.00")


def test_a_decline_that_got_lost_holds_nothing_and_is_answered_when_asked_again(world: LossyWorld) -> None:
    card = world.card(per_transaction="20.00")
    wanted = world.lost(card, "20.01")
    world.clock.at += timedelta(minutes=5)
    assert world.reconcile() == {"kept": 1}
    assert world.service.evaluate(wanted).reason == "per_transaction_limit_exceeded"


def test_what_the_network_has_told_of_since_is_kept(world: LossyWorld) -> None:
    card = world.card()
    wanted = world.lost(card)
    told = ProcessorEvent(
        event_id=f"evt_{wanted.authorization_id}", type=EventType.CLEARED, card_token=card.token, amount=Decimal("4.00"),
        currency="USD", authorization_id=wanted.authorization_id,
    )  # fmt: skip
    assert world.life.receive(told).outcome == "applied"
    world.clock.at += timedelta(minutes=5)
    assert world.reconcile() == {"kept": 1}
    assert world.spend(card)["held"] == Decimal("6.00")


def test_where_nothing_can_have_been_recorded_nothing_is_remembered(world: LossyWorld) -> None:
    nowhere = Database(lambda: f"postgresql://app@127.0.0.1:{closed_port()}/nothing")
    assert world.over(nowhere, world.cache).evaluate(request("tok_of_no_profile")).reason == "issuer_unavailable"
    assert world.remembered() == 0


class Killed(BaseException):
    """A process that ends in the middle."""


class DiesAfterwards:
    """Gives a hold back, and is killed before anybody hears of it."""

    def __init__(self, life: TransactionLife) -> None:
        self.life = life

    def void(self, card_id: UUID, transaction_id: UUID) -> bool:
        """Give back and die."""
        self.life.void(card_id, transaction_id)
        raise Killed


def test_killed_in_the_middle_it_is_seen_to_again_and_given_back_once(world: LossyWorld) -> None:
    card = world.card()
    world.lost(card)
    world.clock.at += timedelta(minutes=5)
    dying = UnansweredHolds(world.cache, DiesAfterwards(world.life), world.clock, secrets=lambda: SECRETS)
    with pytest.raises(Killed):
        dying.reconcile(lambda: 60.0)
    assert world.remembered() == 1
    assert world.spend(card)["held"] == Decimal("0.00")
    assert (world.reconcile(), world.remembered()) == ({"kept": 1}, 0)
    assert world.spend(card)["held"] == Decimal("0.00")
    with psycopg.connect(world.url) as connection:
        told = connection.execute("SELECT count(*) FROM transaction_events WHERE card_id = %s", (card.card_id,)).fetchone()
    assert told == (1,)


def test_a_database_that_is_gone_leaves_everything_for_the_next_run(world: LossyWorld) -> None:
    card = world.card()
    world.lost(card)
    world.clock.at += timedelta(minutes=5)
    nowhere = Database(lambda: f"postgresql://worker@127.0.0.1:{closed_port()}/nothing")
    life = TransactionLife(nowhere, world.clock, IdSource(world.clock))
    with pytest.raises(UnavailableError):
        UnansweredHolds(world.cache, life, world.clock, secrets=lambda: SECRETS).reconcile(lambda: 60.0)
    assert (world.remembered(), world.reconcile()) == (1, {"voided": 1})


def test_without_a_cache_nothing_is_remembered_and_the_schedule_says_so(world: LossyWorld) -> None:
    card = world.card()
    gone = Cache(f"redis://127.0.0.1:{closed_port()}")
    service = world.over(world.lossy_database, gone)
    assert service.evaluate(request(card.token)).reason == "approved"
    world.way.lose(-1)
    assert service.evaluate(request(card.token)).reason == "issuer_unavailable"
    with pytest.raises(UnavailableError) as missing:
        world.holding(gone).reconcile(lambda: 60.0)
    assert missing.value.code == "cache_unavailable"


def test_an_entry_that_is_not_ours_gives_no_hold_back(world: LossyWorld) -> None:
    card = world.card()
    decision = world.decide(card)
    assert decision.transaction_id is not None
    value = write_unanswered(card.card_id, decision.transaction_id, world.clock.now()).encode()
    stranger = entry_keys([Secret("a stranger's")])
    forged = [
        value,
        seal(stranger, UNANSWERED_KEY, value),
        seal(entry_keys(SECRETS), "another key", value),
        *(seal(entry_keys(SECRETS), UNANSWERED_KEY, noise) for noise in (b"", b"a|b|c", b"\xff", value[:-6])),
    ]
    assert world.cache.exchange([("RPUSH", UNANSWERED_KEY, *forged)]) == [len(forged)]
    world.clock.at += timedelta(minutes=5)
    assert (world.reconcile(), world.remembered()) == ({"unreadable": len(forged)}, 0)
    assert world.spend(card)["held"] == Decimal("10.00")


def test_the_young_are_passed_over_page_by_page(world: LossyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "PAGE", 2)
    card = world.card()
    # Servers' clocks differ: the one that is due may stand behind younger ones.
    for minutes in (10, 10, 10, 0, 10, 0):
        world.clock.at += timedelta(minutes=minutes)
        world.lost(card)
        world.clock.at -= timedelta(minutes=minutes)
    world.clock.at += timedelta(minutes=3)
    assert (world.reconcile(), world.remembered()) == ({"young": 4, "voided": 2}, 4)
    world.clock.at += timedelta(minutes=10)
    assert (world.holds.reconcile(lambda: 1.0), world.remembered()) == ({}, 4)
    assert (world.reconcile(), world.remembered()) == ({"voided": 4}, 0)


def test_no_more_is_remembered_than_there_is_room_for(world: LossyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizations, "UNANSWERED_MAX", 2)
    card = world.card()
    first, *_ = [world.lost(card) for _ in range(3)]
    world.clock.at += timedelta(minutes=5)
    assert (world.remembered(), world.reconcile()) == (2, {"voided": 2})
    assert world.row_of(card, first)["status"] == "AUTHORIZED"


def test_an_answer_asked_for_while_its_hold_is_given_back_is_one_of_the_two(world: LossyWorld) -> None:
    for _ in range(8):
        card = world.card()
        wanted = world.lost(card)
        world.clock.at += timedelta(minutes=5)
        answers = race(world, wanted)
        held = world.spend(card)["held"]
        assert (answers.reason, held) in {("approved", Decimal("10.00")), ("issuer_unavailable", Decimal("0.00"))}


def race(world: LossyWorld, wanted: AuthorizationRequest) -> Decision:
    """Ask again and give back at once."""
    gate = threading.Barrier(2)

    def give_back() -> None:
        gate.wait()
        world.reconcile()
        world.worker.close()
        world.cache.close()

    thread = threading.Thread(target=give_back)
    thread.start()
    gate.wait()
    decision = world.service.evaluate(wanted)
    thread.join()
    return decision
