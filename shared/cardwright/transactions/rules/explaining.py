"""A transaction told to its cardholder: why it was decided so, what became of it, what to do next. Pure; in English."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.history import CardTransaction, TransactionStatus
from cardwright.transactions.rules.life import Flag, Member, Told, live

_NOTHING = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Advice:
    """Why it is so, and what the cardholder can do."""

    explanation: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldEvent:
    """What the network told of a transaction after its request. `amount` is in `currency`; `parked_reason` while it waits.

    `voids` marks a reversal of our own: the network never got the approval.
    """

    event_id: str
    type: EventType
    authorization_id: str | None
    amount: Decimal
    currency: str
    final: bool
    voids: bool
    state: str
    parked_reason: str | None
    received_at: datetime
    applied_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened. `status` is where the transaction stood after it; None when it changed nothing (yet)."""

    at: datetime
    type: str
    amount: Decimal
    currency: str
    status: TransactionStatus | None
    detail: str


# By the reason of the decision (CONTRACT, from the processor), and what the network posts without asking.
REASONS = {
    "approved": Advice("The purchase was within the card's limits and settings, so it was approved.", "Nothing to do."),
    "card_not_found": Advice(
        "The card that was used is not one of ours.", "Check the card number at the merchant, or use another card."
    ),
    "card_frozen": Advice("The card was frozen at that moment.", "Unfreeze the card, then pay again."),
    "card_cancelled": Advice(
        "The card had been cancelled, and a cancelled card never works again.",
        "Pay with another card, and replace the number where it is stored.",
    ),
    "card_expired": Advice(
        "The card's last month was over.", "Pay with another card, and replace the number where it is stored."
    ),
    "card_already_used": Advice("The card is for a single use and had been used.", "Issue another single-use card."),
    "merchant_locked": Advice(
        "The card is locked to the merchant where it was used first, and this was another one.",
        "Pay here with another card.",
    ),
    "currency_mismatch": Advice(
        "The amount was asked for in another currency than the card's.",
        "Ask the merchant to charge in the card's currency, or use a card of that currency.",
    ),
    "per_transaction_limit_exceeded": Advice(
        "The amount was above what the card may spend at once.", "Raise the card's limit per transaction, then pay again."
    ),
    "daily_limit_exceeded": Advice(
        "The amount was above what was left of the card's daily limit.",
        "Raise the daily limit, or pay again after the limit has begun anew.",
    ),
    "monthly_limit_exceeded": Advice(
        "The amount was above what was left of the card's monthly limit.",
        "Raise the monthly limit, or pay again after the limit has begun anew.",
    ),
    "insufficient_funds": Advice(
        "There was not enough money on the card for this amount.", "Add money to the card, then pay again."
    ),
    "merchant_category_blocked": Advice(
        "The card's settings do not allow this kind of merchant.", "Allow the category in the card's settings, then pay again."
    ),
    "country_blocked": Advice(
        "The card's settings do not allow the merchant's country.", "Allow the country in the card's settings, then pay again."
    ),
    "channel_blocked": Advice(
        "The card's settings do not allow paying in this way.", "Allow this way of paying in the card's settings, then pay again."
    ),
    "velocity_exceeded": Advice(
        "The card had been used as often as its settings allow within one hour.",
        "Wait until an hour has passed since the first of these purchases, or raise the number in the card's settings.",
    ),
    "fraud_suspected": Advice(
        "The purchase looked unusual, so it was declined to protect you.",
        "If it was you, confirm it in your fraud alerts and pay again. If not, report the card as stolen.",
    ),
    "authorization_id_reused": Advice(
        "The merchant's bank sent a reference that it had used for another purchase.", "Ask the merchant to try once more."
    ),
    "issuer_unavailable": Advice("We could not decide in time, and nothing was charged.", "Pay again in a moment."),
    "force_posted": Advice(
        "The merchant charged the card without asking first, which the networks allow in some cases.",
        "If you do not know the charge, contact support to dispute it.",
    ),
    "refunded": Advice("The merchant returned money to the card.", "Nothing to do."),
}
_UNKNOWN = Advice("The card's rules decided so.", "Contact support if you have a question about it.")

# By where the transaction stands, for all that was not declined.
STATUSES = {
    TransactionStatus.AUTHORIZED: Advice(
        "The amount is reserved; the merchant has not charged it yet.",
        "Nothing to do. What the merchant does not charge is released by itself.",
    ),
    TransactionStatus.DECLINED: Advice("Nothing was charged.", "Nothing to do."),
    TransactionStatus.CLEARED: Advice(
        "The merchant has charged the amount.", "Nothing to do. If you do not know the charge, contact support to dispute it."
    ),
    TransactionStatus.PARTIALLY_CLEARED: Advice(
        "The merchant has charged a part of the amount; the rest is still reserved.",
        "Nothing to do. What the merchant does not charge is released by itself.",
    ),
    TransactionStatus.REVERSED: Advice("The merchant has released the amount; nothing is charged.", "Nothing to do."),
    TransactionStatus.EXPIRED: Advice(
        "The merchant did not charge the amount in time, so it was released.",
        "Nothing to do. The merchant may still charge it later; you would see that here.",
    ),
    TransactionStatus.REFUNDED: Advice("The merchant has returned the whole amount.", "Nothing to do."),
    TransactionStatus.PARTIALLY_REFUNDED: Advice(
        "The merchant has returned a part of the amount.",
        "Nothing to do. If you expected more, ask the merchant for the rest.",
    ),
    TransactionStatus.FORCE_POSTED: Advice(
        "The merchant charged the amount without an approval of ours.",
        "If you do not know the charge, contact support to dispute it.",
    ),
}

FLAGS = {
    Flag.OVER_CLEARED: "The merchant charged more than was approved, and more than is usual for its kind.",
    Flag.OVER_REVERSED: "The merchant released more than had been approved.",
    Flag.REFUND_EXCEEDS_CLEARED: "The merchant returned more than it had charged.",
    Flag.CLEARED_WITHOUT_APPROVAL: "The merchant charged what we had declined.",
    Flag.VOIDED: "The merchant never learned of the approval, so the amount was released.",
}

_DECIDED = {
    "authorization": "The merchant asked for the amount.",
    "incremental": "The merchant asked for more of an earlier authorization.",
    "advice": "The card network decided in our place.",
}
EVENTS = {
    EventType.CLEARED: "The merchant charged the amount.",
    EventType.REVERSED: "The merchant released the amount.",
    EventType.REFUNDED: "The merchant returned the amount.",
    EventType.EXPIRED: "The reserved amount was released, as it had not been charged in time.",
    EventType.FORCE_POSTED: "The merchant charged the amount without an approval.",
    EventType.ADVICE: "The card network told us what it had decided in our place.",
}
PARKED = {
    "authorization_unknown": "It waits until we know the authorization it belongs to.",
    "currency_mismatch": "It is in another currency than the purchase; our staff is looking at it.",
}
_WAITS = "It waits until it can be matched; our staff is looking at it."


def explain(transaction: CardTransaction) -> Advice:
    """Why a transaction was decided as it was and where it stands, and what its cardholder can do."""
    reason = REASONS.get(transaction.reason, _UNKNOWN)
    if transaction.status is TransactionStatus.DECLINED:
        return reason
    stands = STATUSES[transaction.status]
    if transaction.type in ("force_post", "refund") and transaction.status in (
        TransactionStatus.FORCE_POSTED,
        TransactionStatus.REFUNDED,
    ):
        return reason
    return Advice(f"{reason.explanation} {stands.explanation}", stands.next_step)


def in_words(flags: Sequence[str]) -> list[str]:
    """What is odd about a transaction, each in a sentence."""
    known = {str(flag): words for flag, words in FLAGS.items()}
    return [known.get(flag, "Something about this transaction is unusual; our staff is looking at it.") for flag in flags]


def timeline(bearer: CardTransaction, members: Sequence[CardTransaction], events: Sequence[ToldEvent]) -> list[TimelineEntry]:
    """What happened to a transaction, oldest first.

    `members` are the rows of its group in the order of their decisions, `events` what the network told as it came;
    what is parked changed nothing. After each step stands the status that the steps until then make.
    """
    steps: list[tuple[datetime, int, CardTransaction | ToldEvent]] = [(row.decided_at, 0, row) for row in members]
    steps += [(event.applied_at or event.received_at, 1, event) for event in events]
    entries: list[TimelineEntry] = []
    rows: list[CardTransaction] = []
    applied: list[ToldEvent] = []
    for at, _, step in sorted(steps, key=lambda one: one[:2]):
        if isinstance(step, CardTransaction):
            rows.append(step)
            standing = _standing(bearer, rows, applied)
            entries.append(
                TimelineEntry(
                    at=at,
                    type=step.type,
                    amount=step.amount,
                    currency=step.currency,
                    status=TransactionStatus.DECLINED if _declined(step) else standing,
                    detail=_decision_words(step),
                )
            )
            continue
        counts = step.state == "APPLIED"
        applied += [step] if counts else []
        entries.append(
            TimelineEntry(
                at=at,
                type=step.type,
                amount=step.amount,
                currency=step.currency,
                status=_standing(bearer, rows, applied) if counts else None,
                detail=_event_words(step),
            )
        )
    return entries


def _declined(row: CardTransaction) -> bool:
    return row.type in ("authorization", "incremental") and row.reason != "approved"


def _decision_words(row: CardTransaction) -> str:
    why = REASONS.get(row.reason, _UNKNOWN).explanation
    return why if row.type in ("force_post", "refund") else f"{_DECIDED.get(row.type, _DECIDED['authorization'])} {why}"


def _event_words(event: ToldEvent) -> str:
    if event.state == "PARKED":
        return f"{EVENTS[event.type]} {PARKED.get(event.parked_reason or '', _WAITS)}"
    if event.state == "CLOSED":
        return f"{EVENTS[event.type]} It was closed by our staff and changed nothing."
    if event.voids:
        return FLAGS[Flag.VOIDED]
    if event.type is EventType.CLEARED and event.final:
        return "The merchant charged the amount as its last charge; what was still reserved is released."
    return EVENTS[event.type]


def _standing(bearer: CardTransaction, rows: Sequence[CardTransaction], applied: Sequence[ToldEvent]) -> TransactionStatus:
    members = [_member(row, applied) for row in rows if row.type in ("authorization", "incremental", "advice")]
    told = [Told(event.type, event.amount, event.final) for event in applied]
    if not members and not told:
        return bearer.status
    return live(members, told, bearer.merchant_category).status


def _member(row: CardTransaction, applied: Sequence[ToldEvent]) -> Member:
    advices = [event for event in applied if event.type is EventType.ADVICE and event.authorization_id == row.authorization_id]
    return Member(row.approved_amount if row.reason == "approved" else None, advices[-1].amount if advices else None)
