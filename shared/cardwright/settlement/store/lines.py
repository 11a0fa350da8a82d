"""SQL of the lines of files: the cards and events they belong to, and what they have settled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.ledger.rules import Posting
from cardwright.platform.postgres import Row, Transaction
from cardwright.settlement.rules import DetailKind, OurCard, OurEvent
from cardwright.transactions.rules.events import EventType

_EVENT = (
    "SELECT e.card_id, e.event_id, e.type, e.state, e.authorization_id, e.transaction_id, e.amount, e.currency, "
    "s.file_id AS settled_file, s.line AS settled_line "
)
_SETTLED = "LEFT JOIN settled_events s ON s.card_id = e.card_id AND s.reference = e.event_id "
Pair = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Settled:
    """A line that settles an event, or a fee, of a card under its reference."""

    card_id: UUID
    reference: str
    kind: DetailKind
    line: int
    amount: Decimal
    currency: str


def cards_of(tx: Transaction, processor: str, tokens: Sequence[str]) -> dict[str, OurCard]:
    """Those of the tokens that are of cards we have from this processor."""
    rows = tx.fetch_all(
        "SELECT t.processor_card_token, c.card_id, c.user_id, c.program_id FROM card_tokens t "
        "JOIN virtual_cards c ON c.card_id = t.card_id WHERE t.processor_card_token = ANY (%s) AND c.processor = %s",
        (list(tokens), processor),
    )
    return {row["processor_card_token"]: OurCard(row["card_id"], row["user_id"], row["program_id"]) for row in rows}


def events_named(tx: Transaction, named: Sequence[Pair]) -> dict[Pair, OurEvent]:
    """Events by card and id."""
    rows = tx.fetch_all(
        _EVENT + "FROM unnest(%s::uuid[], %s::text[]) AS wanted (card_id, event_id) "
        "JOIN transaction_events e ON e.card_id = wanted.card_id AND e.event_id = wanted.event_id " + _SETTLED,
        _columns(named),
    )
    return {(row["card_id"], row["event_id"]): _event(row) for row in rows}


def events_of(tx: Transaction, authorizations: Sequence[Pair]) -> dict[Pair, list[OurEvent]]:
    """Events by card and authorization, the earliest first."""
    rows = tx.fetch_all(
        _EVENT + "FROM unnest(%s::uuid[], %s::text[]) AS wanted (card_id, authorization_id) "
        "JOIN transaction_events e ON e.card_id = wanted.card_id AND e.authorization_id = wanted.authorization_id "
        + _SETTLED
        + "ORDER BY e.received_at, e.event_id",
        _columns(list(dict.fromkeys(authorizations))),
    )
    found: dict[Pair, list[OurEvent]] = {}
    for row in rows:
        found.setdefault((row["card_id"], row["authorization_id"]), []).append(_event(row))
    return found


def authorized(tx: Transaction, authorizations: Sequence[Pair]) -> set[Pair]:
    """Those of the authorizations, by card and id, that we know."""
    rows = tx.fetch_all(
        "SELECT t.card_id, t.authorization_id FROM unnest(%s::uuid[], %s::text[]) AS wanted (card_id, authorization_id) "
        "JOIN card_transactions t ON t.card_id = wanted.card_id AND t.authorization_id = wanted.authorization_id",
        _columns(list(dict.fromkeys(authorizations))),
    )
    return {(row["card_id"], row["authorization_id"]) for row in rows}


def settled_by(tx: Transaction, references: Sequence[Pair]) -> dict[Pair, tuple[str, int]]:
    """The (file, line) that settled each reference of a card, for those that are settled."""
    rows = tx.fetch_all(
        "SELECT s.card_id, s.reference, s.file_id, s.line FROM unnest(%s::uuid[], %s::text[]) AS wanted (card_id, reference) "
        "JOIN settled_events s ON s.card_id = wanted.card_id AND s.reference = wanted.reference",
        _columns(references),
    )
    return {(row["card_id"], row["reference"]): (row["file_id"], row["line"]) for row in rows}


def settle(tx: Transaction, processor: str, file_id: str, lines: Sequence[Settled], now: datetime) -> set[int]:
    """Keep what lines settle; returns the lines that did, as what was settled before stays as it is."""
    rows = tx.fetch_all(
        "INSERT INTO settled_events (card_id, reference, kind, processor, file_id, line, amount, currency, settled_at) "
        "SELECT card_id, reference, kind, %(processor)s, %(file_id)s, line, amount, currency, %(now)s "
        "FROM unnest(%(cards)s::uuid[], %(references)s::text[], %(kinds)s::text[], %(lines)s::integer[], %(amounts)s::numeric[], "
        "%(currencies)s::text[]) AS told (card_id, reference, kind, line, amount, currency) "
        "ORDER BY card_id, reference, line ON CONFLICT DO NOTHING RETURNING line",
        {
            "processor": processor,
            "file_id": file_id,
            "now": now,
            "cards": [line.card_id for line in lines],
            "references": [line.reference for line in lines],
            "kinds": [line.kind.value for line in lines],
            "lines": [line.line for line in lines],
            "amounts": [line.amount for line in lines],
            "currencies": [line.currency for line in lines],
        },
    )
    return {row["line"] for row in rows}


def post(tx: Transaction, postings: Sequence[Posting]) -> set[UUID]:
    """Post to the ledger by its own function, many at once: a round trip for each would take most of a long file's time.

    Returns the ids that stand for another posting, which there must not be. Each posting has one debit and one credit.
    """
    rows = tx.fetch_all(
        "SELECT posting_id FROM (SELECT posting_id, post_to_ledger(posting_id, kind, card_id, user_id, program_id, %(now)s, "
        "ARRAY[debited, credited], ARRAY[amount, -amount], ARRAY[currency, currency], transaction_id, reference) AS outcome "
        "FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(cards)s::uuid[], %(users)s::uuid[], %(programs)s::uuid[], "
        "%(debited)s::text[], %(credited)s::text[], %(amounts)s::numeric[], %(currencies)s::text[], %(transactions)s::uuid[], "
        "%(references)s::text[]) AS told (posting_id, kind, card_id, user_id, program_id, debited, credited, amount, currency, "
        "transaction_id, reference)) AS posted WHERE outcome = 'differs'",
        {
            "now": postings[0].occurred_at,
            "ids": [posting.posting_id for posting in postings],
            "kinds": [posting.kind for posting in postings],
            "cards": [posting.card_id for posting in postings],
            "users": [posting.user_id for posting in postings],
            "programs": [posting.program_id for posting in postings],
            "debited": [posting.entries[0].account.value for posting in postings],
            "credited": [posting.entries[1].account.value for posting in postings],
            "amounts": [posting.entries[0].amount for posting in postings],
            "currencies": [posting.entries[0].currency for posting in postings],
            "transactions": [posting.transaction_id for posting in postings],
            "references": [posting.reference for posting in postings],
        },
    )
    return {row["posting_id"] for row in rows}


def _columns(pairs: Sequence[Pair]) -> tuple[list[UUID], list[str]]:
    return [card_id for card_id, _ in pairs], [text for _, text in pairs]


def _event(row: Row) -> OurEvent:
    return OurEvent(
        event_id=row["event_id"],
        type=EventType(row["type"]),
        state=row["state"],
        authorization_id=row["authorization_id"],
        transaction_id=row["transaction_id"],
        amount=row["amount"],
        currency=row["currency"],
        settled_by=None if row["settled_file"] is None else (row["settled_file"], row["settled_line"]),
    )
