"""Freezing and unfreezing against the real database: one winner, one entry, one event, and the processor follows."""

import threading
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from cardwright.cards.rules import Card, CardStatus, ProcessorState, profile_key
from cardwright.kernel.errors import (
    CardwrightError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ProviderRefusedError,
    StaleVersionError,
    UnavailableError,
)
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import CardWorld

ACTIVE, FROZEN = CardStatus.ACTIVE, CardStatus.FROZEN
GONE = UnavailableError("gone", code="processor_unavailable")


def move(
    world: CardWorld,
    actor: Actor,
    card: Card,
    target: CardStatus,
    operation_id: UUID | None = None,
    if_match: int | None = None,
    reason: str | None = None,
) -> Card:
    """Move a card."""
    return world.service.update_card_status(
        actor, card.card_id, target, reason=reason, operation_id=operation_id or world.ids.new(), if_match=if_match
    )


def processor_state(world: CardWorld, card: Card) -> str | None:
    """What we believe of the processor's switch."""
    (row,) = world.rows("virtual_cards", card.card_id)
    return str(row["processor_state"]) if row["processor_state"] else None


def test_a_freeze_raises_versions_and_leaves_audit_event_and_an_empty_cache(world: CardWorld, holder: Actor, card: Card) -> None:
    frozen = move(world, holder, card, FROZEN, reason="left in a taxi")
    assert (frozen.status, frozen.version) == (FROZEN, 2)
    assert world.service.get_card(holder, card.card_id) == frozen
    (row,) = world.rows("virtual_cards", card.card_id)
    assert (row["status_reason"], row["status_actor_role"]) == ("left in a taxi", "cardholder")
    assert world.rows("card_limits", card.card_id)[0]["config_version"] == 2
    assert world.fake_cache.commands == [("DEL", profile_key(card.processor_card_token))]
    assert world.actions(card.card_id) == ["card.created", "card.frozen"]
    entry = next(row for row in world.rows("card_audit_log", card.card_id) if row["seq"] == 2)
    assert (entry["actor_id"], entry["actor_role"], entry["reason"]) == (holder.user_id, "cardholder", "left in a taxi")
    assert world.events(card.card_id) == {"card.created": 1, "card.frozen": 1}
    assert world.processor.states[card.processor_card_token] is ProcessorState.PAUSED


def test_unfreezing_is_the_way_back(world: CardWorld, holder: Actor, card: Card) -> None:
    move(world, holder, card, FROZEN)
    back = move(world, holder, card, ACTIVE)
    assert (back.status, back.version) == (ACTIVE, 3)
    assert world.events(card.card_id) == {"card.created": 1, "card.frozen": 1, "card.unfrozen": 1}
    assert (world.processor.states[card.processor_card_token], processor_state(world, card)) == ("ACTIVE", "ACTIVE")


def test_of_fifty_freezes_at_once_exactly_one_wins(world: CardWorld, holder: Actor, card: Card) -> None:
    outcomes = world.at_once(*[lambda: move(world, holder, card, FROZEN)] * 50)
    assert outcomes == {"done": 1, "card_already_frozen": 49}
    assert world.actions(card.card_id) == ["card.created", "card.frozen"]
    assert world.events(card.card_id)["card.frozen"] == 1
    assert world.rows("card_limits", card.card_id)[0]["config_version"] == 2
    assert world.processor.told == [(card.processor_card_token, ProcessorState.PAUSED)]


def test_the_target_state_and_a_closed_card_are_conflicts(world: CardWorld, holder: Actor, card: Card) -> None:
    with pytest.raises(ConflictError) as refusal:
        move(world, holder, card, ACTIVE)
    assert refusal.value.code == "card_already_active"
    world.sql(
        "UPDATE virtual_cards SET status = 'CANCELLED', last_operation_id = gen_random_uuid() WHERE card_id = %s", card.card_id
    )
    for target in (ACTIVE, FROZEN):
        with pytest.raises(ConflictError) as refusal:
            move(world, holder, card, target)
        assert refusal.value.code == "card_state_conflict"
    assert world.events(card.card_id) == {"card.created": 1}


def test_if_match_names_the_current_version(world: CardWorld, holder: Actor, card: Card) -> None:
    with pytest.raises(StaleVersionError):
        move(world, holder, card, FROZEN, if_match=2)
    assert move(world, holder, card, FROZEN, if_match=1).version == 2


def test_the_same_operation_again_finds_its_own_work(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    first = move(world, holder, card, FROZEN, operation_id, if_match=1)
    assert move(world, holder, card, FROZEN, operation_id, if_match=1) == first
    assert world.actions(card.card_id) == ["card.created", "card.frozen"]
    assert world.events(card.card_id)["card.frozen"] == 1


def test_an_operation_done_and_undone_since_is_not_done_again(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    move(world, holder, card, FROZEN, operation_id)
    undone = move(world, holder, card, ACTIVE)
    assert move(world, holder, card, FROZEN, operation_id) == undone
    assert world.actions(card.card_id) == ["card.created", "card.frozen", "card.unfrozen"]
    assert world.events(card.card_id)["card.frozen"] == 1


def test_the_holder_does_not_release_what_staff_froze(world: CardWorld, holder: Actor, card: Card) -> None:
    support = world.add_user("support")
    move(world, support, card, FROZEN)
    with pytest.raises(ForbiddenError) as refusal:
        move(world, holder, card, ACTIVE)
    assert refusal.value.code == "card_frozen_by_issuer"
    assert world.service.get_card(holder, card.card_id).status is FROZEN
    assert move(world, support, card, ACTIVE).status is ACTIVE


def test_anothers_card_cannot_be_moved(world: CardWorld, card: Card) -> None:
    with pytest.raises(NotFoundError) as refusal:
        move(world, world.add_user(), card, FROZEN)
    assert refusal.value.code == "card_not_found"
    assert world.rows("virtual_cards", card.card_id)[0]["status"] == "ACTIVE"


@pytest.mark.parametrize("fault", [GONE, ProviderRefusedError("no", code="processor_refused")])
def test_a_processor_that_fails_undoes_no_freeze_and_is_due_to_be_told_again(
    world: CardWorld, holder: Actor, card: Card, fault: CardwrightError
) -> None:
    world.processor.switch_faults = [fault]
    assert move(world, holder, card, FROZEN).status is FROZEN
    assert processor_state(world, card) is None
    behind = (
        "SELECT card_id FROM virtual_cards WHERE processor_state IS DISTINCT FROM "
        "CASE status WHEN 'ACTIVE' THEN 'ACTIVE' WHEN 'FROZEN' THEN 'PAUSED' ELSE 'CLOSED' END AND card_id = %s"
    )
    assert len(world.sql(behind, card.card_id)) == 1
    assert move(world, holder, card, ACTIVE).status is ACTIVE
    assert world.sql(behind, card.card_id) == []


def test_a_late_pause_is_followed_by_the_state_that_is_true_now(world: CardWorld, holder: Actor, card: Card) -> None:
    def overtaken(state: ProcessorState) -> None:
        world.processor.before_switch = lambda state: None
        move(world, holder, card, ACTIVE)

    world.processor.before_switch = overtaken
    move(world, holder, card, FROZEN)
    told = [state for _, state in world.processor.told]
    assert told == [ProcessorState.ACTIVE, ProcessorState.PAUSED, ProcessorState.ACTIVE]
    assert processor_state(world, card) == "ACTIVE"


def test_freezing_amid_authorizations_neither_deadlocks_nor_lets_one_through(world: CardWorld, holder: Actor, card: Card) -> None:
    world.sql("UPDATE card_limits SET velocity_per_hour = NULL, daily = 50000, monthly = 50000 WHERE card_id = %s", card.card_id)
    deadlocks_before = deadlocks(world)
    after_freeze: list[str] = []
    failures: list[Exception] = []
    frozen = threading.Event()

    def ask() -> None:
        try:
            for _ in range(15):
                begun_frozen = frozen.is_set()
                decision = world.pay(card, "1.00")
                if begun_frozen:
                    after_freeze.append(decision.reason)
        except Exception as error:
            failures.append(error)
        finally:
            world.close()

    def freeze_and_release() -> None:
        try:
            for _ in range(5):
                move(world, holder, card, FROZEN)
                move(world, holder, card, ACTIVE)
            move(world, holder, card, FROZEN)
            frozen.set()
        except Exception as error:
            failures.append(error)
        finally:
            world.close()

    workers = [threading.Thread(target=ask) for _ in range(6)] + [threading.Thread(target=freeze_and_release)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert world.pay(card, "1.00").reason == "card_frozen"
    assert set(after_freeze) <= {"card_frozen"}
    assert deadlocks(world) == deadlocks_before


def deadlocks(world: CardWorld) -> int:
    """Deadlocks the server has broken in this database."""
    return int(world.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0]["deadlocks"])


def test_the_app_role_reads_no_ciphertext_and_no_other_users_rows(world: CardWorld, holder: Actor, card: Card) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), world.database.transaction(holder) as tx:
        tx.fetch_one("SELECT card_number_encrypted FROM virtual_cards WHERE card_id = %s", (card.card_id,))
    stranger = world.add_user()
    with world.database.transaction(replace(stranger, request_id=None)) as tx:
        for table in ("virtual_cards", "card_limits", "card_tokens", "card_fingerprints", "card_issuances", "outbox"):
            assert tx.fetch_all(f"SELECT card_id FROM {table} WHERE card_id = %s", (card.card_id,)) == []  # noqa: S608 - our names


def test_a_freeze_asked_for_again_after_somebody_renamed_the_card_is_done(world: CardWorld, holder: Actor, card: Card) -> None:
    operation_id = world.ids.new()
    move(world, holder, card, FROZEN, operation_id, if_match=1)
    world.service.rename_card(holder, card.card_id, "Renamed", operation_id=world.ids.new())
    again = move(world, holder, card, FROZEN, operation_id, if_match=1)
    assert (again.status, again.version) == (FROZEN, 3)
    with pytest.raises(ConflictError):
        move(world, holder, card, FROZEN)
    assert world.actions(card.card_id) == ["card.created", "card.frozen", "card.renamed"]
