"""A subscriber's server: `python -m local.receiver --port 9000` answers the challenge, verifies what comes and tells of it.

Written as a partner would, with the package standardwebhooks and Python's own library: nothing of the platform is imported.
"""

import argparse
import getpass
import json
import re
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

_POLL_S: Final = 0.05
_LOOK_S: Final = 0.5
_BODY_MAX: Final = 1 << 20
_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
# Standard Webhooks 1.0 recommends five minutes; the package has them too.
_TOLERANCE: Final = timedelta(minutes=5)
_CHALLENGE: Final = "webhook.verification"
_SECRET: Final = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?", re.ASCII)

Say = Callable[[str], None]


@dataclass(slots=True)
class Taken:
    """One event as it came. `signatures` and `secrets` count those of the last delivery: sent, and ours that verify one."""

    event: dict[str, Any]
    signatures: int
    secrets: int
    times: int = 1


class _Dated(Webhook):
    """The package's verification with another clock than the machine's: the local stack's can be moved forward."""

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        super().__init__(secret)
        self._now = now

    def _Webhook__verify_timestamp(self, header: str) -> datetime:
        try:
            stamped = datetime.fromtimestamp(float(header), UTC)
        except (ValueError, OverflowError, OSError):
            raise WebhookVerificationError("Invalid Signature Headers") from None
        if abs(self._now() - stamped) > _TOLERANCE:
            raise WebhookVerificationError("Message timestamp too old or too new")
        return stamped


class Receiver:
    """Takes verified events until closed; a delivery that comes again is counted, its event is the one that was there."""

    def __init__(self, port: int = 0, *, now: Callable[[], datetime] | None = None, say: Say = lambda line: None) -> None:
        """Listen on loopback, on a free port without one. `now` tells the sender's time where it is not the machine's."""
        self._now = now
        self._say = say
        self._lock = threading.Lock()
        self.secrets: tuple[str, ...] = ()
        self._webhooks: list[Webhook] = []
        self._early: list[tuple[bytes, dict[str, str]]] = []
        self._failures_left = 0
        self.failed = 0
        self.taken: dict[str, Taken] = {}
        self.refused: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where deliveries are to be sent."""
        return f"http://127.0.0.1:{self._server.server_port}/hooks"

    def trust(self, *secrets: str) -> None:
        """From now on take what one of these secrets signed, and verify what came before any was known.

        While a secret is rotated both are good. Raises ValueError for a text that is no signing secret.
        """
        if not all(_SECRET.fullmatch(one) for one in secrets):
            # The package would take any text; and ours says nothing of the text, as half a secret is too much in a terminal.
            raise ValueError("a signing secret is whsec_ and base64")
        webhooks = [Webhook(one) if self._now is None else _Dated(one, self._now) for one in secrets]
        with self._lock:
            self.secrets, self._webhooks = secrets, webhooks
            early, self._early = self._early, []
        for body, headers in early:
            self._verify(body, headers)

    def fail(self, deliveries: int) -> None:
        """Answer 500 to so many deliveries from now on; 0 ends it."""
        with self._lock:
            self._failures_left = deliveries

    def receive(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Answer one post: its status and body."""
        try:
            return self._receive(body, headers)
        except OSError:
            # The clock did not answer: it is to come again.
            return 503, b"{}"

    def _receive(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            document = json.loads(body)
            kind, challenge = str(document["type"]), document.get("challenge")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return 400, b"{}"
        with self._lock:
            known = bool(self._webhooks)
            failing = self._failures_left > 0 and kind != _CHALLENGE
            if failing:
                self._failures_left -= 1
                self.failed += 1
            elif not known:
                self._early.append((body, headers))
        if failing:
            self._say(f"{kind:<28} {headers['webhook-id']}  answered 500, as told to")
            return 500, b"{}"
        if not known:
            self._say(f"{kind:<28} {headers['webhook-id']}  kept until the secret is known")
        elif not self._verify(body, headers):
            return 401, b"{}"
        return 200, json.dumps({"challenge": challenge} if kind == _CHALLENGE else {}).encode()

    def _verify(self, body: bytes, headers: dict[str, str]) -> bool:
        documents, why = [], ""
        for webhook in self._webhooks:
            try:
                documents.append(webhook.verify(body, headers))
            except (WebhookVerificationError, ValueError) as error:
                why = str(error)
        if not documents:
            with self._lock:
                self.refused.append(why)
            self._say(f"{headers['webhook-id']}  refused: {why}")
            return False
        event = documents[0]
        times = self._take(headers, event, len(documents)) if event["type"] != _CHALLENGE else 1
        again = f", delivery {times} of it" if times > 1 else ""
        self._say(f"{event['type']:<28} {headers['webhook-id']}  verified{again}")
        return True

    def _take(self, headers: dict[str, str], event: dict[str, Any], secrets: int) -> int:
        signatures = len(headers["webhook-signature"].split(" "))
        with self._lock:
            known = self.taken.get(headers["webhook-id"])
            if known is None:
                self.taken[headers["webhook-id"]] = Taken(event, signatures, secrets)
                return 1
            known.times += 1
            known.signatures, known.secrets = signatures, secrets
            return known.times

    def counts(self) -> Counter[str]:
        """How many different events of each type were taken."""
        with self._lock:
            return Counter(str(one.event["type"]) for one in self.taken.values())

    def wait_for(self, wanted: Mapping[str, int], timeout_s: float) -> Counter[str]:
        """Wait until at least these events were taken or the time is over; returns what was taken."""
        self.wait(lambda: all(self.counts()[name] >= number for name, number in wanted.items()), timeout_s)
        return self.counts()

    @staticmethod
    def wait(true: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until it is true or the time is over; returns whether it is."""
        deadline = time.monotonic() + timeout_s
        while not (answer := true()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return answer

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Hands each POST to the receiver."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer one delivery."""
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > _BODY_MAX:
                self.close_connection = True
                self._answer(413, b"{}")
                return
            self._answer(*receiver.receive(self.rfile.read(int(length)), {name: self.headers.get(name, "") for name in _HEADERS}))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the receiver tells what arrived."""

    return Handler


def stack_time(simulator_url: str) -> datetime:
    """What time it is on a local stack. Raises OSError, ValueError."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{simulator_url}/clock", timeout=5) as answer:
        return datetime.fromisoformat(json.load(answer)["now"])


def secrets_of(path: Path) -> tuple[str, ...]:
    """The secrets of a file, one a line; none when it is not there yet."""
    try:
        return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except FileNotFoundError:
        return ()


def _watch(receiver: Receiver, path: Path, stopped: threading.Event) -> None:
    trusted: tuple[str, ...] = ()
    while not stopped.wait(_LOOK_S if trusted else _POLL_S):
        found = secrets_of(path)
        if found not in {trusted, ()}:
            _trust(receiver, found)
            trusted = found


def ask(receiver: Receiver) -> None:
    """Ask for secrets, which are not shown, until there are no more; each is good from then on."""
    secrets: tuple[str, ...] = ()
    while text := getpass.getpass("secret (whsec_...; empty when that was all): ").strip():
        secrets = (*secrets, text) if _trust(receiver, (*secrets, text)) else secrets


def _trust(receiver: Receiver, secrets: Iterable[str]) -> bool:
    try:
        receiver.trust(*secrets)
    except ValueError as error:
        print(f"not taken: {error}", file=sys.stderr)
        return False
    return True


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {line}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Listen until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port on loopback; a free one without it")
    parser.add_argument("--fail", type=int, default=0, metavar="N", help="answer 500 to the first N deliveries")
    parser.add_argument("--secret-file", type=Path, help="signing secrets, one a line; may come later, and change")
    parser.add_argument("--clock", metavar="SIMULATOR_URL", help="the stack whose clock was moved (simulator_url of stack.json)")
    wanted = parser.parse_args(arguments)
    clock: str | None = wanted.clock
    receiver = Receiver(wanted.port, now=None if clock is None else lambda: stack_time(clock), say=_say)
    receiver.fail(wanted.fail)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    print(f"listening at {receiver.url}", flush=True)
    try:
        if wanted.secret_file is not None:
            _watch(receiver, wanted.secret_file, stopped)
        else:
            ask(receiver)
            stopped.wait()
    except (KeyboardInterrupt, EOFError):
        print()
    finally:
        receiver.close()
    told = ", ".join(f"{number} {name}" for name, number in sorted(receiver.counts().items()))
    print(f"taken: {told or 'nothing'}; refused: {len(receiver.refused)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
