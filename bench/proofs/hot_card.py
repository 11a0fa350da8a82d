"""One card, many callers, a limit with room for exactly so many: signed requests through the real handler, a share of them twice.

The second form clears and reverses what was approved while it is still being asked for more.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from bench.proofs import witness
from bench.proofs.askers import Askers, environment, new_secret
from bench.proofs.callers import services
from bench.proofs.grounds import Ground, ProofCard, add_cards, new_id, own_ground
from bench.proofs.histories import read
from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.platform.clock import SystemClock
from cardwright.transactions.rules.events import EventType, ProcessorEvent

AMOUNT = Decimal("10.00")
REPEATED = 20
TELLERS = 3


@dataclass(frozen=True, slots=True)
class Storm:
    """How much is asked at once: `requests` in all, a fifth of them repeats, over a limit with room for `approvals`."""

    seed: int
    requests: int
    approvals: int
    processes: int
    threads: int


def measure(
    *,
    seed: int | None = None,
    requests: int = 100_000,
    approvals: int = 20_000,
    processes: int = 4,
    threads: int = 16,
    events: bool = False,
    ground: Ground | None = None,
) -> dict[str, Any]:
    """Run the storm, on servers of its own unless a ground is given; figures, with what was wrong in `found`."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"hot card{' with events' if events else ''}: seed {seed}", flush=True)
    storm = Storm(seed, requests, approvals, processes, threads)
    if ground is not None:
        return _run(storm, ground, events=events)
    with own_ground() as (own, _):
        return _run(storm, own, events=events)


def _run(storm: Storm, ground: Ground, *, events: bool) -> dict[str, Any]:
    limit = str(AMOUNT * storm.approvals)
    (card,) = add_cards(ground, 1, per_transaction=str(AMOUNT), daily=limit, monthly=limit)
    witness.watch(ground)
    with TemporaryDirectory(prefix="cardwright-histories-") as folder:
        tasks, paths = _tasks(storm, card, Path(folder))
        told = 0
        with environment(ground, tasks[0]["secret"]) as variables, Askers(tasks, variables) as askers:
            askers.begin()
            if events:
                with _telling(ground, card, storm.seed) as counter:
                    askers.wait()
                _fill_up(ground, card)
                told = len(counter)
            else:
                askers.wait()
        answers, repeated, found = _answers(paths)
    approved = sum(one["decision"] == "APPROVE" for one in answers.values())
    if events:
        found += _spent_wholly(ground, card, limit)
    else:
        if approved != storm.approvals:
            found.append(f"{approved} approvals where there was room for {storm.approvals}")
        told = _clear_all(ground, card, answers)
    seen = witness.versions(ground)
    found += seen.violations + witness.sums(ground)
    return {
        "seed": storm.seed, "workers": storm.processes * storm.threads, "asked": storm.requests, "ids": len(answers),
        "repeats": repeated, "approved": approved, "events": told, "versions": seen.seen, "found": found,
        "violations": len(found),
    }  # fmt: skip


def _tasks(storm: Storm, card: ProofCard, folder: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """Ids for each process. A repeat is asked by another thread of the process; some ids are asked by all processes."""
    secret, distinct = new_secret(), storm.requests * 100 // (100 + REPEATED)
    asks = [(card.token, f"auth_{number}", str(AMOUNT)) for number in range(distinct)]
    paths = [folder / f"history_{number}" for number in range(storm.processes)]
    tasks = [
        {
            "secret": secret, "threads": storm.threads, "client": number * storm.threads, "history": str(path),
            "repeat": REPEATED, "seed": storm.seed + number,
            # One of each hundred is everybody's: all processes ask for it at about the same time.
            "asks": [ask for place, ask in enumerate(asks) if place % storm.processes == number or place % 100 == 0],
        }
        for number, path in enumerate(paths)
    ]  # fmt: skip
    return tasks, paths


def _answers(paths: list[Path]) -> tuple[dict[str, dict[str, Any]], int, list[str]]:
    """The answer of each id, how many were asked again, and ids that were answered in two ways."""
    answers: dict[str, dict[str, Any]] = {}
    repeated, found = 0, []
    for path in paths:
        for operation in read(path):
            if operation.answer is None:
                continue
            identity = str(operation.asked["id"])
            first = answers.setdefault(identity, operation.answer)
            repeated += first is not operation.answer
            if first != operation.answer:
                found.append(f"{identity} was answered {first['reason']} and {operation.answer['reason']}")
    return answers, repeated, found


def _event(card: ProofCard, identity: str, kind: EventType) -> ProcessorEvent:
    return ProcessorEvent(
        event_id=f"evt_{identity}", type=kind, card_token=card.token, amount=AMOUNT, currency="USD", authorization_id=identity,
        final_clearing=kind is EventType.CLEARED,
    )  # fmt: skip


@contextmanager
def _telling(ground: Ground, card: ProofCard, seed: int) -> Iterator[list[str]]:
    """Clear one half of what is approved and reverse the other, by several tellers who know nothing of each other."""
    done, stopping, failures = list[str](), threading.Event(), list[BaseException]()

    def tell(number: int) -> None:
        chance = random.Random(seed + number)  # noqa: S311 - which is told next is no secret
        try:
            with services(ground, SystemClock()) as mine, psycopg.connect(ground.url, autocommit=True) as reader:
                while not stopping.is_set():
                    rows = reader.execute(
                        "SELECT authorization_id FROM card_transactions WHERE card_id = %s AND held_amount > 0 LIMIT 200",
                        (card.card_id,),
                    ).fetchall()
                    for (identity,) in chance.sample(rows, min(len(rows), 20)):
                        kind = EventType.CLEARED if int(identity.rpartition("_")[2]) % 2 else EventType.REVERSED
                        if mine.life.receive(_event(card, identity, kind)).outcome == "applied":
                            done.append(identity)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(TELLERS)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def _fill_up(ground: Ground, card: ProofCard) -> None:
    """Ask on until the limit is used up: whatever was given back is spent again."""
    clock, reason = SystemClock(), "approved"
    with services(ground, clock) as mine:
        while reason == "approved":
            asked = AuthorizationRequest(
                authorization_id=f"auth_last_{new_id(clock.now()).int}", card_token=card.token, type="authorization",
                amount=AMOUNT, currency="USD", merchant=Merchant("5411"), channel="chip",
            )  # fmt: skip
            reason = str(mine.engine.evaluate(asked).reason)


def _spent_wholly(ground: Ground, card: ProofCard, limit: str) -> list[str]:
    ((spent,),) = ground.rows("SELECT month_spent FROM card_limits WHERE card_id = %s", (card.card_id,))
    return [] if spent == Decimal(limit) else [f"{spent} is spent of {limit} when no more is approved"]


def _clear_all(ground: Ground, card: ProofCard, answers: dict[str, dict[str, Any]]) -> int:
    """Clear all that was approved: what was held becomes what is in the ledger."""
    approved = [identity for identity, one in answers.items() if one["decision"] == "APPROVE"]
    with services(ground, SystemClock()) as mine:
        for identity in approved:
            mine.life.receive(_event(card, identity, EventType.CLEARED))
    return len(approved)
