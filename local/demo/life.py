"""What becomes of purchases: tips, parts, reversals, refunds, an expiry and a force post, with exact figures after each."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from local.demo.client import StoryError, require
from local.demo.stage import Stage

_SCRIPT: Final = Path(__file__).with_name("life.json")
# A worker looks after parked events each second, but starts its minute whenever the schedule says.
_FOUND_WITHIN_S: Final = 90.0
_TAKEN: Final = 202


class Life:
    """One card and what is told of its purchases. `told` counts the events a subscriber must get of it."""

    def __init__(self, stage: Stage) -> None:
        """`stage` plays; nothing happens yet."""
        self._script: dict[str, Any] = json.loads(_SCRIPT.read_text())
        self._stage = stage
        self._card: dict[str, Any] = {}
        self.told: Counter[str] = Counter()

    def play(self) -> None:
        """Play every step. Raises StoryError at the first figure that is not as expected."""
        self._card = self._stage.issue(self._script["card"])
        dinner = self._tip()
        self._parts()
        self._reversal()
        self._expiry()
        self._refund(dinner)
        self._force_post()
        self._early_clearing()
        self._timeline(dinner)

    def _tip(self) -> dict[str, Any]:
        dinner = self._authorized("dinner", spent="50.00")
        with self._stage.step("The restaurant adds a tip and clears 58.00") as note:
            self._tell("clear", dinner, amount="58.00", final_clearing=True)
            self._stands(dinner, "CLEARED", held="0.00", cleared="58.00")
            self._spent("58.00")
            note.outcome = "cleared within the tolerance for tips; 58.00 count, not 50.00"
        return dinner

    def _parts(self) -> None:
        books = self._authorized("books", spent="138.00")
        with self._stage.step("The bookshop sends one parcel and clears a part, 30.00") as note:
            self._tell("clear", books, amount="30.00")
            self._stands(books, "PARTIALLY_CLEARED", held="50.00", cleared="30.00")
            self._spent("138.00")
            note.outcome = "50.00 stay held"
        with self._stage.step("The last parcel costs 45.00, less than was held") as note:
            self._tell("clear", books, amount="45.00", final_clearing=True)
            self._stands(books, "CLEARED", held="0.00", cleared="75.00")
            self._spent("133.00")
            note.outcome = "5.00 back in today's limit"

    def _reversal(self) -> None:
        tools = self._authorized("tools", spent="193.00")
        with self._stage.step("She rents less than planned: 20.00 are reversed") as note:
            self._tell("reverse", tools, amount="20.00")
            self._stands(tools, "AUTHORIZED", held="40.00", reversed="20.00")
            self._spent("173.00")
            note.outcome = "40.00 stay held"
        with self._stage.step("Then nothing at all; the network tells it twice") as note:
            event_id = self._tell("reverse", tools, amount="40.00")
            self._tell("reverse", tools, amount="40.00", event_id=event_id, outcome="duplicate")
            self._stands(tools, "REVERSED", held="0.00", reversed="60.00")
            self._spent("133.00")
            note.outcome = "given back once"

    def _expiry(self) -> None:
        museum = self._authorized("museum", spent="158.00")
        with self._stage.step("The museum never clears: the network lets it expire") as note:
            self._tell("expire", museum)
            self._stands(museum, "EXPIRED", held="0.00")
            self._spent("133.00")
            note.outcome = "25.00 back in today's limit"

    def _refund(self, dinner: Mapping[str, Any]) -> None:
        with self._stage.step("The restaurant refunds a dish, 8.00") as note:
            self._tell("refund", dinner, amount="8.00")
            self._stands(dinner, "PARTIALLY_REFUNDED", cleared="58.00", refunded="8.00")
            self._spent("125.00")
            note.outcome = "8.00 back in the limit of the day it was spent"

    def _force_post(self) -> None:
        ferry = self._script["ferry"]
        with self._stage.step("The ferry had no network and posts 12.00 without asking") as note:
            told = self._stage.network.tell("force-post", {**ferry, "card_token": self._card["processor_card_token"]})
            self._taken(told, "applied")
            self._stands({"transaction_id": told["answer"]["transaction_id"]}, "FORCE_POSTED", cleared="12.00")
            self._spent("137.00")
            note.outcome = "recorded, and counted against the limit it did not ask"

    def _early_clearing(self) -> None:
        purchase = {**self._script["groceries"], "authorization_id": f"auth_{uuid.uuid4().hex}"}
        early = {"authorization_id": purchase["authorization_id"], "amount": purchase["amount"], "currency": "USD"}
        with self._stage.step("The groceries' clearing overtakes their authorization") as note:
            told = self._stage.network.tell("clear", {**early, "card_token": self._card["processor_card_token"]})
            self._taken(told, "parked")
            require("why it is parked", "authorization_unknown", told["answer"]["parked_reason"])
            groceries = self._stage.pay(purchase)
            require("paying the groceries", "approved", groceries["reason"])
            seconds = self._await(groceries, "CLEARED")
            self._stands(groceries, "CLEARED", held="0.00", cleared="31.40")
            self._spent("168.40")
            note.outcome = f"parked, never lost: applied {seconds:.0f} s after the authorization came"

    def _timeline(self, dinner: Mapping[str, Any]) -> None:
        with self._stage.step("She looks up the dinner") as note:
            story = self._stage.client.get(f"/transactions/{dinner['transaction_id']}")
            require(
                "the dinner's timeline",
                [
                    ("authorization", "50.00", "AUTHORIZED"),
                    ("transaction.cleared", "58.00", "CLEARED"),
                    ("transaction.refunded", "8.00", "PARTIALLY_REFUNDED"),
                ],
                [(entry["type"], entry["amount"], entry["status"]) for entry in story["timeline"]],
            )
            require("what is odd about the dinner", [], story["flags"])
            require("words for the cardholder", True, bool(story["explanation"] and story["next_step"]))
            note.outcome = f"{story['merchant']['clean_name']}: {story['explanation']}"

    def _authorized(self, named: str, *, spent: str) -> dict[str, Any]:
        """Pay, and find the amount held and counted."""
        purchase = self._script[named]
        merchant = purchase["merchant"]
        with self._stage.step(f"{merchant['name']}, {merchant['city']}: {purchase['amount']} USD") as note:
            answer = self._stage.pay(purchase)
            require(f"paying at {merchant['name']}", "approved", answer["reason"])
            self._stands(answer, "AUTHORIZED", held=purchase["amount"])
            self._spent(spent)
            note.outcome = f"approved; {spent} of 500.00 used today"
        return answer

    def _tell(self, kind: str, purchase: Mapping[str, Any], *, outcome: str = "applied", **body: Any) -> str:
        """Let the network tell something of a purchase; the event's id."""
        named = {"card_token": self._card["processor_card_token"], "authorization_id": purchase["authorization_id"]}
        told = self._stage.network.tell(kind, {**named, **body})
        self._taken(told, outcome)
        require("the transaction it belongs to", purchase["transaction_id"], told["answer"]["transaction_id"])
        return str(told["event_id"])

    def _taken(self, told: Mapping[str, Any], outcome: str) -> None:
        require(f"the answer to a {told['type']}", _TAKEN, told["http_status"])
        require(f"what became of a {told['type']}", outcome, told["answer"]["outcome"])
        if outcome != "duplicate":
            self.told[str(told["type"])] += 1

    def _stands(self, purchase: Mapping[str, Any], status: str, **amounts: str) -> None:
        """Check status and amounts of a transaction to the cent, and that the amounts left out are nothing."""
        shown = self._stage.client.get(f"/transactions/{purchase['transaction_id']}")
        wanted = dict.fromkeys(("held", "cleared", "reversed", "refunded"), "0.00") | amounts
        found = {name: shown[f"{name}_amount"] for name in wanted}
        require(f"the purchase at {shown['merchant']['name']}", (status, wanted), (shown["status"], found))

    def _spent(self, amount: str) -> None:
        """Check what counts in today's limit."""
        windows = self._stage.client.get(f"/cards/{self._card['id']}/limits")["windows"]
        require("what is spent today", amount, windows["daily"]["spent"])
        require("what is spent this month", amount, windows["monthly"]["spent"])

    def _await(self, purchase: Mapping[str, Any], status: str) -> float:
        """Wait until a transaction has a status; seconds it took."""
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < _FOUND_WITHIN_S:
            if self._stage.client.get(f"/transactions/{purchase['transaction_id']}")["status"] == status:
                return seconds
            time.sleep(0.25)
        raise StoryError(f"waiting for a parked event: not {status} after {_FOUND_WITHIN_S:.0f} s")
