"""Decisions and history as transactions pile up: 10 thousand against 10 million stored, 1 against 1,000 of each card, page 1,000.

`python -m bench.growth [--transactions N]` runs it alone; N is what the larger database holds.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from bench.authorization import decide
from bench.stage import Stage, add_database, environment, secrets_extension, stage
from cardwright.platform.postgres import Actor, Database
from cardwright.transactions.rules.history import HistoryFilters, Scope
from cardwright.transactions.store import history

TRANSACTIONS = 10_000_000
# So many transactions of each card in the larger database; in the smaller each card has one.
PER_CARD = 1_000
SMALL = 10_000
TURNS = 7
DECISIONS = 300
# As many as the smaller database has with 1,000 transactions each; the same number is asked in all.
ASKED_CARDS = SMALL // PER_CARD
DECISION_LIMIT = 1.15
PAGE_LIMIT = 1.20
PAGES, PAGE = 1_000, 50
# Written past the function, as it would have written them: many, spread over the cards, oldest first.
_FILL = """
INSERT INTO card_transactions (
    card_id, transaction_id, user_id, authorization_id, root_authorization_id, type, status, reason, amount, approved_amount,
    held_amount, spent_amount, currency, merchant_category, detail, request_digest, config_version, rule_version, day_start,
    month_start, decided_at, published_at, chain_seq, chain_hash)
SELECT l.card_id, (lpad(to_hex(%(first_ms)s + n * 1000), 12, '0') || '7000' || '8' || lpad(to_hex(c), 15, '0'))::uuid, l.user_id,
    'old_' || n, 'old_' || n, 'authorization', 'CLEARED', 'approved', 10, 10, 0, 10, 'USD', '5411',
    '{"merchant": {"id": "m_1", "name": "Corner Shop", "city": "Lyon", "country": "FR"}, "channel": "ecommerce"}',
    sha256(n::text::bytea), 1, 1, l.day_start, l.month_start, %(at)s, %(at)s, n, sha256(c::text::bytea)
FROM generate_series(1, %(each)s) AS n,
    LATERAL (SELECT *, substr(card_id::text, 25)::bigint AS c FROM card_limits
             WHERE card_id BETWEEN %(first)s AND %(last)s) AS l
"""
_BATCH = 100


def measure(transactions: int = TRANSACTIONS) -> dict[str, Any]:
    """Fill the two databases on one server and ask both in turns; returns medians, ratios and whether they keep the limits."""
    large_cards = transactions // PER_CARD
    with stage() as running, secrets_extension(running.secret) as extension_port:
        small = add_database(running, "small", SMALL)
        large = add_database(running, "large", large_cards)
        _fill(small, SMALL, 1)
        _fill(large, large_cards, PER_CARD)
        # As many rows as the smaller one has, on few cards.
        dense = add_database(running, "dense", ASKED_CARDS)
        _fill(dense, ASKED_CARDS, PER_CARD)
        times: dict[str, list[float]] = {one.database: [] for one in (small, large, dense)}
        for _ in range(TURNS):
            for one in (small, large, dense):
                times[one.database].append(_decision_ms(one, extension_port))
        pages = _pages(large)
    medians = {name: statistics.median(of) for name, of in times.items()}
    growth, crowding = medians["large"] / medians["small"], medians["dense"] / medians["small"]
    return {
        "transactions": {"small": SMALL, "large": transactions},
        "decision_ms": {name: round(value, 3) for name, value in medians.items()},
        "large_to_small": round(growth, 3),
        "thousand_per_card_to_one": round(crowding, 3),
        "decision_limit": DECISION_LIMIT,
        "history": pages,
        "page_limit": PAGE_LIMIT,
        "within_limits": max(growth, crowding) <= DECISION_LIMIT and pages["last_to_first"] <= PAGE_LIMIT,
    }


def _fill(target: Stage, cards: int, each: int) -> None:
    with psycopg.connect(target.owner_url, autocommit=True) as owner:
        now = datetime.now(UTC)
        constant = {"each": each, "at": now, "first_ms": int(now.timestamp() * 1000) - each * 1000 - 1_000_000}
        for first in range(1, cards + 1, _BATCH):
            last = min(first + _BATCH - 1, cards)
            owner.execute(_FILL.encode(), {**constant, "first": _card(first), "last": _card(last)})
        owner.execute("VACUUM (ANALYZE, FREEZE)")
        # What is measured begins with pages that were written out, in each database alike.
        owner.execute("CHECKPOINT")


def _card(number: int) -> UUID:
    return UUID(f"00000000-0000-7000-8000-{number:012d}")


def _decision_ms(target: Stage, extension_port: int) -> float:
    """Median latency of decisions in one process, connected and with the cards' profiles remembered."""
    asked = replace(target, tokens=target.tokens[:ASKED_CARDS])
    figures = decide(asked, environment(target, extension_port), processes=1, count=DECISIONS, warm=ASKED_CARDS)[0]
    median: float = statistics.median(figures["latencies_ms"])
    return median


def _pages(target: Stage) -> dict[str, float]:
    """Medians of the first and the 1,000th page of one card that has them, in turns, under the owner's row-level security."""
    card = _card(1)
    with psycopg.connect(target.owner_url, autocommit=True) as owner:
        now = datetime.now(UTC)
        constant = {"at": now, "first_ms": int(now.timestamp() * 1000) - PAGES * PAGE * 2000}
        owner.execute("DELETE FROM card_transactions WHERE card_id = %s", (card,))
        owner.execute(_FILL.encode(), {**constant, "each": PAGES * PAGE, "first": card, "last": card})
        owner.execute("VACUUM (ANALYZE) card_transactions")
        row = owner.execute(
            "SELECT user_id, (SELECT transaction_id FROM card_transactions WHERE card_id = %s ORDER BY transaction_id DESC "
            "LIMIT 1 OFFSET %s) FROM card_limits WHERE card_id = %s",
            (card, (PAGES - 1) * PAGE - 1, card),
        ).fetchone()
    if row is None:
        raise RuntimeError("the card is not there")
    actor, before_last = Actor(row[0], "cardholder"), row[1]
    database = Database(lambda: target.app_url)
    first_ms, last_ms = [], []
    for _ in range(60):
        first_ms.append(_page_ms(database, actor, card, None))
        last_ms.append(_page_ms(database, actor, card, before_last))
    database.close()
    first, last = statistics.median(first_ms), statistics.median(last_ms)
    return {"first_page_ms": round(first, 3), "thousandth_page_ms": round(last, 3), "last_to_first": round(last / first, 3)}


def _page_ms(database: Database, actor: Actor, card: UUID, after: UUID | None) -> float:
    began = time.perf_counter()
    with database.transaction(actor) as tx:
        page = history.newest(tx, Scope(card_id=card), HistoryFilters(), PAGE, after)
    took = (time.perf_counter() - began) * 1000
    if len(page) != PAGE:
        raise RuntimeError(f"a page of {len(page)}")
    return took


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(prog="bench.growth", description=__doc__)
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS)
    print(json.dumps(measure(parser.parse_args().transactions), indent=2))


if __name__ == "__main__":
    main()
