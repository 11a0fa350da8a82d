"""Starting, recognising and ending server processes, as an unprivileged user where the server wants one."""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.servers.errors import ServerError

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Account:
    """The system user a server runs as; uid None means the current one."""

    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        """Give a file or folder to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def unprivileged_account() -> Account:
    """Choose the user for a server that refuses root: the current one, or `nobody` (else any other user) for root.

    Raises ServerError when the machine knows no user but root.
    """
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        others = sorted((e for e in pwd.getpwall() if e.pw_uid > 0), key=lambda e: e.pw_uid)
        if not others:
            raise ServerError("PostgreSQL refuses root and there is no other user: run make as one (useradd)") from None
        entry = others[-1]
    return Account(entry.pw_uid, entry.pw_gid)


def named_identity() -> list[str]:
    """Return the words before a command that looks up its user's name, where the current user has none (containers)."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    return []


def _identity(account: Account) -> dict[str, int | Sequence[int]]:
    if account.uid is None or account.gid is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _environment(program: str) -> dict[str, str]:
    # Servers get no more of the caller's environment than they need: PG* and cloud variables would steer or leak.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    # The musl build of PostgreSQL reads ICU's tables from a folder of its own.
    icu = Path(program).parent.parent / "share" / "icu"
    return {**environment, "ICU_DATA": str(icu)} if icu.is_dir() else environment


def run(command: Sequence[str], account: Account, *, timeout_seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program of a server distribution to its end, output captured; OSError when it cannot be started."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]  # the stub wants the identity spelled out
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        cwd="/",
        env=_environment(command[0]),
        stdin=subprocess.DEVNULL,
        **_identity(account),
    )


def spawn(command: Sequence[str], account: Account, log: Path) -> int:
    """Start a server in a session of its own (a Ctrl-C at the terminal is for its supervisor); return its process id.

    Its output goes to the log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # type: ignore[call-overload]  # as in run()
            command,
            cwd="/",
            env=_environment(command[0]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **_identity(account),
        )
    # The server may outlive this process and is_running() reaps it: for the Popen object it is nobody's concern.
    process.returncode = 0
    pid: int = process.pid
    return pid


def is_running(pid: int) -> bool:
    """Tell whether the process exists and is no zombie; a zombie child of ours is reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def command_of(pid: int) -> str:
    """Return the command line of a process as ps tells it, empty when there is no such process."""
    try:
        told = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        # Slim containers have no ps, but a /proc.
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    return told.stdout.strip()


def wait_until(true: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll until the condition holds; False when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end(pid: int, signals: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn, waiting its seconds for the process to go; True when it is gone."""
    for number, seconds in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not is_running(pid), seconds):
            return True
    return False


def last_lines(log: Path, count: int = 3) -> str:
    """Return the last lines of a server's log on one line, for an error message."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return " | ".join(line.strip() for line in lines[-count:]) or "empty log"


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read, in place of an old one."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
