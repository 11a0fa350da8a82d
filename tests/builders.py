"""Rows for tests, put in as the superuser: a card with whatever limits a test is about."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import psycopg

from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.kernel.ids import uuid7
from cardwright.platform.postgres import Database

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SeededCard:
    """A card that stands in the database."""

    card_id: UUID
    user_id: UUID
    token: str


def new_id(at: datetime = NOW) -> UUID:
    """Return a new UUIDv7."""
    return uuid7(at, os.urandom(10))


def as_role(url: str, role: str, *, budget_s: float = 4.0) -> Database:
    """The database of a superuser's URL as one of our roles sees it."""
    return Database(lambda: f"{url}?options=-c%20role%3D{role}", budget_s=budget_s)


def add_user(url: str, role: str = "cardholder") -> UUID:
    """Insert a user whose sealed parts are empty."""
    user_id = new_id()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (user_id, role, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
            "VALUES (%s, %s, '', '', '', '$argon2id$none', %s)",
            (user_id, role, NOW),
        )
    return user_id


def add_program(url: str, currency: str) -> UUID:
    """Insert a program that is nobody's default."""
    program_id = new_id()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO programs (program_id, name, network, bin, currency, default_per_transaction, default_daily, "
            "default_monthly, created_at) VALUES (%s, 'Tests', 'visa', '424242', %s, 1, 1, 1, %s)",
            (program_id, currency, NOW),
        )
    return program_id


def add_card(
    url: str,
    *,
    user_id: UUID | None = None,
    status: str = "ACTIVE",
    currency: str = "USD",
    per_transaction: str = "500.00",
    daily: str = "1000.00",
    monthly: str = "5000.00",
    velocity: int | None = None,
    time_zone: str = "UTC",
    categories: Mapping[str, Sequence[str]] | None = None,
    countries: Mapping[str, Sequence[str]] | None = None,
    channels_denied: Sequence[str] = (),
    expiry: tuple[int, int] = (2030, 12),
) -> SeededCard:
    """Insert a program, a card and its limits. The card number is no number: 100 octets of noise."""
    card = SeededCard(new_id(), user_id or add_user(url), f"tok_{secrets.token_hex(8)}")
    nothing: dict[str, list[str]] = {"allow": [], "deny": []}
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO virtual_cards (card_id, user_id, program_id, status, last_four, card_number_encrypted, processor, "
            "processor_card_token, expiry_month, expiry_year, currency, last_operation_id, created_at, updated_at) "
            "VALUES (%s, %s, %s, %s, '4242', %s, 'simulated', %s, %s, %s, %s, %s, %s, %s)",
            (
                card.card_id,
                card.user_id,
                add_program(url, currency),
                status,
                os.urandom(100),
                card.token,
                expiry[1],
                expiry[0],
                currency,
                new_id(),
                NOW,
                NOW,
            ),
        )
        connection.execute("INSERT INTO card_tokens VALUES (%s, %s, %s)", (card.token, card.card_id, card.user_id))
        connection.execute(
            "INSERT INTO card_limits (card_id, user_id, per_transaction, daily, monthly, velocity_per_hour, time_zone, "
            "merchant_categories, countries, channels, day_start, month_start) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                card.card_id,
                card.user_id,
                per_transaction,
                daily,
                monthly,
                velocity,
                time_zone,
                json.dumps(nothing | dict(categories or {})),
                json.dumps(nothing | dict(countries or {})),
                json.dumps({"deny": list(channels_denied)}),
                EPOCH,
                EPOCH,
            ),
        )
    return card


def set_status(url: str, card: SeededCard, status: str) -> None:
    """Move a card as the cards domain does: the new status and a new configuration version, together."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE virtual_cards SET status = %s::card_status, last_operation_id = %s, version = version + 1 WHERE card_id = %s",
            (status, new_id(), card.card_id),
        )
        connection.execute("UPDATE card_limits SET config_version = config_version + 1 WHERE card_id = %s", (card.card_id,))


def set_limits(url: str, card: SeededCard, **columns: object) -> None:
    """Change limits with a new configuration version."""
    with psycopg.connect(url) as connection:
        for name, value in columns.items():
            statement = f"UPDATE card_limits SET {name} = %s WHERE card_id = %s"  # noqa: S608 - names of the tests' own
            connection.execute(statement.encode(), (value, card.card_id))
        connection.execute("UPDATE card_limits SET config_version = config_version + 1 WHERE card_id = %s", (card.card_id,))


def request(token: str, amount: str = "10.00", **changes: object) -> AuthorizationRequest:
    """A request for an authorization; `mcc`, `country` and `merchant_id` go into the merchant."""
    named = changes.pop("merchant_id", "m_1")
    merchant_id = None if named is None else str(named)
    merchant = Merchant(
        str(changes.pop("mcc", "5411")), merchant_id, "Corner Shop", "Lyon", str(changes.pop("country", "FR")) or None
    )
    told: dict[str, object] = {
        "authorization_id": f"auth_{secrets.token_hex(8)}",
        "card_token": token,
        "type": "authorization",
        "amount": Decimal(amount),
        "currency": "USD",
        "merchant": merchant,
        "channel": "ecommerce",
        "occurred_at": "2026-11-21T10:00:00Z",
    }
    return AuthorizationRequest(**(told | changes))  # type: ignore[arg-type]  # fields by name, as a test gives them
