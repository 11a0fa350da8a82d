"""Servers that misbehave on a socket: silent, hanging up, or saying what they were told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Listener:
    """A server on loopback; `answer` is sent after each message, None for silence; `heard` is what came in."""

    port: int
    answer: bytes | None
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextmanager
def listening(answer: bytes | None, *, hang_up: bool = False) -> Iterator[Listener]:
    """Serve until the block ends; with `hang_up` every connection is closed at its first message."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    listener = Listener(server.getsockname()[1], answer)
    done = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(0.05)
            while not done.is_set():
                try:
                    message = connection.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not message or hang_up:
                    return
                listener.heard.append(message)
                if listener.answer is not None:
                    with suppress(OSError):
                        connection.sendall(listener.answer)

    def accept() -> None:
        while not done.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            listener.connections += 1
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield listener
    finally:
        done.set()
        for thread in threads:
            thread.join()
        server.close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
