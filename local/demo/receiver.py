"""A subscriber's web server on loopback: answers the verification challenge and checks every signature."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

_POLL_S = 0.05
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Receiver:
    """Collects verified events until closed; a delivery that comes again is counted once, as its id says."""

    def __init__(self) -> None:
        """Listen on a free loopback port."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Hands each POST to the receiver."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Answer one delivery."""
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                status, answer = receiver.receive(body, {name: self.headers.get(name, "") for name in _HEADERS})
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the story tells what arrived."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._secret: str | None = None
        self._waiting: list[tuple[bytes, dict[str, str]]] = []
        self.events: dict[str, dict[str, Any]] = {}
        self.refused: list[str] = []

    @property
    def url(self) -> str:
        """Where deliveries are to be sent."""
        return f"http://127.0.0.1:{self._server.server_port}/hooks"

    def trust(self, secret: str) -> None:
        """Verify deliveries with this secret, also those that came before it was known."""
        with self._lock:
            self._secret = secret
            early, self._waiting = self._waiting, []
        for body, headers in early:
            self._verify(body, headers)

    def receive(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Check one delivery; returns status and body of the answer."""
        document = json.loads(body)
        with self._lock:
            known = self._secret is not None
            if not known:
                self._waiting.append((body, headers))
        if known and not self._verify(body, headers):
            return 401, b"{}"
        if document["type"] == "webhook.verification":
            return 200, json.dumps({"challenge": document["challenge"]}).encode()
        return 200, b"{}"

    def _verify(self, body: bytes, headers: dict[str, str]) -> bool:
        assert self._secret is not None  # noqa: S101 - callers hold deliveries back until it is known
        try:
            document: dict[str, Any] = Webhook(self._secret).verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            with self._lock:
                self.refused.append(str(error))
            return False
        if document["type"] != "webhook.verification":
            with self._lock:
                self.events[headers["webhook-id"]] = document
        return True

    def counts(self) -> Counter[str]:
        """How many different events of each type arrived."""
        with self._lock:
            return Counter(str(event["type"]) for event in self.events.values())

    def wait_for(self, wanted: Mapping[str, int], timeout_s: float) -> Counter[str]:
        """Wait until at least these events arrived or the time is over; returns what arrived."""
        deadline = time.monotonic() + timeout_s
        while True:
            counts = self.counts()
            if all(counts[name] >= number for name, number in wanted.items()) or time.monotonic() > deadline:
                return counts
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
