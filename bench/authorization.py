"""The authorization path against pgbench's TPC-B on the same server in the same run."""

import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from bench.cpu import used_us
from bench.machine import pipe, server_folder
from bench.proxy import CountingProxy
from bench.stage import CARDS, Stage, environment, secrets_extension, seed, stage
from local.running import RunningStack

PROCESSES = 4
ROUNDS = 3
SECONDS = 6
WARM_S = 3
# How long an answer is held back to see who waits for it: the cache's under its budget of 5 ms.
VALKEY_DELAY_S = 0.002
POSTGRES_DELAY_S = 0.01
# Clients of the gateway's socket, and what a network waits for at most.
CLIENTS = 16
GATEWAY_P95_MS, GATEWAY_P99_MS = 50.0, 100.0
# The recorded function alone, at the same concurrency as TPC-B, parameters as the handler's.
_FUNCTION_SCRIPT = r"""
\set n random(1, 200)
SELECT record_authorization(
  ('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid, 1, gen_random_uuid()::text, sha256(:n::text::bytea),
  gen_random_uuid(), NULL, 10.00, 'USD', 'authorization', NULL, '5411', 'm_1',
  '{"merchant": {"id": "m_1", "name": "Corner Shop", "category_code": "5411", "city": "Lyon", "country": "FR", "latitude": null,
    "longitude": null}, "channel": "ecommerce", "occurred_at": "2026-11-21T10:00:00Z"}'::jsonb, NULL::smallint,
  date_trunc('day', now()), date_trunc('month', now()), now(), false, now() + interval '7 days', 1::smallint);
"""


def measure() -> dict[str, Any]:
    """Run everything; returns the figures CONTRACT section 1 names, and those they were made of."""
    with stage() as running, secrets_extension(running.secret) as extension_port:
        _prepare_pgbench(running)
        rounds = [_round(running, extension_port) for _ in range(ROUNDS)]
        stored_bytes = _stored_bytes(running)
        trips = _round_trips(running, extension_port)
    door = gateway()
    latencies = sorted(latency for one in rounds for latency in one["latencies_ms"])
    cut = statistics.quantiles(latencies, n=100)
    return {
        "decisions_per_second": round(statistics.median(one["decisions_per_second"] for one in rounds), 1),
        "tpcb_tps": round(statistics.median(one["tpcb_tps"] for one in rounds), 1),
        "ratio_to_tpcb": round(statistics.median(one["decisions_per_second"] / one["tpcb_tps"] for one in rounds), 3),
        "function_tps": round(statistics.median(one["function_tps"] for one in rounds), 1),
        "database_ratio_to_tpcb": round(statistics.median(one["function_tps"] / one["tpcb_tps"] for one in rounds), 3),
        "cpu_us_per_decision": round(statistics.median(one["cpu_us"] for one in rounds), 1),
        "server_cpu_us_per_decision": {
            part: round(statistics.median(one["server_cpu_us"][part] for one in rounds), 1) for part in ("postgres", "valkey")
        },
        "stored_bytes_per_decision": stored_bytes,
        "latency_ms": {"p50": round(cut[49], 3), "p95": round(cut[94], 3), "p99": round(cut[98], 3)},
        "p99_to_p50": round(cut[98] / cut[49], 2),
        "hot_card": {
            "decisions_per_second": round(statistics.median(one["hot_per_second"] for one in rounds), 1),
            "ratio_to_spread": round(statistics.median(one["hot_per_second"] / one["decisions_per_second"] for one in rounds), 3),
        },
        "gateway": door,
        "round_trips": trips,
        "import_ratio": _import_ratio(),
        "processes": PROCESSES,
        "rounds": ROUNDS,
        "decisions": len(latencies),
        "settings": {"fsync": "on", "synchronous_commit": "on"},
    }


def _round(running: Stage, extension_port: int) -> dict[str, Any]:
    variables = environment(running, extension_port)
    servers = {"postgres": running.postgres.pid, "valkey": running.valkey.pid}
    before = {part: used_us(pid) for part, pid in servers.items()}
    figures = decide(running, variables, processes=PROCESSES, seconds=SECONDS)
    decisions = sum(one["decisions"] for one in figures)
    server_cpu_us = {part: (used_us(pid) - before[part]) / decisions for part, pid in servers.items()}
    hot = decide(replace(running, tokens=running.tokens[:1]), variables, processes=PROCESSES, seconds=SECONDS)
    return {
        "decisions_per_second": sum(one["decisions"] / one["elapsed_s"] for one in figures),
        "hot_per_second": sum(one["decisions"] / one["elapsed_s"] for one in hot),
        "server_cpu_us": server_cpu_us,
        "cpu_us": statistics.fmean(one["cpu_us"] for one in figures),
        "latencies_ms": [latency for one in figures for latency in one["latencies_ms"]],
        "tpcb_tps": _pgbench(running, []),
        "function_tps": _pgbench(running, ["-f", "-"], _FUNCTION_SCRIPT),
    }


def _stored_bytes(running: Stage) -> int:
    """What a decision takes on disk: the table of transactions with its indexes, by its rows."""
    with psycopg.connect(running.owner_url, autocommit=True) as owner:
        row = owner.execute("SELECT pg_total_relation_size('card_transactions') / count(*) FROM card_transactions").fetchone()
    return int(row[0]) if row else 0


def decide(running: Stage, variables: dict[str, str], *, processes: int, **task: int) -> list[dict[str, Any]]:
    """Start the deciding processes, let them warm up, release them together, collect their figures."""
    command = [sys.executable, "-m", "bench.authorizer"]
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
            cwd=Path(__file__).parents[1],
        )
        for _ in range(processes)
    ]
    described = json.dumps({"secret": running.secret, "tokens": running.tokens, **task}) + "\n"
    for process in started:
        pipe(process.stdin).write(described)
        pipe(process.stdin).flush()
    for process in started:
        if pipe(process.stderr).readline().strip() != "ready":
            raise RuntimeError("a deciding process did not start: " + process.communicate()[1][-800:])
    with ThreadPoolExecutor(processes) as pool:
        answers = list(pool.map(lambda process: process.communicate("go\n"), started))
    for process, (_, said) in zip(started, answers, strict=True):
        if process.returncode:
            raise RuntimeError("a deciding process failed: " + said[-800:])
    return [json.loads(figures) for figures, _ in answers]


def _prepare_pgbench(running: Stage) -> None:
    pgbench = str(running.postgres.bin("pgbench"))
    subprocess.run([pgbench, "-i", "-q", "-s", "10", running.owner_url], check=True, capture_output=True)


def _pgbench(running: Stage, extra: list[str], script: str | None = None) -> float:
    pgbench = str(running.postgres.bin("pgbench"))
    command = [pgbench, "-n", "-M", "extended", "-c", str(PROCESSES), "-j", "1", "-T", str(SECONDS), *extra, running.owner_url]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("pgbench failed: " + done.stderr[-800:])
    line = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


def _round_trips(running: Stage, extension_port: int) -> dict[str, float]:
    """Exchanges per decision counted on the bytes, and those awaited: what an answer held back adds to the latency.

    Two runs differ in nothing but their length, so that connecting and the first look at each card do not count.
    """
    short, long = 50, 350
    with CountingProxy("127.0.0.1", running.postgres.port) as postgres, CountingProxy("127.0.0.1", running.valkey.port) as valkey:
        variables = environment(running, extension_port, postgres_port=postgres.port, valkey_port=valkey.port)
        few = replace(running, tokens=running.tokens[:20])

        def run(count: int) -> tuple[float, int, int]:
            before = postgres.exchanges, valkey.exchanges
            figures = decide(few, variables, processes=1, count=count, warm=20)[0]
            return statistics.median(figures["latencies_ms"]), postgres.exchanges - before[0], valkey.exchanges - before[1]

        _, postgres_short, valkey_short = run(short)
        plain, postgres_long, valkey_long = run(long)
        valkey.delay_s = VALKEY_DELAY_S
        valkey_held, _, _ = run(long)
        valkey.delay_s, postgres.delay_s = 0.0, POSTGRES_DELAY_S
        postgres_held, _, _ = run(long)
    return {
        "postgres": round((postgres_long - postgres_short) / (long - short), 2),
        "postgres_awaited": round((postgres_held - plain) / (POSTGRES_DELAY_S * 1000), 2),
        "valkey": round((valkey_long - valkey_short) / (long - short), 2),
        "valkey_awaited": round((valkey_held - plain) / (VALKEY_DELAY_S * 1000), 2),
    }


def gateway() -> dict[str, Any]:
    """Clients over HTTP at the socket of the local gateway's authorization URL, each asking again at once; latencies in ms."""
    with server_folder() as folder, RunningStack(folder / "stack", rate_limits=False) as running:
        stack = running.description()
        with psycopg.connect(stack["database_url"], autocommit=True) as owner:
            tokens = seed(owner, "bench", CARDS)
        task = {"url": stack["authorization_url"], "secret": stack["processor_secret"], "tokens": tokens}
        # The first run opens every connection and warms every thread.
        for seconds in (WARM_S, SECONDS):
            figures = _call({**task, "clients": CLIENTS, "seconds": seconds})
    cut = statistics.quantiles(figures["latencies_ms"], n=100)
    latency = {"p50": round(cut[49], 1), "p95": round(cut[94], 1), "p99": round(cut[98], 1)}
    return {
        "clients": CLIENTS,
        "decisions_per_second": round(figures["answers"] / figures["elapsed_s"], 1),
        "latency_ms": latency,
        "limits_ms": {"p95": GATEWAY_P95_MS, "p99": GATEWAY_P99_MS},
        "within_limits": latency["p95"] < GATEWAY_P95_MS and latency["p99"] < GATEWAY_P99_MS,
    }


def _call(task: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.network"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise RuntimeError("the clients failed: " + done.stderr[-800:])
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _import_ratio() -> float:
    """Import time of the handler module against importing psycopg alone, medians of turns."""

    def seconds(module: str) -> float:
        program = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        command = [sys.executable, "-c", program]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout)

    pairs = [(seconds("functions.authorizations.authorize_transaction"), seconds("psycopg")) for _ in range(7)]
    return round(statistics.median(ours for ours, _ in pairs) / statistics.median(theirs for _, theirs in pairs), 2)
