"""The callers' side of `asker`: processes with the real handler in them, started together and ended in order."""

import base64
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.machine import pipe
from bench.proofs.grounds import Ground

PATIENCE_S = 900


def new_secret() -> str:
    """A signing secret of the simulated processor."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@contextmanager
def _secrets_extension(secret: str) -> Iterator[int]:
    """The Parameters and Secrets extension's own HTTP, with the one secret that the authorization function asks for."""
    document = json.dumps({"SecretString": json.dumps({"secrets": [secret]})}).encode()

    class Extension(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Extension) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def environment(ground: Ground, secret: str) -> Iterator[dict[str, str]]:
    """Variables of the authorization function over a ground, with the secret behind the extension's own HTTP."""
    with _secrets_extension(secret) as port:
        yield {
            **os.environ,
            "CARDWRIGHT_STAGE": "local",
            "CARDWRIGHT_PUBLIC_URL": "http://127.0.0.1",
            "CARDWRIGHT_CORS_ORIGINS": "",
            "CARDWRIGHT_RATE_LIMITS": "off",
            "CARDWRIGHT_DATABASE_APP": ground.role_url("app"),
            "CARDWRIGHT_CACHE_URL": ground.cache_url,
            "CARDWRIGHT_PROCESSOR_INBOUND_SECRET": "proof/processor-inbound",
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(port),
            "AWS_SESSION_TOKEN": "proof",
        }


class Askers:
    """Processes of `asker`, one a task. What they answer stands in the tasks' history files."""

    def __init__(self, tasks: list[dict[str, Any]], variables: dict[str, str]) -> None:
        self._tasks = tasks
        self._variables = variables
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        """Start them; each imports and waits."""
        for task in self._tasks:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.proofs.asker"],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self._variables,
                cwd=Path(__file__).parents[2],
            )
            self._processes.append(process)
            self._say(process, json.dumps(task))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stderr):
                if stream is not None:
                    stream.close()

    def begin(self) -> None:
        """Let all begin once the last is ready."""
        for process in self._processes:
            said = pipe(process.stderr)
            if said.readline().strip() != "ready":
                raise RuntimeError(f"an asker did not start: {said.read()[-2000:]}")
        for process in self._processes:
            self._say(process, "go")

    def stop(self) -> None:
        """Tell those that ask without end to stop."""
        for process in self._processes:
            self._say(process, "stop")

    def wait(self) -> None:
        """Wait until all are done. Raises RuntimeError when one failed."""
        for process in self._processes:
            _, errors = process.communicate(timeout=PATIENCE_S)
            if process.returncode != 0:
                raise RuntimeError(f"an asker failed ({process.returncode}): {errors[-2000:]}")

    def _say(self, process: "subprocess.Popen[str]", line: str) -> None:
        asked = pipe(process.stdin)
        asked.write(line + "\n")
        asked.flush()
