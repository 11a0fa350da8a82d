"""Lists and search over the real database: right for any number of cards, and no dearer far back than in front."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.transactions.rules.history import HistoryFilters, Scope
from cardwright.transactions.service import TransactionEvents, TransactionService
from cardwright.transactions.service.searching import keep_words
from cardwright.transactions.store import history, searching
from tests.fakes.card_world import CardWorld, as_role
from tests.fakes.history_world import HistoryWorld

SYSTEM = Actor(None, "system")
EVERYTHING = HistoryFilters()


@pytest.fixture
def world(fresh_database: str) -> Iterator[CardWorld]:
    """A world in a database of this one test: what is copied here was never decided."""
    world = CardWorld(fresh_database)
    yield world
    world.close()


@pytest.fixture
def past(world: CardWorld) -> HistoryWorld:
    """A holder with a card."""
    return HistoryWorld(world)


@pytest.fixture
def worker(fresh_database: str) -> Iterator[Database]:
    """The database under role worker."""
    database = as_role(fresh_database, "worker")
    yield database
    database.close()


def listed(world: CardWorld, actor: Actor, filters: HistoryFilters = EVERYTHING, *, limit: int = 200) -> list[UUID]:
    """Ids of all of the actor's transactions, page by page."""
    service = TransactionService(world.database, world.service)
    found: list[UUID] = []
    while True:
        page = service.list_transactions(actor, filters=filters, limit=limit, after=found[-1] if found else None)
        found += [one.transaction_id for one in page]
        if len(page) < limit:
            return found


def test_the_newest_of_two_thousand_cards_come_first_whatever_the_page(past: HistoryWorld) -> None:
    cards = past.add_cards(2000)
    # Forty busy cards, and one use now and then of each fifth of all.
    used = [cards[place * 7 % 40] if place % 5 < 3 else cards[place * 2 % 2000] for place in range(1000)]
    made = past.add_transactions(used)
    wanted = [*reversed(made), past.first]
    for limit in (1000, 200, 37):
        assert listed(past.world, past.holder, limit=limit) == wanted
    assert listed(past.world, past.world.add_user()) == []


def test_a_page_of_one_of_many_cards_is_that_cards_alone(past: HistoryWorld) -> None:
    cards = past.add_cards(3)
    made = past.add_transactions(cards * 5)
    service = TransactionService(past.world.database, past.world.service)
    page = service.list_transactions(past.holder, card_id=cards[1], limit=3)
    assert [one.transaction_id for one in page] == [made[13], made[10], made[7]]


def cost(world: CardWorld, actor: Actor, run: Callable[[Transaction], Any]) -> int:
    """Blocks that the statements of a piece of work touch."""
    with world.database.transaction(actor) as tx:
        # The first time the server reads its own catalogue too.
        run(tx)
        spy = _Spy(tx)
        run(spy)
    return spy.blocks


class _Spy(Transaction):
    """Explains statements before it runs them, and counts the blocks they touch."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx._connection)
        self.blocks = 0

    def fetch_all(self, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
        """Explain a statement, then run it."""
        (row,) = super().fetch_all(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        plan = row["QUERY PLAN"][0]["Plan"]
        self.blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return super().fetch_all(sql, parameters)


def test_a_page_far_back_costs_what_the_first_one_does(past: HistoryWorld) -> None:
    made = past.add_transactions([past.card.card_id] * 5_000)
    past.world.sql("ANALYZE card_transactions")
    for scope in (Scope(card_id=past.card.card_id), Scope(user_id=past.holder.user_id)):
        costs = [
            cost(past.world, past.holder, partial(history.newest, scope=scope, filters=EVERYTHING, limit=51, after=after))
            for after in (None, made[2_500], made[100])
        ]
        assert max(costs) <= min(costs) * 1.5 + 10, costs
        assert max(costs) < 200, costs


def test_rare_words_are_found_by_the_index_and_common_ones_in_the_newest(past: HistoryWorld, worker: Database) -> None:
    count = 5_000
    names = ["Quince Emporium" if place in (5, 9) else "Corner Shop" for place in range(count)]
    made = past.add_transactions([past.card.card_id] * count, names)
    stranger = HistoryWorld(past.world)
    theirs = stranger.add_transactions([stranger.card.card_id] * 2, ["Quince Emporium", "Corner Shop"])
    with worker.transaction(SYSTEM) as tx:
        for start in range(0, count, 2000):
            keep_words(tx, [(past.card.card_id, one) for one in made[start : start + 2000]])
        keep_words(tx, [(stranger.card.card_id, one) for one in theirs])
    past.world.sql("ANALYZE card_transactions; ANALYZE transaction_search")
    for scope in (Scope(card_id=past.card.card_id), Scope(user_id=past.holder.user_id)):
        with past.world.database.transaction(past.holder) as tx:
            rare = searching.found(tx, scope, HistoryFilters(text="quince"), 51, None)
            common = searching.found(tx, scope, HistoryFilters(text="corner"), 51, None)
        assert [key[1] for key in rare] == [made[9], made[5]]
        assert [key[1] for key in common] == list(reversed(made))[:51]
        wanted = HistoryFilters(text="quince")
        looked = partial(searching._among_older, scope=scope, filters=wanted, limit=51, before=made[3_500])
        older = cost(past.world, past.holder, looked)
        # The documents alone fill some two hundred.
        assert older < 60, older


def test_what_is_searched_for_beyond_the_newest_passes_the_other_filters_too(past: HistoryWorld, worker: Database) -> None:
    count = 2_500
    names = ["Quince Emporium" if place < 4 else "Corner Shop" for place in range(count)]
    made = past.add_transactions([past.card.card_id] * count, names)
    with worker.transaction(SYSTEM) as tx:
        keep_words(tx, [(past.card.card_id, one) for one in made])
    found = listed(past.world, past.holder, HistoryFilters(text="quince"))
    assert found == [made[3], made[2], made[1], made[0]]
    (row,) = past.world.sql("SELECT decided_at FROM card_transactions WHERE transaction_id = %s", made[2])
    since = HistoryFilters(text="quince", since=row["decided_at"])
    assert listed(past.world, past.holder, since) == [made[3], made[2]]
    until = HistoryFilters(text="quince", until=row["decided_at"])
    assert listed(past.world, past.holder, until) == [made[1], made[0]]
    assert listed(past.world, past.holder, HistoryFilters(text="quince", merchant_category="0763")) == []
    # Pages of one, through the newest and on through the index.
    assert listed(past.world, past.holder, HistoryFilters(text="quince or nothing"), limit=1) == found


def test_a_merchant_that_calls_itself_like_a_card_is_found_by_its_own_customers_alone(
    past: HistoryWorld, worker: Database
) -> None:
    stranger = HistoryWorld(past.world)
    marks = [f"card{stranger.card.card_id.hex}", f"user{stranger.holder.user_id.hex if stranger.holder.user_id else ''}"]
    made = past.add_transactions([past.card.card_id] * 2, [f"{mark} lure" for mark in marks])
    with worker.transaction(SYSTEM) as tx:
        keep_words(tx, [(past.card.card_id, one) for one in made])
    last = UUID(int=2**128 - 1)
    for scope in (Scope(card_id=stranger.card.card_id), Scope(user_id=stranger.holder.user_id)):
        for actor in (stranger.holder, past.world.add_user("support"), SYSTEM):
            with past.world.database.transaction(actor) as tx:
                assert searching._among_older(tx, scope, HistoryFilters(text="lure"), 10, last) == []
    with past.world.database.transaction(stranger.holder) as tx:
        # Whose rows they are is asked in the function itself, whatever scope it is called with.
        scope = Scope(card_id=past.card.card_id)
        assert searching._among_older(tx, scope, HistoryFilters(text="lure"), 10, last) == []
    with past.world.database.transaction(past.holder) as tx:
        assert len(searching._among_older(tx, Scope(card_id=past.card.card_id), HistoryFilters(text="lure"), 10, last)) == 2


def test_publishing_a_transaction_keeps_its_words_once(past: HistoryWorld, worker: Database) -> None:
    events = TransactionEvents()
    assert past.world.rows("transaction_search", past.card.card_id) == []
    with worker.transaction(SYSTEM) as tx:
        taken = events.take(tx, 10)
        events.mark(tx, taken, past.world.clock.now())
    with worker.transaction(SYSTEM) as tx:
        keep_words(tx, [(past.card.card_id, past.first)])
        keep_words(tx, [])
    (kept,) = past.world.rows("transaction_search", past.card.card_id)
    assert (kept["transaction_id"], kept["user_id"]) == (past.first, past.holder.user_id)
    assert "'corner'" in kept["document"]
    assert listed(past.world, past.holder, HistoryFilters(text="groceries")) == [past.first]


def test_words_are_the_workers_to_keep_and_nobodys_to_change(past: HistoryWorld) -> None:
    privileges = past.world.sql(
        "SELECT grantee, string_agg(privilege_type, ',' ORDER BY privilege_type) AS may "
        "FROM information_schema.role_table_grants WHERE table_name = 'transaction_search' AND grantee <> 'migrator' "
        "GROUP BY grantee ORDER BY grantee"
    )
    assert [(row["grantee"], row["may"]) for row in privileges] == [
        ("app", "SELECT"),
        ("auditor", "SELECT"),
        ("worker", "INSERT,SELECT"),
    ]


def test_staff_finds_a_transaction_after_it_was_published_too(past: HistoryWorld, worker: Database) -> None:
    service = TransactionService(past.world.database, past.world.service)
    support = past.world.add_user("support")
    assert service.get_transaction(support, past.first).transaction.transaction_id == past.first
    with worker.transaction(SYSTEM) as tx:
        TransactionEvents().mark(tx, TransactionEvents().take(tx, 10), past.world.clock.now())
    assert service.get_transaction(support, past.first).transaction.transaction_id == past.first
