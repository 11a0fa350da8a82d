"""First pages in the real Valkey: never stale, never somebody else's, and not needed."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from cardwright.cards.rules import Card
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.history import CardTransaction, HistoryFilters, Scope, TransactionStatus
from cardwright.transactions.service import RememberedPages, TransactionService
from cardwright.transactions.service.remembering import page_name
from cardwright.transactions.store import history
from tests.fakes.card_world import CardWorld
from tests.fakes.life_world import LifeWorld

KEYS = [Secret(b"k" * 32)]


class Counted(RememberedPages):
    """Counts the pages it had."""

    had = 0

    def get(self, name: str) -> list[CardTransaction] | None:
        """Look a page up."""
        found = super().get(name)
        self.had += found is not None
        return found


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:
    """The worker's Valkey, with a budget that a busy machine keeps."""
    cache = Cache(cache_url, budget_s=5.0)
    yield cache
    cache.close()


@pytest.fixture
def pages(cache: Cache) -> Counted:
    """Pages in it."""
    return Counted(cache, lambda: KEYS)


@pytest.fixture
def service(world: CardWorld, pages: Counted) -> TransactionService:
    """The service with its pages."""
    return TransactionService(world.database, world.service, pages)


@pytest.fixture
def life(world: CardWorld, database_url: str, card: Card) -> Iterator[LifeWorld]:
    """Events of the card."""
    life = LifeWorld(world, database_url, card)
    yield life
    life.close()


def statuses(service: TransactionService, actor: Actor, card: Card | None = None) -> list[str]:
    """Statuses of the first page of a card, or of the actor's cards."""
    page = service.list_transactions(actor, card_id=None if card is None else card.card_id, limit=51)
    return [str(one.status) for one in page]


def test_a_page_that_is_asked_for_again_is_the_same_and_comes_from_the_cache(
    service: TransactionService, pages: Counted, life: LifeWorld, holder: Actor, card: Card
) -> None:
    decision = life.world.pay(card, "40.00", merchant_amount=Decimal("39.00"), merchant_currency="EUR")
    life.tell(EventType.CLEARED, "41.00", decision)
    life.later(timedelta(seconds=1))
    life.world.pay(card, "900.00")
    for card_id in (card.card_id, None):
        first = service.list_transactions(holder, card_id=card_id, limit=51)
        assert service.list_transactions(holder, card_id=card_id, limit=51) == first
        assert [one.flags for one in first] == [(), ("over_cleared",)]
    assert pages.had == 2


def test_every_change_shows_in_the_next_answer(
    service: TransactionService, pages: Counted, life: LifeWorld, holder: Actor, card: Card
) -> None:
    decision = life.world.pay(card, "40.00")
    steps = [
        (None, ["AUTHORIZED"]),
        ((EventType.CLEARED, "15.00"), ["PARTIALLY_CLEARED"]),
        ((EventType.REVERSED, "25.00"), ["CLEARED"]),
        ((EventType.REFUNDED, "5.00"), ["PARTIALLY_REFUNDED"]),
        ((EventType.REFUNDED, "10.00"), ["REFUNDED"]),
    ]
    for event, wanted in steps:
        if event is not None:
            life.tell(event[0], event[1], decision)
        for listed in (card, None):
            assert statuses(service, holder, listed) == wanted
            assert statuses(service, holder, listed) == wanted
    assert pages.had == 2 * len(steps)
    life.later(timedelta(seconds=1))
    life.world.pay(card, "900.00")
    assert statuses(service, holder, card) == ["DECLINED", "REFUNDED"]
    life.later(timedelta(seconds=1))
    life.tell(EventType.FORCE_POSTED, "3.00", None)
    assert statuses(service, holder) == ["FORCE_POSTED", "DECLINED", "REFUNDED"]


def test_an_expiry_and_another_cards_purchase_show_too(
    service: TransactionService, life: LifeWorld, holder: Actor, card: Card
) -> None:
    life.world.pay(card, "40.00")
    assert statuses(service, holder) == ["AUTHORIZED"]
    life.later(timedelta(days=8))
    life.life.expire_holds()
    assert statuses(service, holder) == ["EXPIRED"]
    life.world.pay(life.world.issue(holder), "1.00")
    assert statuses(service, holder) == ["AUTHORIZED", "EXPIRED"]


def test_other_questions_have_other_answers(
    service: TransactionService, pages: Counted, life: LifeWorld, holder: Actor, card: Card
) -> None:
    life.world.pay(card, "40.00")
    life.later(timedelta(seconds=1))
    life.world.pay(card, "900.00")
    for filters, count in ((HistoryFilters(), 2), (HistoryFilters(status=TransactionStatus.DECLINED), 1)):
        for limit in (1, 51):
            page = service.list_transactions(holder, card_id=card.card_id, filters=filters, limit=limit)
            assert len(page) == min(count, limit)
    after = service.list_transactions(holder, card_id=card.card_id, limit=1)[0].transaction_id
    rest = service.list_transactions(holder, card_id=card.card_id, limit=51, after=after)
    assert [one.amount for one in rest] == [Decimal("40.00")]
    # The page of one was asked for twice; pages further back are not kept.
    assert pages.had == 1
    assert service.list_transactions(life.world.add_user(), limit=51) == []


def name_of(world: CardWorld, holder: Actor, card: Card) -> str:
    """Where the card's first page is kept."""
    scope = Scope(card_id=card.card_id)
    with world.database.transaction(holder) as tx:
        return page_name(scope, HistoryFilters(), 51, history.versions(tx, scope))


def test_an_entry_we_did_not_write_counts_as_nothing(
    service: TransactionService, pages: Counted, life: LifeWorld, holder: Actor, card: Card, cache: Cache
) -> None:
    life.world.pay(card, "40.00")
    other = life.world.issue(holder)
    life.world.pay(other, "1.00")
    life.world.pay(other, "2.00")
    assert len(service.list_transactions(holder, card_id=other.card_id, limit=51)) == 2
    name = name_of(life.world, holder, card)
    theirs = cache.exchange([("GET", name_of(life.world, holder, other))])
    assert theirs is not None
    assert isinstance(theirs[0], bytes)
    # Without our key, cut short, empty, and a true entry of another list moved here.
    for forged in (seal([Secret(b"x" * 32)], name, b"[]"), b"[]", b"", theirs[0]):
        cache.exchange([("SET", name, forged)])
        assert statuses(service, holder, card) == ["AUTHORIZED"]
    assert pages.had == 0
    assert statuses(service, holder, card) == ["AUTHORIZED"]
    assert pages.had == 1


def test_a_page_is_kept_for_five_minutes_and_a_huge_one_not_at_all(
    service: TransactionService, pages: Counted, life: LifeWorld, holder: Actor, card: Card, cache: Cache
) -> None:
    life.world.pay(card, "40.00")
    (one,) = service.list_transactions(holder, card_id=card.card_id, limit=51)
    (left,) = cache.exchange([("TTL", name_of(life.world, holder, card))]) or [None]
    assert isinstance(left, int)
    assert 290 <= left <= 300
    pages.put("history:{huge}:x", [one] * 5000)
    assert pages.get("history:{huge}:x") is None


def test_without_a_cache_pages_come_from_the_database(world: CardWorld, holder: Actor, card: Card) -> None:
    # Nothing listens on this port: the address is one of ours that was never bound.
    nobody = RememberedPages(Cache("redis://127.0.0.1:1"), lambda: KEYS)
    service = TransactionService(world.database, world.service, nobody)
    world.pay(card, "40.00")
    assert statuses(service, holder, card) == ["AUTHORIZED"]
    assert statuses(service, holder) == ["AUTHORIZED"]


def test_a_name_tells_whose_what_and_when(card: Card) -> None:
    scope, versions = Scope(card_id=card.card_id), (1, 7)
    names = {
        page_name(scope, HistoryFilters(), 51, versions),
        page_name(Scope(user_id=card.card_id), HistoryFilters(), 51, versions),
        page_name(Scope(card_id=UUID(int=1)), HistoryFilters(), 51, versions),
        page_name(scope, HistoryFilters(text="x"), 51, versions),
        page_name(scope, HistoryFilters(), 50, versions),
        page_name(scope, HistoryFilters(), 51, (1, 8)),
        page_name(scope, HistoryFilters(), 51, (2, 7)),
    }
    assert len(names) == 7
    assert page_name(scope, HistoryFilters(), 51, versions) in names
