"""The life of a transaction: what it holds, has spent and is called, as a function of the set of its events.

The order in which they come does not enter, so every order ends in the same state. A group is an authorization with its
incrementals; the first of them bears the amounts, the others show its status. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from cardwright.transactions.rules.events import EventType
from cardwright.transactions.rules.history import TransactionStatus
from cardwright.transactions.rules.holds import clearing_tolerance

_NOTHING = Decimal("0.00")


class Flag(StrEnum):
    """What is odd about a transaction and worth a look; none of them stops an event."""

    OVER_CLEARED = "over_cleared"
    OVER_REVERSED = "over_reversed"
    REFUND_EXCEEDS_CLEARED = "refund_exceeds_cleared"
    CLEARED_WITHOUT_APPROVAL = "cleared_without_approval"
    # The network never got an approval for it (docs/decisions/0018).
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Member:
    """One authorization of a group: what was approved, None for a decline, and what the network decided elsewhere, if it did."""

    approved: Decimal | None
    advised: Decimal | None = None

    @property
    def authorized(self) -> Decimal:
        """What may be held for it."""
        return (self.approved or _NOTHING) if self.advised is None else self.advised

    @property
    def stands(self) -> bool:
        """True when somebody approved it, be it for nothing."""
        return self.approved is not None or self.advised is not None


@dataclass(frozen=True, slots=True)
class Told:
    """An event as far as it counts: `amount` in the card's currency."""

    type: EventType
    amount: Decimal
    final: bool = False


@dataclass(frozen=True, slots=True)
class Life:
    """Where a group stands. `spent` counts in the windows of limits, one figure a member, the oldest first."""

    status: TransactionStatus
    held: Decimal
    spent: tuple[Decimal, ...]
    cleared: Decimal
    reversed: Decimal
    refunded: Decimal
    final: bool
    expired: bool
    flags: tuple[Flag, ...]


def live(members: Sequence[Member], events: Sequence[Told], merchant_category: str) -> Life:
    """Return where the group stands after these events, in whichever order they came.

    `members` are in the order of their decisions; there are none in what the network posted without asking.
    """
    authorized = sum((member.authorized for member in members), _NOTHING)
    stands = any(member.stands for member in members)
    cleared = _sum(events, EventType.CLEARED) + _sum(events, EventType.FORCE_POSTED)
    returned, refunded = _sum(events, EventType.REVERSED), _sum(events, EventType.REFUNDED)
    final = any(event.final for event in events)
    expired = any(event.type is EventType.EXPIRED for event in events)
    # An expiry of no amount ends whatever is held; one of an amount, so much of it.
    ended = final or any(event.type is EventType.EXPIRED and event.amount == 0 for event in events)
    lapsed = _sum(events, EventType.EXPIRED)
    held = _NOTHING if ended else max(authorized - cleared - returned - lapsed, _NOTHING)
    spent = held + max(cleared - refunded, _NOTHING)
    flags = []
    if cleared > 0 and not stands and members:
        flags.append(Flag.CLEARED_WITHOUT_APPROVAL)
    if stands and cleared > 0 and cleared > authorized - returned + clearing_tolerance(merchant_category, authorized):
        flags.append(Flag.OVER_CLEARED)
    if returned > authorized:
        flags.append(Flag.OVER_REVERSED)
    if refunded > cleared and members:
        flags.append(Flag.REFUND_EXCEEDS_CLEARED)
    if cleared > 0:
        status = _after_clearing(cleared, refunded, held, stands=stands)
    elif not members:
        status = TransactionStatus.REFUNDED
    elif not stands:
        status = TransactionStatus.DECLINED
    else:
        status = _before_clearing(authorized, returned, final=final, expired=expired and not held)
    return Life(status, held, _shares(members, spent), cleared, returned, refunded, final, expired, tuple(flags))


def _sum(events: Sequence[Told], wanted: EventType) -> Decimal:
    return sum((event.amount for event in events if event.type is wanted), _NOTHING)


def _after_clearing(cleared: Decimal, refunded: Decimal, held: Decimal, *, stands: bool) -> TransactionStatus:
    if refunded > 0:
        return TransactionStatus.REFUNDED if refunded >= cleared and not held else TransactionStatus.PARTIALLY_REFUNDED
    if not stands:
        return TransactionStatus.FORCE_POSTED
    return TransactionStatus.PARTIALLY_CLEARED if held > 0 else TransactionStatus.CLEARED


def _before_clearing(authorized: Decimal, returned: Decimal, *, final: bool, expired: bool) -> TransactionStatus:
    if 0 < authorized <= returned:
        return TransactionStatus.REVERSED
    if expired:
        return TransactionStatus.EXPIRED
    # A final clearing of nothing ends an authorization as a reversal does.
    return TransactionStatus.REVERSED if final else TransactionStatus.AUTHORIZED


def _shares(members: Sequence[Member], spent: Decimal) -> tuple[Decimal, ...]:
    """Share out what is spent, the oldest first, each up to what was authorized; what is over that is the first one's."""
    shares = []
    left = spent
    for member in members:
        shares.append(min(left, member.authorized))
        left -= shares[-1]
    if not shares:
        return (spent,)
    shares[0] += left
    return tuple(shares)
