"""The way to the database: deadlines, lost connections, a restarted server, and the actor of each transaction."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.postgres import Actor, Database, UniqueViolation
from local.servers.postgres import PostgresServer
from tests.builders import add_card, add_user, as_role, new_id
from tests.fakes.tcp import closed_port, listening

NOBODY = Actor(None, "nobody")
SYSTEM = Actor(None, "system")
ADD_EVENT = "INSERT INTO outbox (event_id, type, user_id, data, created_at) VALUES (%s, 'tests.made_up', %s, '{}', '2026-11-21Z')"


@pytest.fixture
def app(database_url: str) -> Iterator[Database]:
    """The database as role app."""
    database = as_role(database_url, "app")
    yield database
    database.close()


@pytest.fixture
def impatient(database_url: str) -> Iterator[Database]:
    """The database with half a second for each wait."""
    database = as_role(database_url, "app", budget_s=0.5)
    yield database
    database.close()


def cut(url: str) -> None:
    """End every other connection to the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_transaction_knows_its_actor_and_the_next_one_does_not(app: Database) -> None:
    user_id = new_id()
    context = (
        "SELECT actor_id() AS who, actor_role() AS role, actor_is_staff() AS staff, "
        "current_setting('cardwright.request_id', true) AS request, current_setting('cardwright.reason', true) AS reason"
    )
    with app.transaction(Actor(user_id, "support", "req_1", "a reason with 'quotes'")) as tx:
        assert tx.fetch_one(context) == {
            "who": user_id, "role": "support", "staff": True, "request": "req_1", "reason": "a reason with 'quotes'",
        }  # fmt: skip
    assert app.call(context) == {"who": None, "role": "nobody", "staff": False, "request": "", "reason": ""}
    with app.transaction(NOBODY) as tx:
        assert tx.fetch_one("SELECT actor_id() AS who") == {"who": None}


def test_row_level_security_shows_each_user_their_own_and_staff_all(app: Database, database_url: str) -> None:
    owner, other = add_user(database_url), add_user(database_url)
    card = add_card(database_url, user_id=owner)
    mine = "SELECT card_id FROM virtual_cards WHERE card_id = %s"
    for actor, seen in (
        (Actor(owner, "cardholder"), True),
        (Actor(other, "cardholder"), False),
        (Actor(other, "support"), True),
        (Actor(None, "system"), False),
        (NOBODY, False),
    ):
        with app.transaction(actor) as tx:
            assert (tx.fetch_one(mine, (card.card_id,)) is not None) == seen
    with app.transaction(Actor(other, "cardholder")) as tx:
        assert tx.execute("UPDATE virtual_cards SET label = 'mine now' WHERE card_id = %s", (card.card_id,)) == 0
    assert app.call(mine, (card.card_id,)) is None


def test_a_row_for_somebody_else_cannot_be_written(app: Database, database_url: str) -> None:
    owner, other = add_user(database_url), add_user(database_url)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction(Actor(other, "cardholder")) as tx:
        tx.execute(ADD_EVENT, (new_id(), owner))
    with app.transaction(Actor(owner, "cardholder")) as tx:
        assert tx.execute(ADD_EVENT, (new_id(), owner)) == 1


def test_an_exception_rolls_back_and_leaves_the_connection_usable(app: Database, database_url: str) -> None:
    user_id, event_id = add_user(database_url), new_id()

    def fail() -> None:
        with app.transaction(Actor(user_id, "cardholder")) as tx:
            tx.execute(ADD_EVENT, (event_id, user_id))
            raise RuntimeError("of ours")

    with pytest.raises(RuntimeError, match="of ours"):
        fail()
    with app.transaction(Actor(user_id, "cardholder")) as tx:
        assert tx.fetch_all("SELECT event_id FROM outbox WHERE event_id = %s", (event_id,)) == []
        tx.execute(ADD_EVENT, (event_id, user_id))
    with pytest.raises(UniqueViolation), app.transaction(Actor(user_id, "cardholder")) as tx:
        tx.execute(ADD_EVENT, (event_id, user_id))
    assert app.ping()


def test_a_wait_ends_at_the_budget_and_the_next_call_has_a_new_connection(impatient: Database) -> None:
    assert impatient.ping()
    began = time.monotonic()
    with pytest.raises(UnavailableError) as gone:
        impatient.call("SELECT pg_sleep(5)")
    assert gone.value.code == "database_unavailable"
    assert 0.4 < time.monotonic() - began < 0.95
    assert impatient.ping()


def test_a_wait_inside_a_transaction_ends_at_the_budget_too(impatient: Database) -> None:
    began = time.monotonic()
    with pytest.raises(UnavailableError), impatient.transaction(SYSTEM) as tx:
        tx.execute("SELECT pg_sleep(5)")
    assert time.monotonic() - began < 2
    with impatient.transaction(SYSTEM) as tx:
        assert tx.fetch_one("SELECT 1 AS one") == {"one": 1}


def test_a_connection_that_died_idle_is_replaced_once(app: Database, database_url: str) -> None:
    assert app.ping()
    cut(database_url)
    assert app.ping()
    cut(database_url)
    with app.transaction(SYSTEM) as tx:
        assert tx.fetch_one("SELECT 1 AS one") == {"one": 1}


def test_a_connection_lost_inside_a_transaction_is_told_and_nothing_is_kept(app: Database, database_url: str) -> None:
    user_id, event_id = add_user(database_url), new_id()

    def lose() -> None:
        with app.transaction(Actor(user_id, "cardholder")) as tx:
            tx.execute(ADD_EVENT, (event_id, user_id))
            cut(database_url)
            tx.execute("SELECT 1")

    with pytest.raises(UnavailableError):
        lose()
    with app.transaction(Actor(user_id, "cardholder")) as tx:
        assert tx.fetch_all("SELECT 1 AS one FROM outbox WHERE event_id = %s", (event_id,)) == []


def test_a_deadlock_is_unavailable_for_one_and_nothing_for_the_other(database_url: str) -> None:
    database = as_role(database_url, "worker")
    first, second = add_card(database_url), add_card(database_url)
    gate = threading.Barrier(2)
    outcomes: list[str] = []

    def cross(one: object, two: object) -> None:
        try:
            with database.transaction(SYSTEM) as tx:
                tx.execute("UPDATE virtual_cards SET label = 'a' WHERE card_id = %s", (one,))
                gate.wait()
                tx.execute("UPDATE virtual_cards SET label = 'b' WHERE card_id = %s", (two,))
            outcomes.append("done")
        except UnavailableError:
            outcomes.append("unavailable")
        finally:
            database.close()

    pairs = ((first.card_id, second.card_id), (second.card_id, first.card_id))
    threads = [threading.Thread(target=cross, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "unavailable"]


def test_nobody_listening_is_unavailable() -> None:
    database = Database(lambda: f"postgresql://app@127.0.0.1:{closed_port()}/none")
    with pytest.raises(UnavailableError):
        database.ping()
    with pytest.raises(UnavailableError), database.transaction(SYSTEM):
        raise AssertionError("nothing begins")


def test_a_server_that_says_nothing_is_given_up() -> None:
    with listening(None) as server:
        database = Database(lambda: f"postgresql://app@127.0.0.1:{server.port}/none")
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            database.ping()
        assert time.monotonic() - began < 6


def test_each_thread_has_a_connection_of_its_own(app: Database) -> None:
    backends: list[object] = []

    def ask() -> None:
        backends.append(app.call("SELECT pg_backend_pid() AS pid"))
        backends.append(app.call("SELECT pg_backend_pid() AS pid"))
        app.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    ask()
    assert backends[0] == backends[1] != backends[2] == backends[3]


def test_the_deadlines_stand_on_the_roles(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT rolname, rolconfig FROM pg_roles WHERE rolname IN ('app', 'worker', 'auditor')"
        ).fetchall()
    settings = {name: set(config) for name, config in rows}
    assert {"statement_timeout=3s", "lock_timeout=2s", "idle_in_transaction_session_timeout=10s"} <= settings["app"]
    assert "default_transaction_read_only=on" in settings["auditor"]
    assert any(line.startswith("statement_timeout=") for line in settings["worker"])


def test_after_a_restart_of_the_server_the_next_call_finds_it(make_server_folder: Callable[[str], Path]) -> None:
    server = PostgresServer(make_server_folder("postgres"), durable=False)
    server.start()
    try:
        database = Database(server.url)
        assert database.ping()
        server.stop()
        with pytest.raises(UnavailableError):
            database.ping()
        with pytest.raises(UnavailableError), database.transaction(SYSTEM):
            raise AssertionError("nothing begins")
        server.start()
        assert database.ping()
        database.close()
    finally:
        server.stop()
        server.erase()
