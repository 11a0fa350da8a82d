"""`make up`: run the whole stack in the foreground until Ctrl-C or SIGTERM."""

import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime

from functions.catalogue import CATALOGUE
from local.home import Home, StackError
from local.servers.errors import ServerError
from local.stack import Options, Stack

_PORT_MAX = 65535


def read_options() -> Options:
    """Read PORT and RATE_LIMITS of the environment. Raises StackError for a value that means nothing."""
    port, limits = os.environ.get("PORT") or "8080", os.environ.get("RATE_LIMITS") or "on"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= _PORT_MAX:
        raise StackError("PORT= must be a number between 1 and 65535")
    if limits not in {"on", "off"}:
        raise StackError("RATE_LIMITS= must be on or off")
    return Options(int(port), limits == "on")


def say(line: str) -> None:
    """Print one line with the time of day."""
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


def run(stopping: threading.Event) -> int:
    """Start, watch until the event is set, stop; returns the exit status."""
    began = time.monotonic()
    try:
        stack = Stack(Home.locate(), read_options(), CATALOGUE, say, stopping)
    except (StackError, ServerError) as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    try:
        say(f"starting in {stack.home.root}")
        stack.start()
        took = time.monotonic() - began
        say(f"up after {took:.1f} s: {stack.base_url}  (addresses and users: {stack.home.stack_file})")
        stack.watch()
    except (StackError, ServerError) as error:
        asked = stopping.is_set()
        stack.stop()
        print(f"make up: {error}", file=sys.stderr)
        return 0 if asked else 1
    except BaseException:
        stack.stop()
        raise
    say("stopping")
    stack.stop()
    say("stopped")
    return 0


def main() -> int:
    """Run until SIGINT, SIGTERM or SIGHUP."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    return run(stopping)


if __name__ == "__main__":
    sys.exit(main())
