"""A gateway door served from a thread of the test process, with handlers given as plain functions."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from queue import Queue

import uvicorn

from cardwright.kernel.rows import Row, Url
from local.gateway.__main__ import serve
from local.gateway.invoker import Handler, Handlers, Invoker
from local.gateway.rest import RestApp
from local.gateway.url import UrlApp


def app_of(
    door: str, rows: Sequence[Row], handlers: Mapping[str, Handler], *, threads: int = 8, waiting: int = 100
) -> RestApp | UrlApp:
    """Build a door over handlers given by row name."""
    known = {row.module: handlers[row.name] for row in rows if row.name in handlers}
    invoker = Invoker(Handlers(known), threads=threads, waiting=waiting)
    if door == "rest":
        return RestApp(rows, invoker)
    (row,) = (row for row in rows if isinstance(row, Url))
    return UrlApp(row, invoker)


@contextlib.contextmanager
def served(app: RestApp | UrlApp) -> Iterator[int]:
    """Serve on a free loopback port; gives the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    port: int = listener.getsockname()[1]
    servers: Queue[uvicorn.Server] = Queue()
    thread = threading.Thread(target=lambda: asyncio.run(serve(app, listener, servers.put)), daemon=True)
    thread.start()
    server = servers.get(timeout=10)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
