"""Posting to strangers' URLs: which addresses, inside which time, with what sent. Real sockets on loopback."""

import gzip
import ipaddress
import itertools
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from cardwright.platform.egress import READ_BYTES_MAX, Egress, EgressError, allowed, system_resolver
from tests.fakes.certificates import Authority
from tests.fakes.receiver import OK, RawReceiver

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255 168.63.129.16
169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.31.196.1 192.52.193.1
192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::1
2002:808:808::1 2620:4f:8000::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd12:3456::1 fe80::1 fec0::1 ff02::1 4000::1
""".split()
TAKEN = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255 169.255.0.1
172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255
2606:4700:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 ::ffff:8.8.8.8
""".split()


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_that_are_not_the_public_internets_are_refused(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert not allowed(address, loopback=False)
    ours = address.is_loopback or (address.version == 6 and address.ipv4_mapped is not None and address.ipv4_mapped.is_loopback)
    assert allowed(address, loopback=True) is ours


@pytest.mark.parametrize("text", TAKEN)
def test_public_addresses_are_taken(text: str) -> None:
    assert allowed(ipaddress.ip_address(text), loopback=False)
    assert allowed(ipaddress.ip_address(text), loopback=True)


def test_an_address_with_a_zone_is_refused() -> None:
    assert not allowed(ipaddress.ip_address("2606:4700:4700::1111%eth0"), loopback=True)
    assert not allowed(ipaddress.ip_address("fe80::1%1"), loopback=True)


def always(*addresses: str) -> "Resolver":
    return Resolver(itertools.repeat(addresses))


class Resolver:
    """Answers in turn and keeps what it was asked."""

    def __init__(self, answers: "itertools.repeat[tuple[str, ...]] | Sequence[tuple[str, ...]]") -> None:
        self._answers = iter(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return list(next(self._answers))


def refusal(egress: Egress, url: str) -> str:
    """The code a post fails with."""
    with pytest.raises(EgressError) as failure:
        egress.post(url, {}, b"{}")
    return failure.value.code


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "[::]"],
)
def test_no_spelling_of_this_machine_is_reached_outside_the_local_stage(host: str) -> None:
    with RawReceiver() as receiver:
        assert refusal(Egress(), f"https://{host}:{receiver.port}/") in {"address_refused", "name_not_resolved"}
        assert refusal(Egress(), f"http://{host}:{receiver.port}/") in {"address_refused", "name_not_resolved"}
        assert receiver.requests == []


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    resolver = always("8.8.8.8", "10.0.0.7")
    assert refusal(Egress(resolver=resolver), "https://hooks.example.com/") == "address_refused"
    assert refusal(Egress(resolver=resolver, loopback=True), "https://hooks.example.com/") == "address_refused"


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to() -> None:
    with RawReceiver() as receiver:
        resolver = Resolver([("127.0.0.1",), ("169.254.169.254",)])
        egress = Egress(loopback=True, resolver=resolver)
        answer = egress.post(f"http://hooks.example.com:{receiver.port}/x?y=1", {"X-A": "b"}, b'{"a":1}')
        assert (answer.status, answer.body) == (200, b"ok")
        assert resolver.asked == ["hooks.example.com"]
        assert refusal(egress, f"http://hooks.example.com:{receiver.port}/") == "address_refused"
        assert len(receiver.requests) == 1


def test_the_request_is_sent_as_it_was_given_under_the_hosts_name() -> None:
    with RawReceiver() as receiver:
        egress = Egress(loopback=True, resolver=always("127.0.0.1"))
        egress.post(f"http://hooks.example.com:{receiver.port}/a%20b?c=d", {"webhook-id": "m1"}, b'{"a":1}')
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%20b?c=d HTTP/1.1"
    assert f"Host: hooks.example.com:{receiver.port}" in lines
    assert {"webhook-id: m1", "Accept-Encoding: identity", "Connection: close", "Content-Length: 7"} <= set(lines)
    assert body == b'{"a":1}'


def test_a_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawReceiver() as proxy, RawReceiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert Egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {}, b"").status == 200
        assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


def test_http_is_for_this_machine_alone() -> None:
    egress = Egress(loopback=True, resolver=always("8.8.8.8"))
    assert refusal(egress, "http://hooks.example.com/") == "address_refused"


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with RawReceiver() as trap:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{trap.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        with RawReceiver(moved) as receiver:
            answer = Egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
        assert answer.status == 307
        assert trap.requests == []


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with RawReceiver(head + bomb) as receiver:
        answer = Egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
    assert answer.body == bomb[:READ_BYTES_MAX]


def test_an_endless_answer_is_read_to_64_kib() -> None:
    def flood(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    with RawReceiver(flood) as receiver:
        answer = Egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
    assert (answer.status, answer.body) == (200, b"x" * READ_BYTES_MAX)


def drip(piece: bytes) -> "Dripper":
    return Dripper(piece)


class Dripper:
    """Sends a piece every 50 ms, so that no single wait is ever long."""

    def __init__(self, piece: bytes) -> None:
        self._piece = piece

    def __call__(self, connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            connection.sendall(self._piece)
            time.sleep(0.05)


def test_headers_that_drip_end_at_the_deadline() -> None:
    with RawReceiver(drip(b"X-A: b\r\n")) as receiver:
        began = time.monotonic()
        assert refusal(Egress(loopback=True, total_s=0.6), f"http://127.0.0.1:{receiver.port}/") == "timeout"
        assert 0.5 < time.monotonic() - began < 4.0


def test_a_status_counts_even_when_the_body_never_ends() -> None:
    def hang(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\npart")
        time.sleep(3)

    with RawReceiver(hang) as receiver:
        answer = Egress(loopback=True, total_s=0.5).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}")
    assert (answer.status, answer.body) == (202, b"part")


def test_silence_is_a_time_out_and_nonsense_a_protocol_error() -> None:
    with RawReceiver(lambda _connection, _request: time.sleep(3)) as receiver:
        assert refusal(Egress(loopback=True, total_s=0.3), f"http://127.0.0.1:{receiver.port}/") == "timeout"
    with RawReceiver(b"SSH-2.0-OpenSSH\r\n") as receiver:
        assert refusal(Egress(loopback=True), f"http://127.0.0.1:{receiver.port}/") == "protocol_error"
    with RawReceiver(b"") as receiver:
        assert refusal(Egress(loopback=True), f"http://127.0.0.1:{receiver.port}/") == "protocol_error"


def test_a_closed_port_is_a_failed_connect_and_the_next_address_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert refusal(Egress(loopback=True), f"http://127.0.0.1:{port}/") == "connect_failed"
    with RawReceiver() as receiver:
        egress = Egress(loopback=True, resolver=always("::1", "127.0.0.1"))
        assert egress.post(f"http://hooks.example.com:{receiver.port}/", {}, b"").status == 200


def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    with RawReceiver() as receiver, socket.socket() as deaf, ExitStack() as waiting:
        deaf.bind(("127.0.0.2", receiver.port))
        deaf.listen(0)
        # A full queue: the system drops whoever else comes, as a firewall would.
        for _ in range(4):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.2", receiver.port))
        egress = Egress(loopback=True, resolver=always("127.0.0.2", "127.0.0.1"), connect_s=1)
        assert egress.post(f"http://hooks.example.com:{receiver.port}/", {}, b"").status == 200


def test_a_name_that_is_not_known_or_a_resolver_that_hangs_has_its_code() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror("no such name")

    def hangs(_host: str, _port: int) -> list[str]:
        time.sleep(3)
        return ["8.8.8.8"]

    assert refusal(Egress(resolver=unknown), "https://hooks.example.com/") == "name_not_resolved"
    assert refusal(Egress(resolver=always()), "https://hooks.example.com/") == "name_not_resolved"
    assert refusal(Egress(resolver=always("nonsense")), "https://hooks.example.com/") == "address_refused"
    began = time.monotonic()
    assert refusal(Egress(resolver=hangs, connect_s=0.2), "https://hooks.example.com/") == "timeout"
    assert time.monotonic() - began < 2.9


def test_the_systems_resolver_gives_addresses_of_this_machine() -> None:
    assert "127.0.0.1" in system_resolver("127.0.0.1", 80)


def test_tls_asks_for_and_checks_the_name_and_not_the_address(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    server, client = authority.server("hooks.example.com"), authority.trusting()
    with RawReceiver(OK, tls=server) as receiver:
        egress = Egress(loopback=True, resolver=always("127.0.0.1"), tls=client)
        assert egress.post(f"https://hooks.example.com:{receiver.port}/", {}, b"{}").status == 200
        assert receiver.server_names == ["hooks.example.com"]
        assert refusal(egress, f"https://other.example.com:{receiver.port}/") == "tls_failed"
        untrusting = Egress(loopback=True, resolver=always("127.0.0.1"))
        assert refusal(untrusting, f"https://hooks.example.com:{receiver.port}/") == "tls_failed"
