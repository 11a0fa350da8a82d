"""The same key twice: one effect and one answer, whatever happens in between."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import cast
from uuid import uuid4

import psycopg
import pytest

from cardwright.idempotency.service import LEASE, Fresh, IdempotencyService, Replay
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import ConflictError, UnprocessableError
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer, open_with, seal_with
from cardwright.platform.postgres import Actor
from tests.builders import NOW, add_user, as_role

PATH = "/api/v1/cards"
BODY = b'{"currency":"USD"}'


class OneKey:
    """Seals under a key made here."""

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Seal."""
        return seal_with(Secret(b"k" * 32), plaintext, context)

    def open(self, sealed: bytes, context: str) -> bytes:
        """Open."""
        return open_with(Secret(b"k" * 32), sealed, context)


class World:
    """The service on the real database, and a user."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.database = as_role(url, "app")
        self.service = IdempotencyService(self.database, cast(Sealer, OneKey()), self.clock, IdSource(self.clock))
        self.actor = self.user()

    def user(self) -> Actor:
        """Another user."""
        return Actor(add_user(self.url), "cardholder")

    def begin(self, key: str, body: bytes = BODY, method: str = "POST", path: str = PATH) -> Fresh | Replay:
        """Claim a key for the user."""
        return self.service.begin(self.actor, key, method, path, body)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A world, its connection closed afterwards."""
    made = World(database_url)
    yield made
    made.database.close()


def new_key() -> str:
    """A key nobody has used."""
    return f"key-{uuid4()}"


def test_the_answer_is_replayed_and_the_work_is_not_done_again(world: World) -> None:
    key = new_key()
    assert isinstance(world.begin(key), Fresh)
    world.service.complete(world.actor, key, 201, b"answer")
    assert world.begin(key) == Replay(201, b"answer")
    world.clock.at += timedelta(hours=23, minutes=59)
    assert world.begin(key) == Replay(201, b"answer")


@pytest.mark.parametrize("change", [{"body": b'{"currency":"EUR"}'}, {"path": PATH + "/batch"}, {"method": "PUT"}])
def test_another_request_under_the_key_is_refused_while_it_runs_and_after(world: World, change: dict[str, object]) -> None:
    key = new_key()
    world.begin(key)
    for _ in range(2):
        with pytest.raises(UnprocessableError) as refused:
            world.begin(key, **change)  # type: ignore[arg-type]  # fields by name, as the table gives them
        assert refused.value.code == "idempotency_key_reused"
        world.service.complete(world.actor, key, 201, b"answer")
    assert world.begin(key) == Replay(201, b"answer")


def test_a_running_request_holds_its_key_until_the_lease_ends(world: World) -> None:
    key = new_key()
    first = world.begin(key)
    world.clock.at += LEASE - timedelta(microseconds=1)
    with pytest.raises(ConflictError) as running:
        world.begin(key)
    assert running.value.code == "idempotency_in_progress"
    world.clock.at += timedelta(microseconds=1)
    assert world.begin(key) == first
    with pytest.raises(ConflictError):
        world.begin(key)


def test_after_a_crash_the_second_run_works_under_the_same_operation(world: World) -> None:
    key = new_key()
    first = world.begin(key)
    world.clock.at += LEASE
    second = world.begin(key)
    assert isinstance(first, Fresh)
    assert second == first
    world.service.complete(world.actor, key, 201, b"second")
    world.service.complete(world.actor, key, 500 - 1, b"late first")
    assert world.begin(key) == Replay(201, b"second")


def test_an_unknown_outcome_goes_on_at_once_and_a_refusal_frees_the_key(world: World) -> None:
    key = new_key()
    first = world.begin(key)
    world.service.suspend(world.actor, key)
    assert world.begin(key) == first
    world.service.release(world.actor, key)
    again = world.begin(key, body=b"{}")
    assert isinstance(again, Fresh)
    assert again != first


def test_an_answer_that_is_kept_cannot_be_released_or_suspended(world: World) -> None:
    key = new_key()
    world.begin(key)
    world.service.complete(world.actor, key, 201, b"answer")
    world.service.release(world.actor, key)
    world.service.suspend(world.actor, key)
    assert world.begin(key) == Replay(201, b"answer")


def test_users_have_keys_of_their_own_and_nobody_has_none(world: World) -> None:
    key = new_key()
    world.begin(key)
    world.service.complete(world.actor, key, 201, b"mine")
    assert isinstance(world.service.begin(world.user(), key, "POST", PATH, BODY), Fresh)
    with pytest.raises(UnprocessableError) as refused:
        world.service.begin(Actor(None, "nobody"), key, "POST", PATH, BODY)
    assert refused.value.code == "idempotency_needs_user"


def test_of_fifty_at_once_one_does_the_work(world: World) -> None:
    key, gate, outcomes = new_key(), threading.Barrier(50), []

    def attempt() -> None:
        gate.wait()
        try:
            outcomes.append(type(world.begin(key)).__name__)
        except ConflictError as error:
            outcomes.append(error.code)
        finally:
            world.database.close()

    threads = [threading.Thread(target=attempt) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Fresh"] + ["idempotency_in_progress"] * 49


def test_answers_are_sealed_at_rest_and_bound_to_user_and_key(world: World) -> None:
    key, other = new_key(), new_key()
    world.begin(key)
    world.service.complete(world.actor, key, 201, b'{"secret":"open sesame"}')
    world.begin(other)
    with psycopg.connect(world.url) as connection:
        row = connection.execute("SELECT response_sealed, request_digest FROM idempotency_keys WHERE key = %s", (key,)).fetchone()
        assert row is not None
        assert b"sesame" not in row[0]
        assert BODY not in row[1]
        connection.execute("UPDATE idempotency_keys SET status = 201, response_sealed = %s WHERE key = %s", (row[0], other))
    with pytest.raises(Exception, match="does not open"):
        world.begin(other)
