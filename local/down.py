"""`make down`: stop a stack left running, also one whose supervisor was killed."""

import contextlib
import os
import signal
import sys
import time

from local.home import Home, StackError
from local.processes import end_all, forget, leftovers, started_at, supervisor_of
from local.servers.errors import ServerError
from local.servers.postgres import PostgresServer
from local.servers.valkey import ValkeyServer

_CLEAN_STOP_S = 15.0


def stop_stack(home: Home) -> bool:
    """Stop whatever of this folder's stack runs; True when there was something. Raises StackError."""
    if not home.root.exists():
        return False
    supervisor = supervisor_of(home)
    if supervisor is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + _CLEAN_STOP_S
        while started_at(supervisor) is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        end_all([supervisor], grace_s=0.0)
    found = leftovers(home)
    stuck = end_all(found, grace_s=3.0)
    if stuck:
        raise StackError(f"processes do not end: kill -9 {' '.join(map(str, stuck))}")
    servers = _stop_servers(home)
    home.stack_file.unlink(missing_ok=True)
    forget(home)
    return supervisor is not None or bool(found) or servers


def _stop_servers(home: Home) -> bool:
    stopped = False
    for server in (PostgresServer(home.data("postgres")), ValkeyServer(home.data("valkey"))):
        if server.pid is not None:
            server.stop()
            stopped = True
    return stopped


def main() -> int:
    """Stop and say so; returns the exit status."""
    try:
        stopped = stop_stack(Home.locate())
    except (StackError, ServerError) as error:
        print(f"make down: {error}", file=sys.stderr)
        return 1
    print("stopped" if stopped else "nothing was running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
