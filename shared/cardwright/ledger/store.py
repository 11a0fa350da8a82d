"""SQL of the ledger: one function writes it, everybody else reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cardwright.ledger.rules import Account, Discrepancy, Entry, Posting
from cardwright.platform.postgres import Row, Transaction


@dataclass(frozen=True, slots=True)
class Place:
    """Where the round of checks is: the last posting it looked at."""

    card_id: UUID
    posting_id: UUID


@dataclass(frozen=True, slots=True)
class Page:
    """What a look at the next postings found; `last` is None where there were none."""

    checked: int
    last: Place | None
    discrepancies: list[Discrepancy]


def post(tx: Transaction, posting: Posting) -> str:
    """Write a posting with its entries; return `posted`, `repeated` (it was before) or `differs` (its id is another's)."""
    entries = posting.entries
    row = tx.fetch_one(
        "SELECT post_to_ledger(%s, %s, %s, %s, %s, %s, %s, %s::numeric[], %s, %s, %s) AS outcome",
        (
            posting.posting_id, posting.kind, posting.card_id, posting.user_id, posting.program_id, posting.occurred_at,
            [entry.account.value for entry in entries], [entry.amount for entry in entries],
            [entry.currency for entry in entries], posting.transaction_id, posting.reference,
        ),
    )  # fmt: skip
    if row is None:
        raise LookupError("the ledger answered nothing")
    outcome: str = row["outcome"]
    return outcome


def balances(tx: Transaction, card_id: UUID) -> dict[Account, dict[str, Decimal]]:
    """The sums of a card's entries by account and currency."""
    rows = tx.fetch_all(
        "SELECT account, currency, sum(amount) AS balance FROM ledger_entries WHERE card_id = %s GROUP BY account, currency "
        "ORDER BY account, currency",
        (card_id,),
    )
    found: dict[Account, dict[str, Decimal]] = {}
    for row in rows:
        found.setdefault(Account(row["account"]), {})[row["currency"]] = row["balance"]
    return found


def newest(tx: Transaction, card_id: UUID, limit: int, after: UUID | None) -> list[Posting]:
    """Up to `limit` postings of a card with ids below `after`, highest first: the ids begin with their time."""
    rows = tx.fetch_all(
        "SELECT posting_id, kind, card_id, user_id, program_id, occurred_at, transaction_id, reference FROM ledger_postings "
        "WHERE card_id = %(card_id)s AND (%(after)s::uuid IS NULL OR posting_id < %(after)s) "
        "ORDER BY posting_id DESC LIMIT %(limit)s",
        {"card_id": card_id, "after": after, "limit": limit},
    )
    entries = _entries(tx, card_id, [row["posting_id"] for row in rows])
    return [Posting(**row, entries=tuple(entries[row["posting_id"]])) for row in rows]


def look(tx: Transaction, after: Place | None, limit: int) -> Page:
    """Look at the next `limit` postings, in the order of cards: whether each has the entries it says, and they sum to zero."""
    nothing = UUID(int=0)
    row = tx.fetch_one(
        "WITH page AS MATERIALIZED (SELECT card_id, posting_id, lines FROM ledger_postings "
        "WHERE (card_id, posting_id) > (%s, %s) ORDER BY card_id, posting_id LIMIT %s), "
        "sums AS (SELECT p.card_id, p.posting_id, p.lines, e.currency, sum(e.amount) AS total, count(e.line) AS found "
        "FROM page p LEFT JOIN ledger_entries e ON e.card_id = p.card_id AND e.posting_id = p.posting_id "
        "GROUP BY p.card_id, p.posting_id, p.lines, e.currency), "
        "faults AS (SELECT 'unbalanced' AS kind, card_id, posting_id, currency, total::text AS amount FROM sums WHERE total <> 0 "
        "UNION ALL SELECT 'incomplete', card_id, posting_id, NULL, NULL FROM sums GROUP BY card_id, posting_id, lines "
        "HAVING sum(found) <> lines) "
        "SELECT (SELECT count(*) FROM page) AS checked, last.card_id, last.posting_id, "
        "(SELECT jsonb_agg(to_jsonb(faults)) FROM faults) AS faults FROM (SELECT 1) AS one LEFT JOIN "
        "(SELECT card_id, posting_id FROM page ORDER BY card_id DESC, posting_id DESC LIMIT 1) AS last ON true",
        (after.card_id if after else nothing, after.posting_id if after else nothing, limit),
    )
    if row is None:
        raise LookupError("the ledger answered nothing")
    last = None if row["card_id"] is None else Place(row["card_id"], row["posting_id"])
    return Page(row["checked"], last, [_discrepancy(fault) for fault in row["faults"] or ()])


def nonzero_currencies(tx: Transaction) -> list[Discrepancy]:
    """Currencies in which the whole ledger does not sum to zero."""
    rows = tx.fetch_all(
        "SELECT currency, sum(amount) AS amount FROM ledger_entries GROUP BY currency HAVING sum(amount) <> 0 ORDER BY currency"
    )
    return [Discrepancy("nonzero", currency=row["currency"], amount=row["amount"]) for row in rows]


def begin_check(tx: Transaction, now: datetime) -> Place | None:
    """Hold the round of checks until the transaction ends and return where it is; None is its beginning."""
    tx.execute(
        "INSERT INTO ledger_checks (check_name, started_at) VALUES ('postings', %s) ON CONFLICT DO NOTHING",
        (now,),
    )
    tx.execute("SELECT FROM ledger_checks WHERE check_name = 'postings' FOR UPDATE")
    row = tx.fetch_one("SELECT after_card_id, after_posting_id FROM ledger_checks WHERE check_name = 'postings'")
    if row is None or row["after_card_id"] is None:
        return None
    return Place(row["after_card_id"], row["after_posting_id"])


def advance_check(tx: Transaction, last: Place, discrepancies: int) -> None:
    """Note how far the held round is, and what was found since the last note."""
    tx.execute(
        "UPDATE ledger_checks SET after_card_id = %s, after_posting_id = %s, discrepancies = discrepancies + %s "
        "WHERE check_name = 'postings'",
        (last.card_id, last.posting_id, discrepancies),
    )


def end_check(tx: Transaction, discrepancies: int, now: datetime) -> None:
    """End the held round with what its last page found; the next look begins another."""
    tx.execute(
        "UPDATE ledger_checks SET after_card_id = NULL, after_posting_id = NULL, last_discrepancies = discrepancies + %s, "
        "discrepancies = 0, started_at = %s, finished_at = %s WHERE check_name = 'postings'",
        (discrepancies, now, now),
    )


def count_discrepancies(tx: Transaction) -> int:
    """What the last whole round found, or the one under way where that is more already."""
    row = tx.fetch_one("SELECT greatest(discrepancies, last_discrepancies) AS found FROM ledger_checks")
    return 0 if row is None else int(row["found"])


def _entries(tx: Transaction, card_id: UUID, posting_ids: Sequence[UUID]) -> dict[UUID, list[Entry]]:
    found: dict[UUID, list[Entry]] = {posting_id: [] for posting_id in posting_ids}
    rows = tx.fetch_all(
        "SELECT posting_id, account, amount, currency FROM ledger_entries WHERE card_id = %s AND posting_id = ANY (%s) "
        "ORDER BY posting_id, line",
        (card_id, list(posting_ids)),
    )
    for row in rows:
        found[row["posting_id"]].append(_entry(row))
    return found


def _entry(row: Row) -> Entry:
    return Entry(Account(row["account"]), row["amount"], row["currency"])


def _discrepancy(fault: dict[str, Any]) -> Discrepancy:
    amount = fault["amount"]
    return Discrepancy(
        kind=fault["kind"],
        card_id=UUID(fault["card_id"]),
        posting_id=UUID(fault["posting_id"]),
        currency=fault["currency"],
        amount=None if amount is None else Decimal(amount),
    )
