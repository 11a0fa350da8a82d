"""A Valkey that is killed, emptied, slowed or lies: every answer is the one given without a cache."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cardwright.authorizations.rules import AuthorizationRequest
from cardwright.authorizations.service import AuthorizationService, decision_key
from cardwright.authorizations.service.entries import entry_keys, read_profile
from cardwright.cards.rules import profile_key
from cardwright.compose.authorization import CACHE_BUDGET_S
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.secret import Secret
from cardwright.platform import cache as cache_module
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal, unseal
from cardwright.platform.ids import IdSource
from local.servers.valkey import ValkeyServer
from tests.builders import NOW, add_card, as_role, request, set_limits, set_status
from tests.fakes.tcp import closed_port, relaying

SECRETS = [Secret("the processor's")]
KEYS = entry_keys(SECRETS)
STRANGERS = entry_keys([Secret("a stranger's")])
Answer = tuple[str, Decimal, bool]


@contextmanager
def engine(database_url: str, cache: Cache, *secrets: Secret[str]) -> Iterator[AuthorizationService]:
    """An engine over the database and a cache, closed afterwards."""
    database, clock = as_role(database_url, "app"), FixedClock(NOW)
    try:
        yield AuthorizationService(database, cache, clock, IdSource(clock), secrets=lambda: secrets or SECRETS)
    finally:
        database.close()
        cache.close()


class Scene:
    """A card, and a series of requests with changes between that tell a right cache from a wrong one."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.card = add_card(database_url, per_transaction="50.00", daily="400.00", monthly="400.00")
        self.wanted = request(self.card.token, "10.00")

    def play(self, service: AuthorizationService, meddle: Callable[[], None]) -> list[Answer]:
        """Decide one after the other; before each the cache is meddled with."""
        answers: list[Answer] = []

        def ask(wanted: AuthorizationRequest) -> None:
            meddle()
            decision = service.evaluate(wanted)
            answers.append((str(decision.reason), decision.approved_amount, decision.final))

        for amount in ("50.00", "50.01", "399.00", "20.00"):
            ask(self.wanted)
            ask(replace(self.wanted, amount=Decimal("11.00")))
            ask(request(self.card.token, amount))
        set_limits(self.database_url, self.card, per_transaction="5.00")
        ask(request(self.card.token, "6.00"))
        set_limits(self.database_url, self.card, per_transaction="60.00", countries='{"allow": [], "deny": ["KP"]}')
        ask(request(self.card.token, "60.00"))
        ask(request(self.card.token, "1.00", country="KP"))
        set_status(self.database_url, self.card, "FROZEN")
        ask(request(self.card.token, "1.00"))
        ask(self.wanted)
        set_status(self.database_url, self.card, "CANCELLED")
        ask(request(self.card.token, "1.00"))
        return answers


@pytest.fixture(scope="module")
def right(database_url: str) -> list[Answer]:
    """The answers without a cache."""
    with engine(database_url, Cache(f"redis://127.0.0.1:{closed_port()}")) as service:
        answers = Scene(database_url).play(service, lambda: None)
    reasons = [reason for reason, _, _ in answers]
    assert reasons[:6] == [
        "approved", "authorization_id_reused", "approved", "approved", "authorization_id_reused",
        "per_transaction_limit_exceeded",
    ]  # fmt: skip
    assert reasons[12:] == [
        "per_transaction_limit_exceeded", "approved", "country_blocked", "card_frozen", "approved", "card_cancelled",
    ]  # fmt: skip
    return answers


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a client ask its cache again at once after a failure."""
    monkeypatch.setattr(cache_module, "REST_S", 0.0)


@pytest.fixture
def raw(cache_url: str) -> Iterator[Cache]:
    """A client of this worker's Valkey that may write what it likes."""
    made = Cache(cache_url, budget_s=2.0)
    yield made
    made.close()


def test_a_cache_that_is_well_changes_no_answer(database_url: str, cache_url: str, right: list[Answer]) -> None:
    with engine(database_url, Cache(cache_url, budget_s=2.0)) as service:
        assert Scene(database_url).play(service, lambda: None) == right


@pytest.mark.parametrize("delay_s", [0.012, None])
@pytest.mark.usefixtures("no_rest")
def test_a_slow_cache_and_one_that_never_answers_change_no_answer(
    database_url: str, cache_url: str, right: list[Answer], delay_s: float | None
) -> None:
    at = urlsplit(cache_url)
    with relaying(at.port or 0, delay_s) as slow:
        url = at._replace(netloc=f":{at.password}@127.0.0.1:{slow}").geturl()
        with engine(database_url, Cache(url, budget_s=CACHE_BUDGET_S)) as service:
            assert Scene(database_url).play(service, lambda: None) == right


def test_an_emptied_cache_changes_no_answer(database_url: str, cache_url: str, raw: Cache, right: list[Answer]) -> None:
    def empty() -> None:
        assert raw.exchange([("FLUSHALL",)]) == [b"OK"]

    with engine(database_url, Cache(cache_url, budget_s=2.0)) as service:
        assert Scene(database_url).play(service, empty) == right


@pytest.mark.usefixtures("no_rest")
def test_a_killed_cache_changes_no_answer_nor_does_its_return(
    database_url: str, right: list[Answer], make_server_folder: Callable[[str], Path]
) -> None:
    server = ValkeyServer(make_server_folder("valkey"))
    server.start()
    turns = iter(range(100))

    def kill_or_start() -> None:
        turn = next(turns)
        if turn == 4:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        if turn == 13:
            server.stop()
            server.start()

    try:
        with engine(database_url, Cache(server.url, budget_s=0.5)) as service:
            assert Scene(database_url).play(service, kill_or_start) == right
    finally:
        server.stop()


class Liar:
    """Writes into the cache what a card's entries are to be, and remembers what they once were."""

    def __init__(self, raw: Cache, scene: Scene) -> None:
        self.raw = raw
        self.profile_key = profile_key(scene.card.token)
        self.decision_key = decision_key(scene.card.token, scene.wanted.authorization_id)
        self.first_profile: bytes | None = None
        self.generous = add_card(scene.database_url, per_transaction="900.00")

    def held(self, key: str) -> bytes | None:
        """The entry under a key, once all that was sent has arrived."""
        (entry,) = self.raw.get_many([key]) or [None]
        return entry

    def put(self, key: str, entry: bytes) -> None:
        """Write an entry as it is."""
        assert self.raw.exchange([("SET", key, entry)]) == [b"OK"]

    def put_list(self, key: str) -> None:
        """Write a list where a string belongs."""
        assert self.raw.exchange([("DEL", key), ("RPUSH", key, "a", "b")]) is not None


def old_profile(liar: Liar) -> None:
    """The first profile of the card again and again: sealed as ours, and out of date."""
    entry = liar.held(liar.profile_key)
    liar.first_profile = liar.first_profile or entry
    if liar.first_profile is not None:
        liar.put(liar.profile_key, liar.first_profile)


def forged(liar: Liar, **changes: object) -> str:
    """The held profile's value with a limit nobody gave the card, under the version that is held."""
    value = (liar.held(liar.profile_key) or b"")[:-16]
    try:
        version, _, text = value.decode().partition(" ")
        told = json.loads(text)
    except ValueError:
        return "1 {}"
    return f"{version} {json.dumps(told | {'per_transaction': '900.00'} | changes)}"


def profile_of_another_card(liar: Liar) -> None:
    """A profile of a card with wider limits, sealed as ours for that card."""
    value = forged(liar, card_id=str(liar.generous.card_id), user_id=str(liar.generous.user_id))
    liar.put(liar.profile_key, seal(KEYS, profile_key(liar.generous.token), value.encode()))


def wider_limit_under_its_own_version(liar: Liar) -> None:
    """The held profile with a wider limit and the seal of the true one."""
    entry = liar.held(liar.profile_key)
    if entry is not None:
        liar.put(liar.profile_key, forged(liar).encode() + entry[-16:])


def wider_limit_sealed_by_a_stranger(liar: Liar) -> None:
    """The held profile with a wider limit, sealed with another secret."""
    liar.put(liar.profile_key, seal(STRANGERS, liar.profile_key, forged(liar).encode()))


def profile_of_the_far_future(liar: Liar) -> None:
    """A profile whose version no true one will ever reach."""
    value = forged(liar).partition(" ")[2]
    liar.put(liar.profile_key, f"999999999 {value}".encode() + bytes(16))


def forged_decision(liar: Liar) -> None:
    """An answer that was never given."""
    value = f"{'0' * 64}|approved|{liar.generous.card_id}|900.00||2026-11-21T12:00:00+00:00"
    liar.put(liar.decision_key, value.encode())
    liar.put(liar.decision_key, seal(STRANGERS, liar.decision_key, value.encode()))


def decision_of_another_request(liar: Liar) -> None:
    """An answer of ours, given to another request."""
    value = f"{'0' * 64}|approved|{liar.generous.card_id}|900.00||2026-11-21T12:00:00+00:00"
    liar.put(liar.decision_key, seal(KEYS, liar.decision_key + "x", value.encode()))


def flipped_bits(liar: Liar) -> None:
    """One bit of each entry is another, in the value or in the seal."""
    for key in (liar.profile_key, liar.decision_key):
        entry = liar.held(key)
        for position in (0, 2, 20, 70, -17, -16, -1):
            if entry is not None:
                broken = bytearray(entry)
                broken[position] ^= 1
                liar.put(key, bytes(broken))


def cut_entries(liar: Liar) -> None:
    """The entries without their last octet."""
    for key in (liar.profile_key, liar.decision_key):
        liar.put(key, (liar.held(key) or b"")[:-1])


def lists_for_strings(liar: Liar) -> None:
    """Values of another type, which even reading answers with an error."""
    liar.put_list(liar.profile_key)
    liar.put_list(liar.decision_key)


def an_entry_for_the_other(liar: Liar) -> None:
    """Each of the card's two entries under the key of the other."""
    profile, decision = liar.held(liar.profile_key), liar.held(liar.decision_key)
    liar.put(liar.profile_key, decision or b"")
    liar.put(liar.decision_key, profile or b"")


LIES = [
    old_profile,
    profile_of_another_card,
    wider_limit_under_its_own_version,
    wider_limit_sealed_by_a_stranger,
    profile_of_the_far_future,
    forged_decision,
    decision_of_another_request,
    flipped_bits,
    cut_entries,
    lists_for_strings,
    an_entry_for_the_other,
]


@pytest.mark.parametrize("lie", LIES)
def test_a_cache_that_lies_changes_no_answer(
    database_url: str, cache_url: str, raw: Cache, right: list[Answer], lie: Callable[[Liar], None]
) -> None:
    scene = Scene(database_url)
    liar = Liar(raw, scene)
    cache = Cache(cache_url, budget_s=2.0)

    def meddle() -> None:
        # What the engine sent has arrived once it is answered something else.
        assert cache.ping()
        lie(liar)

    with engine(database_url, cache) as service:
        assert scene.play(service, meddle) == right


@pytest.mark.parametrize("lie", LIES)
def test_after_the_lie_the_cache_holds_the_truth_again(
    database_url: str, cache_url: str, raw: Cache, lie: Callable[[Liar], None]
) -> None:
    scene = Scene(database_url)
    liar = Liar(raw, scene)
    cache = Cache(cache_url, budget_s=2.0)
    with engine(database_url, cache) as service:
        first = service.evaluate(scene.wanted)
        assert cache.ping()
        lie(liar)
        set_limits(database_url, scene.card, per_transaction="40.00")
        assert service.evaluate(scene.wanted) == first
        assert service.evaluate(request(scene.card.token, "41.00")).reason == "per_transaction_limit_exceeded"
        assert cache.ping()
    value = unseal(KEYS, liar.profile_key, liar.held(liar.profile_key) or b"")
    profile = None if value is None else read_profile(value)
    assert profile is not None
    assert (profile.config_version, profile.per_transaction) == (2, Decimal("40.00"))
    assert unseal(KEYS, liar.decision_key, liar.held(liar.decision_key) or b"") is not None


def test_while_secrets_rotate_entries_of_each_are_believed_and_the_first_seals(
    database_url: str, cache_url: str, raw: Cache
) -> None:
    old, new = Secret("old"), Secret("new")
    card = add_card(database_url)
    key = profile_key(card.token)
    with engine(database_url, Cache(cache_url, budget_s=2.0), old) as service:
        service.evaluate(request(card.token))
        assert service._cache.ping()
    (entry,) = raw.get_many([key]) or [None]
    assert entry is not None
    assert unseal(entry_keys([new, old]), key, entry) is not None
    assert unseal(entry_keys([new]), key, entry) is None
    with engine(database_url, Cache(cache_url, budget_s=2.0), new, old) as service:
        service.evaluate(request(card.token))
        assert service._cache.ping()
        assert raw.get_many([key]) == [entry]
        set_limits(database_url, card)
        service.evaluate(request(card.token))
        assert service._cache.ping()
    (entry,) = raw.get_many([key]) or [None]
    assert entry is not None
    assert unseal(entry_keys([new]), key, entry) is not None


def test_a_seal_is_bound_to_key_and_value_together() -> None:
    entry = seal(KEYS, "card:{a}:profile", b"b")
    assert unseal(KEYS, "card:{a}:profile", entry) == b"b"
    assert unseal(KEYS, "card:{a}:profil", b"e" + entry) is None
    assert unseal(KEYS, "card:{a}:profileb", entry[1:]) is None
    for cut in range(len(entry)):
        assert unseal(KEYS, "card:{a}:profile", entry[:cut]) is None
