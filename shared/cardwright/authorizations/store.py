"""SQL of the authorization engine: the profile, and the one function that records a decision."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.authorizations.rules import AuthorizationRequest, Profile
from cardwright.cards.rules import category_codes
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.platform.postgres import Database, Row, UniqueViolation


def find_profile(database: Database, card_token: str) -> Profile | None:
    """Load what the engine must know of a card, by the processor's token; merchant categories as codes, groups taken apart."""
    row = database.call("SELECT * FROM find_authorization_profile(%s)", (card_token,))
    if row is None:
        return None
    return Profile(
        card_id=row["card_id"],
        user_id=row["user_id"],
        config_version=row["config_version"],
        status=row["status"],
        currency=row["currency"],
        expiry_year=row["expiry_year"],
        expiry_month=row["expiry_month"],
        per_transaction=row["per_transaction"],
        time_zone=row["time_zone"],
        categories_allowed=category_codes(row["merchant_categories"].get("allow", ())),
        categories_denied=category_codes(row["merchant_categories"].get("deny", ())),
        countries_allowed=frozenset(row["countries"].get("allow", ())),
        countries_denied=frozenset(row["countries"].get("deny", ())),
        channels_denied=frozenset(row["channels"].get("deny", ())),
    )


_RECORD = "SELECT * FROM record_authorization(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::smallint, %s, %s, %s)"


def record(
    database: Database,
    profile: Profile,
    request: AuthorizationRequest,
    *,
    digest: bytes,
    transaction_id: UUID,
    reason: str | None,
    detail: str,
    risk_score: int | None,
    day_start: datetime,
    month_start: datetime,
    now: datetime,
) -> Row:
    """Record a decision in one statement, committed when it returns; gives outcome, transaction_id, reason, approved_amount, ...

    `detail` is JSON text. Parameters go as text, which the driver passes on without a look: the function's signature types them.
    Safe to run again: the same id finds the first run's row. Raises UnavailableError.
    """
    parameters = (
        str(profile.card_id),
        profile.config_version,
        request.authorization_id,
        digest,
        str(transaction_id),
        reason,
        str(request.amount),
        request.currency,
        request.type,
        request.original_authorization_id,
        request.merchant.category_code,
        request.merchant.id,
        detail,
        risk_score,
        day_start.isoformat(),
        month_start.isoformat(),
        now.isoformat(),
    )
    try:
        return _one(database.call(_RECORD, parameters))
    except UniqueViolation:
        # The same id was being recorded at this very moment; now its row is there to be found.
        return _one(database.call(_RECORD, parameters))


def record_unmatched(
    database: Database,
    *,
    token_digest: bytes,
    authorization_id: str,
    digest: bytes,
    transaction_id: UUID,
    amount: Decimal,
    currency: str,
    now: datetime,
) -> Row:
    """Record a request that names no card of ours. Safe to run again. Raises UnavailableError."""
    return _one(
        database.call(
            "SELECT * FROM record_unmatched_authorization(%s, %s, %s, %s, %s, %s, %s)",
            (token_digest, authorization_id, digest, transaction_id, amount, currency, now),
        )
    )


def _one(row: Row | None) -> Row:
    if row is None:
        raise BrokenInvariantError("the recording function returned no row")
    return row
