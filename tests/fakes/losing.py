"""A way to a server on loopback that loses answers: what is asked arrives and is done, and nobody hears of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class LossyWay:
    """`lose(n)`: of the next n answers nothing arrives, and their connections end; with -1 of all, until `lose(0)`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._left = 0
        self._lock = threading.Lock()

    def lose(self, answers: int) -> None:
        """From now on lose so many answers."""
        with self._lock:
            self._left = answers

    def loses(self) -> bool:
        """Whether this answer is lost; it is counted."""
        with self._lock:
            lost = self._left != 0
            self._left -= self._left > 0
            return lost


@contextmanager
def losing(to_port: int) -> Iterator[LossyWay]:
    """Pass on what a server on loopback is asked and answers until the block ends, but for the answers that get lost."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    way = LossyWay(server.getsockname()[1])
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
            if not message or (answers and way.loses()):
                for end in (source, sink):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                return
            with suppress(OSError):
                sink.sendall(message)

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
        yield way
    finally:
        done.set()
        for thread in threads:
            thread.join()
        server.close()
