"""Limits as the engine keeps them: new ones hold from the answer on, whatever the cache says and whoever is paying."""

import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cardwright.authorizations.rules import Decision
from cardwright.authorizations.service import AuthorizationService
from cardwright.cards.rules import Card, LimitsChange, ListsChange, profile_key
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.postgres import Actor
from tests.builders import request
from tests.fakes.card_world import CardWorld
from tests.fakes.tcp import closed_port


@pytest.fixture
def card(world: CardWorld, holder: Actor) -> Card:
    """The holder's card, without a limit of velocity."""
    card = world.issue(holder)
    return put(world, holder, card, LimitsChange(velocity_off=True))


def put(world: CardWorld, actor: Actor, card: Card, change: LimitsChange) -> Card:
    """Change limits."""
    return world.service.update_limits(actor, card.card_id, change, operation_id=world.ids.new(), require_step_up=lambda: None)[0]


def merchants(allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> LimitsChange:
    """Other merchant categories."""
    return LimitsChange(merchant_categories=ListsChange(allow=allow, deny=deny))


class Engine:
    """The engine over a cache of a test's own."""

    def __init__(self, world: CardWorld, cache: Cache) -> None:
        self.cache = cache
        self.service = AuthorizationService(
            world.database, cache, world.clock, world.ids, secrets=lambda: [Secret("the processor's")]
        )

    def pay(self, card: Card, amount: str, **changes: Any) -> Decision:
        """Ask for an authorization."""
        return self.service.evaluate(request(card.processor_card_token, amount, **changes))


@pytest.fixture
def warm(world: CardWorld, cache_url: str) -> Iterator[Engine]:
    """An engine with a cache that works, which is the service's too."""
    cache = Cache(cache_url, budget_s=1.0, connect_s=1.0)
    world.cache = cache
    yield Engine(world, cache)
    cache.close()


def test_a_lowered_limit_declines_the_next_authorization_with_a_warm_cache(
    world: CardWorld, holder: Actor, card: Card, warm: Engine
) -> None:
    assert warm.pay(card, "100.00").approved
    warm.cache.ping()
    assert warm.cache.get_many([profile_key(card.processor_card_token)]) != [None]
    put(world, holder, card, LimitsChange(per_transaction=Decimal("50.00")))
    assert warm.cache.get_many([profile_key(card.processor_card_token)]) == [None]
    assert warm.pay(card, "50.01").reason == "per_transaction_limit_exceeded"
    assert warm.pay(card, "50.00").approved
    put(world, holder, card, LimitsChange(daily=Decimal("150.00")))
    assert warm.pay(card, "0.01").reason == "daily_limit_exceeded"


def test_a_profile_that_was_not_dropped_is_refused_by_its_version(
    world: CardWorld, holder: Actor, card: Card, warm: Engine
) -> None:
    assert warm.pay(card, "1.00").approved
    warm.cache.ping()
    key = profile_key(card.processor_card_token)
    stale = warm.cache.get_many([key])
    assert stale is not None
    assert stale[0] is not None
    put(world, holder, card, merchants(deny=("groceries",)))
    warm.cache.exchange([("SET", key, stale[0])])
    assert warm.pay(card, "1.00", mcc="5411").reason == "merchant_category_blocked"


def test_without_valkey_the_change_and_the_decline_are_the_same(world: CardWorld, holder: Actor, card: Card) -> None:
    cache = Cache(f"redis://127.0.0.1:{closed_port()}")
    world.cache = cache
    engine = Engine(world, cache)
    assert engine.pay(card, "100.00").approved
    put(world, holder, card, LimitsChange(per_transaction=Decimal("50.00")))
    assert engine.pay(card, "50.01").reason == "per_transaction_limit_exceeded"
    cache.close()


@pytest.mark.parametrize(
    ("change", "mcc", "reason"),
    [
        (merchants(deny=("airlines",)), "3012", "merchant_category_blocked"),
        (merchants(deny=("airlines",)), "4511", "merchant_category_blocked"),
        (merchants(deny=("airlines",)), "5411", "approved"),
        (merchants(allow=("travel", "5411")), "3751", "approved"),
        (merchants(allow=("travel", "5411")), "5411", "approved"),
        (merchants(allow=("travel", "5411")), "5812", "merchant_category_blocked"),
        (merchants(allow=("travel",), deny=("hotels",)), "7011", "merchant_category_blocked"),
        (merchants(allow=("travel",), deny=("hotels",)), "4112", "approved"),
    ],
)
def test_groups_of_merchant_categories_are_enforced(
    world: CardWorld, holder: Actor, card: Card, warm: Engine, change: LimitsChange, mcc: str, reason: str
) -> None:
    written = put(world, holder, card, change)
    assert [warm.pay(card, "1.00", mcc=mcc).reason for _ in range(2)] == [reason, reason]
    assert world.service.get_limits(holder, card.card_id)[0].merchant_categories == written.merchant_categories


@pytest.mark.parametrize(
    ("lists", "country", "reason"),
    [
        (ListsChange(allow=("FR",)), "FR", "approved"),
        (ListsChange(allow=("FR",)), "DE", "country_blocked"),
        (ListsChange(allow=("FR",)), "", "country_blocked"),
        (ListsChange(deny=("DE",)), "DE", "country_blocked"),
        (ListsChange(deny=("DE",)), "", "country_blocked"),
        (ListsChange(deny=("DE",)), "FR", "approved"),
        (ListsChange(), "", "approved"),
    ],
)
def test_countries_are_enforced_and_an_untold_one_passes_no_list(
    world: CardWorld, holder: Actor, card: Card, lists: ListsChange, country: str, reason: str
) -> None:
    put(world, holder, card, LimitsChange(countries=lists))
    engine = Engine(world, Cache(f"redis://127.0.0.1:{closed_port()}"))
    assert engine.pay(card, "1.00", country=country).reason == reason


def test_a_denied_channel_is_declined_and_allowed_again(world: CardWorld, holder: Actor, card: Card, warm: Engine) -> None:
    put(world, holder, card, LimitsChange(channels_denied=("atm", "magstripe")))
    assert warm.pay(card, "1.00", channel="atm").reason == "channel_blocked"
    assert warm.pay(card, "1.00", channel="chip").approved
    put(world, holder, card, LimitsChange(channels_denied=()))
    assert warm.pay(card, "1.00", channel="atm").approved


def test_limits_lowered_amid_authorizations_hold_from_the_answer_on_without_a_deadlock(
    world: CardWorld, holder: Actor, card: Card
) -> None:
    put(world, holder, card, LimitsChange(daily=Decimal("1000.00")))
    deadlocks_before = deadlocks(world)
    failures: list[BaseException] = []
    approved_above: list[tuple[Decimal, Decimal]] = []
    answered = Decimal("1000.00")

    def ask() -> None:
        try:
            for _ in range(12):
                limit = answered
                if world.pay(card, "7.00", authorization_id=f"auth_{secrets.token_hex(8)}").approved:
                    spent = world.rows("card_limits", card.card_id)[0]["day_spent"]
                    if limit == Decimal("100.00") and spent > limit:
                        approved_above.append((spent, limit))
        except BaseException as error:
            failures.append(error)
        finally:
            world.close()

    def lower() -> None:
        nonlocal answered
        try:
            for amount in ("900.00", "500.00", "300.00", "100.00"):
                put(world, holder, card, LimitsChange(per_transaction=Decimal("50.00"), daily=Decimal(amount)))
                answered = Decimal(amount)
        except BaseException as error:
            failures.append(error)
        finally:
            world.close()

    workers = [threading.Thread(target=ask) for _ in range(6)] + [threading.Thread(target=lower)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert deadlocks(world) == deadlocks_before
    assert approved_above == []
    (row,) = world.rows("card_limits", card.card_id)
    approved = [found for found in world.rows("card_transactions", card.card_id) if found["reason"] == "approved"]
    assert row["day_spent"] == row["held"] == sum(found["approved_amount"] for found in approved)
    # Each approval was measured against the limit of the version it names.
    assert all(
        sum(other["approved_amount"] for other in approved if other["chain_seq"] <= found["chain_seq"]) <= Decimal(limit)
        for found in approved
        for limit in [{2: "1000.00", 3: "900.00", 4: "500.00", 5: "300.00", 6: "100.00"}[found["config_version"]]]
    )
    assert world.pay(card, "50.00").approved is (row["day_spent"] + 50 <= 100)
    world.clock.at += timedelta(days=1)
    assert world.pay(card, "50.00").approved


def deadlocks(world: CardWorld) -> int:
    """Deadlocks the server has broken in this database."""
    return int(world.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0]["deadlocks"])
