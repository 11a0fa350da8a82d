"""Which event is told to whom, by which template. Events of other types are told to nobody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cardwright.kernel.clock import rfc3339
from cardwright.notifications.rules.texts import templates
from cardwright.notifications.rules.wishes import Category
from cardwright.outbox.rules import NOTIFICATION_REQUESTED, WEBHOOK_DISABLED, Event
from cardwright.transactions.rules.enrichment import enrich

_TEXT_MAX = 120


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody is to be told. `params` fill the template; the same `collapse_key` within minutes is the same thing."""

    user_id: UUID
    template: str
    category: Category
    params: Mapping[str, str]
    collapse_key: str | None = None


_Reader = Callable[[Event], dict[str, str]]


def plan(event: Event) -> Plan | None:
    """What an event means for its user; None when it is told to nobody. Raises ValueError for an event that tells too little."""
    if event.type == NOTIFICATION_REQUESTED and event.user_id is not None:
        return _requested(event, event.user_id)
    row = _TABLE.get(event.type)
    if row is None or event.user_id is None:
        return None
    template, category, read = row
    try:
        params = read(event)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an event of type {event.type} tells too little") from error
    return Plan(event.user_id, template, category, params, _collapse_key(template, category, event, params))


def _requested(event: Event, user_id: UUID) -> Plan:
    """What the staff sends; it was checked when it was asked for."""
    params = event.data.get("params")
    template = templates().get(str(event.data.get("template")))
    if template is None or template.category is None or not isinstance(params, dict):
        raise ValueError("a request names no template that may be sent")
    return Plan(user_id, template.name, template.category, {str(name): str(value) for name, value in params.items()})


def _card(event: Event) -> dict[str, str]:
    told = {"card": str(event.data["last_four"]), "at": rfc3339(event.created_at)}
    return told | _some(reason=event.data.get("reason_code"))


def _transaction(event: Event) -> dict[str, str]:
    data = event.data
    told = {
        "amount": str(data.get("event_amount") or data["amount"]),
        "currency": str(data["currency"]),
        "at": rfc3339(event.created_at),
    }
    merchant = data.get("merchant")
    name = enrich(merchant, str(merchant.get("category_code") or "")).clean_name if isinstance(merchant, dict) else None
    return told | _some(merchant=name, reason=data.get("reason"))


def _alert(event: Event) -> dict[str, str]:
    data = event.data
    return {"at": rfc3339(event.created_at)} | _some(kind=data.get("kind"), until=data.get("locked_until"))


def _fraud(event: Event) -> dict[str, str]:
    data = event.data
    told = {"at": rfc3339(event.created_at)} | _some(card=data.get("last_four"))
    if data.get("amount") and data.get("currency"):
        told |= _transaction(event)
    return told


def _time_alone(event: Event) -> dict[str, str]:
    return {"at": rfc3339(event.created_at)}


def _report(event: Event) -> dict[str, str]:
    return {"at": rfc3339(event.created_at)} | _some(report=event.data.get("report") or event.data.get("type"))


def _webhook(event: Event) -> dict[str, str]:
    data = event.data
    told = {"subscription": str(data["subscription_id"]), "reason": str(data["cause"]), "at": rfc3339(event.created_at)}
    return told | _some(description=data.get("description"), host=data.get("host"))


def _some(**values: object) -> dict[str, str]:
    return {name: str(value)[:_TEXT_MAX] for name, value in values.items() if value is not None}


_TABLE: dict[str, tuple[str, Category, _Reader]] = {
    "card.created": ("card_created", Category.CARDS, _card),
    "card.frozen": ("card_frozen", Category.CARDS, _card),
    "card.unfrozen": ("card_unfrozen", Category.CARDS, _card),
    "card.cancelled": ("card_cancelled", Category.CARDS, _card),
    "card.expired": ("card_expired", Category.CARDS, _card),
    "card.replaced": ("card_replaced", Category.CARDS, _card),
    "card.limits_updated": ("card_limits_updated", Category.CARDS, _card),
    "card.fraud_detected": ("card_fraud_detected", Category.SECURITY, _fraud),
    "transaction.authorized": ("transaction_authorized", Category.TRANSACTIONS, _transaction),
    "transaction.declined": ("transaction_declined", Category.TRANSACTIONS, _transaction),
    "transaction.reversed": ("transaction_reversed", Category.TRANSACTIONS, _transaction),
    "transaction.refunded": ("transaction_refunded", Category.TRANSACTIONS, _transaction),
    "transaction.force_posted": ("transaction_force_posted", Category.TRANSACTIONS, _transaction),
    "kyc.verified": ("kyc_verified", Category.ACCOUNT, _time_alone),
    "kyc.rejected": ("kyc_rejected", Category.ACCOUNT, _time_alone),
    "security.alert": ("security_alert", Category.SECURITY, _alert),
    "report.ready": ("report_ready", Category.OPERATIONS, _report),
    WEBHOOK_DISABLED: ("webhook_disabled", Category.OPERATIONS, _webhook),
}


def _collapse_key(template: str, category: Category, event: Event, params: Mapping[str, str]) -> str | None:
    """Of transactions alone: a shop's terminal tries again and again, perhaps for less. Money that moved in two amounts is two
    things."""
    if category is not Category.TRANSACTIONS or event.card_id is None:
        return None
    alike = [template, str(event.card_id), params.get("merchant", ""), params.get("reason", "")]
    if event.type != "transaction.declined":
        alike += [params["amount"], params["currency"]]
    return ":".join(alike)[:300]
