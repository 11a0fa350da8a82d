"""Reveals against the real database: good once, whoever asks at once, whatever dies in between, and each step audited."""

import threading
from collections import Counter
from datetime import timedelta

import psycopg
import pytest

from cardwright.cards.rules import Card, CardStatus, read_reveal_token
from cardwright.cards.service import CardService, Reveal, StateChange
from cardwright.kernel.errors import CardwrightError, ConflictError, ForbiddenError, GoneError, NotFoundError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.postgres import Actor
from tests.fakes.card_world import CardWorld

NOBODY: tuple[str, ...] = ()


def ask(world: CardWorld, actor: Actor, card: Card) -> Reveal:
    """Ask for a permission."""
    return world.service.reveal_card(actor, card.card_id, world.ids.new())


def use(world: CardWorld, reveal: Reveal) -> str:
    """Use a permission."""
    return world.service.open_reveal(reveal.token, "req_2", NOBODY)


def audited(world: CardWorld, card: Card) -> list[tuple[str, str]]:
    """Actions and requests in the card's audit chain, in order."""
    rows = sorted(world.rows("card_audit_log", card.card_id), key=lambda row: row["seq"])
    return [(row["action"], row["request_id"]) for row in rows]


def test_permission_and_view_stand_in_the_cards_audit_with_who_and_where(world: CardWorld, holder: Actor, card: Card) -> None:
    reveal = ask(world, holder, card)
    use(world, reveal)
    assert audited(world, card) == [("card.created", "req_1"), ("card.reveal_requested", "req_1"), ("card.revealed", "req_2")]
    rows = world.rows("card_audit_log", card.card_id)
    asked, shown = (next(row for row in rows if row["action"] == name) for name in ("card.reveal_requested", "card.revealed"))
    ticket = read_reveal_token(reveal.token)
    assert ticket is not None
    assert asked["new_values"] == {"reveal_id": str(ticket.reveal_id), "expires_at": "2026-11-21T12:01:00.000Z"}
    assert shown["new_values"] == {"reveal_id": str(ticket.reveal_id)}
    assert {(row["actor_id"], row["actor_role"]) for row in (asked, shown)} == {(holder.user_id, "cardholder")}


def test_of_twenty_who_follow_a_link_at_once_one_is_shown_the_card(world: CardWorld, holder: Actor, card: Card) -> None:
    reveal = ask(world, holder, card)
    gate = threading.Barrier(20)
    outcomes: list[str] = []

    def follow() -> None:
        gate.wait()
        try:
            use(world, reveal)
            outcomes.append("shown")
        except CardwrightError as error:
            outcomes.append(error.code)
        finally:
            world.close()

    threads = [threading.Thread(target=follow) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"shown": 1, "reveal_gone": 19}
    assert [action for action, _ in audited(world, card)].count("card.revealed") == 1


def test_of_twenty_who_ask_at_once_ten_are_given_a_permission(world: CardWorld, holder: Actor) -> None:
    # Several cards: one card's own lock would let them by one after another.
    cards = [world.issue(holder) for _ in range(5)]
    turns = iter(range(20))
    gate = threading.Barrier(20)
    outcomes: list[str] = []

    def request() -> None:
        card = cards[next(turns) % 5]
        gate.wait()
        try:
            ask(world, holder, card)
            outcomes.append("given")
        except CardwrightError as error:
            outcomes.append(error.code)
        finally:
            world.close()

    threads = [threading.Thread(target=request) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"given": 10, "rate_limited": 10}
    assert sum(len(world.rows("card_reveals", card.card_id)) for card in cards) == 10


def test_the_quota_is_each_users_own_and_can_be_off(world: CardWorld, holder: Actor, card: Card) -> None:
    for _ in range(10):
        ask(world, holder, card)
    other = world.add_user()
    assert ask(world, other, world.issue(other)).expires_at > world.clock.now()
    free = CardService(world, reveals_per_hour=None)
    assert free.reveal_card(holder, card.card_id, world.ids.new()).expires_at > world.clock.now()


def test_a_permission_is_over_after_a_minute(world: CardWorld, holder: Actor, card: Card) -> None:
    early, late = ask(world, holder, card), ask(world, holder, card)
    world.clock.at += timedelta(seconds=59)
    assert use(world, early)
    world.clock.at += timedelta(seconds=1)
    with pytest.raises(GoneError):
        use(world, late)
    assert len(world.processor.reveals) == 1


def test_a_permission_that_expires_while_the_processor_thinks_shows_nothing(
    world: CardWorld, holder: Actor, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveal = ask(world, holder, card)

    def slow(token: str, **named: object) -> str:
        world.clock.at += timedelta(seconds=61)
        return "https://processor.test/embed/late"

    monkeypatch.setattr(world.processor, "reveal_url", slow)
    with pytest.raises(GoneError):
        use(world, reveal)
    assert world.rows("card_reveals", card.card_id)[0]["used_at"] is None


@pytest.mark.parametrize("status", [CardStatus.CANCELLED, CardStatus.EXPIRED])
def test_a_card_that_has_ended_is_neither_promised_nor_shown(
    world: CardWorld, holder: Actor, card: Card, status: CardStatus
) -> None:
    reveal = ask(world, holder, card)
    world.sql(
        "UPDATE virtual_cards SET status = %s, last_operation_id = %s WHERE card_id = %s", status, world.ids.new(), card.card_id
    )
    with pytest.raises(GoneError):
        use(world, reveal)
    with pytest.raises(ConflictError) as refusal:
        ask(world, holder, card)
    assert refusal.value.code == "card_state_conflict"
    assert world.processor.reveals == []


def test_a_card_that_ends_while_the_processor_thinks_is_not_shown(
    world: CardWorld, holder: Actor, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveal = ask(world, holder, card)

    def cancelled_meanwhile(token: str, **named: object) -> str:
        world.service.cancel(holder, card.card_id, StateChange(), operation_id=world.ids.new())
        return "https://processor.test/embed/late"

    monkeypatch.setattr(world.processor, "reveal_url", cancelled_meanwhile)
    with pytest.raises(GoneError):
        use(world, reveal)
    assert "card.revealed" not in [action for action, _ in audited(world, card)]


def test_a_frozen_card_is_shown(world: CardWorld, holder: Actor, card: Card) -> None:
    world.service.update_card_status(holder, card.card_id, CardStatus.FROZEN, reason=None, operation_id=world.ids.new())
    assert use(world, ask(world, holder, card)) == "https://processor.test/embed/1"


def test_whoever_dies_before_the_commit_has_lost_nothing_and_after_it_the_permission(
    world: CardWorld, holder: Actor, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveal = ask(world, holder, card)
    with monkeypatch.context() as dying:
        dying.setattr("cardwright.cards.service.reveals.note", lambda *parts, **values: dead())
        with pytest.raises(KeyboardInterrupt):
            use(world, reveal)
    assert world.rows("card_reveals", card.card_id)[0]["used_at"] is None
    assert use(world, reveal)
    with pytest.raises(GoneError):
        use(world, reveal)


def dead() -> None:
    """Die here."""
    raise KeyboardInterrupt


def test_the_processors_silence_uses_nothing_up(world: CardWorld, holder: Actor, card: Card) -> None:
    reveal = ask(world, holder, card)
    world.processor.view_faults = [UnavailableError("gone", code="processor_unavailable")]
    with pytest.raises(UnavailableError):
        use(world, reveal)
    assert [action for action, _ in audited(world, card)] == ["card.created", "card.reveal_requested"]
    assert use(world, reveal)


def test_a_token_put_together_from_anothers_ids_opens_nothing(world: CardWorld, holder: Actor, card: Card) -> None:
    reveal = ask(world, holder, card)
    stranger = world.add_user()
    theirs = ask(world, stranger, world.issue(stranger))
    whole, foreign = reveal.token.reveal(), theirs.token.reveal()
    # Their user before our permission; our ids before their secret.
    for forged in (foreign[:22] + whole[22:], whole[:43] + foreign[43:]):
        with pytest.raises(GoneError):
            world.service.open_reveal(Secret(forged), "req_3", NOBODY)
    assert world.processor.reveals == []


def test_neither_anothers_card_nor_nobody_is_given_a_permission(world: CardWorld, card: Card) -> None:
    with pytest.raises(NotFoundError):
        ask(world, world.add_user(), card)
    with pytest.raises(ForbiddenError):
        ask(world, Actor(None, "system"), card)
    assert world.rows("card_reveals", card.card_id) == []


def test_the_app_role_changes_nothing_of_a_permission_but_its_use(world: CardWorld, holder: Actor, card: Card) -> None:
    ask(world, holder, card)
    for change in ("expires_at = expires_at + interval '1 day'", "digest = '\\x00'", "card_id = gen_random_uuid()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), world.database.transaction(holder) as tx:
            tx.execute(f"UPDATE card_reveals SET {change}")  # noqa: S608 - our own text
    with pytest.raises(psycopg.errors.InsufficientPrivilege), world.database.transaction(holder) as tx:
        tx.execute("DELETE FROM card_reveals")
    with world.database.transaction(world.add_user()) as tx:
        assert tx.fetch_all("SELECT reveal_id FROM card_reveals WHERE card_id = %s", (card.card_id,)) == []


def test_nothing_of_a_permission_is_printed(world: CardWorld, holder: Actor, card: Card) -> None:
    reveal = ask(world, holder, card)
    assert reveal.token.reveal() not in repr(reveal)
