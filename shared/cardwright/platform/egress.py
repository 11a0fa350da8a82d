"""Posting to addresses strangers chose: names resolved once, every address checked, all waits inside one deadline."""

import base64
import contextlib
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi
import httpcore

TOTAL_S = 15.0
CONNECT_S = 3.0
READ_BYTES_MAX = 64 * 1024
_WRITE_BYTES = 16 * 1024
# All that is read of one answer: notices before it (1xx), headers, the framing of chunks, and the body.
_ANSWER_BYTES_MAX = 1024 * 1024
PORTS = frozenset({443, 8443})
# What a URL's authority may be made of. Parsers disagree about everything else (brackets, backslashes, other alphabets).
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_TARGET = re.compile(r"[!-~]*", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

# IANA special-purpose registries (RFC 6890 and later entries); 168.63.129.16 answers as a cloud's metadata service.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
        "192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 "
        "198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    ).split()
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
# Inside global unicast: IETF protocols (Teredo, benchmarking, ORCHID), documentation, 6to4, AS112. All that tunnels to
# IPv4 is refused whole: what it carries may be anything, and nobody serves webhooks there.
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network) for network in "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20".split()
)


class EgressError(Exception):
    """The request got no answer. `code` is one of url_refused, address_refused, name_not_resolved, connect_failed, tls_failed,
    timeout, protocol_error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it came: status, header names in lower case, the first bytes of the body undecoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def allowed(address: Address, *, loopback: bool) -> bool:
    """True for an address of the public Internet; with `loopback` (the local stage) also for this machine's own."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return allowed(address.ipv4_mapped, loopback=loopback)
        if address.scope_id is not None:
            return False
        if loopback and address.is_loopback:
            return True
        return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6) and address.is_global
    if loopback and address.is_loopback:
        return True
    return not any(address in network for network in _REFUSED_V4) and address.is_global


def system_resolver(host: str, port: int) -> list[str]:
    """Addresses of a name from the system's resolver. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Egress:
    """Posts to untrusted https URLs. No redirects, no proxies, no decoding, one connection a request.

    `loopback` allows this machine's own addresses, over http and at any port too. `resolver` and `tls` are the system's unless
    given.
    """

    def __init__(
        self,
        *,
        loopback: bool = False,
        resolver: Resolver = system_resolver,
        tls: ssl.SSLContext | None = None,
        ports: frozenset[int] = PORTS,
        total_s: float = TOTAL_S,
        connect_s: float = CONNECT_S,
    ) -> None:
        self._loopback = loopback
        self._resolver = resolver
        self._tls = tls or _tls()
        self._ports = ports
        self._total_s = total_s
        self._connect_s = connect_s

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send the body and return the answer, whatever its status. Raises EgressError."""
        deadline = time.monotonic() + self._total_s
        parts, port = _parsed(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        addresses = self._addresses(host, port, deadline)
        if not (self._loopback and all(_is_loopback(address) for address in addresses)):
            if not secure:
                raise EgressError("address_refused")
            if port not in self._ports:
                raise EgressError("url_refused")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request_url = httpcore.URL(scheme=parts.scheme.encode(), host=host.encode(), port=port, target=target.encode())
        backend = _CheckedBackend(addresses, deadline, self._connect_s)
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        sent += [(b"Accept-Encoding", b"identity"), (b"Connection", b"close")]
        try:
            with (
                httpcore.ConnectionPool(self._tls, max_connections=1, network_backend=backend) as pool,
                pool.stream("POST", request_url, headers=[(b"Host", parts.netloc.encode()), *sent], content=body) as answer,
            ):
                names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
                return Answer(answer.status, names, _first_bytes(answer.iter_stream()))
        except httpcore.TimeoutException as error:
            raise EgressError("timeout") from error
        except httpcore.ConnectError as error:
            raise EgressError("tls_failed" if backend.connected else "connect_failed") from error
        except (httpcore.ProtocolError, httpcore.NetworkError) as error:
            raise EgressError("protocol_error") from error

    def _addresses(self, host: str, port: int, deadline: float) -> list[Address]:
        """Resolve once. One refused address refuses the name: its owner could have a retry land there."""
        texts = self._resolve(host, port, min(deadline, time.monotonic() + self._connect_s))
        try:
            addresses = [ipaddress.ip_address(text) for text in texts]
        except ValueError as error:
            raise EgressError("address_refused") from error
        if not addresses:
            raise EgressError("name_not_resolved")
        ours = [_is_loopback(address) for address in addresses]
        if any(ours) != all(ours) or not all(allowed(address, loopback=self._loopback) for address in addresses):
            raise EgressError("address_refused")
        return addresses

    def _resolve(self, host: str, port: int, deadline: float) -> Sequence[str]:
        # The system's resolver cannot be interrupted: it runs beside us and is left to its own time-out.
        answers: queue.SimpleQueue[Sequence[str] | OSError | UnicodeError] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answers.put(self._resolver(host, port))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=look_up, name="egress-resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            raise EgressError("timeout") from error
        if isinstance(answer, Exception):
            raise EgressError("name_not_resolved") from answer
        return answer


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose every wait also ends at the request's deadline, so that a slow drip does not last."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline
        self._read_bytes = 0

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._read_bytes >= _ANSWER_BYTES_MAX:
            raise httpcore.ReadError("too much")
        data = self._stream.read(max_bytes, self._left())
        self._read_bytes += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._stream.write(buffer[start : start + _WRITE_BYTES], self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, self._left()), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name says by now."""

    def __init__(self, addresses: Sequence[Address], deadline: float, connect_s: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._connect_s = connect_s
        self._tcp = httpcore.SyncBackend()
        self.connected = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        until = min(self._deadline, time.monotonic() + self._connect_s)
        failure: Exception = httpcore.ConnectTimeout("deadline")
        for tried, address in enumerate(self._addresses):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                # An address that does not answer leaves time for those after it.
                stream = self._tcp.connect_tcp(str(address), port, timeout=left / (len(self._addresses) - tried))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            self.connected = True
            return _DeadlineStream(stream, self._deadline)
        raise failure


def _first_bytes(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    # The status is the answer; what follows it is for people to read and may break off.
    with contextlib.suppress(httpcore.TimeoutException, httpcore.ProtocolError, httpcore.NetworkError):
        for chunk in chunks:
            body += chunk
            if len(body) >= READ_BYTES_MAX:
                break
    return bytes(body[:READ_BYTES_MAX])


def _parsed(url: str) -> tuple[SplitResult, int]:
    """The parts of a URL and its port. Nothing is mended: what a parser would drop or read otherwise is refused."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressError("url_refused") from error
    plain = _TARGET.fullmatch(url) and "#" not in url and "\\" not in url and _AUTHORITY.fullmatch(parts.netloc)
    if parts.scheme not in ("https", "http") or not plain or port == 0:
        raise EgressError("url_refused")
    return parts, port or (443 if parts.scheme == "https" else 80)


def _is_loopback(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def answer_invocation(egress: Egress, event: Mapping[str, Any]) -> dict[str, Any]:
    """The function's end of `platform.invoking`: make the post an event describes; tell the answer, or why there is none.

    Raises KeyError for an event that describes none.
    """
    try:
        answer = egress.post(event["url"], event["headers"], event["body"].encode())
    except EgressError as error:
        return {"error": error.code}
    return {"status": answer.status, "headers": dict(answer.headers), "body": base64.b64encode(answer.body).decode()}


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
