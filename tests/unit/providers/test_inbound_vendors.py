"""What vendors tell, in their own words, as the events it is."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from lithic.types.transaction import Event as LithicEvent

from cardwright.providers.inbound_lithic import LithicInbound
from cardwright.providers.inbound_marqeta import MarqetaInbound
from cardwright.providers.inbound_stripe import StripeInbound
from cardwright.transactions.rules.events import EventMerchant, EventType, ProcessorEvent
from tests.unit.providers.inbound import (
    AUTHORIZED,
    CAPTURE,
    HELD,
    LITHIC_AUTHORIZATION,
    brief,
    event_id,
    lithic,
    lithic_event,
    marqeta,
    read,
    stripe_message,
)

# Lithic


def test_lithics_own_model_reads_what_is_tried_here() -> None:
    told = LithicEvent.model_validate(AUTHORIZED)
    assert (told.type, told.result, told.amounts.cardholder.amount) == ("AUTHORIZATION", "APPROVED", 5000)


def test_lithics_authorization_itself_is_no_news() -> None:
    assert read(LithicInbound(), lithic("PENDING", AUTHORIZED)) == ()


def test_lithics_clearings_and_reversals_belong_to_the_transactions_authorization() -> None:
    told = lithic("PENDING", AUTHORIZED, lithic_event(2, "CLEARING", 1234), lithic_event(3, "AUTHORIZATION_REVERSAL", 500))
    assert brief(read(LithicInbound(), told)) == [
        (event_id(2), "transaction.cleared", "12.34", LITHIC_AUTHORIZATION, False),
        (event_id(3), "transaction.reversed", "5.00", LITHIC_AUTHORIZATION, False),
    ]


def test_a_settled_transaction_of_lithics_gives_back_the_rest_in_an_event_of_its_own() -> None:
    before = read(LithicInbound(), lithic("PENDING", AUTHORIZED, lithic_event(2, "CLEARING", 1234)))
    after = read(LithicInbound(), lithic("SETTLED", AUTHORIZED, lithic_event(2, "CLEARING", 1234)))
    assert after[:1] == before
    assert brief(after[1:]) == [(f"{LITHIC_AUTHORIZATION}:settled", "transaction.cleared", "0.00", LITHIC_AUTHORIZATION, True)]
    refunded = lithic("SETTLED", AUTHORIZED, lithic_event(2, "CLEARING", 1234), lithic_event(3, "RETURN", 1234))
    again = read(LithicInbound(), refunded)
    assert again[0].digest() == before[0].digest()
    assert again[-1].digest() == after[-1].digest()
    assert again[1].type is EventType.REFUNDED


@pytest.mark.parametrize(
    ("kind", "event_type"),
    [
        ("CLEARING", EventType.FORCE_POSTED),
        ("CORRECTION_DEBIT", EventType.FORCE_POSTED),
        ("RETURN_REVERSAL", EventType.FORCE_POSTED),
        ("RETURN", EventType.REFUNDED),
        ("CORRECTION_CREDIT", EventType.REFUNDED),
        ("FINANCIAL_CREDIT_AUTHORIZATION", EventType.REFUNDED),
    ],
)
@pytest.mark.parametrize("before", [(), (lithic_event(1, "AUTHORIZATION", 5000, "CARD_PAUSED"),)])
def test_what_lithic_tells_without_an_approval_stands_by_itself(
    kind: str, event_type: EventType, before: tuple[dict[str, Any], ...]
) -> None:
    (event,) = read(LithicInbound(), lithic("SETTLED", *before, lithic_event(2, kind, -1234)))
    assert (event.type, event.amount, event.authorization_id) == (event_type, Decimal("12.34"), None)
    assert event.merchant == EventMerchant(id="m_1", name="COFFEE SHOP", category_code="5812", city="NEW YORK", country="US")


def test_lithics_single_message_is_cleared_at_once_and_its_advice_is_an_advice() -> None:
    single = read(LithicInbound(), lithic("SETTLED", lithic_event(1, "FINANCIAL_AUTHORIZATION", 700)))
    assert brief(single) == [(event_id(1), "transaction.cleared", "7.00", LITHIC_AUTHORIZATION, True)]
    advised = read(LithicInbound(), lithic("PENDING", AUTHORIZED, lithic_event(2, "AUTHORIZATION_ADVICE", 6100)))
    assert brief(advised) == [(event_id(2), "authorization.advice", "61.00", LITHIC_AUTHORIZATION, False)]
    expired = read(LithicInbound(), lithic("EXPIRED", AUTHORIZED, lithic_event(2, "AUTHORIZATION_EXPIRY", 5000)))
    assert brief(expired) == [(event_id(2), "transaction.expired", "50.00", LITHIC_AUTHORIZATION, False)]


@pytest.mark.parametrize("kind", ["BALANCE_INQUIRY", "CREDIT_AUTHORIZATION", "CREDIT_AUTHORIZATION_ADVICE", "SOMETHING_NEW"])
def test_what_moves_nothing_at_lithic_is_no_event(kind: str) -> None:
    assert read(LithicInbound(), lithic("PENDING", AUTHORIZED, lithic_event(2, kind, 100))) == ()
    assert read(LithicInbound(), lithic("PENDING", AUTHORIZED, lithic_event(2, "CLEARING", 100, "DECLINED"))) == ()


# Stripe


def stripe_posted(**changes: Any) -> tuple[ProcessorEvent, ...]:
    """A transaction that was created."""
    return read(StripeInbound(), stripe_message("issuing_transaction.created", {**CAPTURE, **changes}))


def stripe_moved(before: Mapping[str, Any] | None = None, **changes: Any) -> tuple[ProcessorEvent, ...]:
    """An authorization that was updated."""
    return read(StripeInbound(), stripe_message("issuing_authorization.updated", {**HELD, **changes}, before))


def test_stripes_captures_and_refunds_go_by_their_own_ids() -> None:
    assert brief(stripe_posted()) == [("ipi_1", "transaction.cleared", "12.34", "iauth_1", False)]
    assert brief(stripe_posted(authorization=None)) == [("ipi_1", "transaction.force_posted", "12.34", None, False)]
    assert brief(stripe_posted(type="refund", amount=500)) == [("ipi_1", "transaction.refunded", "5.00", "iauth_1", False)]
    assert brief(stripe_posted(currency="jpy", amount=-500))[0][2] == "500.00"
    assert stripe_posted(type="something_new") == ()
    (event,) = stripe_posted(authorization={"id": "iauth_1"}, card={"id": "ic_1"})
    assert (event.card_token, event.authorization_id) == ("ic_1", "iauth_1")
    assert event.merchant == EventMerchant(
        id="1234567890", name="Rocket Rides", category_code="4121", city="San Francisco", country="US"
    )


def test_stripes_partial_and_full_reversals_tell_what_was_given_back() -> None:
    assert brief(stripe_moved({"amount": 5000}, amount=3000)) == [("evt_1", "transaction.reversed", "20.00", "iauth_1", False)]
    ended = brief(stripe_moved({"status": "pending", "amount": 3000}, status="reversed", amount=0))
    assert ended == [("iauth_1:reversed", "transaction.reversed", "30.00", "iauth_1", False)]
    assert stripe_moved({"metadata": {}}, status="reversed", amount=0) == ()
    rest = stripe_moved(status="reversed", amount=0, transactions=[{"type": "capture", "amount": -1000}])
    assert brief(rest)[0][2] == "40.00"


def test_stripes_expiry_and_last_capture_end_the_hold() -> None:
    assert brief(stripe_moved(status="expired", amount=0)) == [
        ("iauth_1:expired", "transaction.expired", "0.00", "iauth_1", False)
    ]
    assert brief(stripe_moved(status="closed", amount=0, transactions=[{"type": "capture", "amount": -1000}])) == [
        ("iauth_1:closed", "transaction.cleared", "0.00", "iauth_1", True)
    ]


@pytest.mark.parametrize("reason", ["webhook_timeout", "network_fallback", "webhook_error", "card_active"])
def test_what_stripe_approved_in_our_place_is_an_advice(reason: str) -> None:
    history = [{"amount": 4200, "approved": True, "reason": reason, "created": 1_795_000_000}]
    told = read(
        StripeInbound(), stripe_message("issuing_authorization.created", {**HELD, "amount": 4200, "request_history": history})
    )
    assert brief(told) == [("iauth_1:advice:1", "authorization.advice", "42.00", "iauth_1", False)]


def test_what_is_no_news_at_stripe_is_no_event() -> None:
    assert stripe_moved() == ()
    assert stripe_moved({"amount": 5000, "transactions": []}, amount=0, transactions=[{"type": "capture", "amount": -5000}]) == ()
    declined = [{"amount": 4200, "approved": False, "reason": "webhook_declined", "created": 1_795_000_000}]
    assert stripe_moved(status="closed", amount=0, request_history=declined) == ()
    assert read(StripeInbound(), stripe_message("issuing_authorization.request", HELD)) == ()
    assert read(StripeInbound(), {"type": "charge.succeeded"}) == ()


# Marqeta


def test_marqetas_transactions_belong_to_the_one_before_them() -> None:
    kinds = [
        "authorization.clearing",
        "authorization.reversal",
        "authorization.reversal.issuerexpiration",
        "authorization.advice",
        "refund",
    ]
    told = read(MarqetaInbound(), {"transactions": [marqeta(kind, token=f"tx_{kind}") for kind in kinds]})
    assert brief(told) == [
        ("tx_authorization.clearing", "transaction.cleared", "12.34", "tx_1", True),
        ("tx_authorization.reversal", "transaction.reversed", "12.34", "tx_1", False),
        ("tx_authorization.reversal.issuerexpiration", "transaction.expired", "12.34", "tx_1", False),
        ("tx_authorization.advice", "authorization.advice", "12.34", "tx_1", False),
        ("tx_refund", "transaction.refunded", "12.34", "tx_1", False),
    ]


def test_marqetas_clearing_of_nothing_before_is_a_force_post_and_its_single_message_is_whole() -> None:
    forced = {"transactions": [marqeta("authorization.clearing", preceding_related_transaction_token=None)]}
    assert brief(read(MarqetaInbound(), forced)) == [("tx_2", "transaction.force_posted", "12.34", None, False)]
    single = {"transactions": [marqeta("pindebit", preceding_related_transaction_token=None)]}
    assert brief(read(MarqetaInbound(), single)) == [("tx_2", "transaction.cleared", "12.34", "tx_2", True)]


@pytest.mark.parametrize(("number", "last"), [("01", False), ("02", True)])
def test_only_the_last_of_several_clearings_at_marqeta_ends_the_hold(number: str, last: bool) -> None:
    counted = {"multi_clearing_sequence_number": number, "multi_clearing_sequence_count": "02"}
    told = read(MarqetaInbound(), {"transactions": [marqeta("authorization.clearing", **counted)]})
    assert [event.final_clearing for event in told] == [last]


def test_what_is_no_news_at_marqeta_is_no_event() -> None:
    assert read(MarqetaInbound(), {"pings": [{"token": "marqeta", "payload": "healthcheck"}]}) == ()
    refused = [marqeta("authorization.clearing", state="DECLINED"), {"type": "authorization", "state": "PENDING"}]
    assert read(MarqetaInbound(), {"transactions": refused}) == ()
