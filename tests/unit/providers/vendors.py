"""Small stateful stand-ins for vendors, at the level of HTTP: as much of each as its adapter speaks to."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid5

import httpx

from tests.pans import pan

MADE_AT = 1_700_000_000
_NAMES = UUID("01930000-0000-7000-8000-000000000000")


class Vendor:
    """Keeps cards in the order in which they were made; `keys` are those it takes, `fault` answers in its stead."""

    def __init__(self) -> None:
        self.keys = {"key-1"}
        self.cards: dict[str, dict[str, Any]] = {}
        self.asked: list[httpx.Request] = []
        self.fault: Callable[[httpx.Request], httpx.Response] | None = None
        self.bend: dict[str, Any] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.asked.append(request)
        if self.key_of(request) not in self.keys:
            return httpx.Response(401, json={"error": {"message": "no such key"}})
        if self.fault is not None:
            return self.fault(request)
        return self.answer(request)

    def key_of(self, request: httpx.Request) -> str:
        """The key a request shows."""
        raise NotImplementedError

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Do what is asked."""
        raise NotImplementedError

    def add(self, reference: str) -> None:
        """Make a card with a reference behind the adapter's back."""
        raise NotImplementedError

    def newest_first(self, query: Mapping[str, str], size: str, token: str) -> tuple[list[dict[str, Any]], bool]:
        """A page as Lithic and Stripe cut it, and whether more lies that way."""
        cards, limit = list(reversed(self.cards.values())), int(query[size])
        tokens = [card[token] for card in cards]
        if "ending_before" in query:
            end = tokens.index(query["ending_before"])
            return cards[max(end - limit, 0) : end], end > limit
        begin = tokens.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        return cards[begin : begin + limit], len(cards) > begin + limit


class FakeLithic(Vendor):
    """Lithic: closed cards take no change."""

    def key_of(self, request: httpx.Request) -> str:
        return request.headers["authorization"]

    def add(self, reference: str) -> None:
        self._make({"memo": reference, "exp_month": "11", "exp_year": "2029"}, f"other {reference}")

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, dict(request.url.params)
        if path == "/v1/cards" and request.method == "POST":
            return httpx.Response(200, json=self._make(json.loads(request.content), request.headers["idempotency-key"]))
        if path == "/v1/cards":
            if "memo" in query:
                matching = [card for card in reversed(self.cards.values()) if query["memo"] in card["memo"]]
                return httpx.Response(200, json={"data": [_shown(card) for card in matching], "has_more": False})
            cards, more = self.newest_first(query, "page_size", "token")
            return httpx.Response(200, json={"data": [_shown(card) for card in cards], "has_more": more})
        card = next((card for card in self.cards.values() if card["token"] == path.rpartition("/")[2]), None)
        if card is None:
            return httpx.Response(404, json={"message": "no such card"})
        if request.method == "PATCH":
            if card["state"] == "CLOSED":
                return httpx.Response(422, json={"message": "closed"})
            card.update(json.loads(request.content))
        return httpx.Response(200, json=card)

    def _make(self, wanted: Mapping[str, Any], key: str) -> dict[str, Any]:
        made = {"token": str(uuid5(_NAMES, key)), "pan": pan(), "last_four": pan()[-4:], "cardholder_currency": "USD"}
        return self.cards.setdefault(key, {"state": "OPEN", **made, **wanted, **self.bend})


class FakeStripe(Vendor):
    """Stripe: the number is told on request alone, canceled cards take no change."""

    def key_of(self, request: httpx.Request) -> str:
        return request.headers["authorization"].removeprefix("Bearer ")

    def add(self, reference: str) -> None:
        wanted = {"metadata[reference]": reference, "exp_month": "11", "exp_year": "2029", "currency": "usd"}
        self._make(wanted, f"other {reference}")

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, query, form = request.url.path, dict(request.url.params), dict(parse_qsl(request.content.decode()))
        if path == "/v1/issuing/cards" and request.method == "POST":
            return httpx.Response(200, json=_shown(self._make(form, request.headers["idempotency-key"])))
        if path == "/v1/issuing/cards":
            cards, more = self.newest_first(query, "limit", "id")
            wanted = [card for card in cards if card["created"] >= int(query.get("created[gte]", 0))]
            return httpx.Response(200, json={"object": "list", "data": [_shown(card) for card in wanted], "has_more": more})
        card = next((card for card in self.cards.values() if card["id"] == path.rpartition("/")[2]), None)
        if card is None:
            return httpx.Response(404, json={"error": {"code": "resource_missing", "type": "invalid_request_error"}})
        if request.method == "POST":
            if card["status"] == "canceled":
                return httpx.Response(400, json={"error": {"type": "invalid_request_error"}})
            card.update(form)
        return httpx.Response(200, json=card if query.get("expand[0]") == "number" else _shown(card))

    def _make(self, form: Mapping[str, str], key: str) -> dict[str, Any]:
        card = {
            "id": f"ic_{uuid5(_NAMES, key).hex[:24]}",
            "object": "issuing.card",
            "status": "active",
            "created": MADE_AT + len(self.cards),
            "number": pan(),
            "last4": pan()[-4:],
            "exp_month": int(form["exp_month"]),
            "exp_year": int(form["exp_year"]),
            "currency": form["currency"],
            "metadata": {"reference": form["metadata[reference]"]},
            "asked": dict(form),
        }
        return self.cards.setdefault(key, {**card, **self.bend})


class FakeMarqeta(Vendor):
    """Marqeta: the caller names cards, and there is no transition from a state to itself."""

    def key_of(self, request: httpx.Request) -> str:
        return b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().removesuffix(":")

    def add(self, reference: str) -> None:
        self._make(reference.replace("-", ""))

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path.removeprefix("/v3"), dict(request.url.params)
        if path == "/cards":
            token = json.loads(request.content)["token"]
            if token in self.cards:
                return httpx.Response(409, json={"error_code": "400057", "error_message": "there is such a card"})
            return httpx.Response(201, json=self._make(token))
        if path == "/cardtransitions":
            return self._transition(json.loads(request.content))
        if path == "/cards/user/user-1":
            begin, count = int(query["start_index"]), int(query["count"])
            cards = list(self.cards.values())[begin : begin + count]
            place = {"start_index": begin, "end_index": begin + len(cards) - 1, "is_more": len(self.cards) > begin + count}
            return httpx.Response(200, json={**place, "count": len(cards), "data": [_shown(card) for card in cards]})
        card = self.cards.get(path.split("/")[2])
        if card is None:
            return httpx.Response(404, json={"error_code": "404001"})
        return httpx.Response(200, json=card if path.endswith("/showpan") else _shown(card))

    def _transition(self, wanted: Mapping[str, str]) -> httpx.Response:
        card = self.cards.get(wanted["card_token"])
        if card is None or card["state"] in (wanted["state"], "TERMINATED"):
            return httpx.Response(400, json={"error_code": "400011", "error_message": "no such transition"})
        card["state"] = wanted["state"]
        return httpx.Response(201, json={"token": "t-1", **wanted})

    def _make(self, token: str) -> dict[str, Any]:
        made = {"token": token, "state": "ACTIVE", "pan": pan(), "last_four": pan()[-4:], "expiration": "1129"}
        return self.cards.setdefault(token, {**made, **self.bend})


def _shown(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card as lists and plain answers show it."""
    return {name: value for name, value in card.items() if name not in ("pan", "number")}
