"""Receivers that do harm, or nothing: what each does with a connection once the request is read, and what becomes of it."""

import gzip
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

Act = Callable[[socket.socket, bytes], None]


@dataclass(frozen=True)
class Hostile:
    """What it does, the outcome of an attempt, the status that is noted, the seconds it may ask us to wait."""

    act: Act | bytes
    outcome: str
    status_code: int | None = None
    waits_s: int | None = None


def plain(status: str, *headers: str, body: bytes = b"") -> bytes:
    """A whole answer."""
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")).encode() + body


def hang(_connection: socket.socket, _request: bytes) -> None:
    """Take the request and say nothing, for longer than anybody waits."""
    threading.Event().wait(20)


def drip_headers(connection: socket.socket, _request: bytes) -> None:
    """A header every 20 ms, without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    _repeat(connection, b"X-A: b\r\n", pause_s=0.02)


def drip_body(connection: socket.socket, _request: bytes) -> None:
    """Refuse, and then a byte every 20 ms, without end."""
    connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 10000000\r\n\r\n")
    _repeat(connection, b"x", pause_s=0.02)


def reset(connection: socket.socket, _request: bytes) -> None:
    """Break the connection with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def announced(connection: socket.socket, _request: bytes) -> None:
    """Announce 10 GB and send for as long as anybody reads."""
    connection.sendall(f"HTTP/1.1 500 No\r\nContent-Length: {10 * 2**30}\r\n\r\n".encode())
    _repeat(connection, b"x" * 65536)


def endless(connection: socket.socket, _request: bytes) -> None:
    """Chunks without end."""
    connection.sendall(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    _repeat(connection, b"1000\r\n" + b"x" * 4096 + b"\r\n")


def tiny_chunks(connection: socket.socket, _request: bytes) -> None:
    """Chunks of one byte, each with a long extension."""
    connection.sendall(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    _repeat(connection, b"1;" + b"e" * 1000 + b"\r\nx\r\n")


def bomb(connection: socket.socket, _request: bytes) -> None:
    """A small answer that would be 20 MB."""
    packed = gzip.compress(bytes(20 * 2**20), 6)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    connection.sendall(head.encode() + packed)


def notices(connection: socket.socket, _request: bytes) -> None:
    """Provisional answers (1xx) without end."""
    _repeat(connection, b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"a" * 8000 + b">\r\n\r\n")


def long_header(connection: socket.socket, _request: bytes) -> None:
    """One header without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
    _repeat(connection, b"a" * 65536)


def many_headers(connection: socket.socket, _request: bytes) -> None:
    """Headers without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    _repeat(connection, b"X-A: b\r\n" * 1000)


def _repeat(connection: socket.socket, piece: bytes, pause_s: float = 0.0) -> None:
    """Send until the other side has gone."""
    pause = threading.Event()
    while True:
        connection.sendall(piece)
        if pause_s:
            pause.wait(pause_s)


HOSTILE = {
    "500": Hostile(plain("500 No", body=b"not today"), "http_error", 500),
    "400": Hostile(plain("400 No"), "http_error", 400),
    "301": Hostile(plain("301 Moved", "Location: http://169.254.169.254/"), "redirect_refused", 301),
    "304": Hostile(plain("304 Same"), "redirect_refused", 304),
    "429 in an hour": Hostile(plain("429 Slow", "Retry-After: 3600"), "http_error", 429, 3600),
    "429 at once": Hostile(plain("429 Slow", "Retry-After: 0"), "http_error", 429),
    "429 in a year": Hostile(plain("429 Slow", "Retry-After: 31536000"), "http_error", 429, 21600),
    "429 at a date": Hostile(plain("429 Slow", "Retry-After: Sat, 21 Nov 2026 14:00:00 GMT"), "http_error", 429, 7200),
    "429 in nonsense": Hostile(plain("429 Slow", "Retry-After: -1e9 \xff"), "http_error", 429),
    "status 999": Hostile(plain("999 Odd"), "http_error", 999),
    "hang": Hostile(hang, "timeout"),
    "headers that drip": Hostile(drip_headers, "timeout"),
    "a body that drips": Hostile(drip_body, "http_error", 500),
    "reset": Hostile(reset, "protocol_error"),
    "closed": Hostile(b"", "protocol_error"),
    "not HTTP": Hostile(b"220 mail.example.com ESMTP\r\n", "protocol_error"),
    "two lengths": Hostile(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "protocol_error"),
    "10 GB announced": Hostile(announced, "http_error", 500),
    "no end": Hostile(endless, "http_error", 500),
    "tiny chunks": Hostile(tiny_chunks, "http_error", 500),
    "a bomb": Hostile(bomb, "delivered", 200),
    "200 and closed": Hostile(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "delivered", 200),
    "200 and bad chunks": Hostile(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "delivered", 200),
    "notices": Hostile(notices, "protocol_error"),
    "a header without end": Hostile(long_header, "protocol_error"),
    "headers without end": Hostile(many_headers, "protocol_error"),
    "switching protocols": Hostile(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", "protocol_error"),
}
