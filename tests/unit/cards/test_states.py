"""Who may move a card, for which reason, and whose freeze may be undone by whom."""

import itertools

import pytest

from cardwright.cards.rules import (
    FRAUD_DISPUTE,
    MOVES,
    REASONS,
    SYSTEM,
    CardStatus,
    ReasonCode,
    check_release,
    outranks,
    reason_for,
    transition,
)
from cardwright.kernel.errors import ConflictError, ForbiddenError, InvalidFieldsError
from cardwright.kernel.rows import Role

# Status, then what becomes of the card for each target: moved, already there, or a conflict.
TABLE = {
    "ACTIVE": {"ACTIVE": "card_already_active", "FROZEN": "", "CANCELLED": "", "EXPIRED": ""},
    "FROZEN": {"ACTIVE": "", "FROZEN": "card_already_frozen", "CANCELLED": "", "EXPIRED": ""},
    "CANCELLED": {
        "ACTIVE": "card_state_conflict",
        "FROZEN": "card_state_conflict",
        "CANCELLED": "card_already_cancelled",
        "EXPIRED": "card_state_conflict",
    },
    "EXPIRED": {
        "ACTIVE": "card_state_conflict",
        "FROZEN": "card_state_conflict",
        "CANCELLED": "card_state_conflict",
        "EXPIRED": "card_already_expired",
    },
}
HOLDER_CODES = "user_request lost stolen compromised damaged other"
# Who may give which reason, and which it is when none is given.
GIVEN = {
    "cardholder": (HOLDER_CODES, "user_request"),
    "merchant": (HOLDER_CODES, "user_request"),
    "support": (HOLDER_CODES + " fraud issuer_request", "issuer_request"),
    "admin": (HOLDER_CODES + " fraud issuer_request compliance", "issuer_request"),
    "compliance_officer": (HOLDER_CODES + " fraud issuer_request compliance", "issuer_request"),
    "system": ("fraud expired user_request issuer_request", "issuer_request"),
    "fraud_dispute": ("disputed_alert", "disputed_alert"),
}
# Who froze it for which reason, and who may make it active again.
FREEZES = {
    ("cardholder", "user_request"): "cardholder merchant support admin compliance_officer system",
    ("cardholder", "lost"): "cardholder merchant support admin compliance_officer system",
    ("merchant", "stolen"): "cardholder merchant support admin compliance_officer system",
    ("support", "issuer_request"): "support admin compliance_officer",
    ("support", "user_request"): "support admin compliance_officer",
    ("support", "fraud"): "support admin compliance_officer",
    ("admin", "issuer_request"): "support admin compliance_officer",
    ("admin", "fraud"): "support admin compliance_officer",
    ("admin", "compliance"): "admin compliance_officer",
    ("compliance_officer", "compliance"): "admin compliance_officer",
    ("compliance_officer", "user_request"): "admin compliance_officer",
    ("system", "fraud"): "support admin compliance_officer fraud_dispute",
    ("system", "issuer_request"): "support admin compliance_officer",
    (None, None): "support admin compliance_officer",
}


@pytest.mark.parametrize(("status", "target"), [*itertools.product(CardStatus, CardStatus)])
def test_each_status_and_target_has_its_outcome(status: CardStatus, target: CardStatus) -> None:
    code = TABLE[status][target]
    assert ((status, target) in MOVES) is (code == "")
    if not code:
        assert transition(status, target) is target
        return
    with pytest.raises(ConflictError) as refusal:
        transition(status, target)
    assert refusal.value.code == code


def test_the_table_of_reasons_names_every_role_and_code() -> None:
    assert set(GIVEN) == {role.value for role in Role} | {SYSTEM, FRAUD_DISPUTE} == set(REASONS)
    assert {code for codes, _ in GIVEN.values() for code in codes.split()} == {code.value for code in ReasonCode}


@pytest.mark.parametrize(("role", "code"), [*itertools.product(GIVEN, ReasonCode)])
def test_a_reason_is_given_by_those_who_may(role: str, code: ReasonCode) -> None:
    if code in GIVEN[role][0].split():
        assert reason_for(role, code, "words of no account") is code
        return
    with pytest.raises(InvalidFieldsError) as refusal:
        reason_for(role, code, None)
    assert [(error.field, error.code) for error in refusal.value.errors] == [("reason_code", "reason_code_not_allowed")]


@pytest.mark.parametrize("role", GIVEN)
def test_without_a_code_words_that_are_one_count_and_others_do_not(role: str) -> None:
    allowed, usual = GIVEN[role]
    assert reason_for(role, None, None) == reason_for(role, None, "left in a taxi") == usual
    for code in ReasonCode:
        assert reason_for(role, None, code.value) == (code if code in allowed.split() else usual)


def test_an_actor_nobody_knows_gives_no_reason() -> None:
    assert reason_for("stranger", None, "lost") is ReasonCode.OTHER
    with pytest.raises(InvalidFieldsError):
        reason_for("stranger", ReasonCode.LOST, None)


@pytest.mark.parametrize(("freeze", "role"), [*itertools.product(FREEZES, [*GIVEN, "stranger"])])
def test_a_freeze_is_undone_by_those_who_may(freeze: tuple[str | None, str | None], role: str) -> None:
    frozen_by, code = freeze
    if role in FREEZES[freeze].split():
        check_release(code, frozen_by, role)
        return
    with pytest.raises(ForbiddenError) as refusal:
        check_release(code, frozen_by, role)
    assert refusal.value.code == "card_frozen_by_issuer"


# From the weakest freeze to the strongest; those of one line do not outrank each other.
RANKS: tuple[tuple[tuple[str, ReasonCode], ...], ...] = (
    (("cardholder", ReasonCode.USER_REQUEST), ("cardholder", ReasonCode.STOLEN), ("merchant", ReasonCode.OTHER)),
    (("system", ReasonCode.FRAUD), ("system", ReasonCode.ISSUER_REQUEST)),
    (
        ("support", ReasonCode.LOST),
        ("support", ReasonCode.FRAUD),
        ("admin", ReasonCode.ISSUER_REQUEST),
        ("admin", ReasonCode.FRAUD),
    ),
    (("admin", ReasonCode.COMPLIANCE), ("compliance_officer", ReasonCode.ISSUER_REQUEST)),
)


def test_a_stronger_freeze_takes_a_weaker_ones_place_and_no_other() -> None:
    ranked = [(rank, *freeze) for rank, freezes in enumerate(RANKS) for freeze in freezes]
    for (rank, role, code), (other_rank, other_role, other_code) in itertools.product(ranked, ranked):
        assert outranks(code, role, other_code, other_role) is (rank > other_rank)


def test_a_freeze_that_takes_anothers_place_is_easier_to_undo_for_nobody() -> None:
    ranked = [freeze for freezes in RANKS for freeze in freezes]
    for (role, code), (held_by, held_code) in itertools.product(ranked, ranked):
        # Holders may undo their own, so to dispute what took its place lets nobody do more than before.
        if outranks(code, role, held_code, held_by) and not _undoes("cardholder", held_by, held_code):
            undo_now = {releaser for releaser in GIVEN if _undoes(releaser, role, code)}
            assert undo_now <= {releaser for releaser in GIVEN if _undoes(releaser, held_by, held_code)}


def _undoes(releaser: str, frozen_by: str, code: ReasonCode) -> bool:
    try:
        check_release(code, frozen_by, releaser)
    except ForbiddenError:
        return False
    return True
