"""Serve one door on a listening socket inherited from the supervisor: `python -m local.gateway rest|url --fd N`."""

import argparse
import asyncio
import importlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence

import uvicorn

from cardwright.kernel.rows import Capability, Http, Row, Url
from local.gateway.invoker import Handlers, Invoker, log_failure
from local.gateway.limits import allow_open_files
from local.gateway.protocol import ProblemProtocol
from local.gateway.rest import RestApp
from local.gateway.url import UrlApp
from local.hosting import load_rows, tell_ready

_QUEUE_LENGTH = 1024
_THREADS = 40
# Compose imports these at their first use, which takes seconds. Done ahead no caller waits for it; done after a pause it
# does not slow the start of the other parts.
_LATE_AFTER_S = 2.0
_LATE_IMPORTS = {Capability.VAULT_KEY: "cardwright.platform.envelopes"}


def _import_all(handlers: Handlers, rows: Sequence[Row]) -> None:
    """Import ahead of the first request; a module that fails is told of now and answers 502 when called."""
    for row in rows:
        try:
            handlers.get(row)
        except Exception as error:
            log_failure(row, "start", error)
    time.sleep(_LATE_AFTER_S)
    for capability, module in _LATE_IMPORTS.items():
        if any(capability in row.needs for row in rows):
            importlib.import_module(module)


def build(door: str, rows: Sequence[Row], threads: int = _THREADS) -> RestApp | UrlApp:
    """Make the application of one door. Raises LookupError when the catalogue has no Url row for the url door."""
    handlers = Handlers()
    served = [row for row in rows if isinstance(row, Url) or (door == "rest" and isinstance(row, Http))]
    if door == "rest":
        threading.Thread(target=_import_all, args=(handlers, served), name="imports", daemon=True).start()
        return RestApp(rows, Invoker(handlers, threads=threads))
    if not served:
        raise LookupError("the catalogue has no function with a URL of its own")
    handlers.get(served[0])
    row = served[0]
    assert isinstance(row, Url)  # noqa: S101 - narrows for the type checker; the filter above made it so
    return UrlApp(row, Invoker(handlers, threads=threads))


async def serve(app: RestApp | UrlApp, listener: socket.socket, ready: Callable[[uvicorn.Server], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, requests under way get five seconds; `ready` is told the server once it serves."""
    # asyncio takes up to `backlog` connections per turn: with one at a time, sibling processes get their share.
    config = uvicorn.Config(
        app,
        backlog=1,
        http=ProblemProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if not serving.done():
        listener.listen(_QUEUE_LENGTH)
        if ready is not None:
            ready(server)
    await serving


def main() -> None:
    """Read the arguments, serve, and leave without waiting for handlers that hang."""
    parser = argparse.ArgumentParser(prog="local.gateway", description=__doc__)
    parser.add_argument("door", choices=("rest", "url"))
    parser.add_argument("--fd", type=int, required=True, help="the listening socket's file descriptor")
    parser.add_argument("--ready-fd", type=int, help="pipe to write a byte to once requests are answered")
    parser.add_argument("--catalogue", default="functions.catalogue:CATALOGUE", help="module:name of the rows")
    parser.add_argument("--threads", type=int, default=_THREADS)
    arguments = parser.parse_args()
    listener = socket.socket(fileno=arguments.fd)
    listener.setblocking(False)
    sys.setswitchinterval(0.001)
    allow_open_files()
    app = build(arguments.door, load_rows(arguments.catalogue), arguments.threads)
    asyncio.run(serve(app, listener, lambda _: tell_ready(arguments.ready_fd)))
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    main()
