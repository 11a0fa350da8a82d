"""Records of the processor's as JSON, kept with a case so that they can be compared again."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from cardwright.settlement.rules.files import Detail, DetailKind
from cardwright.settlement.rules.matching import ProcessorTransaction, TheirState


def line_document(detail: Detail) -> dict[str, object]:
    """A detail record without its line, which stands in the case."""
    return {
        "kind": detail.kind.value,
        "card_token": detail.card_token,
        "reference": detail.reference,
        "authorization_id": detail.authorization_id,
        "amount": f"{detail.amount:.2f}",
        "currency": detail.currency,
        "occurred_at": detail.occurred_at.isoformat(),
        "merchant_category": detail.merchant_category,
        "final": detail.final,
    }


def read_line(document: Mapping[str, Any], line: int) -> Detail:
    """The detail record that `line_document` wrote."""
    return Detail(
        line=line,
        kind=DetailKind(document["kind"]),
        card_token=document["card_token"],
        reference=document["reference"],
        authorization_id=document["authorization_id"],
        amount=Decimal(document["amount"]),
        currency=document["currency"],
        occurred_at=datetime.fromisoformat(document["occurred_at"]),
        merchant_category=document["merchant_category"],
        final=document["final"],
    )


def transaction_document(transaction: ProcessorTransaction) -> dict[str, object]:
    """A transaction of the processor's list."""
    return {
        "card_token": transaction.card_token,
        "authorization_id": transaction.authorization_id,
        "state": transaction.state.value,
        "approved_amount": f"{transaction.approved_amount:.2f}",
        "cleared_amount": f"{transaction.cleared_amount:.2f}",
        "currency": transaction.currency,
        "changed_at": transaction.changed_at.isoformat(),
    }


def read_transaction(document: Mapping[str, Any]) -> ProcessorTransaction:
    """The transaction that `transaction_document` wrote."""
    return ProcessorTransaction(
        card_token=document["card_token"],
        authorization_id=document["authorization_id"],
        state=TheirState(document["state"]),
        approved_amount=Decimal(document["approved_amount"]),
        cleared_amount=Decimal(document["cleared_amount"]),
        currency=document["currency"],
        changed_at=datetime.fromisoformat(document["changed_at"]),
    )
