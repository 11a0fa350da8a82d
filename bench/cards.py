"""Cards over HTTP through the gateway: create, limits, freeze by 50 clients at once, and where a creation's time goes."""

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx

from bench.machine import server_folder
from local.demo.client import Client, Network
from local.running import RunningStack

CLIENTS = 50
# Cards each client makes, and its pause between requests. Before anything counts, every thread of the gateway has its database
# connection; paced, the fifty ask for what two cores can give; unpaced, for all they can.
WARMING = (4, 0.0)
PHASES = {"paced": (6, 5.0), "unpaced": (12, 0.0)}
PROCESSOR_MS = 20
CREATE_LIMIT_MS = 200.0
_TICKS = os.sysconf("SC_CLK_TCK")
_LIMITS = ({"per_transaction": "90.00"}, {"per_transaction": "80.00"})


def measure() -> dict[str, Any]:
    """Run a stack of its own whose processor answers after 20 ms; returns latencies in ms and CPU in ms a call."""
    with server_folder() as folder, RunningStack(folder / "stack", rate_limits=False) as running:
        stack = running.description()
        httpx.post(f"{stack['simulator_url']}/faults", json={"processor": {"latency_ms": PROCESSOR_MS}}, trust_env=False)
        network = Network(stack["simulator_url"])
        clients = [_sign_in(stack, user, network) for user in stack["users"]["load"][:CLIENTS]]
        network.close()
        _phase(stack, clients, *WARMING)
        phases = {name: _phase(stack, clients, *phase) for name, phase in PHASES.items()}
        parts = _parts_of_a_creation(stack, clients[0])
        for client in clients:
            client.close()
    return {
        "clients": CLIENTS,
        "processor_ms": PROCESSOR_MS,
        "create_p99_limit_ms": CREATE_LIMIT_MS,
        "create_p99_under_the_limit": {
            name: phase["create"]["latency_ms"]["p99"] < CREATE_LIMIT_MS for name, phase in phases.items()
        },
        **phases,
        "one_creation_alone": parts,
    }


def _sign_in(stack: dict[str, Any], user: dict[str, str], network: Network) -> httpx.Client:
    person = Client(stack["base_url"], user, network)
    person.log_in()
    token = person.access_token
    person.close()
    return httpx.Client(
        base_url=f"{stack['base_url']}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
    )


def _phase(stack: dict[str, Any], clients: list[httpx.Client], cards_each: int, pause_s: float) -> dict[str, Any]:
    """Every client creates its cards, then sets each one's limits, then freezes each one."""
    cards: list[list[str]] = [[] for _ in clients]

    def create(number: int) -> Iterator[Callable[[], httpx.Response]]:
        for _ in range(cards_each):

            def make() -> httpx.Response:
                answer = clients[number].post("/cards", json={"currency": "USD"}, headers={"Idempotency-Key": str(uuid.uuid4())})
                cards[number].append(answer.json()["id"])
                return answer

            yield make

    def limit(number: int) -> Iterator[Callable[[], httpx.Response]]:
        for card_id, wish in zip(cards[number], itertools.cycle(_LIMITS), strict=False):
            yield partial(clients[number].put, f"/cards/{card_id}/limits", json=wish)

    def freeze(number: int) -> Iterator[Callable[[], httpx.Response]]:
        for card_id in cards[number]:
            yield partial(clients[number].post, f"/cards/{card_id}/freeze")

    return {
        "pause_s": pause_s,
        "create": _together(stack, create, 201, pause_s),
        "limits": _together(stack, limit, 200, pause_s),
        "freeze": _together(stack, freeze, 200, pause_s),
    }


def _together(
    stack: dict[str, Any], calls: Callable[[int], Iterator[Callable[[], httpx.Response]]], status: int, pause_s: float
) -> dict[str, Any]:
    """Let all clients begin at once, each after a part of its pause; returns latencies, throughput and CPU a call."""
    begin = Barrier(CLIENTS)

    def work(number: int) -> list[float]:
        begin.wait()
        time.sleep(pause_s * number / CLIENTS)
        latencies = []
        for call in calls(number):
            started = time.perf_counter()
            answer = call()
            latencies.append((time.perf_counter() - started) * 1000)
            if answer.status_code != status:
                raise RuntimeError(f"expected {status}, got {answer.status_code}: {answer.text[:200]}")
            time.sleep(max(0.0, pause_s - (time.perf_counter() - started)))
        return latencies

    before, started = _cpu_ms(stack), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        latencies = sorted(itertools.chain.from_iterable(pool.map(work, range(CLIENTS))))
    elapsed, after = time.perf_counter() - started, _cpu_ms(stack)
    cut = statistics.quantiles(latencies, n=100)
    return {
        "calls": len(latencies),
        "per_second": round(len(latencies) / elapsed, 1),
        "latency_ms": {"p50": round(cut[49], 1), "p95": round(cut[94], 1), "p99": round(cut[98], 1)},
        "cpu_ms_per_call": {part: round((after[part] - before[part]) / len(latencies), 2) for part in after},
    }


def _cpu_ms(stack: dict[str, Any]) -> dict[str, float]:
    """CPU used so far by each kind of process, children included (PostgreSQL's are its connections)."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) * 1000 / _TICKS
    named = {
        "gateway": stack["pids"]["gateway"],
        "postgres": [stack["pids"]["postgres"]],
        "keys and queues": [stack["pids"]["aws"]],
    }
    return {name: sum(_with_children(pid, parents, used) for pid in own) for name, own in named.items()}


def _with_children(pid: int, parents: dict[int, int], used: dict[int, float]) -> float:
    return used.get(pid, 0.0) + sum(_with_children(child, parents, used) for child, parent in parents.items() if parent == pid)


def _parts_of_a_creation(stack: dict[str, Any], client: httpx.Client) -> dict[str, Any]:
    """Time of one creation at a time by what it was spent on, in a process with the gateway's own environment."""
    environment = Path(f"/proc/{stack['pids']['gateway'][0]}/environ").read_bytes().split(b"\0")
    variables = {**os.environ, **dict(entry.decode().split("=", 1) for entry in environment if b"=" in entry)}
    done = subprocess.run(
        [sys.executable, "-m", "bench.issuer"],
        input=json.dumps({"authorization": client.headers["Authorization"], "count": 60, "warm": 5}),
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise RuntimeError("the timed process failed: " + done.stderr[-800:])
    parts: dict[str, Any] = json.loads(done.stdout)
    return parts
