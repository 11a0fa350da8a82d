"""One process that creates cards through the real handler and says what the time was spent on.

`python -m bench.issuer` reads its task as JSON on standard input and writes its figures as JSON on standard output.
"""

import contextlib
import io
import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import botocore.client
import httpx
import psycopg

from cardwright.platform.cache import Cache
from functions.cards.create_virtual_card import handler
from functions.cards.routes import CREATE_VIRTUAL_CARD
from local.lambda_context import LambdaContext


class Stopwatch:
    """Seconds spent inside each outside party; a party asked within another's time counts for the outer one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inside = False

    def watch(self, owner: Any, method: str, party: str) -> None:
        """Time a method of a library's class from now on."""
        original: Callable[..., Any] = getattr(owner, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return original(*arguments, **named)
            with self._timing(party):
                return original(*arguments, **named)

        setattr(owner, method, timed)

    @contextmanager
    def _timing(self, party: str) -> Iterator[None]:
        self._inside, began = True, time.perf_counter()
        try:
            yield
        finally:
            self._inside = False
            self.spent[party] = self.spent.get(party, 0.0) + time.perf_counter() - began


def event(authorization: str) -> dict[str, Any]:
    """A creation as API Gateway passes it on."""
    headers = {"Authorization": authorization, "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    path = CREATE_VIRTUAL_CARD.full_path
    return {
        "resource": path,
        "path": path,
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"identity": {"sourceIp": "127.0.0.1"}, "stage": "local", "path": path, "requestId": str(uuid.uuid4())},
        "body": json.dumps({"currency": "USD"}),
        "isBase64Encoded": False,
    }


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Create cards one after another; returns the median in ms and each party's share of all the time."""
    watch = Stopwatch()
    watch.watch(httpx.Client, "send", "processor")
    watch.watch(psycopg.Connection, "wait", "postgres")
    watch.watch(psycopg.Connection, "connect", "postgres")
    watch.watch(botocore.client.BaseClient, "_make_api_call", "key service")
    watch.watch(Cache, "exchange", "valkey")
    latencies = []
    for number in range(task["warm"] + task["count"]):
        if number == task["warm"]:
            watch.spent.clear()
        began = time.perf_counter()
        context = LambdaContext(CREATE_VIRTUAL_CARD, str(uuid.uuid4()))
        answer = handler(event(task["authorization"]), context)  # type: ignore[arg-type]  # our own context
        if number >= task["warm"]:
            latencies.append((time.perf_counter() - began) * 1000)
        if answer["statusCode"] != 201:
            raise RuntimeError(f"expected 201, got {answer['statusCode']}: {answer['body'][:200]}")
    whole = sum(latencies) / 1000
    shares = {party: round(spent / whole, 3) for party, spent in sorted(watch.spent.items())}
    outside = 1 - shares.get("processor", 0.0) - shares.get("postgres", 0.0)
    return {
        "p50_ms": round(statistics.median(latencies), 1),
        "shares": {**shares, "our own code": round(1 - sum(shares.values()), 3)},
        "share_outside_processor_and_postgres": round(outside, 3),
    }


def main() -> None:
    """Read the task, run it with its logs kept apart from the figures, write the figures."""
    task = json.loads(sys.stdin.read())
    with contextlib.redirect_stdout(io.StringIO()):
        figures = run(task)
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
