"""Drift: how the processor's cards differ from ours, what of it may be mended, and when it is safer to touch nothing."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cardwright.cards.rules.issuing import ProcessorCard
from cardwright.cards.rules.states import PROCESSOR_STATES, CardStatus, ProcessorState, open_card

# Whoever changed a card so shortly ago is telling the processor of it right now.
DRIFT_GRACE = timedelta(minutes=1)
# Nothing is closed of a page this long when more than this share of it would be, and in one run no more than this many cards:
# what is closed at the processor is closed for good, so that many at once are first looked at by somebody.
UNKNOWN_PAGE = 50
UNKNOWN_PERCENT = 20
UNKNOWN_CLOSED_MAX = 20
# An issuance that ended without a card: whatever the processor made for it is nobody's.
_GIVEN_UP = frozenset({"ABANDONED", "FAILED"})


class FindingKind(StrEnum):
    """What was not as it must be."""

    STATE_DIFFERS = "state_differs"
    CLOSED_AT_PROCESSOR = "closed_at_processor"
    UNKNOWN_AT_PROCESSOR = "unknown_at_processor"
    MISSING_AT_PROCESSOR = "missing_at_processor"


class Drift(StrEnum):
    """What one card of the processor's list calls for."""

    NONE = "none"
    # Somebody is at it: no verdict now.
    WAIT = "wait"
    MEND = "mend"
    CLOSE = "close"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class KnownCard:
    """What we know of a token: our card, the processor we have it from, its status, when it last changed."""

    card_id: UUID
    processor: str
    status: CardStatus
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a card of the processor's list calls for; `kind` is the finding to keep, `card_id` our card that it concerns.

    `ours`: the token is that card's own, and we have it from this processor. Of a token that no card of ours has, `card_id` is
    only what its reference says.
    """

    card: ProcessorCard
    drift: Drift
    kind: FindingKind | None = None
    card_id: UUID | None = None
    ours: bool = False

    @property
    def digest(self) -> bytes:
        """What the finding is kept under."""
        return token_digest(self.card.token)


@dataclass(frozen=True, slots=True)
class ProcessorFinding:
    """A finding as it is kept: `mended_at` is None while somebody has to look at it.

    `card_id` is the card of ours; with unknown_at_processor the id the processor's reference names, which need not be ours.
    """

    finding_id: UUID
    kind: FindingKind
    card_id: UUID | None
    found_at: datetime
    seen_at: datetime
    mended_at: datetime | None


def token_digest(token: str) -> bytes:
    """SHA-256 of a processor's token: what a stranger's list holds may be anything."""
    return hashlib.sha256(token.encode()).digest()


def drift_of_ours(seen: ProcessorCard, ours: KnownCard, processor: str, now: datetime) -> Verdict:
    """Compare one of our cards with what the processor says of it.

    A processor closes for good, so an open card of ours that it has closed is reported; any other state can be told again.
    """
    if ours.processor != processor:
        return Verdict(seen, Drift.NONE)
    if seen.state is PROCESSOR_STATES[ours.status]:
        return Verdict(seen, Drift.NONE, card_id=ours.card_id, ours=True)
    if ours.updated_at > now - DRIFT_GRACE:
        return Verdict(seen, Drift.WAIT, card_id=ours.card_id, ours=True)
    if seen.state is ProcessorState.CLOSED and open_card(ours.status):
        return Verdict(seen, Drift.REPORT, FindingKind.CLOSED_AT_PROCESSOR, ours.card_id, ours=True)
    return Verdict(seen, Drift.MEND, FindingKind.STATE_DIFFERS, ours.card_id, ours=True)


def drift_of_unknown(seen: ProcessorCard, issuance_state: str | None) -> Verdict:
    """Judge a token that no card of ours has, by the issuance of ours that its reference names; None when there is none.

    One that is being made is the issuance sweeper's. Only what an issuance gave up is closed: nobody was ever given that card.
    Everything else is reported. Without an issuance it may be a customer's: of another stage on the same account, or made
    after the moment our database was restored to. And of a second card for an issuance that has its card it cannot be told
    whether the processor gave our card another token or made two.
    """
    if seen.state is ProcessorState.CLOSED:
        return Verdict(seen, Drift.NONE)
    if issuance_state == "REQUESTED":
        return Verdict(seen, Drift.WAIT)
    drift = Drift.CLOSE if issuance_state in _GIVEN_UP else Drift.REPORT
    return Verdict(seen, drift, FindingKind.UNKNOWN_AT_PROCESSOR, seen.card_id)


def too_many_unknown(page: int, unknown: int) -> bool:
    """True when so many cards of a page would be closed as unknown that what we know, rather than the cards, is in doubt."""
    return page >= UNKNOWN_PAGE and unknown * 100 > page * UNKNOWN_PERCENT
