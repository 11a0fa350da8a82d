"""The HTTP a Lambda sandbox under SnapStart gets its role's keys from, serving what a test tells it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sandbox:
    """What it serves, to holders of `token` alone; `status` other than 200 makes it fail, `text` replaces the answer."""

    expires: datetime
    token: str = "sandbox-token"
    access_key: str = "ASIACONTAINER"
    status: int = 200
    text: str | None = None
    uri: str = ""
    asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def variables(self) -> dict[str, str]:
        """What the sandbox's environment says instead of keys."""
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.uri, "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token}

    def answer(self, authorization: str | None) -> tuple[int, str]:
        """Status and body of one request."""
        with self._lock:
            self.asked += 1
        if authorization != self.token:
            return 401, "{}"
        told = {
            "AccessKeyId": self.access_key,
            "SecretAccessKey": "not-a-key",
            "Token": "session",
            "Expiration": self.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self.status, json.dumps(told) if self.text is None else self.text


@contextmanager
def serving_credentials(expires: datetime) -> Iterator[Sandbox]:
    """Serve keys that expire then until the block ends."""
    sandbox = Sandbox(expires)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, answer = sandbox.answer(self.headers.get("Authorization"))
            self.send_response(status if self.path == "/2021-04-23/credentials?id=1" else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sandbox.uri = f"http://127.0.0.1:{server.server_address[1]}/2021-04-23/credentials?id=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sandbox
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
