"""SQL stands in stores and migrations, each table has one writer, and what decides never asks the server for the time."""

import re

from tests.house.sources import ROOT, constants, python

# Who writes each table: the domain whose store holds the statements.
WRITERS = {
    "audit_heads": "audit",
    "audit_log": "audit",
    "card_audit_log": "audit",
    "users": "identity",
    "user_emails": "identity",
    "user_data_keys": "identity",
    "sessions": "identity",
    "mfa_challenges": "identity",
    "pending_registrations": "identity",
    "recovery_codes": "identity",
    "kyc_cases": "kyc",
    "kyc_events": "kyc",
    "programs": "programs",
    "virtual_cards": "cards",
    "card_tokens": "cards",
    "card_fingerprints": "cards",
    "card_limits": "cards",
    "card_configurations": "cards",
    "card_issuances": "cards",
    "card_batches": "cards",
    "card_batch_items": "cards",
    "card_reveals": "cards",
    "processor_sweeps": "cards",
    "processor_findings": "cards",
    "ledger_postings": "ledger",
    "ledger_entries": "ledger",
    "ledger_checks": "ledger",
    "card_transactions": "transactions",
    "transaction_events": "transactions",
    "unmatched_processor_events": "transactions",
    "unmatched_authorizations": "authorizations",
    "transaction_search": "transactions",
    "transaction_exports": "transactions",
    "notification_preferences": "notifications",
    "notification_devices": "notifications",
    "notifications": "notifications",
    "notification_messages": "notifications",
    "notification_suppressions": "notifications",
    "outbox": "outbox",
    "idempotency_keys": "idempotency",
    "settlement_sources": "settlement",
    "settlement_runs": "settlement",
    "settlement_files": "settlement",
    "settled_events": "settlement",
    "processor_transactions": "settlement",
    "settlement_cases": "settlement",
    "webhook_subscriptions": "webhooks",
    "webhook_deliveries": "webhooks",
    "webhook_attempts": "webhooks",
    "webhook_replays": "webhooks",
}
# SQL functions write for the domain that calls them.
FUNCTIONS = {
    "append_audit": "audit",
    "set_card_limits": "cards",
    "continue_spend": "cards",
    "carry_funds": "cards",
    "post_to_ledger": "ledger",
    "keep_card_configuration": "cards",
    "move_spend": "cards",
    "replace_card_number": "cards",
    "take_notification_address": "notifications",
    "confirm_email": "identity",
    "try_mfa_challenge": "identity",
    "rotate_session": "identity",
    "record_authorization": "authorizations",
    "record_unmatched_authorization": "authorizations",
    "record_told_transaction": "transactions",
}
# The one decision locks the spend row and writes the transaction in the same statement (DESIGN section 4).
# So does what the network made without asking: its row is a link of the chain whose head stands in the spend row.
ALLOWED = {
    ("record_authorization", "card_limits"),
    ("record_authorization", "card_transactions"),
    ("record_told_transaction", "card_limits"),
}
# The runner's own ledger notes when a file was applied; nothing is decided by it.
RUNNER = "shared/cardwright/platform/migrate.py"
SQL_ROOMS = re.compile(r"shared/cardwright/\w+/store(\.py|/\w+\.py)|shared/cardwright/platform/(postgres|migrate)\.py")

_STATEMENT = re.compile(
    r"\bSELECT\b[\s\S]*\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\s+\w+\s+(\w+\s+)?SET\b|\bDELETE\s+FROM\b|\bTRUNCATE\s|\bSELECT\s+\w+\("
)
_WRITE = re.compile(
    r"\bINSERT\s+INTO\s+(\w+)|\bUPDATE\s+(?!SET\b)(\w+)\s+(?:(?:AS\s+)?\w+\s+)?SET\b|\bDELETE\s+FROM\s+(\w+)|\bTRUNCATE\s+(\w+)"
)
_SERVER_TIME = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(|"
    r"\b(current_timestamp|current_date|current_time|localtime|localtimestamp)\b|'now'",
    re.IGNORECASE,
)
_FUNCTION = re.compile(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) (\w+)\s*\(")


def without_comments(sql: str) -> str:
    """SQL without its comments."""
    return re.sub(r"--[^\n]*|/\*[\s\S]*?\*/", "", sql)


def written(sql: str) -> set[str]:
    """Tables that statements write."""
    return {next(name for name in found if name) for found in _WRITE.findall(without_comments(sql))}


def misplaced_sql(name: str, text: str) -> list[str]:
    """Statements outside stores and the two platform modules that speak to the server."""
    if SQL_ROOMS.fullmatch(name):
        return []
    return [f"{name}:{line} {value[:60]}" for line, value in constants(text) if _STATEMENT.search(value)]


def foreign_writes(name: str, text: str) -> list[str]:
    """Tables a store writes that are another domain's."""
    domain = name.split("/")[2]
    tables = {table for _, value in constants(text) for table in written(value)}
    return [f"{name} writes {table}" for table in sorted(tables) if WRITERS.get(table) != domain]


def server_times(name: str, sql: str) -> list[str]:
    """Places that ask the server's clock."""
    return [f"{name}: {found.group(0)}" for found in _SERVER_TIME.finditer(without_comments(sql))]


def sql_functions(sql: str) -> dict[str, str]:
    """The functions a migration makes, by name, each with its text up to the next."""
    plain = without_comments(sql)
    starts = list(_FUNCTION.finditer(plain))
    ends = [*(start.start() for start in starts[1:]), len(plain)][: len(starts)]
    return {start.group(1): plain[start.start() : end] for start, end in zip(starts, ends, strict=True)}


def function_writes(sql: str) -> list[str]:
    """Writes of SQL functions to tables of a domain that is not theirs."""
    found = []
    for name, body in sql_functions(sql).items():
        for table in sorted(written(_body(body))):
            if (name, table) not in ALLOWED and FUNCTIONS.get(name) != WRITERS.get(table, "nobody"):
                found.append(f"{name} writes {table}")
    return found


def _body(function: str) -> str:
    """The text between a function's dollar quotes; a function of one expression writes nothing."""
    quoted = re.search(r"AS\s+(\$\w*\$)([\s\S]*?)\1", function)
    return quoted.group(2) if quoted else ""


def migrations() -> dict[str, str]:
    """The migrations by file name."""
    return {path.name: path.read_text("utf-8") for path in sorted((ROOT / "database" / "migrations").glob("*.sql"))}


def test_sql_stands_in_stores() -> None:
    assert [found for name, text in python("shared/cardwright", "functions") for found in misplaced_sql(name, text)] == []


def test_each_table_has_one_writer() -> None:
    stores = [(name, text) for name, text in python("shared/cardwright") if re.search(r"/store(\.py|/)", name)]
    assert len(stores) > 8
    assert [found for name, text in stores for found in foreign_writes(name, text)] == []


def test_sql_functions_write_their_own_tables() -> None:
    assert [found for sql in migrations().values() for found in function_writes(sql)] == []


def test_every_table_has_its_writer_in_the_map() -> None:
    made = {name for sql in migrations().values() for name in re.findall(r"CREATE TABLE (\w+) \(", without_comments(sql))}
    assert made == set(WRITERS)


def test_no_decision_asks_the_server_for_the_time() -> None:
    found = [place for name, sql in migrations().items() for place in server_times(name, sql)]
    for name, text in python("shared/cardwright", "functions"):
        if name != RUNNER:
            found += [place for _, value in constants(text) if _STATEMENT.search(value) for place in server_times(name, value)]
    assert found == []


def test_migrations_are_numbered_without_gaps_and_each_has_its_check() -> None:
    names = [name for name in migrations() if not name.endswith(".check.sql")]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert {name.replace(".sql", ".check.sql") for name in names} == {
        name for name in migrations() if name.endswith(".check.sql")
    }


def test_functions_that_rise_above_their_caller_pin_the_search_path() -> None:
    for sql in migrations().values():
        for name, text in sql_functions(sql).items():
            if "SECURITY DEFINER" in text:
                assert "SET search_path = public, pg_temp" in text, name


def test_the_rules_find_planted_violations() -> None:
    service, store = "shared/cardwright/cards/service.py", "shared/cardwright/cards/store.py"
    statement = 'x = "SELECT a FROM b"'
    assert [found.partition(" ")[0] for found in misplaced_sql(service, statement)] == [f"{service}:1"]
    assert misplaced_sql(service, 'x = "Select a card from the list."') == []
    assert misplaced_sql(store, 'x = "SELECT a FROM b"') == []
    assert foreign_writes(store, 'x = "INSERT INTO outbox (a) VALUES (1)"') == [f"{store} writes outbox"]
    assert foreign_writes(store, 'x = f"UPDATE users SET {a} = 1"') == [f"{store} writes users"]
    assert foreign_writes(store, 'x = "INSERT INTO card_limits (a) VALUES (1) ON CONFLICT DO UPDATE SET a = 2"') == []
    assert server_times("a.sql", "SELECT now(); -- now()") == ["a.sql: now("]
    assert server_times("a.sql", "x timestamptz DEFAULT CURRENT_TIMESTAMP") == ["a.sql: CURRENT_TIMESTAMP"]
    assert server_times("a.sql", "p_now, known") == []
    made = "CREATE FUNCTION confirm_email(a int) RETURNS int LANGUAGE sql AS $x$ DELETE FROM outbox; UPDATE users u SET a = 1 $x$"
    assert function_writes(made) == ["confirm_email writes outbox"]
