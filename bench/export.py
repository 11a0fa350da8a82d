"""An export of a long history by the worker's own code: rows a second, and memory that does not grow with the file.

Its peer in the same run is PostgreSQL's own COPY of the columns that an export reads.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg

from bench.machine import server_folder
from bench.stage import MIGRATIONS
from cardwright.platform.clock import SystemClock
from cardwright.platform.ids import IdSource
from cardwright.platform.migrate import migrate
from cardwright.platform.postgres import Actor, Database
from cardwright.transactions.rules import exports as rules
from cardwright.transactions.rules.exports import ExportStatus, TransactionExport
from cardwright.transactions.rules.history import HistoryFilters
from cardwright.transactions.store import exports as store
from local.environment import aws_environment
from local.seed.cloud import seed_cloud
from local.servers.ports import free_port
from local.servers.postgres import PostgresServer

ROWS = 1_000_000
# A file ten times as long may take this much more memory, and no more.
MEMORY_LIMIT = 1.25
_ROOT = Path(__file__).parents[1]
_READY_S = 60.0
_FILL = """
INSERT INTO card_transactions (
    card_id, transaction_id, user_id, authorization_id, root_authorization_id, type, status, reason, amount, approved_amount,
    held_amount, currency, merchant_category, detail, request_digest, config_version, day_start, month_start, decided_at,
    chain_seq, chain_hash)
SELECT %(card_id)s, (lpad(to_hex(%(last_ms)s - (%(count)s - n) * 1000), 12, '0') || '7000'
    || '8' || lpad(to_hex(n), 15, '0'))::uuid, %(user_id)s, 'auth_' || md5(n::text), 'auth_' || md5(n::text), 'authorization',
    'AUTHORIZED', 'approved', n %% 10000 / 100.0, n %% 10000 / 100.0, n %% 10000 / 100.0, 'USD',
    (ARRAY['5411', '5812', '5942', '4111'])[n %% 4 + 1],
    jsonb_build_object('channel', 'ecommerce', 'merchant', jsonb_build_object('id', 'm_' || n %% 2000,
        'name', 'SQ *CORNER SHOP #' || n %% 2000, 'city', 'Lyon', 'country', 'FR')),
    '', 1, %(at)s, %(at)s, %(at)s::timestamptz - make_interval(secs => %(count)s - n), n, ''
FROM generate_series(1, %(count)s) AS n
"""
_COPY = """
COPY (
    SELECT transaction_id, decided_at, updated_at, type, status, reason, currency, amount, approved_amount, held_amount,
        cleared_amount, reversed_amount, refunded_amount, flags, merchant_category, detail, risk_score, authorization_id,
        original_authorization_id
    FROM card_transactions WHERE card_id = %s ORDER BY transaction_id DESC
) TO STDOUT (FORMAT csv)
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """Running servers: PostgreSQL with two cards' histories, and the emulator with the bucket."""

    owner_url: str
    worker_url: str
    aws_url: str
    bucket: str


def measure(rows: int = ROWS) -> dict[str, Any]:
    """Export a tenth of the rows and then all; returns rows a second, memory in MB, and `memory_ratio` of the two."""
    with _ground() as ground:
        few = _export(ground, max(rows // 10, 1))
        many = _export(ground, rows)
    ratio = many["rss_peak_mb"] / few["rss_peak_mb"]
    return {
        **many,
        "tenth": few,
        "memory_ratio": round(ratio, 3),
        "memory_limit": MEMORY_LIMIT,
        "memory_under_the_limit": ratio <= MEMORY_LIMIT,
    }


@contextmanager
def _ground() -> Iterator[Ground]:
    with server_folder() as folder:
        postgres = PostgresServer(folder / "postgres", durable=True)
        postgres.start()
        try:
            with psycopg.connect(postgres.url(), autocommit=True) as owner:
                owner.execute("CREATE DATABASE bench")
            url = postgres.url("bench")
            migrate(url, MIGRATIONS)
            with _emulator(folder / "aws") as port:
                aws_url = f"http://127.0.0.1:{port}"
                bucket = seed_cloud(aws_url, [], {}).buckets["exports"]
                yield Ground(url, f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dworker", aws_url, bucket)
        finally:
            postgres.stop()


@contextmanager
def _emulator(data: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "local.aws", "--port", str(port), "--data", str(data)]
    process = subprocess.Popen(command, cwd=_ROOT)
    try:
        deadline = time.monotonic() + _READY_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the emulator does not answer")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _export(ground: Ground, rows: int) -> dict[str, Any]:
    """Fill a card's history, write it as the worker does, and look whether the file is whole."""
    job = _fill(ground, rows)
    peer_s = _copy(ground, job.card_id)
    figures = _run(ground)
    size = _check(ground, job, rows)
    return {
        "rows": rows,
        "bytes": size,
        "parts": figures["parts"],
        "elapsed_s": round(figures["elapsed_s"], 2),
        "rows_per_second": round(rows / figures["elapsed_s"]),
        "rows_per_second_without_the_store": round(rows / (figures["elapsed_s"] - figures["store_s"])),
        "copy_rows_per_second": round(rows / peer_s),
        "cpu_us_per_row": round(figures["cpu_s"] / rows * 1e6, 1),
        "rss_before_mb": round(figures["rss_before_mb"], 1),
        "rss_peak_mb": round(figures["rss_peak_mb"], 1),
    }


def _fill(ground: Ground, rows: int) -> TransactionExport:
    clock = SystemClock()
    ids, now = IdSource(clock), clock.now()
    job = TransactionExport(
        user_id=ids.new(), job_id=ids.new(), card_id=ids.new(), status=ExportStatus.QUEUED, total=rows, created_at=now
    )
    filled = {
        "card_id": job.card_id,
        "user_id": job.user_id,
        "count": rows,
        "at": now,
        "last_ms": int(now.timestamp()) * 1000,
    }
    with psycopg.connect(ground.owner_url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO users (user_id, role, email_sealed, first_name_sealed, last_name_sealed, password_hash, created_at) "
            "VALUES (%s, 'cardholder', '', '', '', '$argon2id$none', %s)",
            (job.user_id, now),
        )
        owner.execute(_FILL.encode(), filled)
        owner.execute("VACUUM ANALYZE card_transactions")
    database = Database(lambda: ground.owner_url, budget_s=60.0)
    with database.transaction(Actor(None, "system")) as tx:
        store.insert(tx, job, HistoryFilters(), hashlib.sha256(job.card_id.bytes).digest(), rules.ceiling(now))
    database.close()
    return job


def _copy(ground: Ground, card_id: UUID) -> float:
    """Seconds that COPY takes for the same rows."""
    started = time.perf_counter()
    with psycopg.connect(ground.owner_url) as owner, owner.cursor().copy(_COPY, (card_id,)) as copy:
        for _ in copy:
            pass
    return time.perf_counter() - started


def _run(ground: Ground) -> dict[str, float]:
    port = int(ground.aws_url.rpartition(":")[2])
    done = subprocess.run(
        [sys.executable, "-m", "bench.exporter"],
        input=json.dumps({"database_url": ground.worker_url, "bucket": ground.bucket}) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **aws_environment(port)},
        cwd=_ROOT,
    )
    if done.returncode:
        raise RuntimeError("the timed process failed: " + done.stderr[-800:])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _check(ground: Ground, job: TransactionExport, rows: int) -> int:
    """Raise RuntimeError unless the stored file is the one the job tells of, with a line for each row; return its size."""
    with psycopg.connect(ground.owner_url) as owner:
        row = owner.execute(
            "SELECT status, done, size, sha256 FROM transaction_exports WHERE job_id = %s", (job.job_id,)
        ).fetchone()
    digest, size, lines = hashlib.sha256(), 0, 0
    path = f"{ground.aws_url}/{ground.bucket}/{rules.object_key(job.job_id)}"
    with httpx.stream("GET", path, timeout=60.0, trust_env=False) as answer:
        for piece in answer.iter_bytes(1024 * 1024):
            digest.update(piece)
            size += len(piece)
            lines += piece.count(b"\n")
    if row != ("DONE", rows, size, digest.digest()) or lines != rows + 1:
        raise RuntimeError(f"the file of {rows} rows is not whole: {row}, {size} bytes, {lines} lines")
    return size


def main() -> int:
    """Print the figures; the exit status says whether memory kept its limit."""
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
    print(json.dumps(figures, indent=2))
    return 0 if figures["memory_under_the_limit"] else 1


if __name__ == "__main__":
    sys.exit(main())
