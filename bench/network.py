"""The card network at a socket: connections kept open, each asking for an authorization as soon as it has its last answer.

`python -m bench.network` reads its task as JSON on standard input and writes its figures as JSON on standard output. One process
and no library for HTTP: what calls takes as little as it can of the cores that answer.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from bench.authorizer import event
from cardwright.kernel.secret import Secret

# Requests made ahead for each second, of all clients together.
MOST_PER_SECOND = 2500


class HttpError(Exception):
    """The server closed the connection, or answered with what was not expected."""


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """One request on an open connection; gives status and body. Raises HttpError when the connection ends instead."""
    writer.write(request)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise HttpError("no whole answer came") from error
    return int(head.split(b" ", 2)[1]), body


def request_bytes(method: str, target: str, host: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """An HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def _signed(task: dict[str, Any]) -> bytes:
    made = event(random.choice(task["tokens"]), Secret(str(task["secret"])))  # noqa: S311 - a choice of cards
    parts = urlsplit(task["url"])
    return request_bytes("POST", parts.path or "/", parts.netloc, made["headers"], made["body"].encode())


async def run(task: dict[str, Any]) -> dict[str, Any]:
    """Let the clients ask for `seconds`; every answer must approve."""
    requests = [_signed(task) for _ in range(task["seconds"] * MOST_PER_SECOND)]
    parts = urlsplit(task["url"])
    latencies: list[float] = []
    started = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while requests and time.perf_counter() - started < task["seconds"]:
            request = requests.pop()
            began = time.perf_counter()
            status, body = await ask(reader, writer, request)
            latencies.append((time.perf_counter() - began) * 1000)
            if status != 200 or json.loads(body)["decision"] != "APPROVE":
                raise HttpError(f"not approved: {status} {body[:200]!r}")
        writer.close()

    await asyncio.gather(*(client() for _ in range(task["clients"])))
    return {"answers": len(latencies), "elapsed_s": time.perf_counter() - started, "latencies_ms": latencies}


def main() -> None:
    """Read the task, run it, print the figures."""
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
