"""A PostgreSQL server of our own: made when missing, started, watched, stopped, recovered after a crash."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from local.servers.binaries import (
    POSTGRES_MISSING,
    PostgresBinaries,
    find_postgres,
    open_folder,
    readable_copy,
    runnable,
)
from local.servers.errors import ServerError
from local.servers.ports import free_port, is_free
from local.servers.processes import (
    Account,
    command_of,
    end,
    is_running,
    last_lines,
    named_identity,
    run,
    spawn,
    unprivileged_account,
    wait_until,
    write_private,
)

START_SECONDS = 60.0
START_ATTEMPTS = 5
BUILTIN_LOCALE_MAJOR = 17
LOG_BYTES_MAX = 20 * 1024 * 1024
NEW_CLUSTER = "cluster.new"
# PostgreSQL's fast shutdown, then its immediate one.
STOP_STEPS = ((signal.SIGINT, 8.0), (signal.SIGQUIT, 4.0), (signal.SIGKILL, 2.0))

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # TCP only: a socket's path may not exceed some 100 characters, a checkout's may.
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A statement or a DETAIL line may hold personal data or a role's password.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """One server on one data folder.

    The folder holds `cluster` (the data), `password`, `port` and the log. Where the server's user cannot reach the
    folder (root under a 0700 home), the cluster lies in an open folder of root's and the file `location` tells where.
    Without any local PostgreSQL, DATABASE_URL names a server that is used as it is, neither started nor stopped.
    """

    def __init__(self, data_dir: Path, port: int | None = None, *, durable: bool = True, log: Path | None = None) -> None:
        self._home = data_dir.absolute()
        self._fixed_port = port
        self._durable = durable
        self._log = log if log is not None else self._home / "postgres.log"
        self._account = Account()
        self._found: PostgresBinaries | None = None
        self._external: str | None = None
        self.port = port if port is not None else self._recorded_port()

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running (or is not ours to run)."""
        pid = self._recorded_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    def start(self) -> None:
        """Make the cluster when there is none, start the server, return once it answers.

        A server left over from a killed run is ended first. Raises ServerError.
        """
        self._prepare()
        if self._external is not None:
            self._check_external()
            return
        self._end_leftover()
        self._make_cluster()
        for attempt in range(START_ATTEMPTS):
            if self._launch():
                return
            # A port taken meanwhile is cured by another one, orphans of a killed server by waiting.
            time.sleep(0.3 * attempt)
        raise ServerError(f"PostgreSQL does not start: {last_lines(self._log)} (make reset discards its data)")

    def stop(self) -> None:
        """Stop the server, whoever started it; clients are cut off, transactions under way rolled back."""
        pid = self.pid
        if pid is None:
            return
        if not end(pid, STOP_STEPS):
            raise ServerError(f"PostgreSQL (process {pid}) does not stop: kill -9 {pid}")

    def alive(self) -> bool:
        """Tell whether the server accepts connections."""
        if self._external is None and self.pid is None:
            return False
        answer = psycopg.pq.PGconn.ping(f"{self.url()}?connect_timeout=2".encode())
        return answer == psycopg.pq.Ping.OK

    def url(self, database: str = "postgres") -> str:
        """Return the superuser's URL of a database."""
        if self._external is not None:
            return urlunsplit(urlsplit(self._external)._replace(path=f"/{database}"))
        return f"postgresql://postgres:{self._password()}@127.0.0.1:{self.port}/{database}"

    def bin(self, name: str) -> Path:
        """Return the path of a client program of the same distribution (psql, pgbench); ServerError when missing."""
        found = self._found or find_postgres()
        if found is not None and (found.folder / name).is_file():
            return found.folder / name
        if (on_path := shutil.which(name)) is not None:
            return Path(on_path)
        raise ServerError(f"{name} is missing: install the PostgreSQL client programs")

    def erase(self) -> None:
        """Delete the data, where `location` says it lies too; the server must be stopped."""
        if (outside := self._cluster().parent) != self._home:
            shutil.rmtree(outside, ignore_errors=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def _prepare(self) -> None:
        self._found = self._found or find_postgres()
        if self._found is None:
            self._external = os.environ.get("DATABASE_URL")
            if not self._external:
                raise ServerError(POSTGRES_MISSING)
            self.port = urlsplit(self._external).port or 5432
            return
        self._account = unprivileged_account()
        if self._account.uid is not None and not runnable(self._found.folder, self._account):
            self._found = readable_copy(self._found)
        if not runnable(self._found.folder, self._account):
            raise ServerError(f"PostgreSQL in {self._found.folder} does not run on this machine: {POSTGRES_MISSING}")
        self._home.mkdir(parents=True, exist_ok=True)
        if self._account.uid is not None:
            self._home.chmod(0o711)
        if not self._cluster().exists() and not self._reachable():
            place = open_folder() / secrets.token_hex(8) / "cluster"
            place.parent.mkdir(mode=0o711)
            place.parent.chmod(0o711)
            write_private(self._home / "location", str(place))

    def _reachable(self) -> bool:
        try:
            return run(["test", "-x", str(self._home)], self._account).returncode == 0
        except OSError:
            return False

    def _check_external(self) -> None:
        if not self.alive():
            raise ServerError("the server named by DATABASE_URL does not answer: start it or unset the variable")

    def _cluster(self) -> Path:
        try:
            return Path((self._home / "location").read_text().strip())
        except OSError:
            return self._home / "cluster"

    def _password(self) -> str:
        path = self._home / "password"
        try:
            return path.read_text()
        except FileNotFoundError:
            raise ServerError(f"PostgreSQL was not made yet: {path} is missing (start it first)") from None

    def _recorded_port(self) -> int:
        try:
            return int((self._home / "port").read_text())
        except (OSError, ValueError):
            return free_port()

    def _recorded_pid(self) -> int | None:
        try:
            return int((self._cluster() / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _is_ours(self, pid: int) -> bool:
        # The file outlives a crash and ids are given again: the command line names our folder or it is not ours.
        return is_running(pid) and str(self._cluster()) in command_of(pid)

    def _end_leftover(self) -> None:
        if self.pid is not None:
            self.stop()
        # A stale file may name a stranger's process; PostgreSQL would then refuse to start.
        (self._cluster() / "postmaster.pid").unlink(missing_ok=True)

    def _make_cluster(self) -> None:
        assert self._found is not None  # noqa: S101  # _prepare() chose it
        cluster = self._cluster()
        if (version := cluster / "PG_VERSION").exists():
            if (major := version.read_text().strip()) != str(self._found.major):
                raise ServerError(
                    f"the data in {cluster} is of PostgreSQL {major}, the programs are {self._found.major}: make reset"
                )
            return
        # Made aside and renamed when whole, so that an interrupted initdb leaves nothing that looks like a cluster.
        fresh = cluster.with_name(NEW_CLUSTER)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._account.own(fresh)
        write_private(self._home / "password", secrets.token_urlsafe(24))
        given = cluster.with_name("initial")
        write_private(given, self._password())
        self._account.own(given)
        locale = ["--locale=C"]
        if self._found.major >= BUILTIN_LOCALE_MAJOR:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--data-checksums", f"--pwfile={given}"]
        if not self._durable:
            options.append("--no-sync")
        program = [*named_identity(), str(self._found.folder / "initdb")]
        try:
            made = run([*program, "-D", str(fresh), *options, *locale], self._account)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServerError(f"PostgreSQL's initdb did not finish ({type(error).__name__}): start again") from error
        finally:
            given.unlink(missing_ok=True)
        if made.returncode != 0:
            reason = " | ".join((made.stderr or made.stdout).strip().splitlines()[-2:])
            raise ServerError(f"PostgreSQL's initdb failed in {fresh}: {reason}")
        fresh.rename(cluster)

    def _launch(self) -> bool:
        assert self._found is not None  # noqa: S101  # _prepare() chose it
        if not is_free(self.port):
            if self._fixed_port is not None:
                raise ServerError(f"port {self.port} for PostgreSQL is in use: choose another or stop its server")
            self.port = free_port()
        (self._home / "port").write_text(str(self.port))
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.unlink()
        settings = {**SETTINGS, **(DURABLE if self._durable else FLEETING), "port": str(self.port)}
        command = [str(self._found.folder / "postgres"), "-D", str(self._cluster())]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        pid = spawn(command, self._account, self._log)
        if wait_until(lambda: not is_running(pid) or self.alive(), START_SECONDS) and self.alive():
            return True
        end(pid, STOP_STEPS)
        return False
