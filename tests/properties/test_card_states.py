"""Laws of a card's states, for every sequence of moves, and the database's trigger compared with the table."""

from decimal import Decimal

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.cards.rules import EVENTS, MOVES, PROCESSOR_STATES, CardStatus, open_card, transition
from cardwright.kernel.errors import ConflictError

statuses = st.sampled_from(CardStatus)


@given(statuses, statuses)
def test_a_move_is_in_the_table_or_refused_with_its_code(status: CardStatus, target: CardStatus) -> None:
    if (status, target) in MOVES:
        assert transition(status, target) is target
        return
    with pytest.raises(ConflictError) as refusal:
        transition(status, target)
    assert refusal.value.code == (f"card_already_{target.lower()}" if status is target else "card_state_conflict")


@given(st.lists(statuses, max_size=30))
def test_a_closed_card_stays_closed_whatever_is_asked(targets: list[CardStatus]) -> None:
    status = CardStatus.ACTIVE
    closed_as: CardStatus | None = None
    for target in targets:
        try:
            status = transition(status, target)
        except ConflictError:
            continue
        finally:
            if closed_as is not None:
                assert status is closed_as
        closed_as = None if open_card(status) else status


@given(statuses)
def test_every_state_has_its_event_and_its_switch_at_the_processor(status: CardStatus) -> None:
    assert EVENTS[status].startswith("card.")
    assert (PROCESSOR_STATES[status] == "CLOSED") is not open_card(status)


def test_the_trigger_allows_exactly_the_table(fresh_database: str) -> None:
    allowed: set[tuple[str, str]] = set()
    with psycopg.connect(fresh_database) as connection:
        card = _insert_card(connection)
        for status in CardStatus:
            for target in CardStatus:
                if status is target:
                    continue
                with connection.transaction(force_rollback=True):
                    connection.execute("ALTER TABLE virtual_cards DISABLE TRIGGER USER")
                    connection.execute("UPDATE virtual_cards SET status = %s WHERE card_id = %s", (status, card))
                    connection.execute("ALTER TABLE virtual_cards ENABLE TRIGGER USER")
                    try:
                        connection.execute(
                            "UPDATE virtual_cards SET status = %s, last_operation_id = gen_random_uuid() WHERE card_id = %s",
                            (target, card),
                        )
                        allowed.add((status, target))
                    except psycopg.errors.CheckViolation:
                        continue
    assert allowed == MOVES


def _insert_card(connection: psycopg.Connection) -> str:
    user, program, card = (f"00000000-0000-7000-8000-00000000000{digit}" for digit in "123")
    connection.execute(
        "INSERT INTO users (user_id, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
        "VALUES (%s, '', '', '', '$argon2id$none', '2026-11-21Z')",
        (user,),
    )
    connection.execute(
        "INSERT INTO programs (program_id, name, network, bin, currency, default_per_transaction, default_daily, "
        "default_monthly, created_at) VALUES (%s, 'one', 'visa', '424242', 'USD', %s, 2, 3, '2026-11-21Z')",
        (program, Decimal(1)),
    )
    connection.execute(
        "INSERT INTO virtual_cards (card_id, user_id, program_id, last_four, card_number_encrypted, processor, "
        "processor_card_token, expiry_month, expiry_year, currency, last_operation_id, created_at, updated_at) "
        "VALUES (%s, %s, %s, '4242', %s, 'none', "
        "'card_1', 1, 2030, 'USD', %s, '2026-11-21Z', '2026-11-21Z')",
        (card, user, program, b"\x00" * 65, card),
    )
    return card
