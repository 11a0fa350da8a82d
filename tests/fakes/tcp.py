"""Servers that misbehave on a socket: silent, hanging up, saying what they were told to, or slow on the way to another."""

import socket
import threading
import time
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


@contextmanager
def relaying(to_port: int, delay_s: float | None) -> Iterator[int]:
    """Serve what a server on loopback serves, each answer late by `delay_s`, None for never; gives the port.

    What is asked arrives at once.
    """
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    done = threading.Event()
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket, late_s: float | None) -> None:
        source.settimeout(0.05)
        while not done.is_set():
            try:
                message = source.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not message:
                # The other direction ends with this one.
                for end in (source, sink):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                return
            if late_s is not None:
                time.sleep(late_s)
                with suppress(OSError):
                    sink.sendall(message)

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", to_port)) as behind:
            back = threading.Thread(target=pump, args=(behind, client, delay_s))
            back.start()
            pump(client, behind, 0)
            back.join()

    def accept() -> None:
        while not done.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=relay, args=(client,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield server.getsockname()[1]
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
