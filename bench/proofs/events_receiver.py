"""Subscribers of the proofs: they check signatures with the `standardwebhooks` package and write down all they get.

How one answers its path tells: `/good` takes everything, `/late` an event at its second coming only, `/gone` says 410 to events.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cardwright.kernel.secret import Secret
from cardwright.platform.egress import Answer

VERIFICATION = "webhook.verification"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request: where to, the event's id, the body and what it was answered."""

    path: str
    event_id: str
    body: bytes
    status: int


class Receiver:
    """Any number of subscribers, told apart by path. With `strict` a timestamp more than five minutes off is refused."""

    def __init__(self, *, strict: bool = False) -> None:
        self.receipts: list[Receipt] = []
        # Requests nobody can have sent who knows the secret.
        self.forged: list[str] = []
        self.verifications = 0
        self._strict = strict
        self._secrets: dict[str, Webhook] = {}
        self._met: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def trust(self, path: str, secret: Secret[str]) -> None:
        """The secret of a path, as its owner was shown it."""
        self._secrets[path] = Webhook(secret.reveal())

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """As a Sender that needs no socket."""
        status, answer = self.take(urlsplit(url).path, {name.lower(): value for name, value in headers.items()}, body)
        return Answer(status, {}, answer)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """One request; its status and the body of the answer."""
        with self._lock:
            if not self._signed(path, headers, body):
                self.forged.append(path)
                return 401, b""
            document = json.loads(body)
            if document["type"] == VERIFICATION:
                self.verifications += 1
                return 200, json.dumps({"challenge": document["challenge"]}).encode()
            event_id = headers["webhook-id"]
            self._met[path, event_id] += 1
            status = self._status(path, event_id)
            self.receipts.append(Receipt(path, event_id, body, status))
            return status, b"ok" if status == 200 else b""

    def taken(self, path: str) -> Counter[str]:
        """How often each event was taken at a path."""
        return Counter(one.event_id for one in self.receipts if one.path == path and one.status == 200)

    def _status(self, path: str, event_id: str) -> int:
        if path.startswith("/gone"):
            return 410
        return 500 if path.startswith("/late") and self._met[path, event_id] == 1 else 200

    def _signed(self, path: str, headers: Mapping[str, str], body: bytes) -> bool:
        subscriber = self._secrets.get(path)
        if subscriber is None:
            return False
        if self._strict:
            try:
                subscriber.verify(body, dict(headers), json_parse=False)
            except WebhookVerificationError:
                return False
            return True
        # The stack's clock is moved ahead of this machine's: the signature is what counts.
        moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        return subscriber.sign(headers["webhook-id"], moment, body.decode()) in headers["webhook-signature"].split(" ")


class _Connection(asyncio.Protocol):
    """One request of a client that closes after it."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what TCP servers are given
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._transport is None:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) < int(headers.get("content-length", "0")):
            return
        status, answer = self._receiver.take(first.split(" ")[1], headers, body)
        self._transport.write(f"HTTP/1.1 {status} .\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        self._transport.close()


@contextmanager
def listening(receiver: Receiver) -> Iterator[int]:
    """The receiver on a port of this machine, on a thread of its own; gives the port."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: _Connection(receiver), "127.0.0.1", 0, backlog=512))
    thread = threading.Thread(target=loop.run_forever, name="receiver", daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
