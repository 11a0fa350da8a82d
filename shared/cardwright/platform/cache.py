"""Valkey as a cache that may be gone at any time: every answer is also None, every command has a budget."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import unquote, urlsplit

import hiredis

from cardwright.kernel.errors import CardwrightError

Argument = bytes | str | int
Command = tuple[Argument, ...]
Reply = bytes | int | None | list["Reply"] | Exception

# After a failure the cache is left alone for this long, so that a slow one costs its budget once and not at every request.
REST_S = 1.0


# A wait set earlier serves as long as it is no longer than what is left, give or take so much of it.
_NEAR = 0.9


class _Connection:
    """One socket with its parser and the number of replies still owed for commands sent without waiting.

    Waits are bounded by the kernel (SO_RCVTIMEO, SO_SNDTIMEO), which spares a poll before every send and receive that Python's
    own timeouts make. TLS keeps Python's: its sockets ask again for ever after a wait that the kernel ended.
    """

    def __init__(self, sock: socket.socket, budget_s: float) -> None:
        self.sock = sock
        self._reader = hiredis.Reader()
        self.owed = 0
        self._budget_s = budget_s
        self._native = not isinstance(sock, ssl.SSLSocket)
        self._wait_s = 0.0
        if self._native:
            sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(budget_s))

    def send(self, commands: Sequence[Command]) -> None:
        # hiredis states the type of a one-element tuple, though it packs any length.
        packed = [hiredis.pack_command(cast("tuple[Argument]", command)) for command in commands]
        if not self._native:
            self.sock.settimeout(self._budget_s)
        self.sock.sendall(packed[0] if len(packed) == 1 else b"".join(packed))
        self.owed += len(commands)

    def receive(self, deadline: float) -> Reply:
        while (reply := self._reader.gets()) is False:
            self._bound(deadline - time.monotonic())
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("the cache closed the connection")
            self._reader.feed(chunk)
        self.owed -= 1
        answer: Reply = reply
        return answer

    def _bound(self, remaining: float) -> None:
        """Let the next receive wait no longer than this. Raises TimeoutError when nothing is left."""
        if remaining <= 0:
            raise TimeoutError("the cache is over its budget")
        if not self._native:
            self.sock.settimeout(remaining)
        elif not remaining * _NEAR <= self._wait_s <= remaining / _NEAR:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(remaining))
            self._wait_s = remaining


def _timeval(seconds: float) -> bytes:
    """A struct timeval; never zero, which would mean for ever."""
    microseconds = max(1, int(seconds * 1_000_000))
    return struct.pack("@ll", microseconds // 1_000_000, microseconds % 1_000_000)


def _converse(connection: _Connection, commands: Sequence[Command], deadline: float) -> list[Reply]:
    """Send, read what earlier commands still owe, then the replies to these."""
    connection.send(commands)
    while connection.owed > len(commands):
        connection.receive(deadline)
    return [connection.receive(deadline) for _ in commands]


class Cache:
    """A Valkey client for one endpoint in cluster mode (all slots behind it); keys of one command share a hash tag.

    `url`: redis://[:password@]host:port, or rediss:// with TLS. `credentials` gives (user, password) at each connect
    where they are short-lived tokens. `budget_s` bounds each awaited exchange, `connect_s` the connect.
    """

    def __init__(
        self,
        url: str,
        *,
        budget_s: float = 0.05,
        connect_s: float = 0.25,
        credentials: Callable[[], tuple[str, str]] | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._tls = parts.scheme == "rediss"
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._credentials = credentials
        self._budget_s = budget_s
        self._connect_s = connect_s
        self._local = threading.local()
        self._resting_until = 0.0

    def exchange(self, commands: Sequence[Command]) -> list[Reply] | None:
        """Send the commands together and wait for all replies: one round trip. None when the cache does not answer in time.

        An error reply stands in its place as an exception value.
        """
        reused = getattr(self._local, "connection", None) is not None
        deadline = time.monotonic() + self._budget_s
        try:
            connection = self._connection()
            return None if connection is None else _converse(connection, commands, deadline)
        except ConnectionError:
            # A connection that idled may have been closed by the server; that says nothing about the cache.
            if not reused:
                self._drop()
                return None
            self._discard()
        except (OSError, hiredis.ProtocolError):
            self._drop()
            return None
        try:
            connection = self._connection()
            return None if connection is None else _converse(connection, commands, time.monotonic() + self._budget_s)
        except (OSError, hiredis.ProtocolError):
            self._drop()
            return None

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands and do not wait; their replies are read before the next exchange."""
        connection = self._connection()
        if connection is None:
            return
        try:
            connection.send(commands)
        except OSError:
            self._drop()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """MGET of keys with one hash tag; None when the cache does not answer."""
        replies = self.exchange([("MGET", *keys)])
        if replies is None or not isinstance(replies[0], list) or len(replies[0]) != len(keys):
            return None
        return [value if isinstance(value, bytes) else None for value in replies[0]]

    def ping(self) -> bool:
        """True when the cache answers."""
        replies = self.exchange([("PING",)])
        return replies is not None and replies[0] == b"PONG"

    def close(self) -> None:
        """Close this thread's connection."""
        self._discard()

    def _connection(self) -> _Connection | None:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            return connection
        if time.monotonic() < self._resting_until:
            return None
        try:
            connection = self._connect()
        except (OSError, hiredis.ProtocolError, CardwrightError):
            # Credentials that cannot be had are one more way of being gone.
            self._resting_until = time.monotonic() + REST_S
            return None
        self._local.connection = connection
        return connection

    def _connect(self) -> _Connection:
        sock = socket.create_connection(self._address, timeout=self._connect_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self._address[0])
            connection = _Connection(sock, self._budget_s)
            user, password = self._credentials() if self._credentials else (self._user, self._password)
            if password:
                login: Command = ("AUTH", user, password) if user else ("AUTH", password)
                connection.send([login])
                reply = connection.receive(time.monotonic() + self._connect_s)
                if isinstance(reply, Exception):
                    raise ConnectionError("the cache refused the credentials")
            return connection
        except BaseException:
            sock.close()
            raise

    def _drop(self) -> None:
        self._discard()
        self._resting_until = time.monotonic() + REST_S

    def _discard(self) -> None:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.sock.close()
            self._local.connection = None
