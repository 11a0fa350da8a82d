"""The page on capacity says what its sums give for the committed figures, and the sums are right by hand."""

import json
from decimal import Decimal
from typing import Any

import pytest

from bench import capacity
from functions.authorizations.routes import AUTHORIZE_TRANSACTION

# Round figures, so that the sums below can be followed with a pencil.
FIGURES: dict[str, Any] = {
    "cpu_us_per_decision": 300,
    "server_cpu_us_per_decision": {"postgres": 400, "valkey": 50},
    "stored_bytes_per_decision": 1000,
}


def test_the_page_says_what_the_sums_give_for_the_committed_figures() -> None:
    figures = json.loads(capacity.FIGURES.read_text())
    page = capacity.PAGE.read_text()
    assert capacity.render(figures) in page, "run `python -m bench.capacity`"
    assert capacity.written(page, capacity.render(figures)) == page


def test_the_sums_are_right_by_hand() -> None:
    needed = capacity.compute(FIGURES, 10_000)
    # 0.3 ms of the handler, 1 + 5 of waiting, 0.4 of PostgreSQL; times 10,000 a second.
    assert (needed.decision_ms, needed.running) == (6.7, 67)
    # Ten requests a second of each environment need more than 67 / 0.7 of them.
    assert (needed.environments, needed.lambda_vcpu) == (1000, 3)
    # 4 vCPU at 60 %, rounded up; 54 statements under way at 70 %.
    assert (needed.writer_vcpu, needed.writer_size, needed.database_connections) == (7, 8, 78)
    # 192 vCPU at 60 %, 400 us each; 128 TiB at 864 GB a day.
    assert (needed.writer_limit_rate, needed.storage_days) == (288_000, 162)
    # A million decisions are 100 seconds; each is billed as 7 ms of 1.769 GB.
    assert needed.costs["Lambda, requests"] == Decimal("0.20")
    assert [round(cost, 3) for cost in list(needed.costs.values())[1:]] == [
        Decimal(text) for text in ("0.120", "0.737", "0.080", "0.003", "0.007", "0.225")
    ]


def test_slow_decisions_need_environments_for_those_under_way() -> None:
    slow = capacity.compute({**FIGURES, "cpu_us_per_decision": 100_000}, 1000)
    assert (slow.running, slow.environments) == (107, 153)


def test_the_first_limit_is_the_one_that_is_committed() -> None:
    (first, at), *_ = capacity.first_to_saturate(capacity.compute(FIGURES))
    assert str(AUTHORIZE_TRANSACTION.reserved_concurrency) in first
    assert f"{AUTHORIZE_TRANSACTION.reserved_concurrency * capacity.REQUESTS_PER_ENVIRONMENT:,}" in at
    assert int(capacity.MEMORY_GB * 1000) == AUTHORIZE_TRANSACTION.memory_mb


def test_a_page_without_its_computed_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no computed part"):
        capacity.written("nothing here", "x")
