"""The folder a local stack keeps everything in: data, keys, logs, passwords, the record of its processes."""

import base64
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[1]
_MARKER: Final = ".cardwright-stack"
_LOG_BYTES_MAX: Final = 10 * 1024 * 1024


class StackError(RuntimeError):
    """The stack cannot start or stop; the message is one line and says how to mend it."""


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file's content so that a reader, or a crash, sees the old or the new one and never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Home:
    """One stack's folder: `.local` of the project, or what CARDWRIGHT_HOME names."""

    root: Path

    @classmethod
    def locate(cls) -> "Home":
        """The folder this command is about."""
        named = os.environ.get("CARDWRIGHT_HOME")
        return cls(Path(named).absolute() if named else PROJECT / ".local")

    @property
    def stack_file(self) -> Path:
        """Where clients read addresses, users and process ids; it exists while everything answers."""
        return self.root / "stack.json"

    @property
    def clock_file(self) -> Path:
        """The shared clock's offset."""
        return self.root / "clock"

    def data(self, part: str) -> Path:
        """The folder one part keeps its data in."""
        return self.root / part

    def log(self, part: str) -> Path:
        """The log of one part, begun anew when it has grown large."""
        path = self.root / "logs" / f"{part}.log"
        if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
            path.unlink()
        return path

    def prepare(self) -> None:
        """Make the folder. Raises StackError when it holds something else, because `reset` would delete that."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / _MARKER).exists() and any(self.root.iterdir()):
                raise StackError(f"{self.root} holds other files: choose an empty folder with CARDWRIGHT_HOME=")
            (self.root / _MARKER).touch()
            (self.root / "logs").mkdir(exist_ok=True)
            # The database runs as another user when root starts the stack: it may pass through, not look around.
            self.root.chmod(0o711)
        except OSError as error:
            raise StackError(f"{self.root} cannot be written ({error.strerror}): choose one with CARDWRIGHT_HOME=") from None

    def is_ours(self) -> bool:
        """True when the folder was made by `prepare`."""
        return (self.root / _MARKER).exists()

    def lock(self) -> int:
        """Claim the folder for this process until it ends. Raises StackError when another stack runs in it."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StackError(f"a stack already runs in {self.root}: stop it with `make down`") from None
        return descriptor

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON document of the folder, empty when it is not there. Raises StackError when it is damaged."""
        path = self.root / name
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise StackError(f"{path} is damaged: restore it, or start anew with `make reset`") from None
        if not isinstance(document, dict):
            raise StackError(f"{path} is damaged: restore it, or start anew with `make reset`")
        return document

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """Replace a JSON document of the folder; only its owner may read it."""
        write_atomically(self.root / name, json.dumps(document, indent=2) + "\n")

    def erase(self) -> None:
        """Delete the folder. Raises StackError when it was not made by `prepare`."""
        if not self.root.exists():
            return
        if not self.is_ours():
            raise StackError(f"{self.root} was not made by this program: delete it yourself if you mean to")
        shutil.rmtree(self.root)


_ROLES: Final = ("app", "worker", "auditor", "migrator")


def load_secrets(home: Home) -> dict[str, Any]:
    """Passwords and keys of this stack, made at random the first time and kept in `secrets.json` (mode 0600)."""
    known = home.read_json("secrets.json")
    fresh: dict[str, Any] = {
        "roles": {role: secrets.token_urlsafe(24) for role in _ROLES},
        "processor_secret": _webhook_secret(),
        "kyc_secret": _webhook_secret(),
        "processor_api_key": secrets.token_urlsafe(32),
        "kyc_api_key": secrets.token_urlsafe(32),
        "messages_api_key": secrets.token_urlsafe(32),
        "sealing_key": _base64(32),
    }
    complete = {**fresh, **known}
    if complete != known:
        home.write_json("secrets.json", complete)
    return complete


def _base64(length: int) -> str:
    return base64.b64encode(secrets.token_bytes(length)).decode("ascii")


def _webhook_secret() -> str:
    return "whsec_" + _base64(32)
