"""The ledger in the real database: balanced or nothing, once or never, append-only for everybody."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from cardwright.cards.rules import Card
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.ledger import service as ledger
from cardwright.ledger.rules import Account, Discrepancy, Entry, Posting, PostingKind, sides
from cardwright.ledger.service import SCHEDULE, LedgerBooks, LedgerCheck
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import NOW, CardWorld

HEADER = (
    "INSERT INTO ledger_postings (card_id, posting_id, user_id, program_id, kind, lines, occurred_at) "
    "VALUES (%s, %s, %s, %s, 'clearing', %s, %s)"
)
LINE = (
    "INSERT INTO ledger_entries (card_id, posting_id, line, user_id, account, amount, currency) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


@pytest.fixture
def alone(fresh_database: str) -> Iterator[CardWorld]:
    """A world in a database of its own: its ledger holds what the test posts, and nothing else."""
    world = CardWorld(fresh_database)
    yield world
    world.close()


def of(world: CardWorld, card: Card, kind: PostingKind = PostingKind.CLEARING, amount: str = "12.34", **changes: Any) -> Posting:
    """A posting for a card."""
    posting = Posting(
        posting_id=world.ids.new(),
        kind=kind.value,
        card_id=card.card_id,
        user_id=card.user_id,
        program_id=card.program_id,
        occurred_at=NOW,
        entries=sides(kind, Decimal(amount), card.currency),
    )
    return replace(posting, **changes)


def post(world: CardWorld, *postings: Posting) -> list[bool]:
    """Post under role worker, in one transaction."""
    with world._worker.transaction(SCHEDULE) as tx:
        return [ledger.post(tx, posting) for posting in postings]


def balances(world: CardWorld, card: Card) -> dict[Account, dict[str, Decimal]]:
    """The balances of a card."""
    with world._worker.transaction(SCHEDULE) as tx:
        return ledger.balances(tx, card.card_id)


def found(world: CardWorld) -> list[Discrepancy]:
    """What a look at the whole ledger finds."""
    with world._worker.transaction(SCHEDULE) as tx:
        return ledger.check(tx)


def as_migrator(world: CardWorld, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Write rows past the function, in one transaction, as their owner."""
    # A connection whose own commit fails is not closed by its `with`.
    with closing(psycopg.connect(world.url, autocommit=True)) as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE migrator")
        for statement, parameters in statements:
            connection.execute(statement.encode(), parameters)


def raw(card: Card, posting_id: UUID, *amounts: str, lines: int | None = None) -> list[tuple[str, tuple[Any, ...]]]:
    """A posting as rows, whatever its sum."""
    head = (card.card_id, posting_id, card.user_id, card.program_id, lines or len(amounts), NOW)
    return [(HEADER, head), *(line(card, posting_id, number, amount) for number, amount in enumerate(amounts, 1))]


def line(card: Card, posting_id: UUID, number: int, amount: str, currency: str = "USD") -> tuple[str, tuple[Any, ...]]:
    """An entry as a row."""
    return LINE, (card.card_id, posting_id, number, card.user_id, "fees", Decimal(amount), currency)


def damage(world: CardWorld, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Write past every trigger and foreign key, as only the cluster's owner can."""
    with psycopg.connect(world.url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement, parameters in statements:
            connection.execute(statement.encode(), parameters)


def test_a_posting_stands_with_its_entries_in_their_order(world: CardWorld, card: Card) -> None:
    posting = of(world, card, transaction_id=world.ids.new(), reference="line 7")
    assert post(world, posting) == [True]
    (stored,) = LedgerBooks(world._worker).postings(SCHEDULE, card.card_id, limit=10)
    assert stored == posting


def test_balances_are_the_sums_of_what_was_posted(world: CardWorld, card: Card) -> None:
    wanted = [
        (PostingKind.CLEARING, "40.00"),
        (PostingKind.REFUND, "15.00"),
        (PostingKind.SETTLED, "25.00"),
        (PostingKind.FEE, "0.31"),
        (PostingKind.LOAD, "99.99"),
    ]
    assert post(world, *(of(world, card, kind, amount) for kind, amount in wanted)) == [True] * 5
    assert balances(world, card) == {
        Account.CARD_HOLDS: {"USD": Decimal("0.00")},
        Account.CARDHOLDER_FUNDS: {"USD": Decimal("-99.99")},
        Account.CARDHOLDER_SPEND: {"USD": Decimal("25.00")},
        Account.FEES: {"USD": Decimal("0.31")},
        Account.SETTLEMENT: {"USD": Decimal("74.68")},
    }


def test_a_card_without_postings_has_no_balances(world: CardWorld, card: Card) -> None:
    assert balances(world, card) == {}


def test_posted_twice_it_stands_once_whenever_the_second_time_is(world: CardWorld, card: Card) -> None:
    posting = of(world, card)
    turned = replace(posting, entries=posting.entries[::-1], occurred_at=NOW.replace(year=2027))
    assert post(world, posting) == [True]
    assert post(world, posting, turned) == [False, False]
    assert (len(world.rows("ledger_postings", card.card_id)), len(world.rows("ledger_entries", card.card_id))) == (1, 2)


@pytest.mark.parametrize("other", ["amount", "account", "more", "kind", "transaction"])
def test_an_id_that_stands_for_another_posting_is_refused(world: CardWorld, card: Card, other: str) -> None:
    first = of(world, card)
    post(world, first)
    entries = {
        "amount": sides(PostingKind.CLEARING, Decimal("12.35"), "USD"),
        "account": sides(PostingKind.REFUND, Decimal("12.34"), "USD"),
        "more": (*first.entries, *sides(PostingKind.FEE, Decimal("1.00"), "USD")),
    }
    changes: dict[str, Any] = {"kind": {"kind": "force_post"}, "transaction": {"transaction_id": world.ids.new()}}
    second = replace(first, **changes.get(other, {"entries": entries.get(other)}))
    with pytest.raises(BrokenInvariantError):
        post(world, second)
    assert balances(world, card)[Account.CARDHOLDER_SPEND] == {"USD": Decimal("12.34")}


def test_the_same_id_of_two_cards_is_a_posting_of_each(world: CardWorld, card: Card) -> None:
    other = world.issue(world.add_user())
    posting = of(world, card)
    assert post(world, posting, of(world, other, posting_id=posting.posting_id)) == [True, True]


def test_of_twenty_that_post_the_same_ids_at_once_each_id_is_posted_by_one(world: CardWorld, card: Card) -> None:
    postings = [of(world, card, amount=f"{number}.00") for number in range(1, 11)]
    new: list[bool] = []

    def run(turn: int) -> None:
        for posting in postings[turn % 10 :] + postings[: turn % 10]:
            new.extend(post(world, posting))

    outcomes = world.at_once(*(lambda turn=turn: run(turn) for turn in range(20)))
    assert outcomes == {"done": 20}
    assert (new.count(True), new.count(False)) == (10, 190)
    assert balances(world, card)[Account.CARDHOLDER_SPEND] == {"USD": Decimal("55.00")}


def test_what_is_rolled_back_was_not_posted_and_may_be_posted_again(world: CardWorld, card: Card) -> None:
    posting = of(world, card)

    def die_after_posting() -> None:
        with world._worker.transaction(SCHEDULE) as tx:
            ledger.post(tx, posting)
            raise RuntimeError("killed in the middle")

    with pytest.raises(RuntimeError):
        die_after_posting()
    assert world.rows("ledger_postings", card.card_id) == []
    assert post(world, posting) == [True]


def test_an_unbalanced_posting_never_reaches_the_database(world: CardWorld, card: Card) -> None:
    with pytest.raises(BrokenInvariantError):
        post(world, of(world, card, entries=(Entry(Account.FEES, Decimal(1), "USD"), Entry(Account.FEES, Decimal(-2), "USD"))))


@pytest.mark.parametrize(
    ("accounts", "amounts", "currencies", "name"),
    [
        (["fees", "settlement"], ["1.00", "-1.01"], ["USD", "USD"], "ledger_balanced"),
        (["fees", "settlement"], ["1.00", "-1.00"], ["USD", "EUR"], "ledger_balanced"),
        (["fees", "settlement"], ["NaN", "NaN"], ["USD", "USD"], "ledger_balanced"),
        (["fees", "settlement"], [None, None], ["USD", "USD"], "ledger_balanced"),
        (["fees"], ["1.00"], ["USD"], "ledger_lines"),
        ([], [], [], "ledger_lines"),
        (["fees", "settlement", "fees"], ["1.00", "-1.00"], ["USD", "USD"], "ledger_lines"),
        (["fees", "settlement"], ["0.00", "0.00"], ["USD", "USD"], "ledger_entries_amount_check"),
        (["petty_cash", "settlement"], ["1.00", "-1.00"], ["USD", "USD"], "ledger_entries_account_check"),
        (["fees", "settlement"], ["0.001", "-0.001"], ["USD", "USD"], "ledger_entries_amount_check"),
    ],
)
def test_the_writing_function_refuses_what_is_no_posting(
    world: CardWorld, card: Card, accounts: list[str], amounts: list[str | None], currencies: list[str], name: str
) -> None:
    statement = (
        "WITH actor AS MATERIALIZED (SELECT set_config('cardwright.actor_role', 'system', true) AS role) "
        "SELECT post_to_ledger(%s, 'clearing', %s, %s, %s, %s, %s::text[], %s::numeric[], %s::text[], NULL, NULL) "
        "FROM actor WHERE role = 'system'"
    )
    owner = (world.ids.new(), card.card_id, card.user_id, card.program_id, NOW)
    with pytest.raises(errors.CheckViolation) as refused:
        world.sql(statement, *owner, accounts, amounts, currencies)
    assert refused.value.diag.constraint_name == name
    assert world.rows("ledger_postings", card.card_id) == []


@pytest.mark.parametrize("role", ["cardholder", "support", "nobody"])
def test_who_is_neither_the_network_nor_an_administrator_posts_no_clearing(world: CardWorld, card: Card, role: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege), world.database.transaction(Actor(card.user_id, role)) as tx:
        ledger.post(tx, of(world, card))
    assert world.rows("ledger_postings", card.card_id) == []


def test_a_posting_names_the_user_and_the_program_of_its_card(world: CardWorld, card: Card) -> None:
    for change in ({"user_id": world.add_user().user_id}, {"program_id": world.ids.new()}, {"card_id": world.ids.new()}):
        with pytest.raises(errors.ForeignKeyViolation):
            post(world, of(world, card, **change))


@pytest.mark.parametrize("amounts", [("1.00", "-1.01"), ("1.00", "1.00"), ("5.00", "-2.00", "-2.99")])
def test_unbalanced_rows_of_their_owner_fail_at_commit(world: CardWorld, card: Card, amounts: tuple[str, ...]) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        as_migrator(world, *raw(card, world.ids.new(), *amounts))
    assert refused.value.diag.constraint_name == "ledger_balanced"
    assert world.rows("ledger_postings", card.card_id) == []


def test_rows_of_several_currencies_are_balanced_in_each(world: CardWorld, card: Card) -> None:
    posting_id = world.ids.new()
    head = raw(card, posting_id, lines=2)
    with pytest.raises(errors.CheckViolation):
        as_migrator(world, *head, line(card, posting_id, 1, "1.00", "USD"), line(card, posting_id, 2, "-1.00", "EUR"))
    as_migrator(world, *head, line(card, posting_id, 1, "1.00", "EUR"), line(card, posting_id, 2, "-1.00", "EUR"))
    assert balances(world, card) == {Account.FEES: {"EUR": Decimal("0.00")}}


def test_a_posting_without_all_its_entries_fails_at_commit(world: CardWorld, card: Card) -> None:
    for rows in (raw(card, world.ids.new(), lines=2), raw(card, world.ids.new(), "1.00", "-1.00", lines=3)):
        with pytest.raises(errors.CheckViolation) as refused:
            as_migrator(world, *rows)
        assert refused.value.diag.constraint_name == "ledger_lines"


def test_entries_that_balance_are_still_not_added_to_a_posting_that_stands(world: CardWorld, card: Card) -> None:
    posting = of(world, card)
    post(world, posting)
    added = [line(card, posting.posting_id, 3, "1.00"), line(card, posting.posting_id, 4, "-1.00")]
    with pytest.raises(errors.CheckViolation) as refused:
        as_migrator(world, *added)
    assert refused.value.diag.constraint_name == "ledger_lines"


@pytest.mark.parametrize("role", ["app", "worker", "auditor", "migrator", None])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount = amount * 2 WHERE card_id = %s",
        "UPDATE ledger_postings SET kind = 'fee' WHERE card_id = %s",
        "DELETE FROM ledger_entries WHERE card_id = %s",
        "DELETE FROM ledger_postings WHERE card_id = %s",
        "TRUNCATE ledger_entries",
        "TRUNCATE ledger_postings CASCADE",
    ],
)
def test_nobody_changes_what_was_posted(world: CardWorld, card: Card, role: str | None, statement: str) -> None:
    posting = of(world, card)
    post(world, posting)
    with psycopg.connect(world.url) as connection:
        connection.execute("SELECT set_config('cardwright.actor_role', 'admin', true)")
        if role is not None:
            connection.execute(f"SET LOCAL ROLE {role}".encode())
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement.encode(), (card.card_id,) if "%s" in statement else ())
    assert balances(world, card)[Account.CARDHOLDER_SPEND] == {"USD": Decimal("12.34")}


def test_no_role_writes_rows_past_the_function(world: CardWorld, card: Card) -> None:
    for database in (world.database, world._worker):
        for statement, parameters in raw(card, world.ids.new(), "1.00", "-1.00")[:2]:
            with pytest.raises(errors.InsufficientPrivilege), database.transaction(Actor(None, "system")) as tx:
                tx.execute(statement, parameters)


def test_holders_read_their_own_postings_staff_all_and_strangers_none(world: CardWorld, card: Card, holder: Actor) -> None:
    post(world, of(world, card))
    books = LedgerBooks(world.database)
    readers = {"holder": holder, "support": world.add_user("support"), "stranger": world.add_user()}
    seen = {name: len(books.postings(actor, card.card_id, limit=9)) for name, actor in readers.items()}
    assert seen == {"holder": 1, "support": 1, "stranger": 0}
    assert books.balances(readers["stranger"], card.card_id) == {}


def test_postings_are_read_in_pages_the_newest_first(world: CardWorld, card: Card) -> None:
    posted = [of(world, card, amount=f"{number}.00") for number in range(1, 8)]
    post(world, *posted)
    books, read, after = LedgerBooks(world._worker), [], None
    while page := books.postings(SCHEDULE, card.card_id, limit=3, after=after):
        read += page
        after = page[-1].posting_id
    assert read == sorted(posted, key=lambda posting: posting.posting_id, reverse=True)


def test_a_ledger_that_was_only_posted_to_has_no_discrepancy(alone: CardWorld) -> None:
    card = alone.issue(alone.add_user())
    post(alone, *(of(alone, card, kind) for kind in PostingKind))
    assert found(alone) == []
    check = LedgerCheck(alone._worker, alone.clock)
    assert (check.run(lambda: 60.0), check.count_discrepancies()) == (len(PostingKind), 0)


def test_the_check_finds_each_kind_of_damage(alone: CardWorld) -> None:
    card = alone.issue(alone.add_user())
    whole, changed, cut, bare = (of(alone, card) for _ in range(4))
    post(alone, whole, changed, cut, bare)
    damage(
        alone,
        ("UPDATE ledger_entries SET amount = amount + 1 WHERE posting_id = %s AND line = 1", (changed.posting_id,)),
        ("DELETE FROM ledger_entries WHERE posting_id = %s AND line = 1", (cut.posting_id,)),
        ("DELETE FROM ledger_entries WHERE posting_id = %s", (bare.posting_id,)),
    )
    assert set(found(alone)) == {
        Discrepancy("nonzero", currency="USD", amount=Decimal("-11.34")),
        Discrepancy("unbalanced", card.card_id, changed.posting_id, "USD", Decimal("1.00")),
        Discrepancy("unbalanced", card.card_id, cut.posting_id, "USD", Decimal("-12.34")),
        Discrepancy("incomplete", card.card_id, cut.posting_id),
        Discrepancy("incomplete", card.card_id, bare.posting_id),
    }


def test_a_round_that_is_broken_off_goes_on_where_it_was_and_then_begins_anew(alone: CardWorld) -> None:
    card = alone.issue(alone.add_user())
    postings = sorted((of(alone, card) for _ in range(7)), key=lambda posting: posting.posting_id)
    post(alone, *postings)
    damage(alone, ("UPDATE ledger_entries SET amount = 99 WHERE posting_id = %s AND line = 1", (postings[0].posting_id,)))
    check = LedgerCheck(alone._worker, alone.clock, page=2)
    assert check.count_discrepancies() == 0
    # Each run has time for one look; the fourth ends the round.
    seen = []
    for _ in range(5):
        seen.append((check.run(iter([60.0, 0.0]).__next__), check.count_discrepancies()))
    assert seen == [(2, 1), (2, 1), (2, 1), (1, 1), (2, 1)]
    damage(alone, ("UPDATE ledger_entries SET amount = 12.34 WHERE posting_id = %s AND line = 1", (postings[0].posting_id,)))
    # What was found in the round under way stands until one whole round has found nothing.
    assert (check.run(lambda: 60.0), check.count_discrepancies()) == (5, 1)
    assert (check.run(lambda: 60.0), check.count_discrepancies()) == (7, 0)


def test_rounds_at_once_share_the_work(alone: CardWorld) -> None:
    card = alone.issue(alone.add_user())
    post(alone, *(of(alone, card) for _ in range(20)))
    looked: list[int] = []

    def one_look() -> None:
        looked.append(LedgerCheck(alone._worker, alone.clock, page=4).run(iter([60.0, 0.0]).__next__))

    assert alone.at_once(*(one_look for _ in range(5))) == {"done": 5}
    assert looked == [4, 4, 4, 4, 4]
    (state,) = alone.sql("SELECT * FROM ledger_checks")
    assert state["after_posting_id"] == max(row["posting_id"] for row in alone.rows("ledger_postings", card.card_id))
