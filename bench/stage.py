"""What the benchmarks run on: durable PostgreSQL and Valkey of their own, migrated and seeded, and the signing secret."""

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg

from bench.machine import server_folder
from cardwright.platform.migrate import migrate
from local.servers.postgres import PostgresServer
from local.servers.valkey import ValkeyServer

MIGRATIONS = Path(__file__).parents[1] / "database" / "migrations"
CARDS = 200


@dataclass(frozen=True)
class Stage:
    """Running servers. `app_url` is role app's; `secret` signs requests."""

    postgres: PostgresServer
    valkey: ValkeyServer
    app_url: str
    secret: str
    tokens: list[str]
    database: str = "bench"

    @property
    def owner_url(self) -> str:
        """The superuser's URL of the benchmarked database."""
        return self.postgres.url(self.database)


@contextmanager
def stage() -> Iterator[Stage]:
    """Start the servers, with fsync and synchronous_commit as a real system has them; stop them at the end."""
    with server_folder() as folder:
        postgres = PostgresServer(folder / "postgres", durable=True)
        valkey = ValkeyServer(folder / "valkey")
        postgres.start()
        try:
            valkey.start()
            try:
                yield _prepare(postgres, valkey)
            finally:
                valkey.stop()
        finally:
            postgres.stop()


def _prepare(postgres: PostgresServer, valkey: ValkeyServer) -> Stage:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return add_database(Stage(postgres, valkey, "", secret, []), "bench", CARDS)


def add_database(running: Stage, name: str, cards: int) -> Stage:
    """One more database on the stage's servers, migrated, with so many cards whose tokens begin with its name."""
    postgres, password = running.postgres, secrets.token_urlsafe(24)
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}".encode())
    migrate(postgres.url(name), MIGRATIONS)
    with psycopg.connect(postgres.url(name), autocommit=True) as owner:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            row = owner.execute(f"SHOW {setting}".encode()).fetchone()
            if row != ("on",):
                raise RuntimeError(f"{setting} is not on: the figures would not count")
        # The role is one for all databases of a server: its password stays what it was made for the first.
        password = running.app_url.partition("//app:")[2].partition("@")[0] or password
        owner.execute(f"ALTER ROLE app PASSWORD '{password}'".encode())
        tokens = seed(owner, name, cards)
    app_url = f"postgresql://app:{password}@127.0.0.1:{postgres.port}/{name}"
    return Stage(postgres, running.valkey, app_url, running.secret, tokens, name)


# Ids by number, so that a script of pgbench's can name a card without looking it up.
_CARD_ID = "('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid"


def seed(owner: "psycopg.Connection[tuple[object, ...]]", prefix: str, cards: int) -> list[str]:
    """Cards that never run into a limit, written past the services: issuing is not what is measured here. Gives their tokens."""
    now = datetime.now(UTC)
    with owner.transaction():
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute(
            "INSERT INTO programs (program_id, name, network, bin, currency, default_per_transaction, default_daily, "
            "default_monthly, created_at) VALUES ('00000000-0000-7000-8000-000000000001', 'Bench', 'visa', '424242', 'USD', 100, "
            "1000, 10000, %s)",
            (now,),
        )
        owner.execute(
            "INSERT INTO virtual_cards (card_id, user_id, program_id, last_four, card_number_encrypted, processor, "  # noqa: S608 - our own text
            "processor_card_token, expiry_month, expiry_year, currency, last_operation_id, created_at, updated_at) "
            f"SELECT {_CARD_ID}, gen_random_uuid(), '00000000-0000-7000-8000-000000000001', '0000', gen_random_bytes(200), "
            "'bench', %s || n, 12, 2060, 'USD', gen_random_uuid(), %s, %s FROM generate_series(1, %s) AS n".encode(),
            (f"{prefix}_", now, now, cards),
        )
        owner.execute("INSERT INTO card_tokens SELECT processor_card_token, card_id, user_id FROM virtual_cards")
        owner.execute(
            "INSERT INTO card_limits (card_id, user_id, per_transaction, daily, monthly, day_start, month_start) "
            "SELECT card_id, user_id, 50000, 9999999999, 9999999999, date_trunc('day', %s), date_trunc('month', %s) "
            "FROM virtual_cards",
            (now, now),
        )
    owner.execute("VACUUM ANALYZE")
    return [f"{prefix}_{number}" for number in range(1, cards + 1)]


@contextmanager
def secrets_extension(secret: str) -> Iterator[int]:
    """The Parameters and Secrets extension's local HTTP, with the one secret the authorization function asks for."""
    document = json.dumps({"SecretString": json.dumps({"secrets": [secret]})}).encode()

    class Extension(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Extension)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()


def environment(
    stage: Stage, extension_port: int, *, postgres_port: int | None = None, valkey_port: int | None = None
) -> dict[str, str]:
    """Variables of the authorization function; other ports put a proxy in between."""
    app_url, cache_url = stage.app_url, stage.valkey.url
    if postgres_port is not None:
        app_url = app_url.replace(f":{stage.postgres.port}/", f":{postgres_port}/")
    if valkey_port is not None:
        cache_url = cache_url.replace(f":{stage.valkey.port}/", f":{valkey_port}/")
    return {
        "CARDWRIGHT_STAGE": "local",
        "CARDWRIGHT_PUBLIC_URL": "http://127.0.0.1",
        "CARDWRIGHT_CORS_ORIGINS": "",
        "CARDWRIGHT_RATE_LIMITS": "off",
        "CARDWRIGHT_DATABASE_APP": app_url,
        "CARDWRIGHT_CACHE_URL": cache_url,
        "CARDWRIGHT_PROCESSOR_INBOUND_SECRET": "bench/processor-inbound",
        "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(extension_port),
        "AWS_SESSION_TOKEN": "bench",
    }
