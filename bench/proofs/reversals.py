"""Every authorization reversed by eight callers at once: the hold goes back once, whoever else tries.

One half by the same event from all of them, as a network repeats itself; the other by events of eight ids, as by one that
lost count.
"""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

from bench.proofs import witness
from bench.proofs.callers import Services, all_at_once, services
from bench.proofs.grounds import Ground, ProofCard, add_cards, own_ground
from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.platform.clock import SystemClock
from cardwright.transactions.rules.events import EventType, ProcessorEvent

CALLERS = 8
AMOUNT = Decimal("7.00")
_STATES = """
SELECT count(*) FILTER (WHERE status <> 'REVERSED' OR held_amount <> 0 OR spent_amount <> 0),
       count(*) FILTER (WHERE reversed_amount <> %s * CASE WHEN authorization_id LIKE 'same_%%' THEN 1 ELSE %s END),
       count(*) FILTER (WHERE ('over_reversed' = ANY (flags)) <> (authorization_id LIKE 'each_%%')),
       count(*) FROM card_transactions
"""


def measure(
    *, seed: int | None = None, authorizations: int = 10_000, cards: int = 20, ground: Ground | None = None
) -> dict[str, Any]:
    """Reverse so many authorizations by eight callers each; figures, with what was wrong in `found`."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"reversals: seed {seed}", flush=True)
    if ground is not None:
        return _run(ground, seed, authorizations, cards)
    with own_ground() as (own, _):
        return _run(own, seed, authorizations, cards)


def _run(ground: Ground, seed: int, authorizations: int, cards: int) -> dict[str, Any]:
    spending = add_cards(ground, cards)
    witness.watch(ground)
    wanted = [
        (spending[number % cards], f"{'same' if number // cards % 2 else 'each'}_{number}") for number in range(authorizations)
    ]
    _authorize(ground, wanted)
    outcomes: list[Counter[str]] = [Counter() for _ in range(CALLERS)]

    def reverse(mine: Services, caller: int) -> None:
        # Nearly the same order for all, so that they meet at most of them.
        chance = random.Random(seed * CALLERS + caller)  # noqa: S311 - an order is no secret
        order = sorted(range(authorizations), key=lambda number: number + chance.randrange(CALLERS))
        for number in order:
            card, identity = wanted[number]
            event_id = f"evt_{identity}" if identity.startswith("same") else f"evt_{identity}_{caller}"
            told = ProcessorEvent(
                event_id=event_id, type=EventType.REVERSED, card_token=card.token, amount=AMOUNT, currency="USD",
                authorization_id=identity,
            )  # fmt: skip
            outcomes[caller][f"{identity[:4]} {mine.life.receive(told).outcome}"] += 1

    all_at_once(ground, SystemClock(), range(CALLERS), reverse)
    total: Counter[str] = sum(outcomes, Counter())
    same = sum(identity.startswith("same") for _, identity in wanted)
    expected = {
        "same applied": same,
        "same duplicate": same * (CALLERS - 1),
        "each applied": (authorizations - same) * CALLERS,
    }
    found = [] if dict(total) == expected else [f"{dict(total)} where {expected} was expected"]
    found += _left(ground, authorizations)
    seen = witness.versions(ground)
    found += seen.violations + witness.sums(ground)
    return {
        "seed": seed, "authorizations": authorizations, "callers": CALLERS, "reversals": sum(total.values()),
        "versions": seen.seen, "found": found, "violations": len(found),
    }  # fmt: skip


def _authorize(ground: Ground, wanted: list[tuple[ProofCard, str]]) -> None:
    with services(ground, SystemClock()) as mine:
        for card, identity in wanted:
            asked = AuthorizationRequest(
                authorization_id=identity, card_token=card.token, type="authorization", amount=AMOUNT, currency="USD",
                merchant=Merchant("5411"), channel="chip",
            )  # fmt: skip
            decision = mine.engine.evaluate(asked)
            if not decision.approved:
                raise RuntimeError(f"not approved: {decision.reason}")


def _left(ground: Ground, authorizations: int) -> list[str]:
    """What of the rows and the spend rows is not as one reversal each leaves it."""
    ((alive, amounts, flags, rows),) = ground.rows(_STATES, (AMOUNT, CALLERS))
    ((spent,),) = ground.rows("SELECT count(*) FROM card_limits WHERE held <> 0 OR day_spent <> 0 OR month_spent <> 0")
    wrong = {
        "transactions not reversed": alive,
        "transactions with another sum of reversals": amounts,
        "transactions wrongly flagged": flags,
        "transactions missing": authorizations - rows,
        "spend rows that still count something": spent,
    }
    return [f"{count} {name}" for name, count in wrong.items() if count]
