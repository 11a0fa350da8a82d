"""kill -9 of PostgreSQL under load, again and again: what was acknowledged is there afterwards, and nothing is there twice.

Clients write down every answer in files of their own before they go on, and ask again for what they got no answer to.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from bench.proofs import witness
from bench.proofs.askers import Askers, environment, new_secret
from bench.proofs.callers import services
from bench.proofs.grounds import Ground, ProofCard, add_cards, own_ground
from bench.proofs.histories import HistoryFile, Operation, read
from cardwright.kernel.errors import UnavailableError
from cardwright.platform.clock import SystemClock
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from local.servers.postgres import PostgresServer

AMOUNT = Decimal("3.00")
TELLERS = 2
PAUSE_S = 0.05


@dataclass(slots=True)
class _Outages:
    """When the server was killed and when it answered again, in nanoseconds of the monotonic clock."""

    killed: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)


def measure(
    *, seed: int | None = None, kills: int = 100, interval_s: float = 10.0, processes: int = 2, threads: int = 8, cards: int = 10
) -> dict[str, Any]:
    """Kill a durable server of its own so many times; figures, with what was lost or doubled in `found`."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"kills: seed {seed}", flush=True)
    secret, outages = new_secret(), _Outages()
    with own_ground(durable=True) as (ground, postgres), TemporaryDirectory(prefix="cardwright-histories-") as folder:
        spending = add_cards(ground, cards)
        paths = [Path(folder) / f"history_{number}" for number in range(processes)]
        tasks = [
            {
                "secret": secret, "threads": threads, "client": number * threads, "history": str(path), "seed": seed + number,
                "cards": [card.token for card in spending], "amount": str(AMOUNT), "name": str(number),
            }
            for number, path in enumerate(paths)
        ]  # fmt: skip
        told = Path(folder) / "told"
        with environment(ground, secret) as variables, Askers(tasks, variables) as askers:
            askers.begin()
            with _telling(ground, spending, seed, told):
                _kill(postgres, kills, interval_s, random.Random(seed), outages)  # noqa: S311 - moments are no secret
                askers.stop()
                askers.wait()
        history = [operation for path in paths for operation in read(path)]
        events = list(read(told))
        found = _lost(ground, history) + _events_lost(ground, events) + witness.sums(ground)
    acknowledged = sum(operation.answer is not None for operation in history)
    return {
        "seed": seed, "kills": kills, "acknowledged": acknowledged, "unanswered": len(history) - acknowledged,
        "events": len(events), "down_s": _seconds(outages.killed, outages.answered),
        "first_answer_s": _seconds(outages.answered, _first_answers(outages, history)), "found": found[:20],
        "violations": len(found),
    }  # fmt: skip


def _kill(postgres: PostgresServer, kills: int, interval_s: float, chance: random.Random, outages: _Outages) -> None:
    for number in range(kills):
        time.sleep(interval_s * (0.8 + 0.4 * chance.random()))
        pid = postgres.pid
        if pid is None:
            raise RuntimeError("the server to be killed is not there")
        # Every second time the backends die with it; else they live on for the moment in which a commit still may succeed.
        doomed = [pid, *(_children(pid) if number % 2 else [])]
        outages.killed.append(time.monotonic_ns())
        for each in doomed:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        postgres.start()
        outages.answered.append(time.monotonic_ns())
    time.sleep(min(interval_s, 2.0))


def _children(pid: int) -> list[int]:
    """The processes a process has begun; Linux tells, elsewhere none are found."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in the second field may hold anything, a bracket too.
            if stat.read_text().rpartition(")")[2].split()[1] == str(pid):
                found.append(int(stat.parent.name))
    return found


@contextmanager
def _telling(ground: Ground, cards: list[ProofCard], seed: int, path: Path) -> Iterator[None]:
    """Clear or reverse what is held, by tellers who ask again until they are answered and keep every answer."""
    stopping, failures = threading.Event(), list[BaseException]()
    history = HistoryFile(path)

    def tell(number: int) -> None:
        chance = random.Random(seed + 1000 + number)  # noqa: S311 - which is told next is no secret
        try:
            with services(ground, SystemClock()) as mine:
                while not stopping.is_set():
                    card = chance.choice(cards)
                    try:
                        for identity in _some_held(ground, card):
                            kind = EventType.CLEARED if hash(identity) % 2 else EventType.REVERSED
                            event = _event(card, identity, kind)
                            called = time.monotonic_ns()
                            outcome = mine.life.receive(event).outcome
                            answer = {"outcome": outcome}
                            asked = {"event_id": event.event_id}
                            history.add(Operation(card.token, number, "event", asked, called, time.monotonic_ns(), answer))
                    except (UnavailableError, psycopg.OperationalError):
                        time.sleep(PAUSE_S)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(TELLERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        history.close()
    if failures:
        raise failures[0]


def _some_held(ground: Ground, card: ProofCard) -> list[str]:
    sql = "SELECT authorization_id FROM card_transactions WHERE card_id = %s AND held_amount > 0 LIMIT 10"
    return [identity for (identity,) in ground.rows(sql, (card.card_id,))]


def _event(card: ProofCard, identity: str, kind: EventType) -> ProcessorEvent:
    return ProcessorEvent(
        event_id=f"evt_{identity}", type=kind, card_token=card.token, amount=AMOUNT, currency="USD", authorization_id=identity,
        final_clearing=kind is EventType.CLEARED,
    )  # fmt: skip


def _lost(ground: Ground, history: list[Operation]) -> list[str]:
    """Acknowledged decisions that are not there as they were acknowledged, and ids that were answered in two ways."""
    stored = {
        (token, identity): (str(transaction_id), reason, f"{approved:.2f}")
        for token, identity, transaction_id, reason, approved in ground.rows(
            "SELECT processor_card_token, authorization_id, transaction_id, reason, approved_amount "
            "FROM card_transactions JOIN card_tokens USING (card_id)"
        )
    }
    found = []
    for operation in history:
        if operation.answer is not None:
            told = tuple(operation.answer[name] for name in ("transaction_id", "reason", "approved_amount"))
            kept = stored.get((operation.card, str(operation.asked["id"])))
            if kept != told:
                found.append(f"{operation.asked['id']} was answered {told} and is kept as {kept}")
    return found


def _events_lost(ground: Ground, events: list[Operation]) -> list[str]:
    kept = {row[0] for row in ground.rows("SELECT event_id FROM transaction_events WHERE state = 'APPLIED'")}
    told = {str(operation.asked["event_id"]) for operation in events}
    return [f"{event_id} was acknowledged and is not there" for event_id in sorted(told - kept)]


def _first_answers(outages: _Outages, history: list[Operation]) -> list[int]:
    """When the first decision after each outage was acknowledged."""
    moments = sorted(operation.returned for operation in history if operation.returned is not None)
    return [next((moment for moment in moments if moment > back), back) for back in outages.answered]


def _seconds(begins: list[int], ends: list[int]) -> dict[str, float]:
    spans = sorted((end - begin) / 1e9 for begin, end in zip(begins, ends, strict=True))
    return {"median": round(spans[len(spans) // 2], 3), "longest": round(spans[-1], 3)}
