"""A stack run as a process of its own, for the demo, the benchmarks and the tests: started, read, stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.home import PROJECT, Home, StackError
from local.servers.ports import free_port

_UP_S = 180.0
_STOP_S = 20.0
_POLL_S = 0.05


class RunningStack:
    """`python -m local.up` in a folder of its own; a context manager that starts it and stops it."""

    def __init__(self, root: Path, *, port: int | None = None, rate_limits: bool = True) -> None:
        """`root` takes the place of `.local`; without `port` a free one is chosen. Nothing starts yet."""
        self.home = Home(root)
        self.port = port if port is not None else free_port()
        self._rate_limits = rate_limits
        self._process: subprocess.Popen[str] | None = None
        self.log = root.with_name(f"{root.name}.log")

    def start(self) -> dict[str, Any]:
        """Start and return the content of stack.json. Raises StackError with the stack's last line when it fails."""
        environment = {
            **os.environ,
            "CARDWRIGHT_HOME": str(self.home.root),
            "PORT": str(self.port),
            "RATE_LIMITS": "on" if self._rate_limits else "off",
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.up"],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + _UP_S
        while self._supervisor() != self._process.pid:
            if self._process.poll() is not None:
                raise StackError(f"the stack did not start: {self.said().strip().rpartition(chr(10))[2]}")
            if time.monotonic() > deadline:
                self.stop()
                raise StackError(f"the stack is not up after {_UP_S:.0f} s: see {self.log}")
            time.sleep(_POLL_S)
        return self.description()

    def description(self) -> dict[str, Any]:
        """The content of stack.json now."""
        return self.home.read_json("stack.json")

    def _supervisor(self) -> int | None:
        """Whose stack.json is there: one left by a killed stack, or another's, is not ours."""
        pid: int | None = self.description().get("pids", {}).get("supervisor")
        return pid

    def said(self) -> str:
        """What `make up` printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """The supervisor's process id. Raises StackError before the start."""
        if self._process is None:
            raise StackError("the stack was not started")
        return self._process.pid

    def stop(self) -> int:
        """Ask for a clean stop; returns the exit status. Raises StackError when it takes too long."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise StackError(f"the stack did not stop within {_STOP_S:.0f} s: see {self.log}") from None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop it."""
        self.stop()


def read_stack(home: Home) -> dict[str, Any]:
    """The description of a stack somebody started. Raises StackError when none is up."""
    try:
        description: dict[str, Any] = json.loads(home.stack_file.read_text())
    except FileNotFoundError:
        raise StackError(f"no stack is up in {home.root}: start one with `make up`") from None
    return description
