"""Servers that misbehave on a socket: silent, hanging up, saying what they were told to, or slow on the way to another."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
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
def carrying(to_port: int, carry: Callable[[bytes, bool], bytes | None]) -> Iterator[int]:
    """Serve what a server on loopback serves; gives the port.

    `carry` is asked with every message and whether it is an answer: what it returns is passed on, None ends the connection.
    """
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    done = threading.Event()
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket, *, answers: bool) -> None:
        source.settimeout(0.05)
        while not done.is_set():
            try:
                message = source.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            carried = carry(message, answers) if message else None
            if carried is None:
                # The other direction ends with this one.
                for end in (source, sink):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                return
            with suppress(OSError):
                sink.sendall(carried)

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", to_port)) as behind:
            back = threading.Thread(target=pump, args=(behind, client), kwargs={"answers": True})
            back.start()
            pump(client, behind, answers=False)
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


@contextmanager
def relaying(to_port: int, delay_s: float | None) -> Iterator[int]:
    """Serve what a server on loopback serves, each answer late by `delay_s`, None for never; gives the port.

    What is asked arrives at once.
    """

    def carry(message: bytes, answers: bool) -> bytes:
        if not answers:
            return message
        if delay_s is None:
            return b""
        time.sleep(delay_s)
        return message

    with carrying(to_port, carry) as port:
        yield port


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
