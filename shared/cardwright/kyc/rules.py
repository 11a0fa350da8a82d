"""Rules of KYC: statuses, the one transition table, and which details may be submitted."""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import FieldError, InvalidFieldsError
from cardwright.kernel.secret import Secret

MIN_AGE_YEARS = 18
MAX_AGE_YEARS = 120
DOCUMENT_NUMBER_LENGTH = 64
# Which documents a country has is the provider's knowledge; here a type is only a name.
_DOCUMENT_TYPE = re.compile(r"[A-Za-z][A-Za-z_-]{1,39}", re.ASCII)
_DOCUMENT_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./-]*", re.ASCII)


class KycStatus(StrEnum):
    """How far a person's identity check is (CONTRACT section 2)."""

    NOT_STARTED = "NOT_STARTED"
    PENDING = "PENDING"
    VERIFIED = "VERIFIED"
    REJECTED = "REJECTED"
    NEEDS_REVIEW = "NEEDS_REVIEW"
    EXPIRED = "EXPIRED"


TRANSITIONS: dict[KycStatus, frozenset[KycStatus]] = {
    KycStatus.NOT_STARTED: frozenset({KycStatus.PENDING}),
    KycStatus.PENDING: frozenset({KycStatus.VERIFIED, KycStatus.REJECTED, KycStatus.NEEDS_REVIEW}),
    KycStatus.NEEDS_REVIEW: frozenset({KycStatus.VERIFIED, KycStatus.REJECTED}),
    KycStatus.VERIFIED: frozenset({KycStatus.EXPIRED}),
    KycStatus.REJECTED: frozenset({KycStatus.PENDING}),
    KycStatus.EXPIRED: frozenset({KycStatus.PENDING}),
}
# Statuses whose reaching partners are told of.
EVENTS: dict[KycStatus, str] = {KycStatus.VERIFIED: "kyc.verified", KycStatus.REJECTED: "kyc.rejected"}


@dataclass(frozen=True, slots=True)
class Details:
    """What a person submits; it goes to the provider and nowhere else."""

    first_name: Secret[str]
    last_name: Secret[str]
    date_of_birth: Secret[date]
    country: str
    document_type: str
    document_number: Secret[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A provider's event, translated: whose submission came to which status."""

    event_id: str
    user_id: UUID
    submission_id: UUID
    status: KycStatus


def may_move(status: KycStatus, target: KycStatus) -> bool:
    """True when the table has the move."""
    return target in TRANSITIONS[status]


def may_submit(status: KycStatus, *, taken: bool) -> bool:
    """True when a person may submit. While PENDING only if the provider never confirmed (`taken`) that it has the last one."""
    return may_move(status, KycStatus.PENDING) or (status is KycStatus.PENDING and not taken)


def check_details(details: Details, today: date) -> None:
    """Refuse details no provider could check. Raises InvalidFieldsError."""
    errors = []
    if not is_country(details.country):
        errors.append(FieldError("country", "country_unknown", "The country is not an ISO 3166-1 alpha-2 code."))
    born = details.date_of_birth.reveal()
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    if not MIN_AGE_YEARS <= years <= MAX_AGE_YEARS:
        errors.append(
            FieldError("date_of_birth", "age_out_of_range", f"A cardholder is {MIN_AGE_YEARS} to {MAX_AGE_YEARS} years old.")
        )
    if _DOCUMENT_TYPE.fullmatch(details.document_type) is None:
        errors.append(FieldError("document.type", "document_type_invalid", "A type is a name such as passport or id_card."))
    number = details.document_number.reveal()
    if len(number) > DOCUMENT_NUMBER_LENGTH or _DOCUMENT_NUMBER.fullmatch(number) is None:
        errors.append(FieldError("document.number", "document_number_invalid", "Letters, digits, spaces and . / - only."))
    if errors:
        raise InvalidFieldsError(errors)


def reference(user_id: UUID, submission_id: UUID) -> str:
    """The name under which a provider knows a submission."""
    return f"{user_id}.{submission_id}"


def read_reference(text: str) -> tuple[UUID, UUID] | None:
    """Undo `reference`; None for anything else."""
    user, separator, submission = text.partition(".")
    try:
        found = UUID(user), UUID(submission)
    except ValueError:
        return None
    return found if separator and reference(*found) == text else None


# ISO 3166-1 alpha-2, officially assigned codes.
_COUNTRIES = frozenset(
    (
        "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD "
        "CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF "
        "GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN "
        "KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA "
        "NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI "
        "SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI "
        "VN VU WF WS YE YT ZA ZM ZW"
    ).split()
)


def is_country(code: str) -> bool:
    """True for an assigned ISO 3166-1 alpha-2 code."""
    return code in _COUNTRIES
