"""Servers for a test run: one PostgreSQL for all workers with a database each, and a Valkey per worker, when asked for.

The run's folder is made by the controlling process, which also ends the servers, whatever ended the run. The folder
of a run that was killed is cleared by the next one.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cardwright.platform.migrate import migrate
from local.servers.errors import ServerError
from local.servers.postgres import PostgresServer
from local.servers.processes import is_running
from local.servers.valkey import ValkeyServer

MIGRATIONS = Path(__file__).resolve().parent.parent / "database" / "migrations"
TEMPLATE = "cardwright_template"
# Short and open to the server's user, which a checkout need not be; the number is the controlling process's.
RUNS = Path(tempfile.gettempdir())
RUN_NAME = "cardwright-tests-{user}-{pid}"
RUN_KEY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's folder, or learn it from the controller of this worker."""
    given = getattr(config, "workerinput", {}).get("cardwright_run")
    if given is not None:
        config.stash[RUN_KEY] = Path(given)
        return
    for left in RUNS.glob(RUN_NAME.format(user=os.getuid(), pid="*")):
        pid = left.name.rpartition("-")[2]
        gone = pid.isdigit() and (int(pid) == os.getpid() or not is_running(int(pid)))
        if gone and left.stat().st_uid == os.getuid():
            end_run(left)
    run = RUNS / RUN_NAME.format(user=os.getuid(), pid=os.getpid())
    run.mkdir(mode=0o711)
    config.stash[RUN_KEY] = run


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of pytest-xdist where the run's folder is."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]  # xdist publishes no type for its nodes
    node.workerinput["cardwright_run"] = str(config.stash[RUN_KEY])  # type: ignore[attr-defined]  # as above


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers of the run, also after Ctrl-C; workers leave that to their controller."""
    run = config.stash.get(RUN_KEY, None)
    if run is not None and not hasattr(config, "workerinput"):
        end_run(run)


def end_run(run: Path) -> None:
    """Stop whatever servers a run's folder holds and delete it."""
    with suppress(ServerError):
        for folder in run.glob("valkey-*"):
            ValkeyServer(folder).stop()
        postgres = PostgresServer(run / "postgres")
        postgres.stop()
        postgres.erase()
    shutil.rmtree(run, ignore_errors=True)


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Let one worker at a time do what is done once a run."""
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> PostgresServer:
    """The run's PostgreSQL, started by the first worker that asks. Not durable: a crash of the machine loses it."""
    run = pytestconfig.stash[RUN_KEY]
    with alone(run):
        server = PostgresServer(run / "postgres", durable=False)
        if not (run / "postgres-started").exists():
            server.start()
            (run / "postgres-started").touch()
        elif not server.alive():
            # The one named by DATABASE_URL: nothing is started, it is only learned how to reach it.
            server.start()
    return server


@pytest.fixture(scope="session")
def template_database(postgres: PostgresServer, pytestconfig: pytest.Config) -> str:
    """The name of a database with every migration applied; databases of tests are copies of it."""
    run = pytestconfig.stash[RUN_KEY]
    with alone(run):
        if not (run / "template").exists():
            with psycopg.connect(postgres.url(), autocommit=True) as connection:
                drop(connection, TEMPLATE)
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
            migrate(postgres.url(TEMPLATE), MIGRATIONS)
            (run / "template").touch()
    return TEMPLATE


def drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a database, cutting off who is connected."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def temporary_database(server: PostgresServer, template: str) -> Iterator[str]:
    """Make a database as a copy of another, give its URL, drop it in the end."""
    name = f"cardwright_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(create)
        try:
            yield server.url(name)
        finally:
            drop(connection, name)


@pytest.fixture(scope="session")
def database(postgres: PostgresServer, template_database: str) -> Iterator[str]:
    """URL (superuser) of a migrated database of this worker, shared by its tests: they must tell their rows apart."""
    with temporary_database(postgres, template_database) as url:
        yield url


@pytest.fixture(scope="session")
def database_url(database: str, replayed_in_the_end: None, fitting_in_the_end: None) -> str:
    """The same as `database`, by the name the stack's own settings use; in the end its decisions are made again, its events
    looked at."""
    return database


@pytest.fixture
def fresh_database(postgres: PostgresServer, template_database: str, check_events: Callable[[str], None]) -> Iterator[str]:
    """URL (superuser) of a migrated database of this one test (some 50 ms); in the end its events are looked at."""
    with temporary_database(postgres, template_database) as url:
        yield url
        check_events(url)


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    """URL (superuser) of a database of this one test without any table."""
    with temporary_database(postgres, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def valkey(pytestconfig: pytest.Config, worker_name: str) -> Iterator[ValkeyServer]:
    """A Valkey of this worker in cluster mode; two seconds to start, as the node waits before it takes writes."""
    server = ValkeyServer(pytestconfig.stash[RUN_KEY] / f"valkey-{worker_name}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cache_url(valkey: ValkeyServer) -> str:
    """URL of this worker's Valkey."""
    return valkey.url


@pytest.fixture(scope="session")
def worker_name(pytestconfig: pytest.Config) -> str:
    """The name of this xdist worker, `main` without xdist."""
    name: str = getattr(pytestconfig, "workerinput", {}).get("workerid", "main")
    return name


@pytest.fixture
def make_server_folder(pytestconfig: pytest.Config) -> Iterator[Callable[[str], Path]]:
    """Give folders that a server's user can reach (pytest's own are closed to others), deleted after the test."""
    root = pytestconfig.stash[RUN_KEY] / f"own-{secrets.token_hex(4)}"
    root.mkdir(mode=0o711)

    def make(name: str) -> Path:
        return root / name

    yield make
    shutil.rmtree(root, ignore_errors=True)
