"""SQL of cards, their limits and issuances."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.cards.rules import Card, CardStatus, Expiry, Limits, MerchantCategories, ProcessorState, Usage
from cardwright.platform.postgres import Jsonb, Row, Transaction

_SELECT = (
    "SELECT c.card_id, c.user_id, c.program_id, c.status::text AS status, c.status_actor_role, c.last_four, "
    "c.processor_card_token, c.expiry_year, c.expiry_month, c.currency, c.label, c.usage, c.version, c.last_operation_id, "
    "c.created_at, c.updated_at, l.per_transaction, l.daily, l.monthly, l.velocity_per_hour, l.merchant_categories "
    "FROM virtual_cards c JOIN card_limits l ON l.card_id = c.card_id "
)


@dataclass(frozen=True, slots=True)
class Issuance:
    """A card on its way: REQUESTED, ISSUED or FAILED, with what the processor was or will be asked for."""

    card_id: UUID
    user_id: UUID
    program_id: UUID
    state: str
    failure_code: str | None
    expiry: Expiry


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card with what only its creation needs: ciphertext and fingerprint of the PAN, name of the processor."""

    card: Card
    processor: str
    card_number_encrypted: bytes
    fingerprint: bytes
    day_start: datetime
    month_start: datetime


def get(tx: Transaction, card_id: UUID) -> Card | None:
    """Load one card the actor may see."""
    row = tx.fetch_one(_SELECT + "WHERE c.card_id = %s", (card_id,))
    return None if row is None else _card(row)


def visible(tx: Transaction, card_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the cards the actor may see."""
    rows = tx.fetch_all("SELECT card_id FROM virtual_cards WHERE card_id = ANY (%s)", (list(card_ids),))
    return {row["card_id"] for row in rows}


def lock(tx: Transaction, card_id: UUID) -> Card | None:
    """Load one card and lock its row.

    NO KEY UPDATE, not UPDATE: recording an authorization holds the limits row and takes a key share of this one, which the
    stronger lock would refuse while we wait for the limits row.
    """
    row = tx.fetch_one(_SELECT + "WHERE c.card_id = %s FOR NO KEY UPDATE OF c", (card_id,))
    return None if row is None else _card(row)


def newest(tx: Transaction, user_id: UUID | None, limit: int, after: UUID | None) -> list[Card]:
    """List up to `limit` cards of one user, or of all the actor may see, older than `after`, newest first."""
    rows = tx.fetch_all(
        _SELECT
        + "WHERE (%(user_id)s::uuid IS NULL OR c.user_id = %(user_id)s) AND (%(after)s::uuid IS NULL OR c.card_id < %(after)s) "
        "ORDER BY c.card_id DESC LIMIT %(limit)s",
        {"user_id": user_id, "after": after, "limit": limit},
    )
    return [_card(row) for row in rows]


def lock_issuing(tx: Transaction, user_id: UUID) -> None:
    """Let one transaction at a time count and add a user's cards."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('card_issuances:' || %s, 0))", (str(user_id),))


def get_issuance(tx: Transaction, user_id: UUID, card_id: UUID) -> Issuance | None:
    """Load a card's issuance and lock it."""
    row = tx.fetch_one(
        "SELECT card_id, user_id, program_id, state, failure_code, expiry_year, expiry_month FROM card_issuances "
        "WHERE user_id = %s AND card_id = %s FOR UPDATE",
        (user_id, card_id),
    )
    if row is None:
        return None
    expiry = Expiry(row.pop("expiry_year"), row.pop("expiry_month"))
    return Issuance(**row, expiry=expiry)


def count_open(tx: Transaction, user_id: UUID, program_id: UUID, card_id: UUID, now: datetime) -> int:
    """Count a user's open cards of a program, with those now being made, without the named one."""
    row = tx.fetch_one(
        "SELECT (SELECT count(*) FROM virtual_cards WHERE user_id = %(user_id)s AND program_id = %(program_id)s "
        "AND status IN ('ACTIVE', 'FROZEN')) + (SELECT count(*) FROM card_issuances WHERE user_id = %(user_id)s "
        "AND program_id = %(program_id)s AND state = 'REQUESTED' AND lease_until > %(now)s AND card_id <> %(card_id)s) AS open",
        {"user_id": user_id, "program_id": program_id, "card_id": card_id, "now": now},
    )
    return 0 if row is None else int(row["open"])


def creations(tx: Transaction, user_id: UUID, card_id: UUID, window: timedelta, now: datetime) -> list[datetime]:
    """For each card made within the window and each being made (without the named one): when it stops counting."""
    rows = tx.fetch_all(
        "SELECT created_at + %(window)s AS until FROM virtual_cards WHERE user_id = %(user_id)s "
        "AND created_at > %(now)s - %(window)s UNION ALL "
        "SELECT lease_until FROM card_issuances WHERE user_id = %(user_id)s AND state = 'REQUESTED' "
        "AND lease_until > %(now)s AND card_id <> %(card_id)s",
        {"user_id": user_id, "card_id": card_id, "window": window, "now": now},
    )
    return [row["until"] for row in rows]


def request_issuance(tx: Transaction, issuance: Issuance, now: datetime, lease_until: datetime) -> None:
    """Note that the processor is about to be asked; for one noted before, that it is asked again."""
    tx.execute(
        "INSERT INTO card_issuances (user_id, card_id, program_id, state, expiry_year, expiry_month, requested_at, lease_until) "
        "VALUES (%s, %s, %s, 'REQUESTED', %s, %s, %s, %s) "
        "ON CONFLICT (user_id, card_id) DO UPDATE SET lease_until = excluded.lease_until",
        (
            issuance.user_id,
            issuance.card_id,
            issuance.program_id,
            issuance.expiry.year,
            issuance.expiry.month,
            now,
            lease_until,
        ),
    )


def yield_issuance(tx: Transaction, user_id: UUID, card_id: UUID, now: datetime) -> None:
    """Note that nobody is making this card at the moment, so that it does not count."""
    tx.execute(
        "UPDATE card_issuances SET lease_until = %s WHERE user_id = %s AND card_id = %s AND state = 'REQUESTED'",
        (now, user_id, card_id),
    )


def finish_issuance(tx: Transaction, user_id: UUID, card_id: UUID, failure_code: str | None, now: datetime) -> None:
    """Note the outcome: ISSUED without a failure code, else FAILED."""
    tx.execute(
        "UPDATE card_issuances SET state = %s, failure_code = %s, finished_at = %s "
        "WHERE user_id = %s AND card_id = %s AND state = 'REQUESTED'",
        ("ISSUED" if failure_code is None else "FAILED", failure_code, now, user_id, card_id),
    )


def insert(tx: Transaction, new: NewCard) -> None:
    """Insert a card with its limits, token and fingerprint. Raises UniqueViolation when token or PAN is another card's."""
    card = new.card
    tx.execute(
        "INSERT INTO virtual_cards (card_id, user_id, program_id, status, last_four, card_number_encrypted, processor, "
        "processor_card_token, processor_state, expiry_month, expiry_year, currency, label, usage, version, last_operation_id, "
        "created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'ACTIVE', %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            card.card_id, card.user_id, card.program_id, card.status, card.last_four, new.card_number_encrypted, new.processor,
            card.processor_card_token, card.expiry.month, card.expiry.year, card.currency, card.label, card.usage, card.version,
            card.last_operation_id, card.created_at, card.updated_at,
        ),
    )  # fmt: skip
    tx.execute(
        "INSERT INTO card_tokens (processor_card_token, card_id, user_id) VALUES (%s, %s, %s)",
        (card.processor_card_token, card.card_id, card.user_id),
    )
    tx.execute(
        "INSERT INTO card_fingerprints (fingerprint, card_id, user_id) VALUES (%s, %s, %s)",
        (new.fingerprint, card.card_id, card.user_id),
    )
    categories = {"allow": list(card.merchant_categories.allow), "deny": list(card.merchant_categories.deny)}
    tx.execute(
        "INSERT INTO card_limits (card_id, user_id, per_transaction, daily, monthly, velocity_per_hour, merchant_categories, "
        "usage, day_start, month_start) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            card.card_id, card.user_id, card.limits.per_transaction, card.limits.daily, card.limits.monthly,
            card.velocity_per_hour, Jsonb(categories), card.usage.value, new.day_start, new.month_start,
        ),
    )  # fmt: skip


def set_status(
    tx: Transaction,
    card_id: UUID,
    target: CardStatus,
    reason: str | None,
    actor_role: str,
    operation_id: UUID,
    now: datetime,
) -> None:
    """Move a locked card and let no decision made on its former state be recorded.

    Raises UniqueViolation when this operation has moved the card before.
    """
    tx.execute(
        "UPDATE virtual_cards SET status = %s, status_reason = %s, status_actor_role = %s, last_operation_id = %s, "
        "updated_at = %s, version = version + 1 WHERE card_id = %s",
        (target, reason, actor_role, operation_id, now, card_id),
    )
    tx.execute("UPDATE card_limits SET config_version = config_version + 1 WHERE card_id = %s", (card_id,))


def set_processor_state(tx: Transaction, card_id: UUID, state: ProcessorState | None) -> CardStatus:
    """Note what the processor confirmed, None for unknown, and return the card's status as it is now."""
    row = tx.fetch_one(
        "UPDATE virtual_cards SET processor_state = %s WHERE card_id = %s RETURNING status::text AS status",
        (state, card_id),
    )
    if row is None:
        raise LookupError("the card is gone")
    return CardStatus(row["status"])


def _card(row: Row) -> Card:
    categories = row.pop("merchant_categories")
    limits = Limits(row.pop("per_transaction"), row.pop("daily"), row.pop("monthly"))
    expiry = Expiry(row.pop("expiry_year"), row.pop("expiry_month"))
    status, usage = CardStatus(row.pop("status")), Usage(row.pop("usage"))
    return Card(
        **row,
        status=status,
        usage=usage,
        expiry=expiry,
        limits=limits,
        merchant_categories=MerchantCategories(tuple(categories["allow"]), tuple(categories["deny"])),
    )
