"""The three simulators running together, and an issuer that stands where Cardwright would."""

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook

from local.clock import ClockFile, rfc3339
from tests.local.programs import Running, program

KEY = "key-of-the-test"
SECRET = "whsec_" + base64.b64encode(b"the secret of the tests").decode()
CARD = {"reference": "card-1", "program": "standard", "bin": "453201", "currency": "USD"}
PERSON = {
    "reference": "user-1",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "date_of_birth": "1990-12-10",
    "country": "GB",
    "document": {"type": "passport", "number": "X0000001"},
}


@dataclass
class Issuer:
    """Stands where Cardwright would: keeps what it is sent and answers as the test wants."""

    server: http.server.ThreadingHTTPServer
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], tuple[int, bytes]] = lambda _body: (200, b"{}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def wait_for(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The bodies, once so many have come."""
        deadline = time.monotonic() + seconds
        while len(self.requests) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.requests) >= count
        return [json.loads(body) for _, body in self.requests]


@contextlib.contextmanager
def listening() -> Iterator[Issuer]:
    """An issuer that answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            issuer.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, content = issuer.answer(json.loads(body))
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class World:
    """The three simulators with one clock and one set of faults."""

    folder: Path
    issuer: Issuer
    processor: Running
    kyc: Running
    messages: Running
    http: httpx.Client

    def call(self, party: Running, method: str, path: str, **more: Any) -> httpx.Response:
        """A call to a party's API with the key."""
        headers = {"Authorization": f"Bearer {KEY}", **more.pop("headers", {})}
        return self.http.request(method, party.url + path, headers=headers, **more)

    def make_card(self, key: str, **changes: Any) -> httpx.Response:
        """POST /v1/cards."""
        return self.call(self.processor, "POST", "/v1/cards", json={**CARD, **changes}, headers={"Idempotency-Key": key})

    def authorize(self, **fields: Any) -> dict[str, Any]:
        """POST /simulate/authorize."""
        body = {"card_token": "card_x", "amount": "42.10", "currency": "USD", **fields}
        answer = self.http.post(f"{self.processor.url}/simulate/authorize", json=body)
        assert answer.status_code == 200
        return dict(answer.json())

    def faults(self, **parties: dict[str, Any]) -> None:
        """POST /faults."""
        assert self.http.post(f"{self.processor.url}/faults", json=parties).status_code == 200

    def verify(self, **changes: Any) -> str:
        """POST /v1/verifications; the id."""
        body = {**PERSON, "callback_url": self.issuer.url, **changes}
        answer = self.call(self.kyc, "POST", "/v1/verifications", json=body)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        return str(answer.json()["id"])

    def send(self, **message: Any) -> httpx.Response:
        """POST /v1/messages."""
        return self.call(self.messages, "POST", "/v1/messages", json=message)


@contextlib.contextmanager
def all_parties(folder: Path) -> Iterator[World]:
    """The three simulators over one folder."""
    common = ["--api-key", KEY]
    with contextlib.ExitStack() as stack:
        issuer = stack.enter_context(listening())
        signed = ["--secret", SECRET]
        more = {"processor": [*signed, "--authorization-url", issuer.url], "kyc": signed, "messages": []}
        parties = [
            stack.enter_context(
                program(f"local.simulators.{party}", "--data", str(folder / party), *common, *more[party], ready=False)
            )
            for party in ("processor", "kyc", "messages")
        ]
        for started in parties:
            started.wait_until_ready()
        processor, kyc, messages = parties
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=10))
        yield World(folder, issuer, processor, kyc, messages, client)


def assert_signed(world: World, headers: dict[str, str], body: bytes) -> None:
    """The signature is good, and stamped by the stack's clock, which other tests may have moved."""
    stamp = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    with ClockFile(world.folder / "clock") as clock:
        assert abs(clock.now() - stamp) < timedelta(minutes=1)
    assert headers["webhook-signature"] == Webhook(SECRET).sign(headers["webhook-id"], stamp, body.decode())


def in_minutes(world: World, minutes: float) -> str:
    """So many minutes from now by the stack's clock, as RFC 3339."""
    with ClockFile(world.folder / "clock") as clock:
        return rfc3339(clock.now() + timedelta(minutes=minutes))
