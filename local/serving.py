"""How a local HTTP program is served: loopback only, one process, and a clean exit within two seconds of SIGTERM."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Final

import uvicorn

_LONGEST_STOP_S: Final = 1.8


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A worker thread stuck in a long call must not hold the exit up.
        last_resort = threading.Timer(_LONGEST_STOP_S, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()
        super().handle_exit(sig, frame)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def serve(app: Any, port: int) -> None:
    """Serve an ASGI application on 127.0.0.1 until SIGTERM or SIGINT."""
    # uvicorn stops its server at these signals and then raises them again, for whoever handled them before.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _leave)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    _Server(config).run()
