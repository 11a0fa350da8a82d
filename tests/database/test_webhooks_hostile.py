"""Hostile receivers against the real sender on real sockets: what becomes of each, and that nobody else waits for them."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cardwright.kernel.errors import InvalidFieldsError
from cardwright.outbox.rules import Event
from cardwright.platform.egress import Answer, Egress, Resolver
from cardwright.platform.postgres import Actor
from cardwright.webhooks.rules import RESPONSE_CHARACTERS_MAX, RETRY_DELAYS_S
from tests.fakes.certificates import Authority
from tests.fakes.hostile import HOSTILE, plain
from tests.fakes.receiver import OK, RawReceiver
from tests.fakes.webhook_world import Script, WebhookWorld

# Shorter than in earnest, so that what hangs costs a test a second; longer than any honest answer on one machine.
TOTAL_S = 1.5
UNTRUSTED = ssl.create_default_context()


def through(egress: Egress) -> Script:
    """Posts that really go out."""
    return lambda url, body: egress.post(url, {"Content-Type": "application/json"}, body)


@pytest.fixture
def world(fresh_database: str) -> Iterator[WebhookWorld]:
    """A world whose events go out for good; challenges are answered for everybody."""
    made = WebhookWorld(fresh_database)
    made.sender.script = through(Egress(loopback=True, tls=UNTRUSTED, total_s=TOTAL_S))
    yield made
    made.close()


def rows_of(world: WebhookWorld, event: Event) -> dict[str, dict[str, Any]]:
    """Deliveries of an event with what is noted of their last attempt, by the receiver's URL."""
    rows = world.sql(
        "SELECT s.url, s.status AS health, d.*, a.outcome, a.status_code, a.response FROM webhook_deliveries d "
        "JOIN webhook_subscriptions s USING (subscription_id) "
        "JOIN webhook_attempts a USING (subscription_id, event_id) WHERE d.event_id = %s AND a.number = d.attempts",
        event.event_id,
    )
    return {row["url"]: row for row in rows}


def test_what_becomes_of_each_hostile_receiver_and_of_the_healthy_one_among_them(world: WebhookWorld) -> None:
    # Many at once on a machine that may be busy: only those that hang take this long.
    world.sender.script = through(Egress(loopback=True, tls=UNTRUSTED, total_s=3 * TOTAL_S))
    # Staff hear everybody's events; one of them has room for twenty subscriptions.
    user, agents = world.add_user(), [world.add_user("admin"), world.add_user("admin")]
    with ExitStack() as stack:
        receivers = {name: stack.enter_context(RawReceiver(hostile.act)) for name, hostile in HOSTILE.items()}
        healthy = stack.enter_context(RawReceiver(OK))
        urls = {name: f"http://127.0.0.1:{receiver.port}/" for name, receiver in receivers.items()}
        for position, url in enumerate((*urls.values(), f"http://127.0.0.1:{healthy.port}/")):
            world.subscribe(agents[position % 2], url=url)
        event = world.event(user)
        world.consume(event)
        rows = rows_of(world, event)
        assert {name: len(receiver.requests) for name, receiver in receivers.items()} == dict.fromkeys(HOSTILE, 1)
        assert rows.pop(f"http://127.0.0.1:{healthy.port}/")["status"] == "DELIVERED"
    noted = {name: (rows[url]["outcome"], rows[url]["status_code"]) for name, url in urls.items()}
    assert noted == {name: (hostile.outcome, hostile.status_code) for name, hostile in HOSTILE.items()}
    for name, hostile in HOSTILE.items():
        row = rows[urls[name]]
        assert (row["attempts"], row["lease_token"], row["health"]) == (1, None, "ACTIVE"), name
        assert len(row["response"] or "") <= RESPONSE_CHARACTERS_MAX, name
        assert (row["response"] or "").isprintable(), name
        if hostile.outcome == "delivered":
            assert (row["status"], row["next_attempt_at"]) == ("DELIVERED", None), name
            continue
        wait = row["next_attempt_at"] - world.clock.now()
        least = timedelta(seconds=hostile.waits_s or RETRY_DELAYS_S[0])
        most = least if hostile.waits_s else least * 1.1
        assert least <= wait <= most, name


def test_a_receiver_that_says_it_is_gone_is_asked_no_more(world: WebhookWorld) -> None:
    user = world.add_user()
    with RawReceiver(plain("410 Gone")) as receiver:
        subscription, _ = world.subscribe(user, url=f"http://127.0.0.1:{receiver.port}/")
        event = world.event(user)
        world.consume(event)
        world.consume(world.event(user))
        world.advance(days=1)
        assert world.retry(0.05) == 0
        assert len(receiver.requests) == 1
    assert world.subscriptions.get_subscription(user, subscription.subscription_id).status == "DISABLED"
    assert world.attempts() == [(1, "gone")]


def test_receivers_whose_tls_nobody_may_trust_get_nothing(world: WebhookWorld, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    world.sender.script = through(Egress(loopback=True, tls=authority.trusting(), total_s=2 * TOTAL_S))
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    old = authority.server("localhost")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    contexts = {
        "good": (authority.server("localhost"), "delivered"),
        "TLS 1.2": (old, "delivered"),
        "another name": (authority.server("other.example.com"), "tls_failed"),
        "expired": (authority.server("localhost", expired=True), "tls_failed"),
        "self-signed": (authority.server("localhost", self_signed=True), "tls_failed"),
        "a stranger's": (Authority.make(stranger).server("localhost"), "tls_failed"),
    }
    user = world.add_user()
    with ExitStack() as stack:
        receivers = {name: stack.enter_context(RawReceiver(OK, tls=tls)) for name, (tls, _) in contexts.items()}
        others = {"no TLS": stack.enter_context(Blunt()), "a handshake that hangs": stack.enter_context(Silent())}
        ports = {name: receiver.port for name, receiver in (receivers | others).items()}
        for port in ports.values():
            world.subscribe(user, url=f"https://localhost:{port}/")
        event = world.event(user)
        world.consume(event)
        rows = rows_of(world, event)
        got = {name for name, receiver in receivers.items() if any(request.startswith(b"POST") for request in receiver.requests)}
    expected = {name: outcome for name, (_, outcome) in contexts.items()}
    expected |= {"no TLS": "tls_failed", "a handshake that hangs": "timeout"}
    assert {name: rows[f"https://localhost:{port}/"]["outcome"] for name, port in ports.items()} == expected
    assert got == {"good", "TLS 1.2"}


class Blunt(RawReceiver):
    """Speaks HTTP before it is spoken to."""

    def _serve(self, connection: Any) -> None:
        connection.sendall(OK)
        connection.close()


class Silent(RawReceiver):
    """Takes connections and never says a word, not even in TLS."""

    def _serve(self, connection: Any) -> None:
        threading.Event().wait(3 * TOTAL_S)
        connection.close()


def test_nobody_waits_for_receivers_that_hang_in_the_queues_lane(world: WebhookWorld) -> None:
    slow, quick = world.add_user(), world.add_user()
    world.sender.script = through(Egress(loopback=True, tls=UNTRUSTED))
    with Held() as held, RawReceiver(OK) as healthy:
        world.subscribe(slow, url=held.url)
        world.subscribe(quick, url=f"http://127.0.0.1:{healthy.port}/")
        events = [world.event(slow) for _ in range(9)]
        running = in_background(world, lambda: world.consume(*events, world.event(quick)))
        assert held.has(9)
        assert until(lambda: len(healthy.requests) == 1)
        assert held.answered == 0
        held.release()
        running.join(20)
        assert held.answered == 9


def test_nobody_waits_for_receivers_that_hang_in_the_schedules_lane(world: WebhookWorld) -> None:
    slow, quick = world.add_user(), world.add_user()
    replies = iter([plain("500 No")])
    with Held() as held, RawReceiver(lambda connection, _: connection.sendall(next(replies, OK))) as healthy:
        world.subscribe(slow, url=held.url)
        world.subscribe(quick, url=f"http://127.0.0.1:{healthy.port}/")
        hanging = [world.event(slow) for _ in range(8)]
        # Both fail once and are served by the schedule from now on; the hostile one has eight times as much due.
        world.consume(*hanging, world.event(quick))
        assert [outcome for _, outcome in world.attempts()].count("timeout") == 8
        world.advance(seconds=70)
        world.sender.script = through(Egress(loopback=True, tls=UNTRUSTED))
        before = len(held.requests)
        running = in_background(world, world.retry)
        assert until(lambda: len(healthy.requests) == 2)
        assert held.has(before + 4)
        # Four of one subscription at once and no more, so that the lane has room for others.
        time.sleep(0.3)
        assert (len(held.requests), held.answered) == (before + 4, 0)
        held.release()
        running.join(20)
        assert world.retry() == 4
        assert len(held.requests) == before + 8


class Held(RawReceiver):
    """Keeps every request waiting until it is told to answer."""

    def __init__(self) -> None:
        self._release = threading.Event()
        self.answered = 0
        super().__init__(self._answer_late)
        self.url = f"http://127.0.0.1:{self.port}/"

    def _answer_late(self, connection: Any, _request: bytes) -> None:
        if self._release.wait(20):
            self.answered += 1
            connection.sendall(OK)

    def has(self, requests: int) -> bool:
        """Whether so many came, soon."""
        return until(lambda: len(self.requests) >= requests)

    def release(self) -> None:
        """Answer what waits and what comes."""
        self._release.set()


def in_background(world: WebhookWorld, work: Callable[[], object]) -> threading.Thread:
    """Run work on a thread of its own, with a database connection of its own."""

    def run() -> None:
        work()
        world.worker_database.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(true: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Poll a condition."""
    deadline = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_url_nobody_would_post_to_is_refused_when_it_is_named(world: WebhookWorld) -> None:
    user = world.add_user()
    for url in (
        "http://169.254.169.254",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://[fd00:ec2::254]/",
        "https://2852039166/",
        "http://hooks.example.com/",
        "https://hooks.example.com:5432/",
        "https://metadata.internal/",
        "https://127.0.0.1@hooks.example.com/",
    ):
        with pytest.raises(InvalidFieldsError) as refused:
            world.subscribe(user, url=url)
        assert [field.field for field in refused.value.errors] == ["url"], url
    assert world.sql("SELECT 1 FROM webhook_subscriptions") == []


def test_a_name_that_leads_nowhere_or_inside_is_not_verified(world: WebhookWorld) -> None:
    user = world.add_user()
    world.sender.verifies = False
    for number, (leads_to, detail) in enumerate({
        nowhere: "name_not_resolved",
        lambda: []: "name_not_resolved",
        lambda: ["169.254.169.254"]: "address_refused",
        lambda: ["8.8.8.8", "10.0.0.1"]: "address_refused",
        late: "timeout",
    }.items()):  # fmt: skip
        egress = Egress(tls=UNTRUSTED, resolver=resolving(leads_to), connect_s=0.3)
        world.sender.script = through(egress)
        subscription, _ = world.subscribe(user, url=f"https://hooks{number}.example.com/")
        assert (subscription.status, subscription.status_detail) == ("VERIFICATION_FAILED", detail), number
    world.consume(world.event(user))
    assert world.attempts() == []


def resolving(leads_to: Callable[[], list[str]]) -> Resolver:
    """A resolver with one answer for all names."""
    return lambda _host, _port: leads_to()


def nowhere() -> list[str]:
    """A name nobody knows."""
    raise OSError("no such name")


def late() -> list[str]:
    """A name whose servers do not answer."""
    threading.Event().wait(2)
    return ["8.8.8.8"]


def test_who_answers_200_to_everything_and_never_verified_gets_no_event(world: WebhookWorld) -> None:
    user: Actor = world.add_user()
    world.sender.verifies = False
    with RawReceiver(OK) as receiver:
        subscription, _ = world.subscribe(user, url=f"http://127.0.0.1:{receiver.port}/")
        world.consume(world.event(user), world.event(user))
        world.advance(hours=1)
        world.retry(0.05)
        assert (subscription.status, subscription.status_detail) == ("VERIFICATION_FAILED", "challenge_not_met")
        # The challenge, and nothing after it.
        assert len(receiver.requests) == 1


def test_a_name_that_turns_inward_after_it_was_verified_is_refused_at_the_next_attempt(world: WebhookWorld) -> None:
    user = world.add_user()
    leads_to = ["127.0.0.1"]
    with RawReceiver(plain("500 No")) as receiver:
        egress = Egress(loopback=True, tls=UNTRUSTED, resolver=lambda _host, _port: list(leads_to))

        def post(_url: str, body: bytes) -> Answer:
            return egress.post(f"http://hooks.example.com:{receiver.port}/", {}, body)

        world.sender.script = post
        world.subscribe(user, url="https://hooks.example.com/")
        world.consume(world.event(user))
        leads_to[:] = ["169.254.169.254"]
        world.advance(seconds=70)
        assert world.retry() == 1
        assert world.attempts() == [(1, "http_error"), (2, "address_refused")]
        assert len(receiver.requests) == 1
