"""The Parameters and Secrets extension's HTTP, serving what a test gives it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Extension:
    """What it serves and what it was asked; `status` other than 200 makes it fail, `text` replaces the answer."""

    port: int
    secrets: dict[str, dict[str, Any]]
    status: int = 200
    text: str | None = None
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def serving_secrets(secrets: dict[str, dict[str, Any]]) -> Iterator[Extension]:
    """Serve secrets by name until the block ends."""
    extension = Extension(0, secrets)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = parse_qs(urlsplit(self.path).query)["secretId"][0]
            extension.asked.append(name)
            extension.tokens.append(self.headers.get("X-Aws-Parameters-Secrets-Token"))
            answer = extension.text or json.dumps({"SecretString": json.dumps(extension.secrets.get(name, {}))})
            self.send_response(extension.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    extension.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield extension
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
