"""Keeps the parts of a stack running: sees a dead one, restarts it with growing pauses, says so in one line."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from local.home import StackError
from local.parts import Part, Program
from local.servers.errors import ServerError

_LOOK_EVERY_S: Final = 0.1
_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# A part that ran this long is taken as mended: its next restart is immediate again.
_MENDED_AFTER_S: Final = 5.0
_PROGRAM_GRACE_S: Final = 7.0


@dataclass
class _State:
    started: float
    failures: int = 0
    restarting: bool = False
    due: float = field(default=0.0)


class Supervisor:
    """Watches started parts until `stop`."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        """`say` prints one line; `changed` is called after a restart, when process ids are new."""
        self._say = say
        self._changed = changed
        self._parts: dict[str, Part] = {}
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def parts(self) -> list[Part]:
        """The parts in the order they were added."""
        with self._lock:
            return list(self._parts.values())

    def start(self, part: Part) -> None:
        """Start a part and watch it from now on. Raises StackError."""
        with self._lock:
            if self._stopping.is_set():
                raise StackError("stopped before it was up")
            self._parts[part.name] = part
        try:
            part.start()
        except ServerError as error:
            raise StackError(str(error)) from error
        with self._lock:
            self._states[part.name] = _State(time.monotonic())
        if self._stopping.is_set():
            part.stop(_PROGRAM_GRACE_S)

    def watch(self, until: threading.Event) -> None:
        """Look after the parts until the event is set."""
        while not until.wait(_LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """Look once at every part and begin the restarts that are due."""
        now = time.monotonic()
        for part in self.parts:
            state = self._states.get(part.name)
            if state is None or state.restarting:
                continue
            if part.running():
                continue
            if state.due == 0.0:
                if now - state.started > _MENDED_AFTER_S:
                    state.failures = 0
                pause = _PAUSES_S[min(state.failures, len(_PAUSES_S) - 1)]
                state.due = now + pause
                after = f" in {pause:g} s" if pause else ""
                self._say(f"{part.name} (process {part.pid}) died: {part.how_it_ended()}; restarting{after}")
            if now >= state.due:
                state.restarting = True
                name = f"restart-{part.name}"
                threading.Thread(target=self._restart, args=(part, state), name=name, daemon=True).start()

    def _restart(self, part: Part, state: _State) -> None:
        began = time.monotonic()
        state.failures += 1
        try:
            part.start()
        except (StackError, ServerError, OSError) as error:
            part.stop(1.0)
            pause = _PAUSES_S[min(state.failures, len(_PAUSES_S) - 1)]
            state.due = time.monotonic() + pause
            if not self._stopping.is_set():
                self._say(f"{part.name} did not come back: {error}; next attempt in {pause:g} s")
        else:
            state.started, state.due = time.monotonic(), 0.0
            if self._stopping.is_set():
                part.stop(1.0)
                return
            self._changed()
            self._say(f"{part.name} is back after {time.monotonic() - began:.1f} s (process {part.pid})")
        finally:
            state.restarting = False

    def stop(self) -> None:
        """Stop every part: programs together and first, then the servers they use, together."""
        self._stopping.set()
        parts = self.parts
        programs = [part for part in parts if isinstance(part, Program)]
        for program in programs:
            program.ask_to_stop()
        deadline = time.monotonic() + _PROGRAM_GRACE_S
        for program in programs:
            program.stop(max(0.0, deadline - time.monotonic()))
        self._stop_together([part for part in parts if not isinstance(part, Program)])

    def _stop_together(self, servers: Sequence[Part]) -> None:
        threads = [threading.Thread(target=self._stop_server, args=(server,), daemon=True) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15.0)

    def _stop_server(self, server: Part) -> None:
        try:
            server.stop(_PROGRAM_GRACE_S)
        except ServerError as error:
            self._say(str(error))
