"""One life told in every order: seven messages, 5,040 orders, one end.

The authorization is one of them, so most orders begin with events of what is not known yet: those wait and are tried again.
"""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bench.proofs import witness
from bench.proofs.callers import Services, all_at_once, services
from bench.proofs.grounds import Ground, ProofCard, add_cards, own_ground
from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.kernel.clock import FixedClock
from cardwright.transactions.rules.events import EventType, ProcessorEvent

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
LATER = timedelta(hours=7)
THREADS = 4
AUTHORIZED = Decimal("100.00")
# What is told: type, amount, whether it ends the hold. The hold expires under a clearing that came late: both are told.
EVENTS: tuple[tuple[str, EventType, str, bool], ...] = (
    ("partial clearing", EventType.CLEARED, "30.00", False),
    ("final clearing", EventType.CLEARED, "45.00", True),
    ("partial reversal", EventType.REVERSED, "20.00", False),
    ("refund", EventType.REFUNDED, "25.00", False),
    ("second refund", EventType.REFUNDED, "10.00", False),
    ("expiry", EventType.EXPIRED, "0.00", False),
)
STEPS = ("authorization", *(name for name, *_ in EVENTS))
# 30 + 45 cleared, 35 of it refunded: 40 stays spent, and nothing is held.
END = (
    "PARTIALLY_REFUNDED", "approved", "100.00", "100.00", "0.00", "40.00", "75.00", "20.00", "35.00", True, True, "",
    "0.00", "40.00", "40.00", 7, "card_holds -40.00, cardholder_spend 40.00", 0,
)  # fmt: skip
_ENDS = """
SELECT l.card_id, t.status::text, t.reason, t.amount::text, t.approved_amount::text, t.held_amount::text, t.spent_amount::text,
       t.cleared_amount::text, t.reversed_amount::text, t.refunded_amount::text, t.final, t.expired,
       array_to_string(t.flags, ','), l.held::text, l.day_spent::text, l.month_spent::text,
       (SELECT count(*) FROM card_transactions n WHERE n.card_id = l.card_id)
           + (SELECT count(*) FROM transaction_events e WHERE e.card_id = l.card_id AND e.state = 'APPLIED'),
       (SELECT string_agg(account || ' ' || amount, ', ' ORDER BY account) FROM (
           SELECT account, sum(amount) AS amount FROM ledger_entries g WHERE g.card_id = l.card_id GROUP BY account) AS a),
       (SELECT count(*) FROM transaction_events e WHERE e.card_id = l.card_id AND e.state <> 'APPLIED')
FROM card_limits l LEFT JOIN card_transactions t ON t.card_id = l.card_id AND t.authorization_id = 'auth_1'
"""


def measure(*, seed: int | None = None, sample: int | None = None, ground: Ground | None = None) -> dict[str, Any]:
    """Tell the life in all orders, or in a sample of them, each to a card of its own; figures, with what was wrong in `found`."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"orders: seed {seed}", flush=True)
    orders = list(itertools.permutations(STEPS))
    if sample is not None:
        orders = random.Random(seed).sample(orders, sample)  # noqa: S311 - a sample is no secret
    if ground is not None:
        return _run(ground, seed, orders)
    with own_ground() as (own, _):
        return _run(own, seed, orders)


def _run(ground: Ground, seed: int, orders: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    cards = add_cards(ground, len(orders), per_transaction="500.00", daily="1000.00", monthly="5000.00")
    pairs = list(zip(cards, orders, strict=True))
    outcomes: list[Counter[str]] = [Counter() for _ in range(THREADS)]

    def tell(mine: Services, number: int) -> None:
        for card, order in pairs[number::THREADS]:
            for step in order:
                outcomes[number][_tell(mine, card, step)] += 1

    all_at_once(ground, FixedClock(NOW), range(THREADS), tell)
    with services(ground, FixedClock(NOW + LATER)) as mine:
        retried = mine.life.retry_parked()
    total: Counter[str] = sum(outcomes, Counter())
    named = {card.card_id: order for card, order in pairs}
    found = [f"{' > '.join(named[card_id])} ends as {end}" for card_id, *end in ground.rows(_ENDS) if tuple(end) != END]
    if retried != total["parked"]:
        found.append(f"{total['parked']} events waited and {retried} were applied afterwards")
    found += witness.sums(ground)
    return {
        "seed": seed, "orders": len(orders), "messages": sum(total.values()), "parked": total["parked"], "found": found[:10],
        "violations": len(found),
    }  # fmt: skip


def _tell(mine: Services, card: ProofCard, step: str) -> str:
    """Tell one step; returns what became of it."""
    if step == "authorization":
        asked = AuthorizationRequest(
            authorization_id="auth_1", card_token=card.token, type="authorization", amount=AUTHORIZED, currency="USD",
            merchant=Merchant("5732"), channel="chip",
        )  # fmt: skip
        return str(mine.engine.evaluate(asked).reason)
    (_, kind, amount, final) = next(event for event in EVENTS if event[0] == step)
    event = ProcessorEvent(
        event_id=f"evt_{step.replace(' ', '_')}", type=kind, card_token=card.token, amount=Decimal(amount), currency="USD",
        authorization_id="auth_1", final_clearing=final,
    )  # fmt: skip
    return mine.life.receive(event).outcome
