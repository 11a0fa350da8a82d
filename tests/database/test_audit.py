"""The audit log: a chain anybody can recompute, and nobody can change."""

import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from cardwright.audit import service as audit
from cardwright.platform.postgres import Actor
from tests.builders import NOW, add_card, as_role, new_id, set_status

Row = dict[str, Any]
STAFF = Actor(UUID(int=5), "support", "req_1", "asked by phone")


def canonical(fields: list[str | None]) -> bytes:
    """An entry in the form the hash is over: each field as octet length, colon, text; a missing one as a dash."""
    return ",".join("-" if field is None else f"{len(field.encode())}:{field}" for field in fields).encode()


def entry_hash(previous: bytes, subject_type: str, subject_id: UUID, row: Row) -> bytes:
    """The hash of an entry, from its columns alone. `old_text` and `new_text` are the JSON as the database writes it."""
    stamp = row["occurred_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    told = [
        subject_type,
        str(subject_id),
        str(row["seq"]),
        str(row["entry_id"]),
        row["action"],
        None if row["actor_id"] is None else str(row["actor_id"]),
        row["actor_role"],
        row["reason"],
        row["old_text"],
        row["new_text"],
        row["request_id"],
        stamp,
    ]
    return hashlib.sha256(previous + canonical(told)).digest()


def broken_at(subject_type: str, subject_id: UUID, rows: list[Row]) -> int | None:
    """The first entry that does not follow from the one before, or None."""
    previous = b""
    for number, row in enumerate(rows, start=1):
        expected = entry_hash(previous, subject_type, subject_id, row)
        if row["seq"] != number or row["previous_hash"] != previous or row["hash"] != expected:
            return number
        previous = expected
    return None


def read(url: str, table: str, column: str, subject_id: UUID) -> list[Row]:
    """The entries of a subject in order, JSON as text."""
    statement = sql.SQL("SELECT *, old_values::text AS old_text, new_values::text AS new_text FROM {} WHERE {} = %s ORDER BY seq")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(statement.format(sql.Identifier(table), sql.Identifier(column)), (subject_id,)).fetchall()


def append(url: str, subject_id: UUID, action: str = "user.changed", actor: Actor = STAFF, **values: Any) -> None:
    """Append one entry about a user."""
    database = as_role(url, "app")
    with database.transaction(actor) as tx:
        audit.append(
            tx,
            subject_type="user",
            subject_id=subject_id,
            entry_id=new_id(),
            action=action,
            occurred_at=datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC),
            **values,
        )
    database.close()


def test_a_chain_can_be_recomputed_outside_the_database(database_url: str) -> None:
    subject = new_id()
    append(database_url, subject, new={"name": 'Zoë, "quoted" - 日本', "amounts": ["1.10", None, True], "n": 1})
    append(database_url, subject, "user.a,b:c", Actor(None, "system"), old={}, new=None)
    append(database_url, subject, actor=Actor(new_id(), "admin", None, "5:x,-,é"))
    rows = read(database_url, "audit_log", "subject_id", subject)
    assert broken_at("user", subject, rows) is None
    assert [row["seq"] for row in rows] == [1, 2, 3]
    assert (rows[0]["actor_id"], rows[0]["actor_role"], rows[0]["request_id"], rows[0]["reason"]) == (
        STAFF.user_id,
        "support",
        "req_1",
        "asked by phone",
    )
    assert (rows[1]["actor_id"], rows[1]["reason"]) == (None, None)
    with psycopg.connect(database_url) as connection:
        head = connection.execute("SELECT seq, hash FROM audit_heads WHERE subject_id = %s", (subject,)).fetchone()
    assert head == (3, rows[-1]["hash"])


@pytest.mark.parametrize(
    "change",
    [
        {"action": "user.other"},
        {"actor_id": UUID(int=6)},
        {"reason": None},
        {"old_text": "{}"},
        {"new_text": None},
        {"request_id": ""},
        {"occurred_at": datetime(2026, 11, 21, 12, 0, 0, 6, tzinfo=UTC)},
        {"entry_id": UUID(int=9)},
        {"seq": 7},
        {"hash": b"x" * 32},
        {"previous_hash": b"x" * 32},
        {"actor_role": "admin"},
    ],
)
def test_every_changed_field_is_found(database_url: str, change: Row) -> None:
    subject = new_id()
    for number in range(3):
        append(database_url, subject, new={"n": number})
    rows = read(database_url, "audit_log", "subject_id", subject)
    assert broken_at("user", subject, [rows[0], rows[1] | change, rows[2]]) == 2
    assert broken_at("user", subject, [rows[0], rows[2]]) == 2
    assert broken_at("user", subject, [rows[0], rows[2], rows[1]]) == 2


def test_a_cards_states_are_audited_by_whoever_moves_it(database_url: str) -> None:
    card = add_card(database_url)
    set_status(database_url, card, "FROZEN")
    set_status(database_url, card, "ACTIVE")
    set_status(database_url, card, "CANCELLED")
    rows = read(database_url, "card_audit_log", "card_id", card.card_id)
    assert broken_at("card", card.card_id, rows) is None
    assert [row["action"] for row in rows] == ["card.created", "card.frozen", "card.unfrozen", "card.cancelled"]
    assert [row["new_values"]["status"] for row in rows] == ["ACTIVE", "FROZEN", "ACTIVE", "CANCELLED"]
    assert [row["old_values"] and row["old_values"]["status"] for row in rows] == [None, "ACTIVE", "FROZEN", "ACTIVE"]
    assert {row["occurred_at"] for row in rows} == {NOW}


def test_an_illegal_move_is_refused_and_leaves_no_entry(database_url: str) -> None:
    card = add_card(database_url, status="CANCELLED")
    with pytest.raises(psycopg.errors.CheckViolation):
        set_status(database_url, card, "ACTIVE")
    assert len(read(database_url, "card_audit_log", "card_id", card.card_id)) == 1


def test_an_entry_of_a_rolled_back_transaction_is_not_in_the_chain(database_url: str) -> None:
    subject, database = new_id(), as_role(database_url, "app")

    def fail() -> None:
        with database.transaction(STAFF) as tx:
            audit.append(tx, subject_type="user", subject_id=subject, entry_id=new_id(), action="user.x", occurred_at=NOW)
            raise RuntimeError("of ours")

    with pytest.raises(RuntimeError, match="of ours"):
        fail()
    database.close()
    append(database_url, subject)
    assert [row["seq"] for row in read(database_url, "audit_log", "subject_id", subject)] == [1]


def test_appends_at_once_make_one_chain(database_url: str) -> None:
    subject = new_id()
    threads = [threading.Thread(target=append, args=(database_url, subject), kwargs={"new": {"n": n}}) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read(database_url, "audit_log", "subject_id", subject)
    assert len(rows) == 8
    assert broken_at("user", subject, rows) is None


@pytest.mark.parametrize("role", ["app", "worker", "auditor", "migrator", None])
@pytest.mark.parametrize("table", ["audit_log", "card_audit_log", "card_audit_log_0"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET action = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_nobody_changes_the_log(database_url: str, role: str | None, table: str, statement: str) -> None:
    # A partition without a row has nothing that a row's trigger could protect.
    for _ in range(500):
        if table != "card_audit_log_0" or _filled(database_url):
            break
        add_card(database_url)
    append(database_url, new_id())
    add_card(database_url)
    with psycopg.connect(database_url) as connection:
        if role is not None:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL(statement).format(sql.Identifier(table)))


def _filled(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1 FROM card_audit_log_0 LIMIT 1").fetchone() is not None


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
def test_nobody_writes_the_log_past_its_function(database_url: str, role: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "INSERT INTO audit_log VALUES ('user', %s, 1, %s, 'x', NULL, 'x', NULL, NULL, NULL, NULL, %s, '', '')",
                (new_id(), new_id(), NOW),
            )


def test_the_log_has_no_secret_in_its_values(database_url: str) -> None:
    card = add_card(database_url)
    rows = read(database_url, "card_audit_log", "card_id", card.card_id)
    assert {key for row in rows for key in row["new_values"]} == {"status", "version"}
    assert card.token not in json.dumps([row["new_values"] for row in rows])
