"""SQL of the authorization engine: the profile, the one function that records a decision, and decisions as they were recorded."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from cardwright.authorizations.rules import Allowances, AuthorizationRequest, Counters, Profile
from cardwright.cards.rules import category_codes
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.platform.postgres import Database, Row, Transaction, UniqueViolation


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision and what it was made on: the transaction's row, the card's token, its configuration then, the counters seen.

    `profile` and `allowances` are None where the configuration is not there.
    """

    row: Row
    card_token: str
    profile: Profile | None
    allowances: Allowances | None
    counters: Counters


def find_profile(database: Database, card_token: str) -> Profile | None:
    """Load what the engine must know of a card, by the processor's token; merchant categories as codes, groups taken apart."""
    row = database.call("SELECT * FROM find_authorization_profile(%s)", (card_token,))
    return None if row is None else _profile(row)


def _profile(row: Row) -> Profile:
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


# As one value: a scan over a function, for one row, costs the server a twentieth of the decision.
_RECORD = (
    "SELECT record_authorization(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::smallint, %s, %s, %s, %s, %s, "
    "%s::smallint) AS answer"
)


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
    hold_expires_at: datetime,
    rule_version: int,
) -> Row:
    """Record a decision in one statement, committed when it returns; gives outcome, transaction_id, reason, approved_amount, ...

    `detail` is JSON text. Parameters go as text, which the driver passes on without a look: the function's signature types them.
    Outcomes are those of the function: recorded, repeated, reused, voided, stale. Safe to run again: the same id finds the first
    run's row. Raises UnavailableError.
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
        request.partial_approval,
        hold_expires_at.isoformat(),
        rule_version,
    )
    try:
        return _read(_one(database.call(_RECORD, parameters)))
    except UniqueViolation:
        # The same id was being recorded at this very moment; now its row is there to be found.
        return _read(_one(database.call(_RECORD, parameters)))


def _read(row: Row) -> Row:
    """The function's answer by its fields. None of them holds a comma, a quote or a parenthesis; an empty one is NULL."""
    outcome, transaction_id, reason, approved_amount, risk_score, decided_at = row["answer"][1:-1].split(",")
    return {
        "outcome": outcome,
        "transaction_id": UUID(transaction_id) if transaction_id else None,
        "reason": reason or None,
        "approved_amount": Decimal(approved_amount) if approved_amount else None,
        "risk_score": int(risk_score) if risk_score else None,
        "decided_at": datetime.fromisoformat(decided_at.strip('"')) if decided_at else None,
    }


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


_STORED = (
    "SELECT t.*, v.processor_card_token, k.config_version AS known_version, k.status AS card_status, "
    "k.currency AS card_currency, k.expiry_year, k.expiry_month, k.per_transaction, k.daily, k.monthly, k.velocity_per_hour, "
    "k.time_zone, k.usage, k.merchant_categories, k.countries, k.channels "
    "FROM card_transactions t JOIN virtual_cards v ON v.card_id = t.card_id "
    "LEFT JOIN card_configurations k ON k.card_id = t.card_id AND k.config_version = t.config_version "
    "WHERE t.card_id = %s AND t.type IN ('authorization', 'incremental') AND t.rule_version > 0"
)


def get_decision(tx: Transaction, card_id: UUID, transaction_id: UUID) -> StoredDecision | None:
    """Load one decision with what it was made on; None for what we did not decide, or not under rules that have a version."""
    row = tx.fetch_one(_STORED + " AND t.transaction_id = %s", (card_id, transaction_id))
    return None if row is None else _stored(row)


def list_decisions(tx: Transaction, card_id: UUID, after: int, limit: int) -> list[StoredDecision]:
    """Decisions of a card in the order of its chain, from behind the place `after`."""
    rows = tx.fetch_all(_STORED + " AND t.chain_seq > %s ORDER BY t.chain_seq LIMIT %s", (card_id, after, limit))
    return [_stored(row) for row in rows]


def _stored(row: Row) -> StoredDecision:
    known = row["known_version"] is not None
    return StoredDecision(
        row,
        row["processor_card_token"],
        _profile({**row, "status": row["card_status"], "currency": row["card_currency"]}) if known else None,
        Allowances(row["daily"], row["monthly"], row["velocity_per_hour"], row["usage"]) if known else None,
        Counters(
            row["seen_day_spent"],
            row["seen_month_spent"],
            row["seen_approvals"],
            row["seen_velocity_at"],
            row["seen_locked_merchant_id"],
            row["seen_available"],
            row["continued"],
        ),
    )
