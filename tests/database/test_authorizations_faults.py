"""Decisions while the cache is gone, slow or lying, and while the database does not answer."""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from cardwright.authorizations.rules import AuthorizationRequest, Profile
from cardwright.authorizations.service import AuthorizationService, decision_key
from cardwright.authorizations.service.entries import entry_keys
from cardwright.cards.rules import profile_key
from cardwright.compose.authorization import CACHE_BUDGET_S
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.secret import Secret
from cardwright.platform import cache as cache_module
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal, unseal
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from tests.builders import NOW, SeededCard, add_card, as_role, request, set_limits
from tests.fakes.tcp import closed_port, listening

SECRETS = [Secret("the processor's")]


@contextmanager
def engine(database: Database, cache: Cache) -> Iterator[AuthorizationService]:
    """An engine over these two, closed afterwards."""
    clock = FixedClock(NOW)
    try:
        yield AuthorizationService(database, cache, clock, IdSource(clock), secrets=lambda: SECRETS)
    finally:
        database.close()
        cache.close()


@pytest.fixture
def cache(cache_url: str) -> Iterator[Cache]:
    """This worker's Valkey, with a budget for a busy machine."""
    made = Cache(cache_url, budget_s=2.0)
    yield made
    made.close()


def behave(service: AuthorizationService, url: str) -> None:
    """Without a cache the answers are the same: limits, repeats and other bodies."""
    card = add_card(url, per_transaction="50.00", daily="60.00")
    wanted = request(card.token, "50.00")
    first = service.evaluate(wanted)
    assert (first.reason, first.final) == ("approved", True)
    assert service.evaluate(wanted) == first
    assert service.evaluate(request(card.token, "10.01")).reason == "daily_limit_exceeded"
    other = request(card.token, "49.00", authorization_id=wanted.authorization_id)
    assert service.evaluate(other).reason == "authorization_id_reused"
    assert service.evaluate(request("tok_of_nobody")).reason == "card_not_found"


def test_without_a_cache_the_answers_are_the_same(database_url: str) -> None:
    with engine(as_role(database_url, "app"), Cache(f"redis://127.0.0.1:{closed_port()}")) as service:
        behave(service, database_url)


def test_a_silent_cache_costs_its_budget_and_changes_no_answer(database_url: str) -> None:
    with (
        listening(None) as server,
        engine(as_role(database_url, "app"), Cache(f"redis://127.0.0.1:{server.port}", budget_s=0.02)) as service,
    ):
        behave(service, database_url)


def test_a_slow_cache_is_waited_for_once_and_then_left_alone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "REST_S", 3600.0)
    with (
        listening(None) as server,
        engine(as_role(database_url, "app"), Cache(f"redis://127.0.0.1:{server.port}", budget_s=CACHE_BUDGET_S)) as service,
    ):
        card = add_card(database_url)
        assert [service.evaluate(request(card.token)).reason for _ in range(5)] == ["approved"] * 5
        # One question in one connection: neither the other decisions nor what they leave behind wait for it.
        assert (server.connections, len(server.heard)) == (1, 1)


def test_a_cache_that_talks_nonsense_changes_no_answer(database_url: str) -> None:
    with (
        listening(b"*2\r\n$3\r\nabc\r\n$3\r\ndef\r\n") as server,
        engine(as_role(database_url, "app"), Cache(f"redis://127.0.0.1:{server.port}", budget_s=0.02)) as service,
    ):
        behave(service, database_url)


def held_profile(cache: Cache, card: SeededCard) -> tuple[str, dict[str, object]]:
    """The profile the cache holds, as version and document."""
    (entry,) = cache.get_many([profile_key(card.token)]) or [None]
    assert entry is not None
    value = unseal(entry_keys(SECRETS), profile_key(card.token), entry)
    assert value is not None
    version, _, text = value.decode().partition(" ")
    return version, json.loads(text)


def hold(cache: Cache, key: str, value: str) -> None:
    """Put a value into the cache, sealed as ours."""
    assert cache.exchange([("SET", key, seal(entry_keys(SECRETS), key, value.encode()))]) == [b"OK"]


@pytest.mark.parametrize(
    "lie",
    [
        {"expiry_year": "soon"},
        {"expiry_month": 13},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": 7},
        {"per_transaction": "much"},
        {"card_id": "nobody"},
        {"config_version": 99},
        {"categories_denied": 5},
        {"unknown": 1},
    ],
)
def test_a_profile_that_cannot_be_read_counts_as_none(database_url: str, cache: Cache, lie: dict[str, object]) -> None:
    card = add_card(database_url)
    with engine(as_role(database_url, "app"), cache) as service:
        assert service.evaluate(request(card.token)).reason == "approved"
        version, told = held_profile(cache, card)
        hold(cache, profile_key(card.token), f"{version} {json.dumps(told | lie)}")
        assert service.evaluate(request(card.token)).reason == "approved"


@pytest.mark.parametrize("value", ["", "\x00", "1", "1 []", "x {}", "1 {", "|||||", "1 " + "[" * 2000])
def test_noise_under_our_keys_counts_as_nothing(database_url: str, cache: Cache, value: str) -> None:
    card = add_card(database_url)
    wanted = request(card.token)
    keys = (profile_key(card.token), decision_key(card.token, wanted.authorization_id))
    for key in keys:
        hold(cache, key, value)
    with engine(as_role(database_url, "app"), cache) as service:
        first = service.evaluate(wanted)
        assert first.reason == "approved"
        for key in keys:
            hold(cache, key, value)
        assert service.evaluate(wanted) == first


def test_a_profile_that_promises_more_than_the_row_cannot_spend_it(fresh_database: str, cache: Cache) -> None:
    # A database of its own: what was decided on a lie is another decision when it is made again (fix_replays).
    card = add_card(fresh_database, per_transaction="50.00", daily="60.00")
    with engine(as_role(fresh_database, "app"), cache) as service:
        assert service.evaluate(request(card.token, "1.00")).reason == "approved"
        version, told = held_profile(cache, card)
        hold(cache, profile_key(card.token), f"{version} {json.dumps(told | {'per_transaction': '999.00'})}")
        assert service.evaluate(request(card.token, "59.01")).reason == "daily_limit_exceeded"


def test_an_older_profile_never_replaces_a_newer_one(database_url: str, cache: Cache) -> None:
    card = add_card(database_url)
    with engine(as_role(database_url, "app"), cache) as service:
        service.evaluate(request(card.token))
        _, old = held_profile(cache, card)
        newer = json.dumps(old | {"config_version": 7})
        hold(cache, profile_key(card.token), f"7 {newer}")
        set_limits(database_url, card)
        assert service.evaluate(request(card.token)).reason == "approved"
        assert cache.ping()
        assert held_profile(cache, card)[0] == "7"


def test_a_database_that_is_not_there_is_unavailable_and_not_final(cache: Cache) -> None:
    url = f"postgresql://app@127.0.0.1:{closed_port()}/nothing"
    with engine(Database(lambda: url), cache) as service:
        decision = service.evaluate(request("tok_anything"))
    assert (decision.reason, decision.final, decision.transaction_id, decision.approved_amount) == (
        "issuer_unavailable",
        False,
        None,
        Decimal("0.00"),
    )


def test_a_database_that_hangs_is_given_up_in_time_and_the_id_is_answered_later(database_url: str, cache: Cache) -> None:
    card = add_card(database_url)
    wanted = request(card.token)
    with engine(as_role(database_url, "app", budget_s=0.5), cache) as service:
        assert service.evaluate(request(card.token)).reason == "approved"
        with psycopg.connect(database_url) as blocker:
            blocker.execute("SELECT 1 FROM card_limits WHERE card_id = %s FOR UPDATE", (card.card_id,))
            began = time.monotonic()
            decision = service.evaluate(wanted)
            assert (decision.reason, decision.final) == ("issuer_unavailable", False)
            assert time.monotonic() - began < 0.95
        again = service.evaluate(wanted)
        assert again.reason == "approved"
        assert service.evaluate(wanted) == again
    with psycopg.connect(database_url) as connection:
        held = connection.execute("SELECT held FROM card_limits WHERE card_id = %s", (card.card_id,)).fetchone()
    assert held == (Decimal("20.00"),)


def test_a_connection_cut_between_two_decisions_is_replaced(database_url: str, cache: Cache) -> None:
    card = add_card(database_url)
    with engine(as_role(database_url, "app"), cache) as service:
        assert service.evaluate(request(card.token)).reason == "approved"
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert service.evaluate(request(card.token)).reason == "approved"


def test_a_remembered_answer_needs_no_database(database_url: str, cache: Cache) -> None:
    card = add_card(database_url)
    wanted = request(card.token)
    with engine(as_role(database_url, "app"), cache) as service:
        first = service.evaluate(wanted)
        assert cache.ping()
    nowhere = f"postgresql://app@127.0.0.1:{closed_port()}/nothing"
    with engine(Database(lambda: nowhere), cache) as service:
        assert service.evaluate(wanted) == first


def test_the_answer_is_remembered_for_minutes_and_the_profile_for_longer(database_url: str, cache: Cache) -> None:
    card = add_card(database_url)
    wanted = request(card.token)
    with engine(as_role(database_url, "app"), cache) as service:
        service.evaluate(wanted)
        replies = cache.exchange([("TTL", decision_key(card.token, wanted.authorization_id)), ("TTL", profile_key(card.token))])
    assert replies is not None
    answer, profile = (timedelta(seconds=int(str(reply))) for reply in replies)
    assert timedelta(minutes=4) < answer <= timedelta(minutes=5) < profile <= timedelta(minutes=15)


def test_round_trips_end_when_patience_does(database_url: str, cache: Cache) -> None:
    card = add_card(database_url)
    asked: list[int] = []

    class ChangesTheCard:
        def activity_key(self, card_token: str) -> str:
            return f"card:{{{card_token}}}:activity"

        def score(self, wanted: AuthorizationRequest, profile: Profile, activity: bytes | None) -> int:
            asked.append(profile.config_version)
            set_limits(database_url, card)
            return 0

    database, clock = as_role(database_url, "app"), FixedClock(NOW)
    # Each look at the watch finds a second gone: the third try would begin after two and a half.
    seconds = itertools.count()
    service = AuthorizationService(
        database,
        cache,
        clock,
        IdSource(clock),
        ChangesTheCard(),
        secrets=lambda: SECRETS,
        monotonic_ns=lambda: next(seconds) * 1_000_000_000,
    )
    decision = service.evaluate(request(card.token))
    database.close()
    assert (decision.reason, decision.final, asked) == ("issuer_unavailable", False, [1, 2])
