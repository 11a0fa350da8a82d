"""The twin of SQS as a program of its own, for as long as a proof runs."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from local.servers.ports import free_port

_READY_S = 60.0


@contextmanager
def running_twin(data: Path) -> Iterator[str]:
    """Start it with its data in this folder; gives its URL. Raises RuntimeError when it does not answer."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", "local.aws", "--port", str(port), "--data", str(data)]) as process:
        try:
            _wait(process, url)
            yield url
        finally:
            process.terminate()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz", timeout=2.0, trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError("the twin of SQS does not answer")
