"""What the database's roles can never do: own, become somebody else, switch security off, touch the audit, read a number."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from tests.database.test_row_security import Connection, acting

AUDIT = ("audit_heads", "audit_log", "card_audit_log", *(f"card_audit_log_{number}" for number in range(8)))
# Functions that the app role may call and that see every row: each was looked at. One that is added must be named here.
RISING = {
    "append_audit",
    "audit_knows",
    "carry_funds",
    "confirm_email",
    "continue_spend",
    "find_authorization_profile",
    "find_login",
    "find_transactions",
    "move_spend",
    "post_to_ledger",
    "record_authorization",
    "record_unmatched_authorization",
    "rotate_session",
    "set_card_limits",
    "take_notification_address",
    "try_mfa_challenge",
}


@pytest.fixture
def connection(fresh_database: str) -> Iterator[Connection]:
    """A superuser's connection to a database of the test's own."""
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
def test_our_roles_own_nothing_are_nobody_else_and_stand_above_nothing(connection: Connection, role: str) -> None:
    attributes = connection.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, "
        "(SELECT count(*) FROM pg_auth_members WHERE member = r.oid), "
        "(SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid AND deptype = 'o'), "
        "has_schema_privilege(r.oid, 'public', 'CREATE') FROM pg_roles r WHERE rolname = %s",
        (role,),
    ).fetchone()
    assert attributes == (False, False, False, False, False, 0, 0, False)
    superuser = connection.info.user
    for other in {"app", "worker", "auditor", "migrator", superuser} - {role}:
        with acting(connection, role), pytest.raises(errors.InsufficientPrivilege):
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(other)))


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "ALTER TABLE virtual_cards DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE card_audit_log DISABLE TRIGGER ALL",
        "DROP POLICY own_rows ON virtual_cards",
        "CREATE POLICY wide ON virtual_cards USING (true)",
        "CALL protect_user_rows('virtual_cards')",
        "CREATE FUNCTION actor_id() RETURNS uuid LANGUAGE sql RETURN NULL",
        "SET row_security = off; SELECT user_id FROM virtual_cards",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
def test_the_app_role_cannot_switch_its_security_off(connection: Connection, statement: str) -> None:
    with acting(connection, "app", uuid4(), "admin"), pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
def test_no_role_of_ours_writes_audit_rows(connection: Connection, role: str) -> None:
    for table in AUDIT:
        for statement in (
            "INSERT INTO {} DEFAULT VALUES",
            "UPDATE {} SET hash = ''",
            "UPDATE {} SET hash = '' WHERE false",
            "DELETE FROM {}",
            "TRUNCATE {}",
            "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
        ):
            with acting(connection, role, uuid4(), "admin"), pytest.raises(errors.InsufficientPrivilege):
                connection.execute(sql.SQL(statement).format(sql.Identifier(table)))


def test_the_app_role_does_not_even_read_the_audit(connection: Connection) -> None:
    for table in AUDIT:
        with acting(connection, "app", uuid4(), "compliance_officer"), pytest.raises(errors.InsufficientPrivilege):
            connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))


@pytest.mark.parametrize("role", ["app", "worker", "auditor"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT card_number_encrypted FROM virtual_cards",
        "SELECT * FROM virtual_cards",
        "SELECT c FROM virtual_cards c",
        "SELECT count(*) FROM virtual_cards WHERE card_number_encrypted > ''",
        "SELECT 1 FROM virtual_cards ORDER BY card_number_encrypted",
        "UPDATE virtual_cards SET status_reason = encode(card_number_encrypted, 'hex')",
        "UPDATE virtual_cards SET status_reason = '' RETURNING card_number_encrypted",
        "COPY virtual_cards TO STDOUT",
    ],
)
def test_no_role_of_ours_reads_the_ciphertext_of_a_number(connection: Connection, role: str, statement: str) -> None:
    with acting(connection, role, uuid4(), "admin"), pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_functions_that_see_every_row_are_those_that_were_looked_at(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT proname::text FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace "
        "AND has_function_privilege('app', oid, 'EXECUTE')"
    ).fetchall()
    assert {name for (name,) in rows} == RISING
    assert "stale_card_numbers" not in RISING
