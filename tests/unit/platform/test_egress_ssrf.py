"""Ways into the private network through a URL somebody else chose; each is tried against a listener that must not be reached.

The list is that of the OWASP API Security Top 10 (API7) and of what other senders refuse (Svix, Stripe's Smokescreen with the
brackets of GHSA-qwrf-gfpj-qvj6). All roads lead to the trap: whatever address is connected to, a real connection to it is made.
"""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from cardwright.platform.egress import PORTS, Egress, EgressError
from tests.fakes.receiver import RawReceiver

METADATA = "169.254.169.254"
# Addresses a name may lead to: this machine, private networks, metadata services, and what carries them inside.
HIDDEN = """
127.0.0.1 127.0.0.2 127.255.255.254 0.0.0.0 0.0.0.1 10.20.0.2 172.16.0.1 192.168.1.1 169.254.169.254 169.254.170.2
169.254.169.253 100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.192 198.18.0.1 224.0.0.251 255.255.255.255
::1 :: ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:a9fe:a9fe ::ffff:0:a9fe:a9fe 64:ff9b::a9fe:a9fe 64:ff9b::7f00:1
64:ff9b:1::a9fe:a9fe 64:ff9b:1:fffe::7f00:1 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
2001:0:7f00:1:: fd00:ec2::254 fd00:ec2::23 fc00::1 fe80::1 fe80::a9fe:a9fe fec0::1 ff02::1 100::1 2001:db8::1 3fff::1 5f00::1
""".split()
# Hosts that are no names, as the system's resolver reads them.
SPELLINGS = """
2130706433 0x7f000001 017700000001 0x7f.1 0177.0.0.1 0177.0.0.01 127.1 127.0.1 127.0.0.2 0 0x0 0.0.0.0 localhost LOCALHOST
localhost. 127.0.0.1. 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 169.254.169.254 0xa9.0xfe.0xa9.0xfe 169.254.170.2
[::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::ffff:169.254.169.254]
[::ffff:a9fe:a9fe] [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::169.254.169.254] [64:ff9b:1::7f00:1] [2002:7f00:1::]
[2001:0:7f00:1::] [fd00:ec2::254] [fe80::1] [fc00::1] [ff02::1]
""".split()
# URLs that one parser reads one way and another parser another way. The name they may show leads to a public address.
TRICKS = {
    "userinfo before an address": "https://hooks.example.com@127.0.0.1/",
    "an address as userinfo": "https://127.0.0.1@hooks.example.com/",
    "a password": "https://user:secret@hooks.example.com/",
    "an empty userinfo": "https://@hooks.example.com/",
    "two at signs": "https://a@127.0.0.1@hooks.example.com/",
    "userinfo with a slash": "https://hooks.example.com%2F@127.0.0.1/",
    "a backslash before an at sign": "https://hooks.example.com\\@127.0.0.1/",
    "backslashes for slashes": "https:\\\\127.0.0.1\\",
    "a fragment before an at sign": "https://hooks.example.com#@127.0.0.1/",
    "an empty fragment": "https://hooks.example.com/#",
    "a zone": "https://[fe80::1%25lo]/",
    "a zone, not encoded": "https://[fe80::1%lo]/",
    "a zone of this machine": "https://[::1%25lo]/",
    "a zone on a public address": "https://[2606:4700:4700::1111%25lo]/",
    "an IPv4 address in brackets": "https://[127.0.0.1]/",
    "a name in brackets": "https://[hooks.example.com]/",
    "this machine's name in brackets": "https://[localhost]/",
    "brackets twice": "https://[[::1]]/",
    "a bracket at the end": "https://hooks.example.com]/",
    "a bracket at the beginning": "https://[hooks.example.com/",
    "a name after brackets": "https://[::1]hooks.example.com/",
    "a name before brackets": "https://hooks.example.com[::1]/",
    "brackets as userinfo": "https://[::1]@hooks.example.com/",
    "empty brackets": "https://[]/",
    "a future address": "https://[v1.fe80]/",
    "ideographic full stops": "https://127\u30020\u30020\u30021/",
    "fullwidth full stops": "https://127\uff0e0\uff0e0\uff0e1/",
    "halfwidth full stops": "https://127\uff610\uff610\uff611/",
    "fullwidth digits": "https://\uff11\uff12\uff17.0.0.1/",
    "circled letters": "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "another alphabet": "https://\u0445\u043e\u043e\u043a\u0441.example.com/",
    "a soft hyphen": "https://local\u00adhost/",
    "percent-encoded dots": "https://127%2e0%2e0%2e1/",
    "a percent-encoded name": "https://%6cocalhost/",
    "a percent-encoded zero": "https://127.0.0.1%00.example.com/",
    "a line feed in the host": "https://hooks.example.com\n127.0.0.1/",
    "a line break in the host": "https://hooks.example.com\r\nHost: 127.0.0.1/",
    "a line break in the path": "https://hooks.example.com/a\r\nX-Injected: yes\r\n\r\nPOST /b",
    "a line break at the end": "https://hooks.example.com/\r\n",
    "a tab in the host": "https://127.0.\t0.1/",
    "a line break in the scheme": "ht\r\ntps://127.0.0.1/",
    "a space in the host": "https://hooks.example.com 127.0.0.1/",
    "a space before": " https://127.0.0.1/",
    "a zero byte": "https://hooks.example.com\x00.127.0.0.1/",
    "no host": "https:///latest/meta-data/",
    "a port alone": "https://:443/",
    "no slashes": "https:127.0.0.1/",
    "no scheme": "//127.0.0.1/",
    "a path": "/latest/meta-data/",
    "nothing": "",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp": "ftp://hooks.example.com/",
    "data": "data:text/plain,hello",
    "an unknown scheme": "unix:///var/run/postgresql",
    "port zero": "https://hooks.example.com:0/",
    "a port that is too high": "https://hooks.example.com:65536/",
    "a port that overflows": "https://hooks.example.com:4294967739/",
    "a negative port": "https://hooks.example.com:-443/",
    "a port in another script": "https://hooks.example.com:\u0664\u0664\u0663/",
    "no port after a colon": "https://hooks.example.com:/",
    "two ports": "https://hooks.example.com:443:22/",
    "a port with a sign": "https://hooks.example.com:+443/",
}


REAL_CONNECT = socket.create_connection
# Reading the authorities takes longer than a test.
TLS = ssl.create_default_context()


def _is_this_machine(address: str) -> bool:
    return address.startswith("127.") or address in {"::1", "::ffff:127.0.0.1", "::ffff:7f00:1"}


class Trap:
    """Listens on every address of this machine, IPv4 and IPv6, and counts who connects."""

    def __init__(self) -> None:
        if socket.has_dualstack_ipv6():
            self._listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            self._listener = socket.create_server(("0.0.0.0", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            connection.close()

    def reached(self) -> int:
        """How many connections there were: one of our own follows them all, so that none is still on its way."""
        with REAL_CONNECT(("127.0.0.1", self.port), 5) as ours:
            ours.recv(1)
        seen, self._connections = self._connections - 1, 0
        return seen

    def close(self) -> None:
        """End listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    """A listener that must not be reached."""
    made = Trap()
    yield made
    made.close()


@pytest.fixture
def roads(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every connection whatsoever leads to the trap; the addresses that were asked for."""
    asked: list[str] = []

    def connect(address: tuple[str, int], *_given: object, **_named: object) -> socket.socket:
        asked.append(address[0])
        return REAL_CONNECT(("127.0.0.1", trap.port), 5)

    monkeypatch.setattr(socket, "create_connection", connect)
    return asked


class Zone:
    """A resolver over names that point to addresses or to other names, as a chain of CNAMEs does; answers may change."""

    def __init__(self, names: Mapping[str, Sequence[str] | str]) -> None:
        self.names = dict(names)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        for _ in range(8):
            found = self.names.get(host)
            if found is None:
                break
            if not isinstance(found, str):
                return list(found)
            host = found
        raise socket.gaierror("no address")


def an_egress(**settings: Any) -> Egress:
    """An egress with these settings."""
    return Egress(tls=TLS, **settings)


def public(*addresses: str) -> Zone:
    """hooks.example.com with these addresses."""
    return Zone({"hooks.example.com": addresses or ("8.8.8.8",)})


def refusal(egress: Egress, url: str = "https://hooks.example.com/") -> str:
    """The code a post fails with."""
    with pytest.raises(EgressError) as failure:
        egress.post(url, {}, b"{}")
    return failure.value.code


def test_the_trap_is_where_a_public_address_would_lead(trap: Trap, roads: list[str]) -> None:
    assert refusal(an_egress(resolver=public("8.8.8.8"))) in {"tls_failed", "protocol_error"}
    assert (roads, trap.reached()) == (["8.8.8.8"], 1)
    assert trap.reached() == 0


@pytest.mark.parametrize(
    ("address", "local"), [(a, False) for a in HIDDEN] + [(a, True) for a in HIDDEN if not _is_this_machine(a)]
)
def test_no_name_leads_to_a_hidden_address(trap: Trap, roads: list[str], address: str, local: bool) -> None:
    egress = an_egress(resolver=public(address), loopback=local)
    for url in ("https://hooks.example.com/", "https://hooks.example.com:8443/", "http://hooks.example.com/"):
        assert refusal(egress, url) == "address_refused"
    assert (roads, trap.reached()) == ([], 0)


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_hidden_address_is_reached(trap: Trap, host: str) -> None:
    # The real resolver and the real network: where this machine would come to by itself.
    egress = an_egress(ports=frozenset({trap.port}), connect_s=2)
    for scheme in ("https", "http"):
        assert refusal(egress, f"{scheme}://{host}:{trap.port}/") in {"address_refused", "name_not_resolved"}
    assert trap.reached() == 0


def test_spellings_would_have_come_to_the_trap(trap: Trap) -> None:
    for host in ("2130706433", "0x7f000001", "017700000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.2", "localhost", "0"):
        REAL_CONNECT((host, trap.port), 5).close()
    assert trap.reached() == 9


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("trick", TRICKS)
def test_no_url_is_read_in_two_ways(trap: Trap, roads: list[str], trick: str, local: bool) -> None:
    zone = Zone({"hooks.example.com": ("8.8.8.8",), "localhost": ("127.0.0.1",)})
    code = refusal(an_egress(resolver=zone, loopback=local), TRICKS[trick])
    assert code == "url_refused"
    assert (zone.asked, roads, trap.reached()) == (0, [], 0)


@pytest.mark.parametrize("port", [1, 22, 25, 80, 5432, 6379, 8080, 9200, 65535])
def test_only_the_ports_of_receivers_are_connected_to(trap: Trap, roads: list[str], port: int) -> None:
    for local in (False, True):
        assert refusal(an_egress(resolver=public(), loopback=local), f"https://hooks.example.com:{port}/") == "url_refused"
    assert (roads, trap.reached(), sorted(PORTS)) == ([], 0, [443, 8443])


@pytest.mark.parametrize(
    "answers",
    [
        ("8.8.8.8", "127.0.0.1"),
        ("127.0.0.1", "8.8.8.8"),
        ("8.8.8.8", "8.8.4.4", METADATA),
        ("2606:4700:4700::1111", "10.0.0.1"),
        ("8.8.8.8", "fd00:ec2::254"),
        ("8.8.8.8", "::ffff:10.0.0.1"),
        ("8.8.8.8", "64:ff9b::a00:1"),
        ("8.8.8.8", "no address"),
    ],
)
@pytest.mark.parametrize("local", [False, True])
def test_one_hidden_address_among_public_ones_refuses_the_name(
    trap: Trap, roads: list[str], answers: Sequence[str], local: bool
) -> None:
    assert refusal(an_egress(resolver=public(*answers), loopback=local)) == "address_refused"
    assert (roads, trap.reached()) == ([], 0)


def test_a_chain_of_names_is_judged_by_its_end(trap: Trap, roads: list[str]) -> None:
    zone = Zone({
        "hooks.example.com": "a.example.com",
        "a.example.com": "b.example.net",
        "b.example.net": "metadata.internal",
        "metadata.internal": (METADATA,),
        "loop.example.com": "pool.example.com",
        "pool.example.com": "loop.example.com",
        "dangling.example.com": "gone.example.com",
    })  # fmt: skip
    assert refusal(an_egress(resolver=zone)) == "address_refused"
    assert refusal(an_egress(resolver=zone), "https://loop.example.com/") == "name_not_resolved"
    assert refusal(an_egress(resolver=zone), "https://dangling.example.com/") == "name_not_resolved"
    assert (roads, trap.reached()) == ([], 0)


def test_a_name_that_changes_between_look_ups_is_looked_up_once_a_post(trap: Trap, roads: list[str]) -> None:
    class Rebinding(Zone):
        """Another answer at every look-up, as a name with a time to live of zero may give."""

        def __call__(self, host: str, port: int) -> list[str]:
            self.asked += 1
            return ["8.8.8.8"] if self.asked % 2 else ["127.0.0.1"]

    zone = Rebinding({})
    egress = an_egress(resolver=zone)
    # What is checked is what is connected to; the next post checks anew, and so does every attempt.
    assert refusal(egress) in {"tls_failed", "protocol_error"}
    assert (zone.asked, roads, trap.reached()) == (1, ["8.8.8.8"], 1)
    assert refusal(egress) == "address_refused"
    assert (zone.asked, roads, trap.reached()) == (2, ["8.8.8.8"], 0)


def test_a_name_with_ipv6_alone_is_checked_and_connected_to_as_ipv6(trap: Trap, roads: list[str]) -> None:
    assert refusal(an_egress(resolver=public("2606:4700:4700::1111"))) in {"tls_failed", "protocol_error"}
    assert (roads, trap.reached()) == (["2606:4700:4700::1111"], 1)
    assert refusal(an_egress(resolver=public("fd00:ec2::254"))) == "address_refused"
    assert (len(roads), trap.reached()) == (1, 0)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_no_redirect_is_followed_wherever_it_leads(trap: Trap, status: int) -> None:
    here = f"127.0.0.1:{trap.port}"
    for location in (f"http://{here}/", f"//{here}/", f"http://{METADATA}/latest/meta-data/", "https://[fd00:ec2::254]/"):
        lines = (f"HTTP/1.1 {status} Moved", f"Location: {location}", f"Refresh: 0; url={location}", "Content-Length: 0", "", "")
        with RawReceiver("\r\n".join(lines).encode()) as receiver:
            assert an_egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}").status == status
            assert len(receiver.requests) == 1
    assert trap.reached() == 0


def test_alternatives_a_receiver_names_are_not_taken(trap: Trap) -> None:
    lines = (f'Alt-Svc: h2="127.0.0.1:{trap.port}"; ma=86400', f"Link: <http://127.0.0.1:{trap.port}/>; rel=preconnect")
    with RawReceiver("\r\n".join(("HTTP/1.1 200 OK", *lines, "Content-Length: 0", "", "")).encode()) as receiver:
        egress = an_egress(loopback=True)
        for _ in range(2):
            assert egress.post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}").status == 200
        assert len(receiver.requests) == 2
    assert trap.reached() == 0


def test_no_proxy_of_the_environment_is_asked(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert refusal(an_egress(), f"https://{METADATA}/") == "address_refused"
    with RawReceiver() as receiver:
        assert an_egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}").status == 200
    assert trap.reached() == 0


@pytest.mark.parametrize("name", ["X-A", "webhook-id"])
@pytest.mark.parametrize("value", ["a\r\nX-Injected: yes", "a\nb", "a\x00b"])
def test_a_header_holds_one_line(name: str, value: str) -> None:
    with RawReceiver() as receiver:
        with pytest.raises(EgressError, match="protocol_error"):
            an_egress(loopback=True).post(f"http://127.0.0.1:{receiver.port}/", {name: value}, b"{}")
        assert not any(b"X-Injected" in request for request in receiver.requests)


def test_the_local_stage_posts_to_this_machine_at_any_port_and_over_http(trap: Trap) -> None:
    with RawReceiver() as receiver:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            assert an_egress(loopback=True).post(f"http://{host}:{receiver.port}/", {}, b"{}").status == 200
        zone = public("127.0.0.1")
        assert an_egress(loopback=True, resolver=zone).post(f"http://hooks.example.com:{receiver.port}/", {}, b"").status == 200
        # Another stage posts neither over http nor to this machine.
        assert refusal(an_egress(ports=frozenset({receiver.port})), f"http://127.0.0.1:{receiver.port}/") == "address_refused"
        assert len(receiver.requests) == 4
    # A name of this machine and of another private one at once is neither.
    assert refusal(an_egress(loopback=True, resolver=public("127.0.0.1", "10.0.0.1"))) == "address_refused"
    assert trap.reached() == 0
