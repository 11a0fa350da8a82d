"""Every event that a worker's tests leave in a database fits the schema its subscribers were promised."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator
from psycopg.rows import dict_row

from cardwright.outbox.rules import EVENT_TYPES, Event, envelope
from cardwright.transactions.service import publishing
from cardwright.webhooks.rules import schemas

# Of each kind; a world of a hundred thousand rows was made from one of them.
_EACH = 300
_OUTBOX = """
SELECT event_id, type, user_id, card_id, data, created_at FROM (
    SELECT *, row_number() OVER (PARTITION BY type ORDER BY event_id DESC) AS place FROM outbox WHERE type = ANY(%s)
) AS told WHERE place <= %s
"""
# Decisions of the engine: rows that a test planted have no version of the rules.
_DECISIONS = """
SELECT card_id, transaction_id, user_id, authorization_id, type, reason, amount, currency, detail, risk_score, decided_at FROM (
    SELECT *, row_number() OVER (PARTITION BY type, reason ORDER BY transaction_id DESC) AS place
    FROM card_transactions WHERE rule_version > 0 AND type IN ('authorization', 'incremental')
) AS decided WHERE place <= %s
"""
_PATIENCE = "-c lock_timeout=5s -c statement_timeout=60s"


@cache
def validator(event_type: str) -> Draft202012Validator:
    """What checks messages of a type, formats too."""
    return Draft202012Validator(schemas.schema(event_type), format_checker=Draft202012Validator.FORMAT_CHECKER)


def faults(message: Mapping[str, Any]) -> list[str]:
    """Where a message does not fit the schema of its type, without the values."""
    found = validator(message["type"]).iter_errors(message)
    return sorted(f"{message['type']} {error.json_path} {error.validator}" for error in found)


def unfit(url: str) -> list[str]:
    """What in a database does not fit: rows of the outbox, and decisions as the events they will be."""
    try:
        with psycopg.connect(url, row_factory=dict_row, options=_PATIENCE) as connection:
            events = [Event(**row) for row in connection.execute(_OUTBOX, (sorted(EVENT_TYPES), _EACH))]
            events += [publishing._event(row) for row in connection.execute(_DECISIONS, (_EACH,))]
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        # A test of migrations took the table away.
        return []
    return sorted({fault for event in events for fault in faults(envelope(event))})


@pytest.fixture(scope="session")
def check_events() -> Callable[[str], None]:
    """Look at the events of a database."""

    def check(url: str) -> None:
        assert unfit(url) == []

    return check


@pytest.fixture(scope="session")
def fitting_in_the_end(database: str, check_events: Callable[[str], None]) -> Iterator[None]:
    """Look at all events when the worker's tests are over. Who makes events up takes them from tests/fakes/events.py."""
    yield
    check_events(database)
