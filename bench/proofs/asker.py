"""A process that asks for authorizations: threads that pass signed events to the real handler and keep every answer in a file.

`python -m bench.proofs.asker` reads its task as JSON on standard input: `threads`, `secret`, `history` (a path), `client`, and
either `asks` (a list of card token, authorization id, amount) or `cards` to make asks for until it is told to stop. `repeat` is
the share of asks, in hundredths, that is asked by another thread again; `seed` rules what is drawn.
"""

import contextlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.proofs.histories import HistoryFile, Operation
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import sign

# The network asks again while an answer is not final.
TRIES = 1000
PAUSE_S = 0.05

Ask = tuple[str, str, str]


def event(ask: Ask, secret: Secret[str]) -> dict[str, Any]:
    """A signed request as a Function URL passes it on (payload 2.0)."""
    token, authorization_id, amount = ask
    body = json.dumps(
        {
            "authorization_id": authorization_id,
            "card_token": token,
            "type": "authorization",
            "amount": amount,
            "currency": "USD",
            "merchant": {"id": "m_1", "name": "Corner Shop", "category_code": "5411", "city": "Lyon", "country": "FR"},
            "channel": "ecommerce",
            "occurred_at": "2026-11-21T10:00:00Z",
        }
    )
    message_id = f"msg_{os.urandom(8).hex()}"
    timestamp = int(datetime.now(UTC).timestamp())
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


class Asker:
    """Threads over one source of asks."""

    def __init__(self, asks: Iterator[Ask], secret: Secret[str], history: HistoryFile, client: int) -> None:
        self._asks = asks
        self._secret = secret
        self._history = history
        self._client = client
        self._lock = threading.Lock()

    def work(self, number: int) -> None:
        """Take asks until there are none left; a failure of ours ends the process."""
        try:
            while (ask := self._next()) is not None:
                self._ask(ask, self._client + number)
        except BaseException as error:
            print(f"asker failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(3)

    def _next(self) -> Ask | None:
        with self._lock:
            return next(self._asks, None)

    def _ask(self, ask: Ask, client: int) -> None:
        from functions.authorizations.authorize_transaction import handler

        for _ in range(TRIES):
            called = time.monotonic_ns()
            answer = handler(event(ask, self._secret), None)
            told = json.loads(answer["body"])
            final = answer["statusCode"] == 200 and told["final"]
            returned = time.monotonic_ns() if final else None
            asked = {"id": ask[1], "amount": ask[2]}
            self._history.add(Operation(ask[0], client, "authorize", asked, called, returned, told if final else None))
            if final:
                return
            if answer["statusCode"] not in (200, 503):
                raise RuntimeError(f"answered {answer['statusCode']}: {told.get('code')}")
            time.sleep(PAUSE_S)
        raise RuntimeError("no final answer, however often it was asked for")


def repeating(asks: list[Ask], repeat: int, seed: int) -> Iterator[Ask]:
    """The asks, some of them twice: the second follows a few asks later, while the first may still be under way."""
    chance = random.Random(seed)  # noqa: S311 - which asks are repeated is no secret
    late: list[Ask] = []
    for ask in asks:
        yield ask
        if chance.randrange(100) < repeat:
            late.append(ask)
        if late and chance.randrange(2):
            yield late.pop(chance.randrange(len(late)))
    yield from late


def endless(cards: list[str], amount: str, name: str, stopping: threading.Event) -> Iterator[Ask]:
    """Asks over the cards in turn, until it is said to stop."""
    number = 0
    while not stopping.is_set():
        number += 1
        yield cards[number % len(cards)], f"auth_{name}_{number}", amount


def run(task: dict[str, Any]) -> None:
    """Ask with as many threads as the task names; return when all are done."""
    import functions.authorizations.authorize_transaction  # noqa: F401 - imported before the clock of the proof starts

    stopping = threading.Event()
    asks = (
        repeating([(ask[0], ask[1], ask[2]) for ask in task["asks"]], task["repeat"], task["seed"])
        if "asks" in task
        else endless(task["cards"], task["amount"], task["name"], stopping)
    )
    history = HistoryFile(Path(task["history"]))
    asker = Asker(asks, Secret(str(task["secret"])), history, task["client"])
    threads = [threading.Thread(target=asker.work, args=(number,)) for number in range(task["threads"])]
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    if "asks" not in task:
        sys.stdin.readline()
        stopping.set()
    for thread in threads:
        thread.join()
    history.close()


def main() -> None:
    """Read the task and run it with the handler's own log lines set aside."""
    task = json.loads(sys.stdin.readline())
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        run(task)


if __name__ == "__main__":
    main()
