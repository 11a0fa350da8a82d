"""A subscriber as a process of its own: answers every post with 200 at once and writes down when it came.

`python -m bench.hearer` prints its port; each line it then reads makes it print what it has heard since: `[[id, seconds], ...]`.
"""

import asyncio
import json
import sys
import threading
import time

_HEARD: list[tuple[str, float]] = []


class _Post(asyncio.Protocol):
    """One request of a client that closes after it."""

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._transport is None:
            return
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.decode().split("\r\n")[1:])
        }
        if len(body) < int(headers["content-length"]):
            return
        _HEARD.append((headers["webhook-id"], time.time()))
        # A challenge is answered with itself, which is what is asked for.
        answer = body if b"webhook.verification" in body else b"ok"
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        self._transport.close()


async def _listen() -> None:
    server = await asyncio.get_running_loop().create_server(_Post, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=_tell, args=(asyncio.get_running_loop(),), daemon=True).start()
    await asyncio.Event().wait()


def _tell(loop: asyncio.AbstractEventLoop) -> None:
    for _ in sys.stdin:
        told = list(_HEARD)
        del _HEARD[: len(told)]
        print(json.dumps(told), flush=True)
    loop.call_soon_threadsafe(loop.stop)


if __name__ == "__main__":
    try:
        asyncio.run(_listen())
    except RuntimeError:
        # The loop was stopped, as its input had ended.
        sys.exit(0)
