"""The supervisor: sees what dies, restarts it with growing pauses, says so, and stops everything in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.down import main as down
from local.home import Home, StackError
from local.parts import Program
from local.processes import end_all, forget, leftovers, record, started_at, supervisor_of
from local.servers.errors import ServerError
from local.supervisor import Supervisor


class FakePart:
    """A part whose life a test decides."""

    def __init__(self, name: str, failures: int = 0) -> None:
        self.name = self.key = name
        self.pid: int | None = 7
        self.up = False
        self.failures = failures
        self.starts = 0
        self.stops = 0

    def start(self) -> None:
        """Come up, unless it is to fail some more."""
        self.starts += 1
        if self.starts > 1 and self.failures > 0:
            self.failures -= 1
            raise ServerError("no luck")
        self.up = True

    def running(self) -> bool:
        """Whether it is up."""
        return self.up

    def how_it_ended(self) -> str:
        """Always the same."""
        return "signal 9"

    def ask_to_stop(self) -> None:
        """Nothing."""

    def stop(self, grace_s: float) -> None:
        """Go down."""
        self.up = False
        self.stops += 1


class Watched:
    """A supervisor that watches in a thread and keeps what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(self.said.append, self._changed)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.supervisor.watch, args=(self.stop,), daemon=True)
        self.thread.start()

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A watching supervisor, stopped at the end."""
    watched = Watched()
    yield watched
    watched.stop.set()
    watched.thread.join(5)
    watched.supervisor.stop()


def wait_for(true: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    """Poll a condition."""
    deadline = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_dead_part_is_back_at_once_and_told_of(watched: Watched) -> None:
    part = FakePart("valkey")
    watched.supervisor.start(part)
    part.up = False
    assert wait_for(lambda: watched.changes == 1)
    assert part.starts == 2
    assert wait_for(lambda: len(watched.said) == 2)
    assert watched.said[0] == "valkey (process 7) died: signal 9; restarting"
    assert watched.said[1].startswith("valkey is back after 0.0 s")


def test_part_that_does_not_come_back_is_tried_again_with_pauses(watched: Watched) -> None:
    part = FakePart("postgres", failures=2)
    watched.supervisor.start(part)
    part.up = False
    assert wait_for(lambda: part.up and watched.changes == 1)
    assert part.starts == 4
    pauses = [line.rpartition("next attempt in ")[2] for line in watched.said if "did not come back: no luck" in line]
    assert pauses == ["0.5 s", "1 s"]


def test_part_that_dies_again_soon_waits_before_its_next_start(watched: Watched) -> None:
    part = FakePart("kyc")
    watched.supervisor.start(part)
    for count in (1, 2):
        part.up = False
        assert wait_for(lambda count=count: watched.changes == count)  # type: ignore[misc]  # bound per turn
    assert "kyc (process 7) died: signal 9; restarting in 0.5 s" in watched.said


def test_first_start_that_fails_is_the_callers_to_handle(watched: Watched) -> None:
    part = FakePart("aws", failures=1)
    part.starts = 1
    with pytest.raises(StackError, match="no luck"):
        watched.supervisor.start(part)
    assert watched.said == []


def test_nothing_starts_after_stop() -> None:
    supervisor = Supervisor(lambda line: None, lambda: None)
    part = FakePart("aws")
    supervisor.start(part)
    supervisor.stop()
    assert part.stops == 1
    with pytest.raises(StackError, match="stopped before it was up"):
        supervisor.start(FakePart("late"))


def program(tmp_path: Path, source: str, **more: object) -> Program:
    """A program of ours from a source text, named `part`."""
    (tmp_path / "the_part.py").write_text(source)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return Program("part", "part", "the_part", [], environment, tmp_path / "part.log", **more)  # type: ignore[arg-type]  # fields by name


def test_program_is_ready_when_it_says_so_and_ends_when_asked(tmp_path: Path) -> None:
    source = (
        "import os, sys, time\n"
        "descriptor = int(sys.argv[sys.argv.index('--ready-fd') + 1])\n"
        "time.sleep(0.3)\n"
        "os.write(descriptor, b'1')\n"
        "time.sleep(60)\n"
    )
    part = program(tmp_path, source, tells_ready=True)
    began = time.monotonic()
    part.start()
    assert time.monotonic() - began >= 0.3
    assert part.running()
    part.stop(5.0)
    assert part.how_it_ended() == "signal 15"


def test_program_that_ends_at_once_is_told_with_its_last_line(tmp_path: Path) -> None:
    part = program(tmp_path, "raise SystemExit('settings are missing')", tells_ready=True)
    with pytest.raises(StackError, match=r"part ended at once \(exit status 1\): settings are missing; see .*part.log"):
        part.start()


def test_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.write(int(sys.argv[-1]), b'1')\n"
        "time.sleep(60)\n"
    )
    part = program(tmp_path, source, tells_ready=True)
    part.start()
    part.stop(0.3)
    assert part.how_it_ended() == "signal 9"


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import time\nprint('on', flush=True)\ntime.sleep(60)\n")
    source = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'local.child', str(os.getpid()), 'sleeper'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "on\n"
        parent.kill()
        parent.wait()
    assert wait_for(lambda: started_at(child) is None)


def test_leftovers_are_recognised_by_start_time_and_ended(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        record(home, [sleeper.pid])
        assert leftovers(home) == [sleeper.pid]
        assert supervisor_of(home) == os.getpid()
        # The same id with another start time is a stranger.
        home.write_json("processes.json", {"supervisor": {}, "parts": {str(sleeper.pid): "0"}})
        assert leftovers(home) == []
        assert supervisor_of(home) is None
        assert end_all([sleeper.pid], grace_s=2.0) == []
        assert sleeper.wait(5) == -signal.SIGTERM
    finally:
        sleeper.kill()
        sleeper.wait()
    forget(home)
    assert leftovers(home) == []


def test_down_ends_a_supervisor_and_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    home.write_json("stack.json", {})
    monkeypatch.setenv("CARDWRIGHT_HOME", str(home.root))
    supervisor, part = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2))
    try:
        document = {
            "supervisor": {str(supervisor.pid): started_at(supervisor.pid)},
            "parts": {str(part.pid): started_at(part.pid)},
        }
        home.write_json("processes.json", document)
        assert down() == 0
        assert (supervisor.wait(5), part.wait(5)) == (-signal.SIGTERM, -signal.SIGTERM)
    finally:
        for process in (supervisor, part):
            process.kill()
            process.wait()
    assert capsys.readouterr().out == "stopped\n"
    assert not home.stack_file.exists()
    assert leftovers(home) == []
