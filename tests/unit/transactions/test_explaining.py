"""A transaction in plain words: every reason and every status has them, and a timeline tells what happened in which order."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from cardwright.authorizations.rules import Reason
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.explaining import (
    EVENTS,
    FLAGS,
    REASONS,
    STATUSES,
    Advice,
    ToldEvent,
    explain,
    in_words,
    timeline,
)
from cardwright.transactions.rules.history import CardTransaction, TransactionStatus
from cardwright.transactions.rules.life import Flag
from tests.builders import NOW

CARD = UUID(int=7)
NOTHING = Decimal("0.00")


def bought(**changes: Any) -> CardTransaction:
    """An approved purchase of 40.00."""
    made = CardTransaction(
        transaction_id=UUID(int=1),
        card_id=CARD,
        authorization_id="auth_1",
        original_authorization_id=None,
        root_authorization_id="auth_1",
        type="authorization",
        status=TransactionStatus.AUTHORIZED,
        reason="approved",
        amount=Decimal("40.00"),
        approved_amount=Decimal("40.00"),
        held_amount=Decimal("40.00"),
        cleared_amount=NOTHING,
        reversed_amount=NOTHING,
        refunded_amount=NOTHING,
        flags=(),
        currency="USD",
        merchant_category="5411",
        detail={},
        risk_score=None,
        hold_expires_at=None,
        decided_at=NOW,
        updated_at=None,
    )
    return replace(made, **changes)


def told(kind: EventType, amount: str, minutes: int, **changes: Any) -> ToldEvent:
    """An event that was applied so many minutes after the purchase."""
    at = NOW + timedelta(minutes=minutes)
    event = ToldEvent(
        event_id=f"evt_{minutes}",
        type=kind,
        authorization_id="auth_1",
        amount=Decimal(amount),
        currency="USD",
        final=False,
        voids=False,
        state="APPLIED",
        parked_reason=None,
        received_at=at,
        applied_at=at,
    )
    return replace(event, **changes)


def plain(texts: Iterable[str]) -> bool:
    """Sentences, without codes."""
    return all(text.strip() == text and text.endswith(".") and "_" not in text for text in texts)


@pytest.mark.parametrize("reason", [*Reason, "force_posted", "refunded"])
def test_every_reason_has_an_explanation_and_a_next_step(reason: str) -> None:
    assert plain([REASONS[reason].explanation, REASONS[reason].next_step])


@pytest.mark.parametrize("status", list(TransactionStatus))
def test_every_status_has_an_explanation_and_a_next_step(status: TransactionStatus) -> None:
    assert plain([STATUSES[status].explanation, STATUSES[status].next_step])


def test_every_flag_and_every_event_has_words() -> None:
    assert (set(FLAGS), set(EVENTS)) == (set(Flag), set(EventType))
    assert plain([*FLAGS.values(), *EVENTS.values()])


def test_a_flag_nobody_has_words_for_is_told_all_the_same() -> None:
    assert in_words(["over_cleared", "new_one"]) == [
        FLAGS[Flag.OVER_CLEARED],
        "Something about this transaction is unusual; our staff is looking at it.",
    ]


def test_a_decline_is_explained_by_its_reason_alone() -> None:
    declined = bought(status=TransactionStatus.DECLINED, reason="daily_limit_exceeded", approved_amount=NOTHING)
    assert explain(declined) == REASONS["daily_limit_exceeded"]


def test_an_approval_is_explained_by_its_reason_and_where_it_stands() -> None:
    explained = explain(bought(status=TransactionStatus.CLEARED))
    assert explained.explanation.startswith(REASONS["approved"].explanation)
    assert explained.explanation.endswith(STATUSES[TransactionStatus.CLEARED].explanation)
    assert explained.next_step == STATUSES[TransactionStatus.CLEARED].next_step


def test_what_was_declined_and_charged_all_the_same_says_both_and_how_to_dispute_it() -> None:
    explained = explain(bought(status=TransactionStatus.FORCE_POSTED, reason="card_frozen", approved_amount=NOTHING))
    assert REASONS["card_frozen"].explanation in explained.explanation
    assert "dispute" in explained.next_step


def test_a_reason_nobody_has_words_for_is_told_all_the_same() -> None:
    explained = explain(bought(status=TransactionStatus.DECLINED, reason="brand_new"))
    assert isinstance(explained, Advice)
    assert plain([explained.explanation, explained.next_step])


def test_a_timeline_tells_what_happened_in_its_order_and_where_the_transaction_stood_after_each_step() -> None:
    events = [told(EventType.CLEARED, "30.00", 5), told(EventType.REVERSED, "10.00", 9), told(EventType.REFUNDED, "30.00", 20)]
    entries = timeline(bought(), [bought()], events)
    assert [(entry.type, str(entry.amount), entry.status) for entry in entries] == [
        ("authorization", "40.00", "AUTHORIZED"),
        ("transaction.cleared", "30.00", "PARTIALLY_CLEARED"),
        ("transaction.reversed", "10.00", "CLEARED"),
        ("transaction.refunded", "30.00", "REFUNDED"),
    ]
    assert plain(entry.detail for entry in entries)


def test_what_is_parked_stands_in_the_timeline_and_changes_nothing() -> None:
    waiting = told(EventType.CLEARED, "30.00", 5, state="PARKED", parked_reason="currency_mismatch", applied_at=None)
    closed = told(EventType.CLEARED, "30.00", 6, state="CLOSED", applied_at=None)
    entries = timeline(bought(), [bought()], [waiting, closed])
    assert [entry.status for entry in entries] == ["AUTHORIZED", None, None]
    assert ("another currency" in entries[1].detail, "closed" in entries[2].detail) == (True, True)
    strange = replace(waiting, parked_reason="something_new")
    assert "waits" in timeline(bought(), [bought()], [strange])[1].detail


def test_more_of_an_authorization_is_a_step_of_its_own() -> None:
    more = bought(
        transaction_id=UUID(int=2),
        authorization_id="auth_2",
        type="incremental",
        amount=Decimal("10.00"),
        approved_amount=Decimal("10.00"),
        decided_at=NOW + timedelta(minutes=2),
    )
    refused = replace(more, reason="daily_limit_exceeded", status=TransactionStatus.DECLINED, approved_amount=NOTHING)
    cleared = told(EventType.CLEARED, "45.00", 9, final=True)
    assert [entry.status for entry in timeline(bought(), [bought(), more], [cleared])] == ["AUTHORIZED", "AUTHORIZED", "CLEARED"]
    assert [entry.status for entry in timeline(bought(), [bought(), refused], [])] == ["AUTHORIZED", "DECLINED"]


def test_an_approval_the_merchant_never_got_says_so() -> None:
    entries = timeline(bought(), [bought()], [told(EventType.REVERSED, "40.00", 3, voids=True)])
    assert (entries[1].status, entries[1].detail) == ("REVERSED", FLAGS[Flag.VOIDED])


def test_what_the_network_posted_without_asking_begins_with_its_own_words() -> None:
    posted = bought(type="force_post", reason="force_posted", authorization_id=None, status=TransactionStatus.FORCE_POSTED)
    event = told(EventType.FORCE_POSTED, "40.00", 0)
    entries = timeline(posted, [posted], [event])
    assert [entry.status for entry in entries] == ["FORCE_POSTED", "FORCE_POSTED"]
    assert entries[0].detail == REASONS["force_posted"].explanation
    assert explain(posted) == REASONS["force_posted"]
