"""A crowd at the gateway: 10,000 connections held open at once, each acting now and then; what that costs in memory.

`python -m bench.crowd` is one of the processes that hold them: its task as JSON on standard input, its figures on
standard output.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from bench.machine import server_folder
from bench.network import HttpError, ask, request_bytes
from local.demo.client import Client, Network
from local.gateway.limits import allow_open_files
from local.running import RunningStack

CONNECTIONS = 10_000
PROCESSES = 4
# Each connection acts when it is made and then as often as this; they are made one after the other over the first interval. Under
# the gateway's keep-alive of 75 seconds.
INTERVAL_S = 60.0
ACTS = 3
# One act in so many asks for the caller's cards, the others for the gateway's health.
SIGNED_IN_EVERY = 4
_CARDS = "/api/v1/cards?limit=1"
_HEALTH = "/healthz"


def measure(connections: int = CONNECTIONS, interval_s: float = INTERVAL_S) -> dict[str, Any]:
    """Run a stack of its own and hold the crowd against it; returns counts, latencies in ms and memory in KiB a connection."""
    with server_folder() as folder, RunningStack(folder / "stack", rate_limits=False) as running:
        stack = running.description()
        token = _sign_in(stack)
        _warm(stack, token)
        gateways: list[int] = stack["pids"]["gateway"]
        before = _resident_kib(gateways)
        holders = [_start(stack, token, connections // PROCESSES, interval_s) for _ in range(PROCESSES)]
        figures = [json.loads(_line(holder.stdout)) for holder in holders]
        during = _resident_kib(gateways)
        for holder in holders:
            holder.communicate("done\n")
    latencies = sorted(latency for one in figures for latency in one["latencies_ms"])
    cut = statistics.quantiles(latencies, n=100)
    return {
        "connections": sum(one["held"] for one in figures),
        "interval_s": interval_s,
        "asked": sum(one["asked"] for one in figures),
        "answered": len(latencies),
        "errors": sum(one["errors"] for one in figures),
        "first_errors": [error for one in figures for error in one["first_errors"]][:5],
        "gateway_processes": len(gateways),
        "memory_kib_per_connection": round((during - before) / connections, 1),
        "latency_ms": {"p50": round(cut[49], 1), "p95": round(cut[94], 1), "p99": round(cut[98], 1)},
    }


def _sign_in(stack: dict[str, Any]) -> str:
    network = Network(stack["simulator_url"])
    person = Client(stack["base_url"], stack["users"]["load"][0], network)
    person.log_in()
    token = person.access_token
    person.close()
    network.close()
    return token


def _warm(stack: dict[str, Any], token: str) -> None:
    """Let the gateway import, open and grow what it needs however many clients there are."""
    with httpx.Client(base_url=stack["base_url"], timeout=60, trust_env=False) as client:
        for _ in range(300):
            client.get(_HEALTH)
            client.get(_CARDS, headers={"Authorization": f"Bearer {token}"})


def _resident_kib(pids: list[int]) -> int:
    """Resident memory of processes."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(status.partition("VmRSS:")[2].split()[0]) for status in statuses)


def _start(stack: dict[str, Any], token: str, connections: int, interval_s: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.crowd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    task = {"url": stack["base_url"], "token": token, "connections": connections, "interval_s": interval_s}
    if process.stdin is None:
        raise RuntimeError("the process has no pipe")
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return process


def _line(stream: IO[str] | None) -> str:
    if stream is None:
        raise RuntimeError("the process has no pipe")
    return stream.readline()


async def hold(task: dict[str, Any]) -> dict[str, Any]:
    """Make the connections, act on each, and keep all of them open until standard input says more."""
    parts, interval_s, count = urlsplit(task["url"]), float(task["interval_s"]), int(task["connections"])
    health = request_bytes("GET", _HEALTH, parts.netloc, {})
    cards = request_bytes("GET", _CARDS, parts.netloc, {"authorization": f"Bearer {task['token']}"})
    latencies: list[float] = []
    errors: list[str] = []
    held: list[asyncio.StreamWriter] = []
    asked = 0

    async def client(number: int) -> None:
        nonlocal asked
        await asyncio.sleep(interval_s * number / count)
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=8192)
            held.append(writer)
            for act in range(ACTS):
                due = time.perf_counter() + interval_s
                asked += 1
                began = time.perf_counter()
                status, body = await ask(reader, writer, cards if (number + act) % SIGNED_IN_EVERY == 0 else health)
                latencies.append((time.perf_counter() - began) * 1000)
                if status != 200:
                    errors.append(f"{status} {body[:120]!r}")
                if act < ACTS - 1:
                    await asyncio.sleep(due - time.perf_counter())
        except (OSError, HttpError) as error:
            held[:] = [one for one in held if not one.is_closing()]
            errors.append(f"{type(error).__name__}: {error}")

    await asyncio.gather(*(client(number) for number in range(count)))
    figures = {"held": len(held), "asked": asked, "errors": len(errors), "first_errors": errors[:5], "latencies_ms": latencies}
    print(json.dumps(figures), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for writer in held:
        writer.close()
    return figures


def main() -> None:
    """Read the task and hold the connections."""
    allow_open_files()
    asyncio.run(hold(json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
