"""States of a card: their one transition table, the reasons for a move, and who may make and undo it."""

from enum import StrEnum

from cardwright.kernel.errors import ConflictError, FieldError, ForbiddenError, InvalidFieldsError
from cardwright.kernel.rows import STAFF, Role


class CardStatus(StrEnum):
    """Where a card stands."""

    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class ProcessorState(StrEnum):
    """The processor's own switch beside our decision."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CLOSED = "CLOSED"


# Every legal move; the trigger guard_card_state holds the same pairs and a test compares them.
MOVES: frozenset[tuple[CardStatus, CardStatus]] = frozenset(
    {
        (CardStatus.ACTIVE, CardStatus.FROZEN),
        (CardStatus.FROZEN, CardStatus.ACTIVE),
        (CardStatus.ACTIVE, CardStatus.CANCELLED),
        (CardStatus.FROZEN, CardStatus.CANCELLED),
        (CardStatus.ACTIVE, CardStatus.EXPIRED),
        (CardStatus.FROZEN, CardStatus.EXPIRED),
    }
)
OPEN = frozenset({CardStatus.ACTIVE, CardStatus.FROZEN})
EVENTS = {
    CardStatus.ACTIVE: "card.unfrozen",
    CardStatus.FROZEN: "card.frozen",
    CardStatus.CANCELLED: "card.cancelled",
    CardStatus.EXPIRED: "card.expired",
}
PROCESSOR_STATES = {
    CardStatus.ACTIVE: ProcessorState.ACTIVE,
    CardStatus.FROZEN: ProcessorState.PAUSED,
    CardStatus.CANCELLED: ProcessorState.CLOSED,
    CardStatus.EXPIRED: ProcessorState.CLOSED,
}


class ReasonCode(StrEnum):
    """Why a card was moved."""

    USER_REQUEST = "user_request"
    LOST = "lost"
    STOLEN = "stolen"
    COMPROMISED = "compromised"
    DAMAGED = "damaged"
    FRAUD = "fraud"
    COMPLIANCE = "compliance"
    ISSUER_REQUEST = "issuer_request"
    EXPIRED = "expired"
    DISPUTED_ALERT = "disputed_alert"
    OTHER = "other"


# Actors that are no person: schedules and the fraud engine, and a cardholder's dispute of a fraud alert.
SYSTEM = "system"
FRAUD_DISPUTE = "fraud_dispute"

_HOLDERS = frozenset(Role) - STAFF
_BY_HOLDERS = frozenset(
    {
        ReasonCode.USER_REQUEST,
        ReasonCode.LOST,
        ReasonCode.STOLEN,
        ReasonCode.COMPROMISED,
        ReasonCode.DAMAGED,
        ReasonCode.OTHER,
    }
)
_BY_SUPPORT = _BY_HOLDERS | {ReasonCode.FRAUD, ReasonCode.ISSUER_REQUEST}
_BY_OFFICERS = _BY_SUPPORT | {ReasonCode.COMPLIANCE}
# Which reasons each actor may give; the first line of what decides who may undo a freeze.
REASONS: dict[str, frozenset[ReasonCode]] = {
    **dict.fromkeys(_HOLDERS, _BY_HOLDERS),
    Role.SUPPORT: _BY_SUPPORT,
    Role.ADMIN: _BY_OFFICERS,
    Role.COMPLIANCE_OFFICER: _BY_OFFICERS,
    SYSTEM: frozenset({ReasonCode.FRAUD, ReasonCode.EXPIRED, ReasonCode.USER_REQUEST, ReasonCode.ISSUER_REQUEST}),
    FRAUD_DISPUTE: frozenset({ReasonCode.DISPUTED_ALERT}),
}
_DEFAULT_REASONS: dict[str, ReasonCode] = {
    **dict.fromkeys(_HOLDERS, ReasonCode.USER_REQUEST),
    **dict.fromkeys(STAFF, ReasonCode.ISSUER_REQUEST),
    SYSTEM: ReasonCode.ISSUER_REQUEST,
    FRAUD_DISPUTE: ReasonCode.DISPUTED_ALERT,
}


def open_card(status: CardStatus) -> bool:
    """True while a card can still become usable; such cards count toward a program's maximum."""
    return status in OPEN


def transition(status: CardStatus, target: CardStatus) -> CardStatus:
    """Return the target when the move is legal.

    Raises ConflictError: card_already_active, _frozen, _cancelled or _expired in the target state, else card_state_conflict.
    """
    if status is target:
        raise ConflictError(f"The card is {target.lower()} already.", code=f"card_already_{target.lower()}")
    if (status, target) not in MOVES:
        raise ConflictError(f"A card that is {status.lower()} cannot become {target.lower()}.", code="card_state_conflict")
    return target


def reason_for(actor_role: str, code: ReasonCode | None, words: str | None) -> ReasonCode:
    """The code a move is recorded under: the one given, else the one the words are, else the actor's usual one.

    Raises InvalidFieldsError reason_code_not_allowed for a code that this actor may not give.
    """
    allowed = REASONS.get(actor_role, frozenset())
    if code is not None:
        if code not in allowed:
            detail = "You cannot give this reason."
            raise InvalidFieldsError([FieldError("reason_code", "reason_code_not_allowed", detail)])
        return code
    # Whoever only writes "lost" means the code; whoever writes a code that is not theirs has written words.
    if words in allowed:
        return ReasonCode(words)
    return _DEFAULT_REASONS.get(actor_role, ReasonCode.OTHER)


def _authority(code: str | None, actor_role: str | None) -> int:
    """How much stands behind a freeze: a holder's 0, the fraud engine's and schedules' 1, staff's 2, compliance's 3."""
    if code == ReasonCode.COMPLIANCE or actor_role == Role.COMPLIANCE_OFFICER:
        return 3
    if actor_role in _HOLDERS:
        return 0
    # Under staff's: what a person at the issuer holds, the dispute of an alert does not release.
    return 1 if actor_role == SYSTEM else 2


_RELEASES: dict[str, int] = {
    **dict.fromkeys(_HOLDERS, 0),
    Role.SUPPORT: 2,
    Role.ADMIN: 3,
    Role.COMPLIANCE_OFFICER: 3,
    SYSTEM: 0,
}


def check_release(frozen_code: str | None, frozen_by: str | None, actor_role: str) -> None:
    """Who may undo a freeze: holders their own, support all but compliance's, admins and compliance officers every one.

    The dispute of a fraud alert undoes what the fraud engine froze and nothing else. Raises ForbiddenError
    card_frozen_by_issuer.
    """
    if actor_role == FRAUD_DISPUTE:
        allowed = frozen_code == ReasonCode.FRAUD and frozen_by == SYSTEM
    else:
        allowed = _authority(frozen_code, frozen_by) <= _RELEASES.get(actor_role, -1)
    if not allowed:
        raise ForbiddenError("The issuer froze this card; ask the issuer.", code="card_frozen_by_issuer")


def outranks(code: ReasonCode, actor_role: str, frozen_code: str | None, frozen_by: str | None) -> bool:
    """True when a freeze is to take the place of the one there is: else its maker could undo what the issuer meant to hold."""
    return _authority(code, actor_role) > _authority(frozen_code, frozen_by)
