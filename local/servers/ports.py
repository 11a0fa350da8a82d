"""Free TCP ports on loopback, below the range the kernel hands to outgoing connections."""

import itertools
import random
import socket

from local.servers.errors import ServerError


def is_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1 at this port right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set this too: a port in TIME_WAIT is free to them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(*, start: int = 20000, stop: int = 32000) -> int:
    """Return a port in [start, stop) that can be bound on 127.0.0.1 now.

    The search begins at a random place, so that two copies starting at once seldom choose the same port.
    Raises ServerError when every port of the range is taken.
    """
    # Ports are no secret; the system generator serves because a test run may have seeded the shared one.
    first = random.SystemRandom().randrange(start, stop)
    for port in itertools.chain(range(first, stop), range(start, first)):
        if is_free(port):
            return port
    raise ServerError(f"no free port between {start} and {stop}: stop other servers (make down in other copies)")
