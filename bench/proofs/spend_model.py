"""A card as a sequential machine: what decisions and events would answer if they came one after another.

Written from the contract and the decisions, not from the code: amounts are whole cents, moments whole seconds, and nothing of
Cardwright is imported. States are never changed in place.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bench.proofs.histories import Operation

HOUR = 3600
CURRENCY = "USD"
OPEN = ("AUTHORIZED", "PARTIALLY_CLEARED")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cardholder sets: status and limits in cents; `velocity` is approvals an hour, None for any number.

    `balance` is what the card is loaded with, None when limits alone fund it.
    """

    status: str = "ACTIVE"
    per_transaction: int = 50_000
    daily: int = 100_000
    monthly: int = 500_000
    velocity: int | None = None
    balance: int | None = None


class Row(NamedTuple):
    """One authorization of a group. `approved` is None for a decline; the epochs name the windows it was taken from."""

    approved: int | None
    spent: int
    day: int
    month: int


class Group(NamedTuple):
    """An authorization with what was added to it, and the sums of what the network told of it."""

    rows: tuple[tuple[str, Row], ...]
    cleared: int = 0
    reversed: int = 0
    refunded: int = 0
    final: bool = False
    expired: bool = False
    # Of what is held so much is over; all of it is when the expiry names no amount.
    lapsed: int = 0
    all_lapsed: bool = False

    @property
    def authorized(self) -> int:
        """What was approved in all."""
        return sum(row.approved or 0 for _, row in self.rows)

    @property
    def held(self) -> int:
        """What is still held of it."""
        if self.final or self.all_lapsed:
            return 0
        return max(self.authorized - self.cleared - self.reversed - self.lapsed, 0)

    @property
    def captured(self) -> int:
        """What was cleared and not given back."""
        return max(self.cleared - self.refunded, 0)

    @property
    def status(self) -> str:
        """What it is called."""
        stands = any(row.approved is not None for _, row in self.rows)
        if self.cleared:
            if self.refunded:
                return "REFUNDED" if self.refunded >= self.cleared and not self.held else "PARTIALLY_REFUNDED"
            if not stands:
                return "FORCE_POSTED"
            return "PARTIALLY_CLEARED" if self.held else "CLEARED"
        if not stands:
            return "DECLINED"
        if 0 < self.authorized <= self.reversed:
            return "REVERSED"
        return "EXPIRED" if self.expired and not self.held else "REVERSED" if self.final else "AUTHORIZED"


@dataclass(frozen=True, slots=True)
class Card:
    """The whole state. `day` and `month` are the starts of the windows that are summed, the epochs count how often they began."""

    settings: Settings
    answers: dict[str, tuple[str, str, int, str]]
    groups: dict[str, Group]
    events: dict[str, tuple[str, bool]]
    waiting: tuple[Operation, ...] = ()
    day: int = 0
    month: int = 0
    day_epoch: int = 0
    month_epoch: int = 0
    day_spent: int = 0
    month_spent: int = 0
    held: int = 0
    balance: int = 0
    recent: tuple[int, ...] = ()
    # An exclusive or over everything in the three tables: equal tables give equal marks, whatever order they were filled in.
    mark: int = 0


class SpendModel:
    """Operations by name: authorize, event, settle (what waited is tried again), set, read, look."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()

    def start(self) -> Card:
        """A new card."""
        return Card(self._settings, {}, {}, {}, balance=self._settings.balance or 0)

    def step(self, state: Card, operation: Operation) -> Card | None:
        """The state after the operation, or None when it could not have answered so."""
        after, answer = self.run(state, operation)
        told = operation.answer
        if told is None or all(answer.get(name) == value for name, value in told.items()):
            return after
        return None

    def fingerprint(self, state: Card) -> Hashable:
        """What tells states apart."""
        return (
            state.mark, state.held, state.balance, state.day_spent, state.month_spent, state.day_epoch, state.month_epoch,
            state.recent, state.settings, len(state.waiting),
        )  # fmt: skip

    def run(self, state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
        """The state after the operation and what it answers."""
        return _STEPS[operation.name](state, operation)


def _set(state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
    return replace(state, settings=replace(state.settings, **operation.asked)), {}


def _read(state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
    balance = state.balance if state.settings.balance is not None else None
    return state, {"held": state.held, "day_spent": state.day_spent, "month_spent": state.month_spent, "balance": balance}


def _look(state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
    identity = str(operation.asked["id"])
    if identity not in state.answers:
        return state, {"status": None}
    root = state.answers[identity][3]
    group = state.groups[root]
    if root != identity:
        return state, {"open": dict(group.rows)[identity].approved is not None and group.status in OPEN}
    told: dict[str, Any] = {"status": group.status}
    told |= {"held": group.held, "cleared": group.cleared, "reversed": group.reversed, "refunded": group.refunded}
    return state, told


def _authorize(state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
    asked = operation.asked
    identity = str(asked["id"])
    known = state.answers.get(identity)
    if known is not None:
        body, reason, approved, _ = known
        if body != asked["body"]:
            return state, {"reason": "authorization_id_reused", "approved": 0}
        return state, {"reason": reason, "approved": approved}
    original = state.answers.get(str(asked.get("original")))
    continued = False
    root = identity
    if original is not None and original[1] == "approved" and original[2] > 0 and state.groups[original[3]].status in OPEN:
        continued, root = True, original[3]
    reason, approved = _decide(state, asked, continued=continued)
    # A decline opens the running windows too: what is cleared all the same counts in them.
    state = _roll(state, int(asked["day"]), int(asked["month"]))
    if reason != "approved":
        # What is declined adds nothing to what it was to be more of: it stands alone.
        row = Row(None, 0, state.day_epoch, state.month_epoch)
        after = _keep(state, identity, (str(asked["body"]), reason, 0, identity), identity, row)
        return after, {"reason": reason, "approved": 0}
    recent = state.recent
    velocity = state.settings.velocity
    if velocity is not None and not continued:
        recent = (*recent, int(asked["now"]))[-(velocity + 1) :]
    state = replace(
        state,
        held=state.held + approved,
        day_spent=state.day_spent + approved,
        month_spent=state.month_spent + approved,
        recent=recent,
    )
    row = Row(approved, approved, state.day_epoch, state.month_epoch)
    after = _keep(state, identity, (str(asked["body"]), reason, approved, root), root, row)
    return after, {"reason": reason, "approved": approved}


def _decide(state: Card, asked: dict[str, Any], *, continued: bool) -> tuple[str, int]:
    settings, amount, partial = state.settings, int(asked["amount"]), bool(asked.get("partial"))
    if settings.status == "FROZEN":
        return "card_frozen", 0
    if amount > settings.per_transaction and not partial:
        return "per_transaction_limit_exceeded", 0
    of_day = settings.daily - (state.day_spent if state.day >= asked["day"] else 0)
    of_month = settings.monthly - (state.month_spent if state.month >= asked["month"] else 0)
    funds = amount if settings.balance is None else state.balance - state.held
    wanted = min(amount, 1) if partial else amount
    for left, reason in (
        (of_day, "daily_limit_exceeded"),
        (of_month, "monthly_limit_exceeded"),
        (funds, "insufficient_funds"),
    ):
        if left < wanted:
            return reason, 0
    if (
        settings.velocity is not None
        and not continued
        and len(state.recent) >= settings.velocity
        and state.recent[-settings.velocity] > int(asked["now"]) - HOUR
    ):
        return "velocity_exceeded", 0
    return "approved", min(amount, settings.per_transaction, of_day, of_month, funds) if partial else amount


def _roll(state: Card, day: int, month: int) -> Card:
    """Begin windows anew that are over; what was taken from the old ones is not given back to the new."""
    if day > state.day:
        state = replace(state, day=day, day_epoch=state.day_epoch + 1, day_spent=0)
    if month > state.month:
        state = replace(state, month=month, month_epoch=state.month_epoch + 1, month_spent=0)
    return state


def _keep(state: Card, identity: str, answer: tuple[str, str, int, str], root: str, row: Row) -> Card:
    group = state.groups.get(root)
    grown = Group(((identity, row),)) if group is None else group._replace(rows=(*group.rows, (identity, row)))
    mark = state.mark ^ hash((identity, answer)) ^ hash((root, grown)) ^ (0 if group is None else hash((root, group)))
    return replace(state, answers=state.answers | {identity: answer}, groups=state.groups | {root: grown}, mark=mark)


def _belongs(state: Card, asked: dict[str, Any]) -> bool:
    """Whether an event names an authorization that is known, in its currency."""
    return str(asked["id"]) in state.answers and asked.get("currency", CURRENCY) == CURRENCY


def _event(state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
    asked = operation.asked
    identity = str(asked["event_id"])
    told = (asked["type"], asked["id"], asked["amount"], asked.get("final", False), asked.get("currency", CURRENCY))
    body = " ".join(map(str, told))
    known = state.events.get(identity)
    if known is not None:
        return state, {"outcome": "duplicate" if known[0] == body else "event_id_reused"}
    applied = _belongs(state, asked)
    mark = state.mark ^ hash((identity, body, applied))
    state = replace(state, events=state.events | {identity: (body, applied)}, mark=mark)
    if not applied:
        return replace(state, waiting=(*state.waiting, operation)), {"outcome": "parked"}
    return _fold(state, asked), {"outcome": "applied"}


def _settle(state: Card, operation: Operation) -> tuple[Card, dict[str, Any]]:
    """What waited for an authorization that is there by now is applied."""
    waiting = state.waiting
    state = replace(state, waiting=tuple(one for one in waiting if not _belongs(state, one.asked)))
    for one in waiting:
        if _belongs(state, one.asked):
            identity = str(one.asked["event_id"])
            body, _ = state.events[identity]
            mark = state.mark ^ hash((identity, body, False)) ^ hash((identity, body, True))
            state = _fold(replace(state, events=state.events | {identity: (body, True)}, mark=mark), one.asked)
    return state, {}


def _fold(state: Card, asked: dict[str, Any]) -> Card:
    root = state.answers[str(asked["id"])][3]
    group = state.groups[root]
    amount, kind = int(asked["amount"]), str(asked["type"])
    told = group._replace(
        cleared=group.cleared + (amount if kind == "cleared" else 0),
        reversed=group.reversed + (amount if kind == "reversed" else 0),
        refunded=group.refunded + (amount if kind == "refunded" else 0),
        final=group.final or (kind == "cleared" and bool(asked.get("final"))),
        expired=group.expired or kind == "expired",
        lapsed=group.lapsed + (amount if kind == "expired" else 0),
        all_lapsed=group.all_lapsed or (kind == "expired" and amount == 0),
    )
    left = told.held + told.captured
    # What is over all that was authorized is the first one's.
    over = max(left - told.authorized, 0)
    rows: list[tuple[str, Row]] = []
    of_day = of_month = 0
    for identity, row in told.rows:
        share = min(left, row.approved or 0)
        left -= share
        share += 0 if rows else over
        of_day += (share - row.spent) * (row.day == state.day_epoch)
        of_month += (share - row.spent) * (row.month == state.month_epoch)
        rows.append((identity, row._replace(spent=share)))
    told = told._replace(rows=tuple(rows))
    return replace(
        state,
        groups=state.groups | {root: told},
        held=state.held + told.held - group.held,
        balance=state.balance - (told.cleared - told.refunded) + (group.cleared - group.refunded),
        day_spent=state.day_spent + of_day,
        month_spent=state.month_spent + of_month,
        mark=state.mark ^ hash((root, group)) ^ hash((root, told)),
    )


_STEPS: dict[str, Callable[[Card, Operation], tuple[Card, dict[str, Any]]]] = {
    "authorize": _authorize,
    "event": _event,
    "settle": _settle,
    "set": _set,
    "read": _read,
    "look": _look,
}
