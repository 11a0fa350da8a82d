"""The story: one cardholder, her cards, purchases and what becomes of them, refusals, a freeze, limits, a theft, events out."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from local.demo.client import Client, Network, require
from local.demo.events import Events
from local.demo.life import Life
from local.demo.subscribers import DELIVERED_WITHIN_S, Subscriber
from local.receiver import Receiver, stack_time

__all__ = ["Decision", "Step", "Story", "Summary", "require"]

_SCRIPT: Final = Path(__file__).with_name("purchases.json")
_PAGE: Final = 4
_CARD_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z-])[0-9]{13,19}(?![0-9A-Za-z-])")


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it went: what, how long, what came of it."""

    title: str
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One purchase and the answer to it."""

    card: str
    merchant: str
    country: str
    amount: str
    currency: str
    decision: str
    reason: str
    latency_ms: float


@dataclass
class Summary:
    """The whole story as it went."""

    steps: list[Step] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)


class _Note:
    def __init__(self) -> None:
        self.outcome = "done"


class Story:
    """Plays the story against a running local stack, over HTTP only."""

    def __init__(self, stack: Mapping[str, Any], say: Callable[[str], None] = print) -> None:
        """`stack` is the content of stack.json."""
        self._script: dict[str, Any] = json.loads(_SCRIPT.read_text())
        self._say = say
        self.network = Network(stack["simulator_url"])
        self.client = Client(stack["base_url"], stack["users"]["cardholder"], self.network)
        self._life = Life(self)
        self._receiver = Receiver(now=lambda: stack_time(stack["simulator_url"]))
        self._events = Events(self, stack, self._receiver)
        self._cards: dict[str, dict[str, Any]] = {}
        self.summary = Summary()

    def play(self) -> Summary:
        """Play every step. Raises StoryError at the first thing that is not as expected."""
        try:
            self._sign_in()
            self._subscribe()
            self._issue_cards()
            for purchase in self._script["purchases"]:
                self._buy(purchase, purchase["expect"])
            self._repeat()
            self._freeze_and_thaw()
            self._one_too_many()
            self._change_limits()
            self._history()
            self._look_at_the_number()
            self._replace()
            self._life.play()
            self._events.play()
            self._webhooks()
            return self.summary
        finally:
            self.client.close()
            self.network.close()
            self._receiver.close()

    @contextmanager
    def step(self, title: str) -> Iterator[_Note]:
        """Time a step and say how it went."""
        note, began = _Note(), time.monotonic()
        yield note
        seconds = time.monotonic() - began
        self.summary.steps.append(Step(title, seconds, note.outcome))
        self._say(f"{len(self.summary.steps):3}. {title:<62} {seconds * 1000:7.0f} ms  {note.outcome}")

    def _sign_in(self) -> None:
        with self.step("The cardholder logs in with password and authenticator") as note:
            self.client.log_in()
            note.outcome = "signed in"
        with self.step("She proves her second factor afresh, as issuing cards asks") as note:
            self.client.step_up()
            note.outcome = "stepped up"

    def _subscribe(self) -> None:
        with self.step("She subscribes her server to card and transaction events") as note:
            Subscriber(self.client, self._receiver).subscribe()
            note.outcome = "her server answered the signed challenge"

    def _issue_cards(self) -> None:
        for wanted in self._script["cards"]:
            self.issue(wanted)

    def issue(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Issue a card and remember it under its name in the script."""
        with self.step(f"She issues a {wanted['currency']} card: {wanted['label']}") as note:
            body = {name: value for name, value in wanted.items() if name != "name"}
            issued = self.client.post("/cards", body, status=201)
            require("the new card's status", "ACTIVE", issued["status"])
            card = self._cards[wanted["name"]] = self.client.get(f"/cards/{issued['id']}")
            note.outcome = f"ends in {card['last_four']}, at most {wanted['limits']['per_transaction']} a purchase"
        return card

    def _request(self, purchase: Mapping[str, Any]) -> dict[str, Any]:
        card = self._cards[purchase["card"]]
        asked = {name: value for name, value in purchase.items() if name not in {"card", "expect"}}
        return {**asked, "card_token": card["processor_card_token"], "currency": card["currency"]}

    def pay(self, purchase: Mapping[str, Any]) -> dict[str, Any]:
        """Pay with the card the purchase names, and remember the decision."""
        answer = self.network.authorize(self._request(purchase))
        merchant = purchase["merchant"]
        self.summary.decisions.append(
            Decision(
                card=purchase["card"],
                merchant=merchant["name"],
                country=merchant["country"],
                amount=purchase["amount"],
                currency=self._cards[purchase["card"]]["currency"],
                decision=str(answer.get("decision")),
                reason=str(answer.get("reason")),
                latency_ms=float(answer.get("latency_ms", 0.0)),
            )
        )
        return answer

    def _buy(self, purchase: Mapping[str, Any], reason: str, prefix: str = "") -> dict[str, Any]:
        currency = self._cards[purchase["card"]]["currency"]
        merchant = purchase["merchant"]
        with self.step(f"{prefix}{merchant['name']}, {merchant['city']}: {purchase['amount']} {currency}") as note:
            answer = self.pay(purchase)
            expected = ("APPROVE" if reason == "approved" else "DECLINE", reason)
            require(f"paying {purchase['amount']} at {merchant['name']}", expected, (answer["decision"], answer["reason"]))
            note.outcome = "approved" if reason == "approved" else f"declined: {reason}"
        return answer

    def _repeat(self) -> None:
        with self.step("The network lost an answer and asks again with the same id") as note:
            first = self.pay({**self._script["everyday"], "amount": "1.50"})
            # A repetition is the same request to the letter, its time included.
            again = self.network.authorize(first["request"])
            require("the first decision", "approved", first["reason"])
            for name in ("transaction_id", "decision", "reason", "decided_at"):
                require(f"the repeated answer's {name}", first[name], again[name])
            note.outcome = "the same answer, one transaction"

    def _freeze_and_thaw(self) -> None:
        purchase = self._script["everyday"]
        path = f"/cards/{self._cards[purchase['card']]['id']}"
        with self.step("She freezes the travel card") as note:
            frozen = self.client.post(f"{path}/freeze", {"reason": "left it in a taxi"})
            require("the frozen card's status", "FROZEN", frozen["status"])
            note.outcome = "frozen"
        self._buy(purchase, "card_frozen")
        with self.step("She found it and unfreezes it") as note:
            active = self.client.post(f"{path}/unfreeze")
            require("the unfrozen card's status", "ACTIVE", active["status"])
            note.outcome = "active again"
        self._buy(purchase, "approved")

    def _one_too_many(self) -> None:
        self._buy(self._script["everyday"], "velocity_exceeded", "Sixth within the hour, ")

    def _change_limits(self) -> None:
        purchase = self._script["everyday"]
        path = f"/cards/{self._cards[purchase['card']]['id']}/limits"
        with self.step("She lifts the hourly limit and lowers the one per purchase") as note:
            wanted = {"velocity_per_hour": None, "per_transaction": "2.00", "time_zone": "Europe/Lisbon"}
            changed = self.client.put(path, wanted)
            require("the new limit", "2.00", changed["per_transaction"])
            note.outcome = (
                f"{changed['windows']['daily']['remaining']} left until {changed['windows']['daily']['resets_at'][:16]}"
            )
        self._buy({**purchase, "amount": "2.01"}, "per_transaction_limit_exceeded")
        self._buy({**purchase, "amount": "2.00"}, "approved")

    def _look_at_the_number(self) -> None:
        card = self._cards[self._script["everyday"]["card"]]
        with self.step("She looks at the card's number, in a frame of the processor's") as note:
            reveal = self.client.post(f"/cards/{card['id']}/reveal", status=201)
            view = httpx.get(reveal["url"], follow_redirects=True, trust_env=False)
            shown = _CARD_NUMBER.search(re.sub(r"(?<=[0-9])[ \xa0](?=[0-9])", "", view.text))
            require("the number shown ends as the card's", card["last_four"], shown.group(0)[-4:] if shown else None)
            again = httpx.get(reveal["url"], follow_redirects=True, trust_env=False)
            require("looking a second time", 410, again.status_code)
            note.outcome = "seen once, from the processor; never through our API"

    def _replace(self) -> None:
        purchase = self._script["everyday"]
        with self.step("Now it was stolen: she has it replaced") as note:
            old = self._cards[purchase["card"]]
            issued = self.client.post(f"/cards/{old['id']}/replace", {"reason": "stolen"}, status=201)
            self._cards["replacement"] = self.client.get(f"/cards/{issued['id']}")
            require("the card it replaces", old["id"], issued["replaces"])
            note.outcome = f"the new one ends in {issued['last_four']}"
        self._buy({**purchase, "amount": "1.00"}, "card_cancelled", "The thief, at ")
        self._buy({**purchase, "amount": "1.00", "card": "replacement"}, "approved", "She, at ")

    def _history(self) -> None:
        with self.step("She reads her history, newest first, page by page") as note:
            for name, card in self._cards.items():
                told = list(self._pages(f"/cards/{card['id']}/transactions"))
                happened = [decision for decision in self.summary.decisions if decision.card == name]
                require(
                    f"the history of the {card['currency']} card",
                    [(one.amount, one.reason) for one in reversed(happened)],
                    [(one["amount"], one["reason"]) for one in told],
                )
                statuses = Counter("AUTHORIZED" if one.decision == "APPROVE" else "DECLINED" for one in happened)
                require("the statuses in the history", statuses, Counter(one["status"] for one in told))
            mine = {card["id"] for card in self._cards.values()}
            everything = sum(one["card_id"] in mine for one in self._pages("/transactions"))
            require("transactions of all her cards", len(self.summary.decisions), everything)
            note.outcome = f"{everything} transactions, declines included"

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        query: dict[str, str | int] = {"limit": _PAGE}
        while True:
            page = self.client.get(path, **query)
            require(f"a page of {path} holds no more than asked for", True, len(page["data"]) <= _PAGE)
            yield from page["data"]
            if not page["pagination"]["has_more"]:
                return
            query["cursor"] = page["pagination"]["next_cursor"]

    def _webhooks(self) -> None:
        with self.step("Her server has every event, each with a valid signature") as note:
            approved = sum(one.decision == "APPROVE" for one in self.summary.decisions)
            wanted = {
                "card.created": len(self._cards),
                "card.frozen": 1,
                "card.unfrozen": 1,
                "card.limits_updated": 1,
                "card.cancelled": 1,
                "card.replaced": 1,
                "transaction.authorized": approved,
                "transaction.declined": len(self.summary.decisions) - approved,
            }
            wanted = Counter(wanted) + self._life.told + self._events.told
            arrived = self._receiver.wait_for(wanted, DELIVERED_WITHIN_S)
            require("events that arrived", wanted, arrived)
            require("deliveries with a wrong signature", [], self._receiver.refused)
            for taken in self._receiver.taken.values():
                event = taken.event
                require(f"card numbers in a {event['type']} event", None, _CARD_NUMBER.search(json.dumps(event)))
            self.summary.events = dict(arrived)
            note.outcome = f"{arrived.total()} events"
