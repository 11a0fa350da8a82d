"""Listening sockets of the gateway's doors, held by the supervisor so that a restarted process loses no connection."""

import errno
import socket

from local.home import StackError
from local.servers.ports import free_port, is_free

_QUEUE_LENGTH = 1024


def listen(port: int) -> socket.socket:
    """A listening socket on loopback. Raises StackError, one line, when the port is taken or not allowed."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(_QUEUE_LENGTH)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StackError(f"port {port} is taken: free it or choose another, e.g. PORT={port + 1}") from None
        raise StackError(f"port {port} cannot be used ({error.strerror}): choose another with PORT=") from None
    return listener


def keep_or_choose(remembered: object) -> int:
    """The port of the last run when it is still free, so that addresses stay; else a free one."""
    if isinstance(remembered, int) and is_free(remembered):
        return remembered
    return free_port()
