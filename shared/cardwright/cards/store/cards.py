"""SQL of cards: rows, states, tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.cards.rules import AllowDeny, Card, CardStatus, Controls, Expiry, Funds, Limits, ProcessorState, Usage
from cardwright.platform.postgres import Jsonb, Row, Transaction

_SELECT = (
    "SELECT c.card_id, c.user_id, c.program_id, c.status::text AS status, c.status_reason_code, c.status_actor_role, "
    "c.last_four, c.processor_card_token, c.expiry_year, c.expiry_month, c.currency, c.label, c.usage, c.replaces_card_id, "
    "c.replaced_by_card_id, c.cancel_after, c.limits_version, c.processor_limits_version, c.version, c.last_operation_id, "
    "c.created_at, c.updated_at, l.per_transaction, l.daily, l.monthly, l.velocity_per_hour, l.time_zone, l.merchant_categories, "
    "l.countries, l.channels, l.balance, l.held FROM virtual_cards c JOIN card_limits l ON l.card_id = c.card_id "
)


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card with what only its creation needs: ciphertext of the PAN and its key's name, fingerprint, name of the processor."""

    card: Card
    processor: str
    card_number_encrypted: bytes
    vault_key: str
    fingerprint: bytes
    day_start: datetime
    month_start: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of a card's status, and who makes it: role, code, words; `operation_id` names it in the audit."""

    target: CardStatus
    code: str
    words: str | None
    actor_role: str
    operation_id: UUID
    replaced_by: UUID | None = None
    cancel_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFilter:
    """Which cards a list holds; None filters nothing."""

    user_id: UUID | None = None
    status: CardStatus | None = None
    program_id: UUID | None = None
    last_four: str | None = None


def get(tx: Transaction, card_id: UUID) -> Card | None:
    """Load one card the actor may see."""
    row = tx.fetch_one(_SELECT + "WHERE c.card_id = %s", (card_id,))
    return None if row is None else _card(row)


def visible(tx: Transaction, card_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the cards the actor may see."""
    rows = tx.fetch_all("SELECT card_id FROM virtual_cards WHERE card_id = ANY (%s)", (list(card_ids),))
    return {row["card_id"] for row in rows}


def lock(tx: Transaction, card_id: UUID) -> Card | None:
    """Lock one card's row, then load it.

    NO KEY UPDATE, not UPDATE: recording an authorization holds the limits row and takes a key share of this one, which the
    stronger lock would refuse while we wait for the limits row. Two statements: after a wait one alone would read the limits
    as they stood before it.
    """
    tx.execute("SELECT 1 FROM virtual_cards WHERE card_id = %s FOR NO KEY UPDATE", (card_id,))
    return get(tx, card_id)


def newest(tx: Transaction, wanted: CardFilter, limit: int, after: UUID | None) -> list[Card]:
    """List up to `limit` cards the actor may see that pass the filter, older than `after`, newest first."""
    rows = tx.fetch_all(
        _SELECT
        + "WHERE (%(user_id)s::uuid IS NULL OR c.user_id = %(user_id)s) AND (%(after)s::uuid IS NULL OR c.card_id < %(after)s) "
        "AND (%(status)s::text IS NULL OR c.status = %(status)s::card_status) "
        "AND (%(program_id)s::uuid IS NULL OR c.program_id = %(program_id)s) "
        "AND (%(last_four)s::text IS NULL OR c.last_four = %(last_four)s) ORDER BY c.card_id DESC LIMIT %(limit)s",
        {
            "user_id": wanted.user_id,
            "status": wanted.status,
            "program_id": wanted.program_id,
            "last_four": wanted.last_four,
            "after": after,
            "limit": limit,
        },
    )
    return [_card(row) for row in rows]


def insert(tx: Transaction, new: NewCard) -> None:
    """Insert a card with its limits, token and fingerprint. Raises UniqueViolation when token or PAN is another card's."""
    card = new.card
    tx.execute(
        "INSERT INTO virtual_cards (card_id, user_id, program_id, status, last_four, card_number_encrypted, vault_key, "
        "processor, processor_card_token, processor_state, expiry_month, expiry_year, currency, label, usage, "
        "replaces_card_id, version, last_operation_id, created_at, updated_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'ACTIVE', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            card.card_id, card.user_id, card.program_id, card.status, card.last_four, new.card_number_encrypted, new.vault_key,
            new.processor, card.processor_card_token, card.expiry.month, card.expiry.year, card.currency, card.label, card.usage,
            card.replaces_card_id, card.version, card.last_operation_id, card.created_at, card.updated_at,
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
    controls = card.controls
    tx.execute(
        "INSERT INTO card_limits (card_id, user_id, per_transaction, daily, monthly, velocity_per_hour, time_zone, "
        "merchant_categories, countries, channels, usage, day_start, month_start, balance) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            card.card_id, card.user_id, controls.limits.per_transaction, controls.limits.daily, controls.limits.monthly,
            controls.velocity_per_hour, controls.time_zone, _lists(controls.merchant_categories), _lists(controls.countries),
            Jsonb({"deny": list(controls.channels_denied)}), card.usage.value, new.day_start, new.month_start,
            None if card.funds is None else card.funds.balance,
        ),
    )  # fmt: skip
    if card.replaces_card_id is not None:
        tx.execute("SELECT continue_spend(%s, %s)", (card.card_id, card.replaces_card_id))


def move(tx: Transaction, card_id: UUID, move: Move, now: datetime) -> None:
    """Move a locked card and let no decision made on its former state be recorded.

    Raises UniqueViolation when this operation has moved the card before.
    """
    # Before the card, whose trigger appends to the audit: the network's events hold the spend row first, then the audit's head.
    tx.execute("UPDATE card_limits SET config_version = config_version + 1 WHERE card_id = %s", (card_id,))
    tx.execute(
        "UPDATE virtual_cards SET status = %s, status_reason = %s, status_reason_code = %s, status_actor_role = %s, "
        "cancel_after = %s, replaced_by_card_id = coalesce(%s, replaced_by_card_id), last_operation_id = %s, updated_at = %s, "
        "version = version + 1 WHERE card_id = %s",
        (
            move.target, move.words, move.code, move.actor_role, move.cancel_after, move.replaced_by, move.operation_id, now,
            card_id,
        ),
    )  # fmt: skip


def set_label(tx: Transaction, card_id: UUID, label: str | None, operation_id: UUID, now: datetime) -> None:
    """Name a locked card anew."""
    tx.execute(
        "UPDATE virtual_cards SET label = %s, last_operation_id = %s, updated_at = %s, version = version + 1 WHERE card_id = %s",
        (label, operation_id, now, card_id),
    )


def set_processor_state(tx: Transaction, card_id: UUID, state: ProcessorState | None) -> CardStatus:
    """Note what the processor confirmed, None for unknown, and return the card's status as it is now."""
    row = tx.fetch_one(
        "UPDATE virtual_cards SET processor_state = %s WHERE card_id = %s RETURNING status::text AS status",
        (state, card_id),
    )
    if row is None:
        raise LookupError("the card is gone")
    return CardStatus(row["status"])


def set_processor_limits(tx: Transaction, card_id: UUID, limits_version: int) -> Card | None:
    """Note up to which version the processor knows a card's limits, and return the card as it is now."""
    tx.execute(
        "UPDATE virtual_cards SET processor_limits_version = %(version)s "
        "WHERE card_id = %(card_id)s AND processor_limits_version < %(version)s",
        {"card_id": card_id, "version": limits_version},
    )
    return get(tx, card_id)


def schedule_cancellation(tx: Transaction, card_id: UUID, cancel_after: datetime, operation_id: UUID, now: datetime) -> None:
    """Note when a locked card that is frozen already is cancelled at the latest."""
    tx.execute(
        "UPDATE virtual_cards SET cancel_after = %s, last_operation_id = %s, updated_at = %s, version = version + 1 "
        "WHERE card_id = %s",
        (cancel_after, operation_id, now, card_id),
    )


def link_replacement(tx: Transaction, card_id: UUID, replaced_by: UUID, operation_id: UUID, now: datetime) -> None:
    """Note which card takes the place of a locked one whose status stays."""
    tx.execute(
        "UPDATE virtual_cards SET replaced_by_card_id = %s, last_operation_id = %s, updated_at = %s, version = version + 1 "
        "WHERE card_id = %s",
        (replaced_by, operation_id, now, card_id),
    )


def lock_expired(tx: Transaction, year: int, month: int, limit: int) -> list[Card]:
    """Lock open cards whose last month is before the given one and that nobody else holds."""
    rows = tx.fetch_all(
        _SELECT + "WHERE c.status IN ('ACTIVE', 'FROZEN') AND (c.expiry_year, c.expiry_month) < (%s, %s) "
        "ORDER BY c.expiry_year, c.expiry_month LIMIT %s FOR NO KEY UPDATE OF c SKIP LOCKED",
        (year, month, limit),
    )
    return [_card(row) for row in rows]


def due_cancellations(tx: Transaction, after: UUID, limit: int, now: datetime) -> list[UUID]:
    """Cards whose scheduled cancellation is due, by time or because nothing is pending any more; in the order of their ids."""
    rows = tx.fetch_all(
        "SELECT c.card_id FROM virtual_cards c JOIN card_limits l ON l.card_id = c.card_id "
        "WHERE c.cancel_after IS NOT NULL AND (c.cancel_after <= %s OR l.held = 0) AND c.card_id > %s "
        "ORDER BY c.card_id LIMIT %s",
        (now, after, limit),
    )
    return [row["card_id"] for row in rows]


def state_behind(tx: Transaction, after: UUID, limit: int, before: datetime) -> list[Card]:
    """Cards last changed before a time whose processor has not confirmed their status, in the order of their ids."""
    rows = tx.fetch_all(
        _SELECT
        + "WHERE c.processor_state IS DISTINCT FROM CASE c.status WHEN 'ACTIVE' THEN 'ACTIVE' WHEN 'FROZEN' THEN 'PAUSED' "
        "ELSE 'CLOSED' END AND c.updated_at < %s AND c.card_id > %s ORDER BY c.card_id LIMIT %s",
        (before, after, limit),
    )
    return [_card(row) for row in rows]


def limits_behind(tx: Transaction, after: UUID, limit: int, before: datetime) -> list[Card]:
    """Open cards last changed before a time whose newest limits the processor does not know, in the order of their ids."""
    rows = tx.fetch_all(
        _SELECT
        + "WHERE c.processor_limits_version < c.limits_version AND c.status IN ('ACTIVE', 'FROZEN') AND c.updated_at < %s "
        "AND c.card_id > %s ORDER BY c.card_id LIMIT %s",
        (before, after, limit),
    )
    return [_card(row) for row in rows]


def _lists(lists: AllowDeny) -> Jsonb:
    return Jsonb({"allow": list(lists.allow), "deny": list(lists.deny)})


def _allow_deny(value: dict[str, list[str]]) -> AllowDeny:
    return AllowDeny(tuple(value.get("allow", ())), tuple(value.get("deny", ())))


def _card(row: Row) -> Card:
    controls = Controls(
        limits=Limits(row.pop("per_transaction"), row.pop("daily"), row.pop("monthly")),
        velocity_per_hour=row.pop("velocity_per_hour"),
        time_zone=row.pop("time_zone"),
        merchant_categories=_allow_deny(row.pop("merchant_categories")),
        countries=_allow_deny(row.pop("countries")),
        channels_denied=tuple(row.pop("channels").get("deny", ())),
    )
    balance, held = row.pop("balance"), row.pop("held")
    funds = None if balance is None else Funds(balance, held)
    expiry = Expiry(row.pop("expiry_year"), row.pop("expiry_month"))
    status, usage = CardStatus(row.pop("status")), Usage(row.pop("usage"))
    return Card(**row, status=status, usage=usage, expiry=expiry, controls=controls, funds=funds)
