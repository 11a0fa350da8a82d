"""What a rate of decisions takes on AWS, computed from the benchmark's figures (docs/operating/capacity.md).

`python -m bench.capacity` writes the sums into that page anew, from docs/reference/authorization.json.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "reference" / "authorization.json"
PAGE = ROOT / "docs" / "operating" / "capacity.md"
BEGIN, END = "<!-- computed: begin -->", "<!-- computed: end -->"
RATE = 10_000

# Assumptions. A vCPU of AWS does what one of the bench's machine does; waits are for one region, TLS on, all in one zone.
VALKEY_WAIT_MS = 1.0
# Through RDS Proxy, with Aurora's commit to its storage; the statement's own CPU comes on top.
POSTGRES_WAIT_MS = 5.0
# What may be busy of what there is, on the average, so that a peak finds room.
DATABASE_USE = 0.6
LAMBDA_USE = 0.7
CONNECTION_USE = 0.7

# Quotas and sizes of AWS, as documented in 2025.
REQUESTS_PER_ENVIRONMENT = 10
LARGEST_WRITER_VCPU = 192
AURORA_STORAGE_TIB = 128
MEMORY_GB = Decimal("1.769")

# List prices in US dollars, us-east-1, as published in 2025. Look them up anew before you rely on a sum.
PRICES_OF = "us-east-1, 2025"
LAMBDA_REQUEST_PER_MILLION = Decimal("0.20")
LAMBDA_PROVISIONED_GB_S = Decimal("0.0000041667")
LAMBDA_RUNNING_GB_S = Decimal("0.0000097222")
AURORA_VCPU_HOUR = Decimal("0.18")
PROXY_VCPU_HOUR = Decimal("0.015")
VALKEY_PER_MILLION_ECPU = Decimal("0.0023")
# Reading two keys and writing one, a little under a kilobyte each way.
ECPU_PER_DECISION = 3
STORAGE_GB_MONTH = Decimal("0.225")

_AURORA_SIZES = (2, 4, 8, 16, 32, 48, 64, 96, 128, LARGEST_WRITER_VCPU)
_SECONDS_A_MONTH = 730 * 3600


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a rate takes. CPU in vCPU, money in US dollars for a million decisions."""

    rate: int
    decision_ms: float
    running: int
    environments: int
    lambda_vcpu: int
    writer_vcpu: int
    writer_size: int
    database_connections: int
    writer_limit_rate: int
    storage_days: int
    costs: Mapping[str, Decimal]


def compute(figures: Mapping[str, Any], rate: int = RATE) -> Capacity:
    """The sums, from authorization.json's figures. Waits and CPU in a decision do not overlap."""
    handler_us, server_us = figures["cpu_us_per_decision"], figures["server_cpu_us_per_decision"]["postgres"]
    decision_ms = handler_us / 1000 + VALKEY_WAIT_MS + POSTGRES_WAIT_MS + server_us / 1000
    # Little's law: how many are under way is how many come times how long each takes.
    running = _up(rate * decision_ms / 1000)
    environments = max(_up(running / LAMBDA_USE), rate // REQUESTS_PER_ENVIRONMENT)
    writer_vcpu = _up(rate * server_us / 1e6 / DATABASE_USE)
    writer_size = next((size for size in _AURORA_SIZES if size >= writer_vcpu), LARGEST_WRITER_VCPU)
    connections = _up(rate * (POSTGRES_WAIT_MS + server_us / 1000) / 1000 / CONNECTION_USE)
    stored = int(figures["stored_bytes_per_decision"])
    return Capacity(
        rate=rate,
        decision_ms=round(decision_ms, 2),
        running=running,
        environments=environments,
        lambda_vcpu=_up(rate * handler_us / 1e6),
        writer_vcpu=writer_vcpu,
        writer_size=writer_size,
        database_connections=connections,
        writer_limit_rate=round(LARGEST_WRITER_VCPU * DATABASE_USE * 1e6 / server_us) // 1000 * 1000,
        storage_days=int(AURORA_STORAGE_TIB * 2**40 / (stored * rate * 86_400)),
        costs=_costs(rate, _up(decision_ms), environments, writer_size, stored),
    )


def _up(value: float) -> int:
    """The next whole number; what is one but for the last binary digits stays."""
    return math.ceil(round(value, 6))


def _costs(rate: int, billed_ms: int, environments: int, writer_size: int, stored: int) -> dict[str, Decimal]:
    """Dollars for a million decisions at a steady rate; environments and servers are paid for all the time."""
    million = Decimal(1_000_000)
    seconds = million / rate
    hours = seconds / 3600
    return {
        "Lambda, requests": LAMBDA_REQUEST_PER_MILLION,
        "Lambda, time that runs (each decision rounded up to a millisecond)": (
            million * billed_ms / 1000 * MEMORY_GB * LAMBDA_RUNNING_GB_S
        ),
        "Lambda, environments kept ready": environments * seconds * MEMORY_GB * LAMBDA_PROVISIONED_GB_S,
        "Aurora I/O-Optimized, a writer and a reader": 2 * writer_size * hours * AURORA_VCPU_HOUR,
        "RDS Proxy, of the writer": writer_size * hours * PROXY_VCPU_HOUR,
        "ElastiCache Serverless for Valkey, requests": ECPU_PER_DECISION * VALKEY_PER_MILLION_ECPU,
        "storage, the first month": million * stored / 10**9 * STORAGE_GB_MONTH,
    }


def first_to_saturate(capacity: Capacity) -> list[tuple[str, str]]:
    """The limits in the order in which a growing system meets them: at what, and what to do."""
    return [
        ("`reserved_concurrency` of the function as committed (50)", f"{50 * REQUESTS_PER_ENVIRONMENT:,} a second: raise it"),
        (
            "an account's 1,000 concurrent executions",
            f"{1000 * REQUESTS_PER_ENVIRONMENT:,} a second, less what other functions take: ask for more",
        ),
        (
            f"storage of one cluster, {AURORA_STORAGE_TIB} TiB",
            f"after {capacity.storage_days:,} days of {capacity.rate:,} a second: archive, or shard",
        ),
        (
            f"CPU of the largest writer, {LARGEST_WRITER_VCPU} vCPU at {DATABASE_USE:.0%}",
            f"{capacity.writer_limit_rate:,} a second: shard",
        ),
    ]


def render(figures: Mapping[str, Any], rate: int = RATE) -> str:
    """The computed part of the page."""
    capacity = compute(figures, rate)
    total = sum(capacity.costs.values(), Decimal(0))
    lines = [
        BEGIN,
        "| measured, for one decision | |",
        "|---|---|",
        f"| CPU of the handler | {figures['cpu_us_per_decision']:.0f} us |",
        f"| CPU of PostgreSQL | {figures['server_cpu_us_per_decision']['postgres']:.0f} us |",
        f"| CPU of Valkey | {figures['server_cpu_us_per_decision']['valkey']:.0f} us |",
        f"| on disk, with indexes | {figures['stored_bytes_per_decision']:,} bytes |",
        "",
        f"| needed for {rate:,} decisions a second | |",
        "|---|---|",
        f"| one decision takes | {capacity.decision_ms} ms |",
        f"| decisions under way at once | {capacity.running:,} |",
        f"| Lambda environments | {capacity.environments:,}, which use {capacity.lambda_vcpu:,} vCPU |",
        f"| connections of RDS Proxy to the writer | {capacity.database_connections:,} |",
        f"| vCPU of the writer | {capacity.writer_vcpu:,}, so an instance of {capacity.writer_size:,} |",
        "",
        f"| US dollars for a million decisions ({PRICES_OF}) | |",
        "|---|---|",
        *(f"| {name} | {_dollars(cost)} |" for name, cost in capacity.costs.items()),
        f"| **together** | **{_dollars(total)}** |",
        "",
        "| what is met first | at |",
        "|---|---|",
        *(f"| {name} | {at} |" for name, at in first_to_saturate(capacity)),
        END,
    ]
    return "\n".join(lines)


def _dollars(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.001'), ROUND_HALF_UP)}"


def written(page: str, computed: str) -> str:
    """The page with its computed part replaced. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no computed part")
    return before + computed + after


def main() -> None:
    """Write the page's computed part."""
    PAGE.write_text(written(PAGE.read_text(), render(json.loads(FIGURES.read_text()))))


if __name__ == "__main__":
    main()
