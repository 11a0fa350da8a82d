"""A TCP proxy that counts exchanges on the bytes and can hold answers back: round trips seen from outside our code."""

import queue
import socket
import threading
import time
from typing import Self


class CountingProxy:
    """Forwards one address for one client at a time.

    An exchange is a turn of the conversation: the client speaks after the server last did. `delay_s` holds every answer back that
    long: what a caller waits for shows as its latency, what it does not wait for does not.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.exchanges = 0
        self.delay_s = 0.0
        self._server_spoke_last = True
        self._closing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self._target)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Answers are stamped when they come and released by another thread, so that one held back does not hold up the next.
        answers: queue.Queue[tuple[float, bytes]] = queue.Queue()
        for work in (self._read_answers, self._release_answers):
            threading.Thread(target=work, args=(server if work == self._read_answers else client, answers), daemon=True).start()
        try:
            while chunk := client.recv(65536):
                self.exchanges += self._server_spoke_last
                self._server_spoke_last = False
                server.sendall(chunk)
        except OSError:
            pass
        finally:
            server.close()
            client.close()

    def _read_answers(self, server: socket.socket, answers: "queue.Queue[tuple[float, bytes]]") -> None:
        try:
            while chunk := server.recv(65536):
                self._server_spoke_last = True
                answers.put((time.monotonic() + self.delay_s, chunk))
        except OSError:
            pass
        answers.put((0.0, b""))

    def _release_answers(self, client: socket.socket, answers: "queue.Queue[tuple[float, bytes]]") -> None:
        while True:
            due, chunk = answers.get()
            if not chunk:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                client.sendall(chunk)
            except OSError:
                return
