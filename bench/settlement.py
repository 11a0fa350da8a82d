"""A settlement file of a million lines by the schedule's own code: lines a second, and memory beside that of a tenth of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from bench.machine import server_folder
from bench.stage import MIGRATIONS, seed
from cardwright.platform.migrate import migrate
from local.servers.postgres import PostgresServer
from local.simulators.processor.settlement_file import SALE, Line, write_file

ROWS = 1_000_000
CARDS = 1_000
# A file ten times as long may take this much more memory, and no more.
MEMORY_LIMIT = 1.25
_ROOT = Path(__file__).parents[1]
_EVENTS = """
INSERT INTO transaction_events (card_id, event_id, record_id, user_id, transaction_id, type, authorization_id, amount, currency,
    detail, request_digest, state, received_at, applied_at)
SELECT c.card_id, 'evt_' || n, gen_random_uuid(), c.user_id, gen_random_uuid(), 'transaction.cleared', 'auth_' || n,
    (n %% 10000 + 1) / 100.0, 'USD', '{}', sha256(''), 'APPLIED', %(now)s, %(now)s
FROM generate_series(1, %(rows)s) AS n JOIN virtual_cards c ON c.processor_card_token = 'bench_' || (n %% %(cards)s + 1)
"""
# What each clearing posted. Plans are made for a ledger as it is, not for one that was empty a moment ago.
_POSTINGS = (
    """
INSERT INTO ledger_postings (card_id, posting_id, user_id, program_id, kind, transaction_id, reference, lines, occurred_at)
SELECT e.card_id, e.record_id, e.user_id, c.program_id, 'clearing', e.transaction_id, e.event_id, 2, e.applied_at
FROM transaction_events e JOIN virtual_cards c ON c.card_id = e.card_id
""",
    """
INSERT INTO ledger_entries (card_id, posting_id, line, user_id, account, amount, currency)
SELECT e.card_id, e.record_id, side.line, e.user_id, side.account, side.sign * e.amount, e.currency FROM transaction_events e
CROSS JOIN (VALUES (1, 'cardholder_spend', 1), (2, 'card_holds', -1)) AS side (line, account, sign)
""",
)


def measure(rows: int = ROWS) -> dict[str, Any]:
    """Settle a tenth of the lines and then all; returns lines a second, memory in MB, and `memory_ratio` of the two.

    Raises RuntimeError unless each line settled its event and nothing is owed to the network any more.
    """
    with server_folder() as folder:
        postgres = PostgresServer(folder / "postgres", durable=True)
        postgres.start()
        try:
            few = _settle(postgres, Path(folder), "few", max(rows // 10, 1))
            many = _settle(postgres, Path(folder), "many", rows)
        finally:
            postgres.stop()
    ratio = many["rss_peak_mb"] / few["rss_peak_mb"]
    return {
        **many,
        "tenth": few,
        "memory_ratio": round(ratio, 3),
        "memory_limit": MEMORY_LIMIT,
        "memory_under_the_limit": ratio <= MEMORY_LIMIT,
    }


def _settle(postgres: PostgresServer, folder: Path, name: str, rows: int) -> dict[str, Any]:
    """Fill a database with cleared events, write the file that settles them, and settle it in a process of its own."""
    now = datetime.now(UTC)
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}".encode())
    url = postgres.url(name)
    migrate(url, MIGRATIONS)
    with psycopg.connect(url, autocommit=True) as owner:
        seed(owner, "bench", CARDS)
        owner.execute(_EVENTS.encode(), {"now": now, "rows": rows, "cards": CARDS})
        with owner.transaction():
            owner.execute("SET LOCAL session_replication_role = replica")
            for statement in _POSTINGS:
                owner.execute(statement.encode())
        owner.execute("VACUUM ANALYZE")
    path = folder / f"{name}.txt"
    with path.open("wb") as file:
        file.writelines(write_file(name, now, [("USD", _lines(rows, now))]))
    task = {"database_url": f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dworker", "file_id": name, "path": str(path)}
    done = subprocess.run(
        [sys.executable, "-m", "bench.settler"],
        input=json.dumps(task) + "\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
    )
    if done.returncode:
        raise RuntimeError("the timed process failed: " + done.stderr[-800:])
    figures = json.loads(done.stdout.splitlines()[-1])
    _check(url, rows)
    size = path.stat().st_size
    path.unlink()
    return {
        "rows": rows,
        "bytes": size,
        "settled": figures["settled"],
        "elapsed_s": round(figures["elapsed_s"], 2),
        "rows_per_second": round(rows / figures["elapsed_s"]),
        "cpu_us_per_row": round(figures["cpu_s"] / rows * 1e6, 1),
        "rss_before_mb": round(figures["rss_before_mb"], 1),
        "rss_peak_mb": round(figures["rss_peak_mb"], 1),
    }


def _lines(rows: int, now: datetime) -> Iterator[Line]:
    for number in range(1, rows + 1):
        yield Line(
            type=SALE,
            card_token=f"bench_{number % CARDS + 1}",
            reference=f"evt_{number}",
            authorization_id=f"auth_{number}",
            amount=Decimal(number % 10_000 + 1).scaleb(-2),
            currency="USD",
            occurred_at=now,
            merchant_category="5411",
            final=True,
        )


def _check(url: str, rows: int) -> None:
    with psycopg.connect(url) as owner:
        row = owner.execute(
            "SELECT (SELECT count(*) FROM settled_events), (SELECT count(*) FROM ledger_postings WHERE kind = 'settled'), "
            "(SELECT sum(amount) FROM ledger_entries WHERE account = 'card_holds'), "
            "(SELECT count(*) FROM settlement_cases WHERE kind <> 'ledger_differs')"
        ).fetchone()
    if row != (rows, rows, 0, 0):
        raise RuntimeError(f"{rows} lines did not settle their events: {row}")


def main() -> int:
    """Print the figures and keep them; the exit status says whether memory kept its limit."""
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
    text = json.dumps(figures, indent=2)
    results = _ROOT / "build" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    (results / "settlement.json").write_text(text + "\n")
    print(text)
    return 0 if figures["memory_under_the_limit"] else 1


if __name__ == "__main__":
    sys.exit(main())
