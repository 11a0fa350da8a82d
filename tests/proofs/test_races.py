"""Two meetings that the checker found, held at the moment that decides: who comes second sees what the first has done."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import psycopg

from bench.proofs.callers import Services, services
from bench.proofs.grounds import Ground, ProofCard, add_cards, new_id
from cardwright.authorizations.rules import AuthorizationRequest, Decision, Merchant
from cardwright.cards.rules import CardStatus
from cardwright.kernel.clock import FixedClock
from cardwright.transactions.rules.events import EventType, ProcessorEvent
from tests.fakes.card_world import NOW, CardWorld

WAIT_S = 20.0


def ask(mine: Services, token: str, identity: str, original: str | None = None) -> Decision:
    """Ask for ten of the currency."""
    return mine.engine.evaluate(
        AuthorizationRequest(
            authorization_id=identity,
            card_token=token,
            type="authorization" if original is None else "incremental",
            amount=Decimal("10.00"),
            currency="USD",
            merchant=Merchant("5732"),
            channel="chip",
            original_authorization_id=original,
        )
    )


def reversal(token: str) -> ProcessorEvent:
    """The whole of the first authorization is given back."""
    return ProcessorEvent(
        event_id="evt_1",
        type=EventType.REVERSED,
        card_token=token,
        amount=Decimal("10.00"),
        currency="USD",
        authorization_id="auth_1",
    )


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    give_up = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def waiting_for_locks(ground: Ground) -> int:
    """How many of the database's connections wait for another."""
    ((count,),) = ground.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(count)


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[list[object]]:
    """Run something beside; what it returned or raised is in the list once it is over."""
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(work())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield ended
    thread.join()


def test_more_of_an_authorization_that_is_being_reversed_is_an_authorization_of_its_own(ground: Ground) -> None:
    (card,) = add_cards(ground, 1)
    with services(ground, FixedClock(NOW)) as mine:
        assert ask(mine, card.token, "auth_1").approved

    def ask_for_more() -> object:
        with services(ground, FixedClock(NOW)) as other:
            return ask(other, card.token, "auth_2", "auth_1").approved

    with psycopg.connect(ground.url) as reversing:
        reversing.execute("SELECT FROM card_limits WHERE card_id = %s FOR NO KEY UPDATE", (card.card_id,))
        with meanwhile(ask_for_more) as ended:
            until(lambda: waiting_for_locks(ground) > 0)
            _reverse_by_hand(reversing, card)
            reversing.commit()
    assert ended == [True]
    assert ground.rows("SELECT root_authorization_id, continued FROM card_transactions WHERE authorization_id = 'auth_2'") == [
        ("auth_2", False)
    ]


def _reverse_by_hand(connection: "psycopg.Connection[tuple[object, ...]]", card: ProofCard) -> None:
    connection.execute(
        "UPDATE card_transactions SET status = 'REVERSED', held_amount = 0, spent_amount = 0, reversed_amount = 10 "
        "WHERE card_id = %s AND authorization_id = 'auth_1'",
        (card.card_id,),
    )
    connection.execute(
        "UPDATE card_limits SET held = 0, day_spent = 0, month_spent = 0, event_seq = 1 WHERE card_id = %s", (card.card_id,)
    )


def test_a_freeze_and_an_event_of_the_same_card_wait_for_each_other_in_one_order(ground: Ground) -> None:
    world = CardWorld(ground.url)
    holder = world.add_user()
    card = world.issue(holder)
    with services(ground, world.clock) as mine:
        assert ask(mine, card.processor_card_token, "auth_1").approved

    def take() -> object:
        with services(ground, world.clock) as other:
            return other.life.receive(reversal(card.processor_card_token)).outcome

    def freeze() -> object:
        frozen = world.service.update_card_status(
            holder, card.card_id, CardStatus.FROZEN, reason=None, operation_id=world.ids.new()
        )
        world.database.close()
        return frozen.status

    # The event's key is held, so that it stops between the spend row and the audit.
    with psycopg.connect(ground.url) as first:
        first.execute(
            "INSERT INTO transaction_events (card_id, event_id, record_id, user_id, type, amount, currency, detail, "
            "request_digest, state, parked_reason, due_at, received_at) "
            "VALUES (%s, 'evt_1', %s, %s, 'transaction.reversed', 10, 'USD', '{}', sha256(''), 'PARKED', 'none', %s, %s)",
            (card.card_id, new_id(NOW), card.user_id, NOW, NOW),
        )
        with meanwhile(take) as taken:
            until(lambda: waiting_for_locks(ground) == 1)
            with meanwhile(freeze) as frozen:
                until(lambda: waiting_for_locks(ground) == 2)
                first.rollback()
    world.close()
    assert (taken, frozen) == (["applied"], [CardStatus.FROZEN])
