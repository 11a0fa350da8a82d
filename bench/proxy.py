"""A TCP proxy that counts exchanges on the bytes and can hold answers back: round trips seen from outside our code."""

import selectors
import socket
import threading
import time
from typing import Self


class CountingProxy:
    """Forwards one address. An exchange is a turn of the conversation: the client speaks after the server last did.

    `delay_s` holds every answer back that long: what a caller waits for shows as its latency, what it does not wait for does not.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.exchanges = 0
        self.delay_s = 0.0
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
        selector = selectors.DefaultSelector()
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        server_spoke_last = True
        with client, server, selector:
            while True:
                for key, _ in selector.select():
                    source, sink = key.fileobj, key.data
                    try:
                        chunk = source.recv(65536)  # type: ignore[union-attr]  # only sockets are registered
                    except OSError:
                        return
                    if not chunk:
                        return
                    if source is client:
                        self.exchanges += server_spoke_last
                        server_spoke_last = False
                    else:
                        server_spoke_last = True
                        if self.delay_s:
                            time.sleep(self.delay_s)
                    sink.sendall(chunk)
