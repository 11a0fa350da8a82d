"""The doors of parked events, and the schedules that try them again and end holds."""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cardwright.cards.rules import Card
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.service.sweeping import TransactionSweeps
from functions.transactions import expire_holds, retry_parked_events
from functions.transactions.close_parked_event import endpoint as close
from functions.transactions.list_parked_events import endpoint as parked
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import CardWorld
from tests.fakes.life_world import LifeWorld


@pytest.fixture
def life(world: CardWorld, database_url: str, card: Card) -> Iterator[LifeWorld]:
    """Events of the card."""
    life = LifeWorld(world, database_url, card)
    yield life
    life.close()


def run(handler: Any, module: Any, life: LifeWorld, monkeypatch: pytest.MonkeyPatch, named: str, status: str) -> dict[str, Any]:
    """Run a schedule's handler over the world; its time is over once the transaction has the status."""
    monkeypatch.setattr(module, "_workers", lambda: SimpleNamespace(transaction_sweeps=TransactionSweeps(life.life, poll_s=0.1)))

    def left() -> int:
        return 0 if life.transaction(named)["status"] == status else 60_000

    context: Any = SimpleNamespace(get_remaining_time_in_millis=left)
    result: dict[str, Any] = handler({}, context)
    return result


def own(api: ApiWorld, token: str, card: Card) -> list[dict[str, Any]]:
    """The listed events of one card."""
    answer = api.ask(parked, token, limit="200")
    assert answer.status == 200
    return [item for item in answer.json["data"] if item["card_id"] == str(card.card_id)]


def test_staff_sees_what_is_parked_and_an_administrator_closes_it(api: ApiWorld, life: LifeWorld, world: CardWorld) -> None:
    life.tell(EventType.CLEARED, "12.00", "auth_nobody_knows")
    support = api.let_in(world.add_user("support"))
    (item,) = own(api, support, life.card)
    assert (item["type"], item["amount"], item["reason"]) == ("transaction.cleared", "12.00", "authorization_unknown")
    assert api.ask(close, support, {"note": "no"}, event_id=item["id"]).status == 403
    admin = api.let_in(world.add_user("admin"))
    closed = api.ask(close, admin, {"note": "settled by hand"}, event_id=item["id"])
    assert (closed.status, closed.json["state"], closed.json["next_try_at"]) == (200, "CLOSED", None)
    assert own(api, support, life.card) == []
    assert world.actions(life.card.card_id)[-1] == "processor_event.closed"
    assert api.ask(close, admin, {"note": "again"}, event_id=item["id"]).json["code"] == "event_not_found"


def test_a_cardholder_does_not_see_parked_events(api: ApiWorld, token: str) -> None:
    assert api.ask(parked, token).status == 403


def test_the_schedule_finds_the_place_of_a_parked_event(life: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    named = f"auth_{life.card.card_id.hex}"
    life.tell(EventType.CLEARED, "12.00", named)
    life.world.pay(life.card, "12.00", authorization_id=named)
    life.later(timedelta(seconds=2))
    assert run(retry_parked_events.handler, retry_parked_events, life, monkeypatch, named, "CLEARED")["events"] >= 1
    assert life.transaction(named)["status"] == "CLEARED"


def test_the_schedule_ends_overdue_holds(life: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    bought = life.world.pay(life.card, "12.00")
    life.later(timedelta(days=8))
    assert run(expire_holds.handler, expire_holds, life, monkeypatch, bought.authorization_id, "EXPIRED")["holds"] >= 1
    assert life.transaction(bought)["status"] == "EXPIRED"
