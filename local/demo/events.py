"""Events out: a second server with a filter and an order, rotation, a pause, replays, a server that fails, and messages."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from local.demo.client import StoryError, require
from local.demo.stage import Stage
from local.demo.subscribers import DELIVERED_WITHIN_S, Subscriber
from local.receiver import Receiver, stack_time

_SCRIPT: Final = Path(__file__).with_name("events.json")
_EVENTS_TO_FAIL: Final = 5
_ATTEMPTS: Final = 6
_LOOK_S: Final = 0.5
_MESSAGE_WITHIN_S: Final = 20.0


class Events:
    """One card and two more servers of hers. `told` counts what her first server, which hears everything, must get of it."""

    def __init__(self, stage: Stage, stack: Mapping[str, Any], first: Receiver) -> None:
        """`stage` plays, `stack` is the content of stack.json, `first` hears of every event; nothing happens yet."""
        self._script: dict[str, Any] = json.loads(_SCRIPT.read_text())
        self._stage = stage
        self._stack = stack
        self._first = first
        self._card: dict[str, Any] = {}
        self._since: set[str] = set()
        self.told: Counter[str] = Counter()

    def play(self) -> None:
        """Play every step. Raises StoryError at the first thing that is not as expected."""
        # The calls so far are of another minute: a user has a hundred of them in each.
        self._stage.network.advance("PT1M")
        self._card = self._stage.issue(self._script["card"])
        books, nights = (Receiver(now=lambda: stack_time(self._stack["simulator_url"])) for _ in range(2))
        try:
            self._books(Subscriber(self._stage.client, books))
            self._push()
            self._nights(Subscriber(self._stage.client, nights))
        finally:
            books.close()
            nights.close()

    def _books(self, books: Subscriber) -> None:
        self._subscribe(books)
        self._test_event(books)
        self._rotate(books)
        self._pause(books)
        self._order(books)
        self._replay(books)
        require("deliveries with a wrong signature", [], books.receiver.refused)

    def _subscribe(self, books: Subscriber) -> None:
        with self._stage.step("Her bookkeeper's server wants that card alone, in order") as note:
            self._heard_first(lambda: self._of_card("card.created"))
            self._since = set(self._first.taken)
            books.subscribe(card_ids=[self._card["id"]], ordered=True, description="Bookkeeping")
            note.outcome = "verified; hears of one card, one event after the other"

    def _test_event(self, books: Subscriber) -> None:
        with self._stage.step("It asks for a test event") as note:
            self._stage.client.post(f"{books.path}/test", status=202)
            arrived = books.receiver.wait_for({"webhook.test": 1}, DELIVERED_WITHIN_S)
            require("test events", Counter({"webhook.test": 1}), arrived)
            note.outcome = "arrived there and nowhere else"

    def _rotate(self, books: Subscriber) -> None:
        with self._stage.step("She rotates its secret: old and new both sign for a day") as note:
            before = books.receiver.secrets
            rotated = self._stage.client.post(f"{books.path}/rotate-secret")
            books.receiver.trust(rotated["secret"], *before)
            both = self._change("freeze", "card.frozen")
            books.heard([both])
            taken = books.receiver.taken[both]
            require("signatures, and secrets that verify one", (2, 2), (taken.signatures, taken.secrets))
            books.receiver.trust(rotated["secret"])
            books.heard([self._change("unfreeze", "card.unfrozen")])
            note.outcome = "two signatures, both good; then the new secret alone"

    def _pause(self, books: Subscriber) -> None:
        with self._stage.step("It is paused while the card goes on") as note:
            require("the subscription", "PAUSED", self._stage.client.post(f"{books.path}/pause")["status"])
            had = len(books.receiver.taken)
            self._stage.client.put(f"/cards/{self._card['id']}/limits", {"velocity_per_hour": None})
            self.told["card.limits_updated"] += 1
            self._pays("paper")
            self._heard_first(lambda: self._of_card("card.limits_updated", "transaction.authorized"), 2)
            require("events it heard meanwhile", 0, len(books.receiver.taken) - had)
            note.outcome = "her first server heard of 2 events, this one of none"
        with self._stage.step("It is started again") as note:
            require("the subscription", "ACTIVE", self._stage.client.post(f"{books.path}/reactivate")["status"])
            books.heard(self._mine())
            note.outcome = "what it missed came by itself"

    def _order(self, books: Subscriber) -> None:
        with self._stage.step("Purchases, a clearing, a freeze, a refusal, in quick succession") as note:
            before = len(self._mine())
            # Another card's event is not for this server.
            self._pays("bread")
            ink = self._pays("ink")
            self._network_clears(ink)
            self._change("freeze", "card.frozen")
            require("paying with a frozen card", "card_frozen", self._stage.pay(self._script["frames"])["reason"])
            self._change("unfreeze", "card.unfrozen")
            self._pays("frames")
            self._heard_first(self._mine, before + 6)
            books.heard(self._mine())
            order = [name for name, one in books.receiver.taken.items() if one.event["type"] != "webhook.test"]
            require("the order of the card's events", sorted(self._mine()), order)
            note.outcome = f"{len(order)} events of this card, in the order they happened; none of another card"

    def _replay(self, books: Subscriber) -> None:
        mine = self._mine()
        with self._stage.step("One event is asked for again") as note:
            self._stage.client.post(f"{books.path}/replay", {"event_id": mine[0]}, status=202)
            books.heard(mine[:1], times=2)
            note.outcome = "the same id, the same body, signed anew"
        with self._stage.step("Then everything of the last hour") as note:
            taken = books.receiver.taken
            since = min(taken[one].event["created_at"] for one in mine)
            job = self._stage.client.post(f"{books.path}/replay", {"from": since, "to": self._now()}, status=202)
            books.heard(mine[1:], times=2)
            done = books.job_done(job)["progress"]
            require("the replay's progress", (True, done["done"]), (done["done"] >= len(mine), done["total"]))
            require("different events all the same", len(mine), sum(one in taken for one in mine))
            note.outcome = f"{done['done']} events came again; by their ids they count once"

    def _push(self) -> None:
        device = "demo-phone"
        with self._stage.step("She registers her phone for push messages") as note:
            body = {"channel": "push", "platform": "android", "token": device}
            self._stage.client.post("/notifications/devices", body, status=201)
            note.outcome = "push for purchases"
        with self._stage.step("She pays for parking") as note:
            began = time.monotonic()
            self._pays("parking")
            message = self._message(device, "Ninth Street Parking")
            require("the channel of the message", "push", message["channel"])
            require("the inbox has it too", True, self._in_inbox("Ninth Street Parking"))
            note.outcome = f"her phone says so after {time.monotonic() - began:.1f} s: {message['body']}"

    def _nights(self, nights: Subscriber) -> None:
        with self._stage.step("A third server is subscribed, and breaks") as note:
            nights.subscribe(card_ids=[self._card["id"]])
            nights.receiver.fail(_EVENTS_TO_FAIL * _ATTEMPTS)
            before = set(self._mine())
            for cents in range(_EVENTS_TO_FAIL):
                self._pays("parking", amount=f"1.0{cents}")
            self._heard_first(self._mine, len(before) + _EVENTS_TO_FAIL)
            failing = [one for one in self._mine() if one not in before]
            self._attempted(nights, 1)
            note.outcome = f"{_EVENTS_TO_FAIL} events, each answered 500"
        with self._stage.step("Seven hours pass: after 1, 5, 15 minutes, 1 and 6 hours") as note:
            for number, wait in enumerate(self._script["waits"], start=2):
                self._stage.network.advance(wait)
                # Her token does not live that long.
                self._stage.client.log_in()
                self._attempted(nights, number)
            require("the subscription", "DISABLED", nights.status())
            require("attempts of the third server", _EVENTS_TO_FAIL * _ATTEMPTS, nights.receiver.failed)
            note.outcome = f"{nights.receiver.failed} attempts, then it is switched off"
        self._owner_is_told()
        with self._stage.step("It is mended and started again") as note:
            require("the subscription", "ACTIVE", self._stage.client.post(f"{nights.path}/reactivate")["status"])
            nights.heard(failing)
            require("how often each came", {1}, {nights.receiver.taken[one].times for one in failing})
            require("deliveries with a wrong signature", [], nights.receiver.refused)
            note.outcome = f"all {len(failing)} events it had failed to take, each once"

    def _owner_is_told(self) -> None:
        with self._stage.step("She has a message that it was switched off") as note:
            address = self._stack["users"]["cardholder"]["email"]
            message = self._message(address, "webhook")
            require("the channel of the message", "email", message["channel"])
            require("the inbox has it too", True, self._in_inbox("webhook"))
            note.outcome = f"by e-mail and in her inbox: {message['subject']}"

    def _attempted(self, nights: Subscriber, number: int) -> None:
        wanted = {("FAILED" if number == _ATTEMPTS else "PENDING", number)}
        deadline = time.monotonic() + DELIVERED_WITHIN_S
        while (found := nights.attempts()) and (set(found) != wanted or len(found) != _EVENTS_TO_FAIL):
            if time.monotonic() > deadline:
                raise StoryError(f"attempt {number} of each delivery: expected {wanted}, got {found}")
            time.sleep(_LOOK_S)

    def _pays(self, named: str, **changes: Any) -> dict[str, Any]:
        answer = self._stage.pay({**self._script[named], **changes})
        require(f"paying at {self._script[named]['merchant']['name']}", "approved", answer["reason"])
        return answer

    def _network_clears(self, purchase: Mapping[str, Any]) -> None:
        named = {"card_token": self._card["processor_card_token"], "authorization_id": purchase["authorization_id"]}
        told = self._stage.network.tell("clear", {**named, "amount": self._script["ink"]["amount"], "final_clearing": True})
        require("what became of the clearing", "applied", told["answer"]["outcome"])
        self.told["transaction.cleared"] += 1

    def _change(self, what: str, event_type: str) -> str:
        """Freeze or unfreeze the card; the id of the event, as her first server heard of it."""
        before = set(self._of_card(event_type))
        self._stage.client.post(f"/cards/{self._card['id']}/{what}")
        self.told[event_type] += 1
        self._heard_first(lambda: self._of_card(event_type), len(before) + 1)
        return next(one for one in self._of_card(event_type) if one not in before)

    def _heard_first(self, events: Callable[[], list[str]], number: int = 1) -> None:
        self._first.wait(lambda: len(events()) >= number, DELIVERED_WITHIN_S)
        require("events at her first server", True, len(events()) >= number)

    def _of_card(self, *types: str) -> list[str]:
        """Ids of the card's events that her first server has, oldest first, of these types."""
        found = list(self._first.taken.items())
        return sorted(
            name
            for name, one in found
            if one.event["data"].get("card_id") == self._card["id"] and (not types or one.event["type"] in types)
        )

    def _mine(self) -> list[str]:
        """Ids of the card's events since the bookkeeper subscribed, oldest first."""
        return [one for one in self._of_card() if one not in self._since]

    def _now(self) -> str:
        return self._stage.network.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _message(self, recipient: str, words: str) -> dict[str, Any]:
        """The message with these words that the recipient got. Raises StoryError when none comes."""
        deadline = time.monotonic() + _MESSAGE_WITHIN_S
        while time.monotonic() < deadline:
            url = f"{self._stack['mailbox_url']}/messages"
            for message in httpx.get(url, params={"to": recipient}, trust_env=False).json():
                if words.lower() in f"{message['subject']} {message['body']}".lower():
                    found: dict[str, Any] = message
                    return found
            time.sleep(0.1)
        raise StoryError(f"waiting for a message about {words}: none after {_MESSAGE_WITHIN_S:.0f} s")

    def _in_inbox(self, words: str) -> bool:
        shown = self._stage.client.get("/notifications", limit=20)["data"]
        return any(words.lower() in f"{one['title']} {one['body']}".lower() for one in shown)
