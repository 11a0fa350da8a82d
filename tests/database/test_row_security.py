"""Row-level security, proven from the catalogue: each table with a user is filled, then tried as somebody else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from tests.builders import NOW

Connection = psycopg.Connection[tuple[object, ...]]

# Tables that belong to no user, each with what holds instead; one that is neither here nor has a user_id is found.
OF_NO_USER = {
    "audit_heads": "append_audit alone reads and writes it",
    "audit_log": "append_audit alone writes it",
    "card_audit_log": "append_audit alone writes it",
    "ledger_checks": "the schedule's own",
    "processor_findings": "staff reads it",
    "processor_sweeps": "the schedules' own",
    "notification_suppressions": "digests of addresses, the worker's own",
    "programs": "everybody reads it, administrators change it",
    "processor_transactions": "the schedules' own",
    "schema_migrations": "the runner's own",
    "settled_events": "the schedules' own",
    "settlement_cases": "staff reads it, administrators close cases",
    "settlement_files": "the schedules' own",
    "settlement_runs": "staff reads it",
    "settlement_sources": "the schedules' own",
    "unmatched_authorizations": "requests that name no card of ours",
    "unmatched_processor_events": "events that name no card of ours",
}
BY_TYPE: dict[str, object] = {
    "boolean": True,
    "character(3)": "USD",
    "character(4)": "1234",
    "bytea": b"\x01" * 100,
    "date": NOW,
    "integer": 1,
    "smallint": 1,
    "bigint": 1,
    "jsonb": "{}",
    "numeric(12,2)": 1,
    "numeric(14,2)": 1,
    "text[]": "{x}",
    "bytea[]": "{x}",
    "timestamp with time zone": NOW,
}
DIGEST = object()
# What neither the type nor a list of values in a CHECK tells; columns that a CHECK wants although they may be NULL.
FILLING: dict[str, object] = {
    "card_batch_items.request_digest": DIGEST,
    "card_fingerprints.fingerprint": DIGEST,
    "card_reveals.digest": DIGEST,
    "card_transactions.reason": "approved",
    "idempotency_keys.request_digest": DIGEST,
    "ledger_postings.kind": "clearing",
    "ledger_postings.lines": 2,
    "mfa_challenges.digest": DIGEST,
    "outbox.type": "webhook.disabled",
    "pending_registrations.digest": DIGEST,
    "notification_devices.address_digest": DIGEST,
    "notification_devices.platform": "web",
    "notification_messages.due_at": NOW,
    "pending_registrations.password_hash": "$argon2id$none",
    "recovery_codes.digest": DIGEST,
    "sessions.refresh_digest": DIGEST,
    "transaction_exports.request_digest": DIGEST,
    "user_emails.email_index": DIGEST,
    "transaction_events.applied_at": NOW,
    "transaction_events.request_digest": DIGEST,
    "transaction_events.transaction_id": UUID(int=7),
    "transaction_events.type": "transaction.cleared",
    "users.password_hash": "$argon2id$none",
    "virtual_cards.expiry_year": 2030,
    "webhook_deliveries.next_attempt_at": NOW,
    "webhook_replays.event_id": UUID(int=7),
    "webhook_subscriptions.api_version": "2026-11-21",
    "webhook_subscriptions.inactive_since": NOW,
    "webhook_subscriptions.verification_due_at": NOW,
}
LISTED = re.compile(r"CHECK \(\((\w+) = ANY \(ARRAY\['(\w+)'")


@dataclass(frozen=True)
class Table:
    """A table or partition with a user, and the columns, with their types, that a row of it must have."""

    name: str
    partition: bool
    columns: dict[str, str]
    listed: dict[str, str]

    def row(self, user_id: UUID) -> list[object]:
        """Values of a row of this user, in the order of the columns."""
        return [self._value(name, type_name, user_id) for name, type_name in self.columns.items()]

    def _value(self, name: str, type_name: str, user_id: UUID) -> object:
        if name == "user_id":
            return user_id
        told = FILLING.get(f"{self._parent}.{name}", self.listed.get(name))
        if told is DIGEST:
            return uuid4().bytes + uuid4().bytes
        if told is not None:
            return told
        drawn = uuid4() if type_name == "uuid" else uuid4().hex
        return BY_TYPE.get(type_name, drawn)

    @property
    def _parent(self) -> str:
        return self.name.rpartition("_")[0] if self.partition else self.name


def tables(connection: Connection) -> list[Table]:
    """Every table and partition of ours with a user_id, from the catalogue."""
    rows = connection.execute(
        "SELECT c.oid, c.relname::text, c.relispartition FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped "
        "WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname"
    ).fetchall()
    return [_table(connection, oid, str(name), bool(partition)) for oid, name, partition in rows]


def _table(connection: Connection, oid: object, name: str, partition: bool) -> Table:
    checks = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype = 'c'", (oid,)
    ).fetchall()
    # An enum is listed by its labels.
    labels = connection.execute(
        "SELECT DISTINCT ON (a.attname) a.attname::text, e.enumlabel::text FROM pg_attribute a "
        "JOIN pg_enum e ON e.enumtypid = a.atttypid WHERE a.attrelid = %s ORDER BY a.attname, e.enumsortorder",
        (oid,),
    ).fetchall()
    wanted = [key.partition(".")[2] for key in FILLING if key.startswith(f"{name}.")]
    columns = connection.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s AND attnum > 0 "
        "AND NOT attisdropped AND ((attnotnull AND NOT atthasdef) OR attname = 'user_id' OR attname = ANY (%s)) ORDER BY attnum",
        (oid, wanted),
    ).fetchall()
    listed = {found.group(1): found.group(2) for (check,) in checks if (found := LISTED.match(str(check)))}
    listed |= {str(column): str(label) for column, label in labels}
    return Table(name, partition, {str(column): str(type_name) for column, type_name in columns}, listed)


@contextmanager
def acting(connection: Connection, role: str, user_id: UUID | None = None, actor_role: str = "") -> Iterator[None]:
    """Be a database role, in the context of a user, until the end of a transaction that is rolled back.

    The session itself is the role's: SET ROLE then goes only where that role is a member.
    """
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
        connection.execute(
            "SELECT set_config('cardwright.actor_id', %s, true), set_config('cardwright.actor_role', %s, true)",
            (str(user_id or ""), actor_role),
        )
        yield


def insertion(table: Table) -> sql.Composed:
    """The statement that puts a row in."""
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    places = sql.SQL(", ").join(sql.Placeholder() for _ in table.columns)
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table.name), names, places)


def unfilled(connection: Connection, table: Table, user_id: UUID) -> list[str]:
    """Put a row of this user in, past foreign keys and triggers; tell why when the table takes none."""
    problem = ""
    # A row falls into one of eight partitions, by an id that is drawn.
    for _ in range(200 if table.partition else 1):
        try:
            with connection.transaction():
                connection.execute("SET LOCAL session_replication_role = replica")
                connection.execute(insertion(table), table.row(user_id))
            return []
        except psycopg.Error as error:
            problem = str(error).partition("\n")[0]
    return [f"{table.name} takes no row: {problem}"]


def rows_touched(connection: Connection, statement: sql.Composed, parameters: list[object]) -> int | None:
    """How many rows a statement finds or changes; None when it is refused for want of a privilege, or by a policy."""
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(statement, parameters).rowcount
    except errors.InsufficientPrivilege:
        return None
    except psycopg.Error:
        # It failed at a row, so it has reached one.
        return 1


def leaks(connection: Connection, table: Table, owner: UUID, stranger: UUID) -> list[str]:
    """What the app role can do to the owner's row of a table while it acts for somebody else."""
    name = sql.Identifier(table.name)
    looking = sql.SQL("SELECT user_id FROM {} WHERE user_id = %s").format(name)
    attempts: dict[str, tuple[sql.Composed, list[object]]] = {
        "deletes": (sql.SQL("DELETE FROM {} WHERE user_id = %s").format(name), [owner]),
        "gives away": (sql.SQL("UPDATE {} SET user_id = %s WHERE user_id = %s").format(name), [owner, stranger]),
        "inserts": (insertion(table), table.row(owner)),
        "locks": (looking + sql.SQL(" FOR KEY SHARE"), [owner]),
        "sees": (looking, [owner]),
        "truncates": (sql.SQL("TRUNCATE {}").format(name), []),
    }
    for column in changeable(connection, table.name):
        changing = sql.SQL("UPDATE {} SET {} = DEFAULT WHERE user_id = %s").format(name, sql.Identifier(column))
        attempts[f"changes {column} of"] = (changing, [owner])
    found = []
    for user_id, actor_role in ((stranger, "cardholder"), (stranger, "merchant"), (None, "system"), (None, "")):
        with acting(connection, "app", user_id, actor_role):
            for what, (statement, parameters) in attempts.items():
                if rows_touched(connection, statement, parameters):
                    found.append(f"{actor_role or 'nobody'} {what} rows of another in {table.name}")
    return found


def changeable(connection: Connection, table: str) -> list[str]:
    """Columns of a table that the app role may write."""
    rows = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "AND has_column_privilege('app', attrelid, attnum, 'UPDATE') ORDER BY attnum",
        (table,),
    ).fetchall()
    return [str(name) for (name,) in rows]


def unforced(connection: Connection) -> list[str]:
    """Tables with a user whose security does not hold for everybody; a partition may also be closed to all of our roles."""
    rows = connection.execute(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' "
        "WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace "
        "AND NOT (c.relrowsecurity AND c.relforcerowsecurity) "
        "AND NOT (c.relispartition AND NOT EXISTS (SELECT FROM unnest(ARRAY['app', 'worker']) AS who, "
        "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS what WHERE has_any_column_privilege(who, c.oid, what) "
        "OR has_table_privilege(who, c.oid, 'DELETE, TRUNCATE'))) ORDER BY c.relname"
    ).fetchall()
    return [f"row-level security is not forced on {name}" for (name,) in rows]


def unnamed(connection: Connection) -> list[str]:
    """Relations of which nobody has said whose rows they hold; views see past the security of what they show."""
    rows = connection.execute(
        "SELECT c.relname::text FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid "
        "WHERE c.relnamespace = 'public'::regnamespace AND (c.relkind IN ('v', 'm', 'f') OR (c.relkind IN ('r', 'p') "
        "AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped) "
        "AND coalesce(i.inhparent, c.oid)::regclass::text <> ALL (%s))) ORDER BY c.relname",
        (list(OF_NO_USER),),
    ).fetchall()
    return [f"whose rows are in {name}?" for (name,) in rows]


def faults(connection: Connection) -> list[str]:
    """Everything that is wrong with the protection of users' rows."""
    owner, stranger = uuid4(), uuid4()
    found = unforced(connection) + unnamed(connection)
    for table in tables(connection):
        missing = unfilled(connection, table, owner) + unfilled(connection, table, stranger)
        found += missing or leaks(connection, table, owner, stranger)
    return found


@pytest.fixture
def connection(fresh_database: str) -> Iterator[Connection]:
    """A superuser's connection to a database of the test's own."""
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        yield connection


def test_nobody_reaches_anothers_row_in_any_table_with_a_user(connection: Connection) -> None:
    assert len(tables(connection)) > 25
    assert faults(connection) == []


def test_owners_and_staff_see_the_rows_that_strangers_do_not(connection: Connection) -> None:
    owner = uuid4()
    seen: dict[str, set[str]] = {"cardholder": set(), "support": set(), "admin": set(), "compliance_officer": set()}
    readable = set()
    for table in tables(connection):
        assert unfilled(connection, table, owner) == []
        looking = sql.SQL("SELECT user_id FROM {} WHERE user_id = %s").format(sql.Identifier(table.name))
        for role, names in seen.items():
            with acting(connection, "app", owner if role == "cardholder" else uuid4(), role):
                touched = rows_touched(connection, looking, [owner])
            if touched:
                names.add(table.name)
            if touched is not None:
                readable.add(table.name)
    assert seen == dict.fromkeys(seen, readable)
    assert {"users", "virtual_cards", "card_limits", "card_transactions", "outbox", "sessions"} < readable


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("CREATE TABLE planted (user_id uuid)", "row-level security is not forced on planted"),
        (
            "CREATE TABLE planted (user_id uuid); ALTER TABLE planted ENABLE ROW LEVEL SECURITY",
            "row-level security is not forced on planted",
        ),
        (
            "CREATE TABLE planted (user_id uuid); CALL protect_user_rows('planted'); GRANT SELECT, INSERT ON planted TO app; "
            "CREATE POLICY wide ON planted TO app USING (true) WITH CHECK (false)",
            "cardholder sees rows of another in planted",
        ),
        (
            "CREATE TABLE planted (user_id uuid); CALL protect_user_rows('planted'); GRANT SELECT, INSERT ON planted TO app; "
            "CREATE POLICY wide ON planted FOR INSERT TO app WITH CHECK (true)",
            "cardholder inserts rows of another in planted",
        ),
        (
            "CREATE TABLE planted (user_id uuid); CALL protect_user_rows('planted'); GRANT SELECT, TRUNCATE ON planted TO app",
            "cardholder truncates rows of another in planted",
        ),
        ("CREATE TABLE planted (user_id uuid, note text NOT NULL CHECK (note ~ '^y+$'))", "planted takes no row"),
        ("CREATE TABLE planted (holder uuid)", "whose rows are in planted?"),
        (
            "CREATE VIEW planted AS SELECT user_id FROM virtual_cards; GRANT SELECT ON planted TO app",
            "whose rows are in planted?",
        ),
        (
            "CREATE TABLE parted (user_id uuid) PARTITION BY HASH (user_id); CALL protect_user_rows('parted'); "
            "CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0); GRANT SELECT ON parted_0 TO app",
            "row-level security is not forced on parted_0",
        ),
        ("ALTER TABLE virtual_cards NO FORCE ROW LEVEL SECURITY", "row-level security is not forced on virtual_cards"),
    ],
)
def test_what_is_planted_without_protection_is_found(connection: Connection, planted: str, fault: str) -> None:
    connection.execute(f"SET ROLE migrator; {planted}; RESET ROLE".encode())
    assert any(found.startswith(fault) for found in faults(connection))
