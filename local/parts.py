"""The parts a supervisor runs: Python programs of ours and the embedded servers, behind one small interface."""

import os
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from local.home import PROJECT, StackError
from local.servers.postgres import PostgresServer
from local.servers.processes import is_running
from local.servers.valkey import ValkeyServer

_READY_S = 40.0
_POLL_S = 0.05
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


S = TypeVar("S", PostgresServer, ValkeyServer)


class Part(Protocol):
    """One process of the stack (or a server's process tree)."""

    name: str
    key: str

    @property
    def pid(self) -> int | None:
        """Its process id, None when it has none of its own."""
        ...

    def start(self) -> None:
        """Start it and return when it answers. Raises StackError or ServerError."""
        ...

    def running(self) -> bool:
        """Whether the process is there; cheap enough to ask several times a second."""
        ...

    def how_it_ended(self) -> str:
        """Why it is not running, for people."""
        ...

    def ask_to_stop(self) -> None:
        """Begin an orderly stop."""
        ...

    def stop(self, grace_s: float) -> None:
        """Stop it, by force after `grace_s` seconds."""
        ...


def answers(url: str) -> bool:
    """Whether a GET of `url` gives 200 within two seconds."""
    try:
        with _OPENER.open(url, timeout=2.0) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def last_line(log: Path) -> str:
    """The last line of a log, for an error message."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1].strip() if lines else "an empty log"


@dataclass
class Program:
    """A Python module of ours run as a process; ready when `ready_url` answers, or when it writes to a pipe of ours."""

    name: str
    key: str
    module: str
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    ready_url: str | None = None
    tells_ready: bool = False
    descriptors: tuple[int, ...] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """Its process id once started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C is the supervisor's to handle, and wait until it answers."""
        command = [sys.executable, "-m", "local.child", str(os.getpid()), self.module, *self.arguments]
        if not self.tells_ready:
            self._spawn(command, self.descriptors)
            self._wait_until(lambda: self.ready_url is None or answers(self.ready_url))
            return
        # Processes that share a socket answer for each other, so each tells of itself.
        reader, writer = os.pipe()
        try:
            self._spawn([*command, "--ready-fd", str(writer)], (*self.descriptors, writer))
        finally:
            os.close(writer)
        try:
            self._wait_until(lambda: bool(select.select([reader], [], [], 0)[0]) and os.read(reader, 1) == b"1")
        finally:
            os.close(reader)

    def _spawn(self, command: list[str], descriptors: tuple[int, ...]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,
            )

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_S
        while not ready():
            if not self.running():
                raise StackError(f"{self.name} ended at once ({self.how_it_ended()}): {last_line(self.log)}; see {self.log}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} does not answer after {_READY_S:.0f} s: see {self.log}")
            time.sleep(_POLL_S)

    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def how_it_ended(self) -> str:
        """Its exit status or signal."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return "not started"
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, grace_s: float) -> None:
        """Wait for the end after SIGTERM; SIGKILL after `grace_s` seconds."""
        self.ask_to_stop()
        if self._process is None:
            return
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(2.0)


@dataclass
class Server(Generic[S]):
    """An embedded server; a restart keeps the port it had, because everybody's settings name it."""

    name: str
    make: Callable[[int | None], S]
    server: S = field(init=False)
    key: str = field(init=False)
    _pid: int | None = field(default=None, init=False)
    _started: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the server object; nothing starts yet."""
        self.server = self.make(None)
        self.key = self.name

    @property
    def pid(self) -> int | None:
        """Its process id; None for a server that is not ours to run."""
        return self._pid

    def start(self) -> None:
        """Start it, ending a leftover of a killed run first."""
        if self._started:
            self.server = self.make(self.server.port)
        self.server.start()
        self._started = True
        self._pid = self.server.pid

    def running(self) -> bool:
        """Whether the server process is there."""
        return self._started if self._pid is None else is_running(self._pid)

    def how_it_ended(self) -> str:
        """What is known: it is no child of ours to ask."""
        return "crashed or killed"

    def ask_to_stop(self) -> None:
        """Servers stop last and at once: there is nothing to ask ahead."""

    def stop(self, grace_s: float) -> None:
        """Stop the server; it has time limits of its own."""
        if self._started or self.server.pid is not None:
            self.server.stop()
