"""One process that decides: makes signed Function URL events, then passes them to the real handler and measures.

`python -m bench.authorizer` reads its task as JSON on standard input and writes its figures as JSON on standard output.
"""

import contextlib
import gc
import json
import random
import sys
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import sign

# Requests made ahead for each second: more than one process decides.
MOST_PER_SECOND = 2500
_MERCHANTS = (
    ("Corner Shop", "5411", "Lyon", "FR"),
    ("Rail Tickets", "4112", "Berlin", "DE"),
    ("Harbour Books", "5942", "Boston", "US"),
    ("Night Pharmacy", "5912", "Leeds", "GB"),
)


def event(token: str, secret: Secret[str]) -> dict[str, Any]:
    """A signed request as a Function URL passes it on (payload 2.0)."""
    name, category, city, country = random.choice(_MERCHANTS)  # noqa: S311 - a choice of shops, not a secret
    body = json.dumps(
        {
            "authorization_id": f"auth_{uuid.uuid4().hex}",
            "card_token": token,
            "type": "authorization",
            "amount": str(Decimal(random.randint(100, 9999)).scaleb(-2)),  # noqa: S311 - an amount, not a secret
            "currency": "USD",
            "merchant": {"id": "m_1", "name": name, "category_code": category, "city": city, "country": country},
            "channel": "ecommerce",
            "occurred_at": "2026-11-21T10:00:00Z",
        }
    )
    message_id, timestamp = f"msg_{uuid.uuid4().hex}", int(datetime.now(UTC).timestamp())
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign([secret], message_id, timestamp, body.encode()),
    }
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": headers,
        "requestContext": {"requestId": message_id, "http": {"method": "POST", "path": "/"}},
        "body": body,
        "isBase64Encoded": False,
    }


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Decide for `seconds`, or `count` times; figures are latencies in milliseconds and CPU in microseconds per decision."""
    from functions.authorizations.authorize_transaction import handler

    secret = Secret(str(task["secret"]))
    tokens: list[str] = task["tokens"]
    for token in tokens[: task.get("warm", 20)]:
        _approved(handler(event(token, secret), None))
    # Made and signed ahead: the load generator takes no part of the time, the cores and their caches that are measured.
    prepared = task.get("count") or int(task["seconds"] * MOST_PER_SECOND)
    requests = [event(random.choice(tokens), secret) for _ in range(prepared)]  # noqa: S311 - a choice of cards
    # Nor does the collector walk through them again and again.
    gc.collect()
    gc.freeze()
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    marks: list[float] = []
    answers = []
    cpu, started = time.process_time(), time.perf_counter()
    until = started + task.get("seconds", 3600)
    before = started
    for request in requests:
        answers.append(handler(request, None))
        now = time.perf_counter()
        marks.append(now - before)
        before = now
        if now > until:
            break
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    for answer in answers:
        _approved(answer)
    latencies = [mark * 1000 for mark in marks]
    return {"decisions": len(answers), "elapsed_s": elapsed, "cpu_us": cpu / len(answers) * 1e6, "latencies_ms": latencies}


def _approved(answer: dict[str, Any]) -> None:
    if answer["statusCode"] != 200 or json.loads(answer["body"])["decision"] != "APPROVE":
        raise RuntimeError(f"not approved: {answer['statusCode']} {json.loads(answer['body']).get('reason')}")


def main() -> None:
    """Read the task, run it with the handler's own log lines set aside, print the figures."""
    task = json.loads(sys.stdin.readline())
    # Lambda takes each line from a pipe; here the kernel takes it.
    with Path("/dev/null").open("w", buffering=1) as nowhere, contextlib.redirect_stdout(nowhere):
        figures = run(task)
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
