"""Where the proofs run: servers, and a migrated database with cards in it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from bench.machine import server_folder
from cardwright.kernel.ids import uuid7
from cardwright.platform.migrate import migrate
from cardwright.platform.postgres import Database
from local.servers.postgres import PostgresServer
from local.servers.valkey import ValkeyServer

MIGRATIONS = Path(__file__).parents[2] / "database" / "migrations"
# No window of a card is older: the first decision rolls both.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ProofCard:
    """A card to spend with."""

    card_id: UUID
    user_id: UUID
    token: str


@dataclass(frozen=True, slots=True)
class Ground:
    """A migrated database, by its superuser's URL, and a Valkey."""

    # Both hold a password.
    url: str = field(repr=False)
    cache_url: str = field(repr=False)

    def role_url(self, role: str) -> str:
        """The database's URL as one of our roles sees it."""
        return f"{self.url}?options=-c%20role%3D{role}"

    def as_role(self, role: str, *, budget_s: float = 10.0) -> Database:
        """The database under one of our roles. The budget is for a busy machine."""
        conninfo = make_conninfo(self.url, options=f"-c role={role}")
        return Database(lambda: conninfo, budget_s=budget_s)

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What the superuser reads."""
        with psycopg.connect(self.url, autocommit=True) as owner:
            return owner.execute(sql.encode(), parameters).fetchall()

    def run(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        """Run a statement as the superuser."""
        with psycopg.connect(self.url, autocommit=True) as owner:
            owner.execute(sql.encode(), parameters or None)


@contextmanager
def own_ground(*, durable: bool = True) -> Iterator[tuple[Ground, PostgresServer]]:
    """Servers of one's own with a migrated database; ended afterwards."""
    with server_folder() as folder:
        postgres = PostgresServer(folder / "postgres", durable=durable)
        valkey = ValkeyServer(folder / "valkey")
        postgres.start()
        try:
            valkey.start()
            try:
                yield make_database(postgres, valkey.url), postgres
            finally:
                valkey.stop()
        finally:
            postgres.stop()
            postgres.erase()


def make_database(postgres: PostgresServer, cache_url: str, name: str = "proof") -> Ground:
    """Make and migrate a database on a running server."""
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}"'.encode())
    migrate(postgres.url(name), MIGRATIONS)
    return Ground(postgres.url(name), cache_url)


def copy_database(postgres: PostgresServer, ground: Ground, name: str) -> Ground:
    """A copy of a database nobody is connected to."""
    source = ground.url.rpartition("/")[2]
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'.encode())
    return Ground(postgres.url(name), ground.cache_url)


def add_cards(
    ground: Ground,
    count: int,
    *,
    per_transaction: str = "1000000.00",
    daily: str = "1000000.00",
    monthly: str = "1000000.00",
    velocity: int | None = None,
    balance: str | None = None,
    name: str = "proof",
) -> list[ProofCard]:
    """Put in cards with these limits, written past the services: issuing is not what is proven."""
    now = datetime.now(UTC)
    run = secrets.token_hex(4)
    cards = [ProofCard(new_id(now), new_id(now), f"tok_{name}_{run}_{number}") for number in range(count)]
    with psycopg.connect(ground.url) as owner, owner.cursor() as cursor:
        program = new_id(now)
        cursor.execute(
            "INSERT INTO programs (program_id, name, network, bin, currency, default_per_transaction, default_daily, "
            "default_monthly, created_at) VALUES (%s, 'Proofs', 'visa', '424242', 'USD', 1, 1, 1, %s)",
            (program, now),
        )
        cursor.executemany(
            "INSERT INTO users (user_id, role, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
            "VALUES (%s, 'cardholder', '', '', '', '$argon2id$none', %s)",
            [(card.user_id, now) for card in cards],
        )
        cursor.executemany(
            "INSERT INTO virtual_cards (card_id, user_id, program_id, last_four, card_number_encrypted, processor, "
            "processor_card_token, expiry_month, expiry_year, currency, last_operation_id, created_at, updated_at) "
            "VALUES (%s, %s, %s, '0000', %s, 'simulated', %s, 12, 2060, 'USD', %s, %s, %s)",
            [(one.card_id, one.user_id, program, os.urandom(100), one.token, new_id(now), now, now) for one in cards],
        )
        cursor.executemany(
            "INSERT INTO card_tokens (processor_card_token, card_id, user_id) VALUES (%s, %s, %s)",
            [(card.token, card.card_id, card.user_id) for card in cards],
        )
        cursor.executemany(
            "INSERT INTO card_limits (card_id, user_id, per_transaction, daily, monthly, velocity_per_hour, balance, day_start, "
            "month_start) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [(card.card_id, card.user_id, per_transaction, daily, monthly, velocity, balance, EPOCH, EPOCH) for card in cards],
        )
    return cards


def new_id(now: datetime) -> UUID:
    """A new UUIDv7."""
    return uuid7(now, os.urandom(10))


def cents(amount: Decimal | str) -> int:
    """An amount of a currency with two digits in its minor unit."""
    return int(Decimal(amount).scaleb(2))


def decimal_of(number: int) -> Decimal:
    """The amount of so many cents."""
    return Decimal(number).scaleb(-2)
