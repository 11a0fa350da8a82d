"""A Valkey server of our own, in cluster mode with every slot on one node, as ElastiCache Serverless shows itself."""

import os
import secrets
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from local.servers.binaries import VALKEY_MISSING, find_valkey
from local.servers.errors import ServerError
from local.servers.ports import free_port, is_free
from local.servers.processes import Account, command_of, end, is_running, last_lines, spawn, wait_until, write_private

START_SECONDS = 20.0
START_ATTEMPTS = 4
SLOTS = 16384
STOP_STEPS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 2.0))


class ValkeyServer:
    """One server on one data folder, which holds its configuration (with the password), `nodes.conf` and the log.

    Nothing is saved to disk: it is a cache. Without any local Valkey, VALKEY_URL names a server that is used as it is.
    """

    def __init__(self, data_dir: Path, port: int | None = None, *, log: Path | None = None) -> None:
        self._home = data_dir.absolute()
        self._fixed_port = port
        self._log = log if log is not None else self._home / "valkey.log"
        self._external: str | None = None
        self.port = port if port is not None else self._recorded_port()

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running (or is not ours to run)."""
        try:
            pid = int((self._home / "pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if str(self._configuration()) in command_of(pid) else None

    def start(self) -> None:
        """Start the server and return once it answers and serves all slots.

        A server left over from a killed run is ended first. Raises ServerError.
        """
        program = find_valkey()
        if program is None:
            self._use_external()
            return
        self._home.mkdir(parents=True, exist_ok=True)
        self.stop()
        if not (self._home / "password").exists():
            write_private(self._home / "password", secrets.token_urlsafe(24))
        for _ in range(START_ATTEMPTS):
            if self._launch(program):
                return
            # A nodes.conf cut short by a crash stops every start; the node is alone, so a new one loses nothing.
            (self._home / "nodes.conf").unlink(missing_ok=True)
        raise ServerError(f"Valkey does not start: {last_lines(self._log)} (make reset discards its data)")

    def stop(self) -> None:
        """Stop the server, whoever started it."""
        pid = self.pid
        if pid is not None and not end(pid, STOP_STEPS):
            raise ServerError(f"Valkey (process {pid}) does not stop: kill -9 {pid}")
        (self._home / "pid").unlink(missing_ok=True)

    def alive(self) -> bool:
        """Tell whether the server answers and serves all slots."""
        if self._external is None and self.pid is None:
            return False
        return "cluster_state:ok" in self._ask("CLUSTER INFO")

    @property
    def url(self) -> str:
        """The server's URL, password included: redis://:password@127.0.0.1:port/0."""
        return self._external or f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def erase(self) -> None:
        """Delete the data folder; the server must be stopped."""
        shutil.rmtree(self._home, ignore_errors=True)

    def _use_external(self) -> None:
        self._external = os.environ.get("VALKEY_URL")
        if not self._external:
            raise ServerError(VALKEY_MISSING)
        self.port = urlsplit(self._external).port or 6379
        if not self.alive():
            raise ServerError("the server named by VALKEY_URL does not answer in cluster mode: start it or unset it")

    def _configuration(self) -> Path:
        return self._home / "valkey.conf"

    def _password(self) -> str:
        try:
            return (self._home / "password").read_text()
        except FileNotFoundError:
            raise ServerError(f"Valkey was not started yet: {self._home / 'password'} is missing") from None

    def _recorded_port(self) -> int:
        try:
            return int((self._home / "port").read_text())
        except (OSError, ValueError):
            return free_port()

    def _write_configuration(self, cluster_port: int) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "cluster-enabled": "yes",
            "cluster-port": cluster_port,
            "cluster-config-file": "nodes.conf",
            "cluster-announce-ip": "127.0.0.1",
            "protected-mode": "yes",
            "requirepass": self._password(),
            "appendonly": "no",
            "save": '""',
            "maxmemory": "256mb",
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
            # Else the title hides the command line by which stop() knows its own server.
            "set-proc-title": "no",
            "dir": f'"{self._home}"',
        }
        write_private(self._configuration(), "".join(f"{name} {value}\n" for name, value in settings.items()))

    def _launch(self, program: Path) -> bool:
        if not is_free(self.port):
            if self._fixed_port is not None:
                raise ServerError(f"port {self.port} for Valkey is in use: choose another or stop its server")
            self.port = free_port()
        cluster_port = free_port()
        while cluster_port == self.port:
            cluster_port = free_port()
        (self._home / "port").write_text(str(self.port))
        self._write_configuration(cluster_port)
        self._log.unlink(missing_ok=True)
        pid = spawn([str(program), str(self._configuration())], Account(), self._log)
        (self._home / "pid").write_text(str(pid))
        if wait_until(lambda: not is_running(pid) or self._serves(), START_SECONDS) and is_running(pid):
            return True
        end(pid, STOP_STEPS)
        return False

    def _serves(self) -> bool:
        told = self._ask("CLUSTER INFO")
        if "cluster_slots_assigned:0" in told:
            self._ask(f"CLUSTER ADDSLOTSRANGE 0 {SLOTS - 1}")
        return "cluster_state:ok" in told

    def _ask(self, command: str) -> str:
        """Send one command by the inline protocol and return the raw answers; empty when nobody answers."""
        parts = urlsplit(self.url)
        received = b""
        deadline = time.monotonic() + 2.0
        with suppress(OSError), socket.create_connection((parts.hostname or "", self.port), timeout=2.0) as link:
            login = f"AUTH {parts.password}\r\n" if parts.password else ""
            link.sendall(f"{login}{command}\r\nQUIT\r\n".encode())
            while time.monotonic() < deadline and (chunk := link.recv(65536)):
                received += chunk
        return received.decode(errors="replace")
