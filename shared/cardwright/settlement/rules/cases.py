"""Cases: what the comparison found that somebody has to look at, with the amounts on both sides."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import ConflictError, NotFoundError


class CaseKind(StrEnum):
    """What is not as it must be."""

    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    UNKNOWN_CARD = "unknown_card"
    UNKNOWN_AUTHORIZATION = "unknown_authorization"
    SETTLED_TWICE = "settled_twice"
    # We have it, the processor has not: a transaction, or an event that no file has settled.
    MISSING_AT_PROCESSOR = "missing_at_processor"
    MISSING_WITH_US = "missing_with_us"
    # The network told of something that belongs to nothing we know, and a day later still does not.
    PARKED_EVENT = "parked_event"
    # A card's spend row, its transactions and its ledger do not say the same.
    LEDGER_DIFFERS = "ledger_differs"
    FILE_REFUSED = "file_refused"
    # Other bytes under the id of a file that was taken.
    FILE_CHANGED = "file_changed"
    # A line that cannot be dealt with: an error of ours stands in its way.
    LINE_BROKEN = "line_broken"


class CaseState(StrEnum):
    """Open cases wait for somebody to look at them."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class Source(StrEnum):
    """What a case was found in, and how it is looked at again."""

    LINE = "line"
    LISTING = "listing"
    EVENT = "event"
    CARD = "card"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. `subject` says what it is about: found again under the same words it is the same case.

    Amounts are decimals in their currency, ours beside the processor's. `detail` is what has to be compared again.
    """

    kind: CaseKind
    source: Source
    subject: tuple[str, ...]
    card_id: UUID | None = None
    transaction_id: UUID | None = None
    authorization_id: str | None = None
    event_id: str | None = None
    file_id: str | None = None
    line: int | None = None
    our_amount: Decimal | None = None
    their_amount: Decimal | None = None
    currency: str | None = None
    their_currency: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the subject, each part with its length before it."""
        parts = (self.source.value, *self.subject)
        return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).digest()


@dataclass(frozen=True, slots=True)
class Case:
    """A finding as it is kept. `difference` is theirs less ours; `closed_how` is mended or by_hand."""

    case_id: UUID
    kind: CaseKind
    card_id: UUID | None
    transaction_id: UUID | None
    authorization_id: str | None
    event_id: str | None
    file_id: str | None
    line: int | None
    our_amount: Decimal | None
    their_amount: Decimal | None
    difference: Decimal | None
    currency: str | None
    their_currency: str | None
    found_at: datetime
    seen_at: datetime
    closed_at: datetime | None
    closed_how: str | None
    note: str | None

    @property
    def state(self) -> CaseState:
        """Open until it is mended or somebody closed it."""
        return CaseState.OPEN if self.closed_at is None else CaseState.CLOSED


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the reconciliation; one without an end was killed or goes on. `failure` is the code of what broke it off."""

    run_id: UUID
    started_at: datetime
    finished_at: datetime | None
    failure: str | None
    transactions: int
    lines: int
    settled: int
    mended: int
    cases_opened: int
    cases_closed: int


def closable(case: Case | None) -> Case:
    """The case when it may be closed. Raises NotFoundError case_not_found, ConflictError case_already_closed."""
    if case is None:
        raise NotFoundError("There is no such case.", code="case_not_found")
    if case.state is CaseState.CLOSED:
        raise ConflictError("The case is closed already.", code="case_already_closed")
    return case
