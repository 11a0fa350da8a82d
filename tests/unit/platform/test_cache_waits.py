"""The cache client's waits end at the budget however an answer comes: in drops, never, or over TLS."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cardwright.platform.cache import Cache
from tests.fakes.tcp import relaying

BUDGET_S = 0.15


@contextmanager
def answering(answer: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on loopback that reads each connection's first message and then does what it is told; gives its port."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            with suppress(OSError):
                connection, _ = server.accept()
                connection.settimeout(2)
                with connection if tls is None else tls.wrap_socket(connection, server_side=True) as spoken:
                    spoken.recv(65536)
                    answer(spoken)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        done.set()
        thread.join()
        server.close()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate of its own for 127.0.0.1, and a client's that trusts it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cache")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
    signed = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(plain + signed)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "both.pem")
    return serving, ssl.create_default_context(cadata=signed.decode())


@pytest.fixture
def trusting(contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's context; the client's is what the cache finds as its default."""
    serving, client = contexts
    monkeypatch.setattr("cardwright.platform.cache.ssl.create_default_context", lambda: client)
    return serving


def drip(connection: socket.socket) -> None:
    """Say one octet of a long answer after the other, each well inside the budget."""
    with suppress(OSError):
        for octet in b"$40\r\n" + b"x" * 40 + b"\r\n":
            connection.sendall(bytes([octet]))
            time.sleep(BUDGET_S / 4)


def hush(connection: socket.socket) -> None:
    """Wait for the other side to go."""
    with suppress(OSError):
        connection.recv(1)


def timed(cache: Cache) -> float:
    """Ask for something that does not come in time; how long that took."""
    began = time.monotonic()
    assert cache.get_many(["a"]) is None
    took = time.monotonic() - began
    cache.close()
    return took


def test_an_answer_in_drops_is_given_up_at_the_budget() -> None:
    with answering(drip) as port:
        assert BUDGET_S * 0.9 < timed(Cache(f"redis://127.0.0.1:{port}", budget_s=BUDGET_S)) < BUDGET_S * 3


@pytest.mark.parametrize("manner", [hush, drip])
def test_silence_and_drops_over_tls_are_given_up_at_the_budget(
    manner: Callable[[socket.socket], None], trusting: ssl.SSLContext
) -> None:
    with answering(manner, trusting) as port:
        took = timed(Cache(f"rediss://127.0.0.1:{port}", budget_s=BUDGET_S, connect_s=2.0))
        assert BUDGET_S * 0.9 < took < BUDGET_S * 3


def test_over_tls_commands_are_answered_and_sent_ones_arrive(trusting: ssl.SSLContext) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"+PONG\r\n")
        # Two commands in one message: the one nobody waits for, and the one after it.
        heard = b""
        while heard.count(b"PING") < 1:
            heard += connection.recv(65536)
        connection.sendall(b"+OK\r\n+PONG\r\n" if b"SET" in heard else b"-ERR\r\n+PONG\r\n")
        hush(connection)

    with answering(serve, trusting) as port:
        cache = Cache(f"rediss://127.0.0.1:{port}", budget_s=2.0, connect_s=2.0)
        assert cache.ping()
        cache.send([("SET", "a", "b")])
        assert cache.ping()
        cache.close()


def test_a_shorter_wait_for_one_answer_does_not_shorten_the_next(cache_url: str) -> None:
    port = urlsplit(cache_url).port
    assert port is not None
    with relaying(port, 0.03) as late:
        cache = Cache(cache_url.replace(f":{port}/", f":{late}/"), budget_s=2.0)
        for _ in range(5):
            assert cache.exchange([("SET", "{w}", "x" * 100_000), ("GET", "{w}")]) == [b"OK", b"x" * 100_000]
        cache.close()
