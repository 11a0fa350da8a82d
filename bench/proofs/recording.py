"""Histories of the real services: clients that decide, tell events, set and read, all at once, and what they saw.

Each operation has a moment of its own on a clock that the history rules, so that days, months and hours pass while it runs.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from bench.proofs import witness
from bench.proofs.grounds import Ground, ProofCard, add_cards, cents, decimal_of
from bench.proofs.histories import Operation
from bench.proofs.spend_model import OPEN, Settings
from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.authorizations.service import AuthorizationService
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import CardwrightError, ConflictError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from cardwright.transactions.service.life import TransactionLife

# Two hours before a midnight: short histories pass that one, long ones the next too, which is a month's end.
BEGIN = datetime(2026, 11, 29, 22, tzinfo=UTC)
STEP = timedelta(seconds=97)
# Long enough after the last event for whatever is parked to be due.
LATER = timedelta(hours=7)
KINDS = (
    Settings(per_transaction=5_000, daily=12_000, monthly=15_000),
    Settings(per_transaction=5_000, velocity=3, daily=400_000, monthly=400_000),
    Settings(per_transaction=3_000, daily=400_000, monthly=400_000, balance=20_000),
)
_TYPES = {
    "cleared": EventType.CLEARED,
    "reversed": EventType.REVERSED,
    "refunded": EventType.REFUNDED,
    "expired": EventType.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a history is made of. `seed` rules what is drawn; what happens at once is the machine's own doing."""

    seed: int
    operations: int = 1000
    clients: int = 16
    cards: int = len(KINDS)


class _Script:
    """What the clients ask, drawn as they go: operations about what others did a moment ago."""

    def __init__(self, plan: Plan, cards: list[ProofCard]) -> None:
        self._chance = random.Random(plan.seed)  # noqa: S311 - a test's choices are no secret
        self._cards = cards
        self._left = plan.operations
        self._number = 0
        self._lock = threading.Lock()
        self._asked: dict[str, list[dict[str, Any]]] = {card.token: [] for card in cards}
        self._told: dict[str, list[dict[str, Any]]] = {card.token: [] for card in cards}
        self._frozen: set[str] = set()
        self._ahead: dict[str, list[str]] = {card.token: [] for card in cards}

    def next(self) -> tuple[int, ProofCard, str, dict[str, Any]] | None:
        """The moment of the next operation (in steps), its card, its name and what it asks; None when all are drawn."""
        with self._lock:
            if not self._left:
                return None
            self._left -= 1
            self._number += 1
            card = self._chance.choice(self._cards)
            # The last sixteen: what is under way, or has just been answered.
            recent = self._asked[card.token][-16:]
            name = self._chance.choices(("authorize", "again", "event", "read", "set"), (48, 10, 26, 9, 7))[0]
            if card.token in self._frozen and self._chance.random() < 0.25:
                # A frozen card declines all: it does not stay so for long.
                self._frozen.remove(card.token)
                return self._number, card, "set", {"status": "ACTIVE"}
            if name == "event" or (name == "again" and not recent):
                return self._number, card, "event", self._event(card.token, recent)
            if name == "again":
                return self._number, card, "authorize", self._again(recent)
            if name == "authorize":
                return self._number, card, "authorize", self._authorization(card.token, recent)
            return self._number, card, name, {} if name == "read" else self._settings(card.token)

    def _authorization(self, token: str, recent: list[dict[str, Any]]) -> dict[str, Any]:
        ahead = self._ahead[token]
        identity = ahead.pop(0) if ahead and self._chance.random() < 0.3 else f"auth_{self._number}"
        asked: dict[str, Any] = {
            "id": identity,
            "amount": self._chance.choice((1, 1, 100, 1_000, 2_500, 4_000, self._chance.randrange(1, 6_000))),
            "partial": self._chance.random() < 0.25,
        }
        if recent and self._chance.random() < 0.2:
            asked["original"] = self._chance.choice(recent)["id"]
        # What the model compares bodies by.
        asked["body"] = f"{asked['amount']} {asked['partial']} {asked.get('original')}"
        self._asked[token].append(asked)
        return self._stamped(asked)

    def _stamped(self, asked: dict[str, Any]) -> dict[str, Any]:
        """With the moment at which it is asked, and the day and month that the moment is in."""
        now = BEGIN + STEP * self._number
        midnight = now.replace(hour=0, minute=0, second=0)
        told = {"now": now, "day": midnight, "month": midnight.replace(day=1)}
        return asked | {name: int(moment.timestamp()) for name, moment in told.items()}

    def _again(self, recent: list[dict[str, Any]]) -> dict[str, Any]:
        asked = self._chance.choice(recent)
        if self._chance.random() < 0.2:
            amount = asked["amount"] + 1
            asked = asked | {"amount": amount, "body": f"{amount} {asked['partial']} {asked.get('original')}"}
        return self._stamped(asked)

    def _event(self, token: str, recent: list[dict[str, Any]]) -> dict[str, Any]:
        told = self._told[token]
        if told and self._chance.random() < 0.25:
            again = self._chance.choice(told[-16:])
            return again | {"amount": again["amount"] + 1} if self._chance.random() < 0.05 else again
        if recent and self._chance.random() < 0.9:
            about = self._chance.choice(recent)
            identity, amount = about["id"], about["amount"]
        else:
            # Of an authorization that nobody has asked for yet, and perhaps never will.
            identity, amount = f"ahead_{self._number}", 1_000
            self._ahead[token].append(identity)
        kind = self._chance.choices(tuple(_TYPES), (45, 35, 15, 5))[0]
        part = self._chance.choice((amount, amount, max(amount // 2, 1), amount + 100))
        event = {
            "event_id": f"evt_{self._number}",
            "type": kind,
            "id": identity,
            "amount": 0 if kind == "expired" and self._chance.random() < 0.5 else part,
            "final": kind == "cleared" and self._chance.random() < 0.4,
        }
        told.append(event)
        return event

    def _settings(self, token: str) -> dict[str, Any]:
        if self._chance.random() < 0.6:
            self._frozen.add(token)
            return {"status": "FROZEN"}
        return {"daily": self._chance.choice((8_000, 12_000, 15_000) if settings_of(token) is KINDS[0] else (200_000, 400_000))}


class Client:
    """One client with connections and a clock of its own."""

    def __init__(self, ground: Ground, number: int) -> None:
        self.clock = FixedClock(BEGIN)
        ids = IdSource(self.clock)
        self._app, self._worker = ground.as_role("app"), ground.as_role("worker")
        self._cache = Cache(ground.cache_url, budget_s=1.0)
        self._engine = AuthorizationService(self._app, self._cache, self.clock, ids, secrets=lambda: [Secret("a proof's")])
        self.life = TransactionLife(self._worker, self.clock, ids)
        self._owner = psycopg.connect(ground.url, autocommit=True)
        self._number = number
        self._do: dict[str, Callable[[ProofCard, dict[str, Any]], dict[str, Any]]] = {
            "authorize": self._authorize,
            "event": self._event,
            "set": self._set,
            "read": self._read,
            "look": self._look,
            "settle": self._settle,
        }

    def operate(self, card: ProofCard, name: str, asked: dict[str, Any]) -> Operation:
        """Do one operation and return what was seen of it."""
        called = time.monotonic_ns()
        try:
            answer = self._do[name](card, asked)
            place = answer.pop("place", None)
        except UnavailableError:
            return Operation(card.token, self._number, name, asked, called, None, None)
        except (CardwrightError, psycopg.Error) as error:
            # No operation ends so: an answer that no model gives.
            answer, place = {"error": f"{type(error).__name__}: {error}"}, None
        return Operation(card.token, self._number, name, asked, called, time.monotonic_ns(), answer, place)

    def close(self) -> None:
        """Close the connections of this thread."""
        for connection in (self._app, self._worker, self._cache, self._owner):
            connection.close()

    def _authorize(self, card: ProofCard, asked: dict[str, Any]) -> dict[str, Any]:
        original = asked.get("original")
        decision = self._engine.evaluate(
            AuthorizationRequest(
                authorization_id=asked["id"],
                card_token=card.token,
                type="authorization" if original is None else "incremental",
                amount=decimal_of(asked["amount"]),
                currency="USD",
                merchant=Merchant("5732", id="m_1"),
                channel="chip",
                original_authorization_id=original,
                partial_approval=asked["partial"],
            )
        )
        if not decision.final:
            raise UnavailableError("The decision is not final.")
        return {"reason": str(decision.reason), "approved": cents(decision.approved_amount)}

    def _event(self, card: ProofCard, asked: dict[str, Any]) -> dict[str, Any]:
        event = ProcessorEvent(
            event_id=asked["event_id"],
            type=_TYPES[asked["type"]],
            card_token=card.token,
            amount=decimal_of(asked["amount"]),
            currency=asked.get("currency", "USD"),
            authorization_id=asked["id"],
            final_clearing=asked["final"],
        )
        try:
            return {"outcome": self.life.receive(event).outcome}
        except ConflictError as error:
            return {"outcome": error.code}

    def _set(self, card: ProofCard, asked: dict[str, Any]) -> dict[str, Any]:
        with self._owner.transaction():
            # The spend row first, as everybody takes it: the audit's chain, which the status moves, comes after.
            row = self._owner.execute(
                "UPDATE card_limits SET daily = coalesce(%s, daily), config_version = config_version + 1 WHERE card_id = %s "
                "RETURNING 2 * (chain_seq + event_seq)",
                (decimal_of(asked["daily"]) if "daily" in asked else None, card.card_id),
            ).fetchone()
            if "status" in asked:
                self._owner.execute(
                    "UPDATE virtual_cards SET status = %s::card_status, version = version + 1, last_operation_id = "
                    "gen_random_uuid() WHERE card_id = %s AND status <> %s::card_status",
                    (asked["status"], card.card_id, asked["status"]),
                )
        return {} if row is None else {"place": row[0]}

    def _read(self, card: ProofCard, asked: dict[str, Any]) -> dict[str, Any]:
        row = self._owner.execute(
            "SELECT held, day_spent, month_spent, balance, 2 * (chain_seq + event_seq) FROM card_limits WHERE card_id = %s",
            (card.card_id,),
        ).fetchone()
        if row is None:
            raise LookupError("the card has no spend row")
        held, day, month, balance, place = row
        told = {"place": place, "held": cents(held), "day_spent": cents(day), "month_spent": cents(month)}
        return told | {"balance": None if balance is None else cents(balance)}

    def _look(self, card: ProofCard, asked: dict[str, Any]) -> dict[str, Any]:
        row = self._owner.execute(
            # What is held for more of an authorization stands in its own row until the next event of the group.
            "SELECT t.status::text, t.root_authorization_id = t.authorization_id, g.* FROM card_transactions t "
            "CROSS JOIN LATERAL (SELECT sum(held_amount), sum(cleared_amount), sum(reversed_amount), sum(refunded_amount) "
            "FROM card_transactions m WHERE m.card_id = t.card_id AND m.root_authorization_id = t.authorization_id) AS g "
            "WHERE t.card_id = %s AND t.authorization_id = %s",
            (card.card_id, asked["id"]),
        ).fetchone()
        if row is None:
            return {"status": None}
        if not row[1]:
            return {"open": row[0] in OPEN}
        names = ("held", "cleared", "reversed", "refunded")
        return {"status": row[0]} | {name: cents(amount) for name, amount in zip(names, row[2:], strict=True)}

    def _settle(self, card: ProofCard, asked: dict[str, Any]) -> dict[str, Any]:
        self.life.retry_parked()
        return {}


def record(ground: Ground, plan: Plan) -> list[Operation]:
    """Run one history over new cards of this database; returns the operations in the order of their calls.

    At the end, when nobody is at work any more, what was parked is tried again and everything is read.
    """
    witness.guide(ground)
    cards = [new_card(ground, number % len(KINDS)) for number in range(plan.cards)]
    script, history, failures = _Script(plan, cards), list[Operation](), list[BaseException]()

    def work(number: int) -> None:
        try:
            client = Client(ground, number)
            while (drawn := script.next()) is not None and not failures:
                client.clock.at = BEGIN + STEP * drawn[0]
                history.append(client.operate(*drawn[1:]))
            client.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(plan.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    client = Client(ground, plan.clients)
    client.clock.at = BEGIN + STEP * plan.operations + LATER
    for card in cards:
        history += _last_look(client, card, history)
    client.close()
    places = {card.token: witness.places(ground, card.token) for card in cards}
    return sorted((_placed(one, places[one.card]) for one in history), key=lambda operation: operation.called)


def _placed(operation: Operation, places: dict[str, int]) -> Operation:
    """With the place of what it decided or told; whoever repeats that, or is refused, has the same and changes nothing."""
    if operation.name not in ("authorize", "event"):
        return operation
    return replace(operation, place=places.get(str(operation.asked["id" if operation.name == "authorize" else "event_id"])))


def _last_look(client: Client, card: ProofCard, history: list[Operation]) -> list[Operation]:
    named = {str(one.asked["id"]) for one in history if one.card == card.token and one.name == "authorize"}
    settled = client.operate(card, "settle", {})
    looks = [client.operate(card, "look", {"id": identity}) for identity in sorted(named)]
    return [settled, client.operate(card, "read", {}), *looks]


def new_card(ground: Ground, kind: int) -> ProofCard:
    """A card with the settings of its kind."""
    settings = KINDS[kind]
    balance = None if settings.balance is None else str(decimal_of(settings.balance))
    (card,) = add_cards(
        ground,
        1,
        per_transaction=str(decimal_of(settings.per_transaction)),
        daily=str(decimal_of(settings.daily)),
        monthly=str(decimal_of(settings.monthly)),
        velocity=settings.velocity,
        balance=balance,
        name=f"kind{kind}",
    )
    return card


def settings_of(token: str) -> Settings:
    """What a card of a history began with, by its token."""
    return KINDS[int(token.split("_")[1].removeprefix("kind"))]
