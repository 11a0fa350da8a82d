"""What Lambda runs: one zip of our code for every function, and one layer of third-party libraries built from the lock."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "runtime.txt"
BUILD = ROOT / "build"
CERTIFICATES = ROOT / "layers" / "certificates"
PYTHON_VERSION = "3.13"
# Amazon Linux 2023, which the runtime stands on, has glibc 2.34; the older manylinux2014 tag would silently pick older wheels.
PLATFORM = "aarch64-manylinux_2_28"
# Lambda's limit for a function and all its layers, unzipped.
UNZIPPED_LIMIT = 250 * 1024 * 1024
# Changes when this module builds a layer differently from the same lock.
LAYER_RECIPE = "1"
_LEFT_OUT = ("__pycache__", "bin", "tests", "*.pyc")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A zip file and the hash that tells whether it changed."""

    path: Path
    digest: str


def _write_zip(target: Path, files: Iterable[tuple[str, Path]]) -> None:
    """Write a zip whose bytes depend on the files alone; it appears under its name only when complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    os.close(handle)
    try:
        with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for inside, path in sorted(files):
                entry = zipfile.ZipInfo(inside, _ZIP_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def code_files(root: Path = ROOT) -> dict[str, Path]:
    """Paths inside the function's package -> files of ours: handlers, domain, migrations and the databases' certificates."""
    files: dict[str, Path] = {}
    trees = (
        (root / "functions", "functions"),
        (root / "shared" / "cardwright", "cardwright"),
        (root / "database" / "migrations", "database/migrations"),
        (root / "layers" / "certificates", "certificates"),
    )
    for folder, inside in trees:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                files[f"{inside}/{path.relative_to(folder).as_posix()}"] = path
    return files


def digest_of(files: dict[str, Path]) -> str:
    """SHA-256 over names and contents, in hex."""
    digest = hashlib.sha256()
    for inside in sorted(files):
        digest.update(inside.encode() + b"\0" + hashlib.sha256(files[inside].read_bytes()).digest())
    return digest.hexdigest()


def code(build: Path = BUILD) -> Artifact:
    """The zip of our own code; written again only when a file changed."""
    files = code_files()
    digest = digest_of(files)
    target = build / "code" / f"{digest[:20]}.zip"
    if not target.exists():
        _write_zip(target, files.items())
    return Artifact(target, digest)


def layer_digest(lock: Path = LOCK) -> str:
    """What the layer depends on: the lock, the platform and how it is built. Hex."""
    parts = (lock.read_bytes(), PYTHON_VERSION.encode(), PLATFORM.encode(), LAYER_RECIPE.encode())
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise RuntimeError("uv is missing: install requirements/uv.txt, then try again")
    return found


def install(target: Path, lock: Path = LOCK) -> None:
    """Install the locked libraries for Lambda into `target`, hashes checked, wheels only. Raises RuntimeError with uv's words."""
    command = [_uv(), "pip", "install", "--quiet", "--python-platform", PLATFORM, "--python-version", PYTHON_VERSION]
    command += ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--link-mode", "copy", "--target", str(target)]
    # The machine's own certificates, as for the rest of the set-up: a company's proxy is known to them alone.
    variables = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    done = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True, check=False, env=variables)
    if done.returncode != 0:
        raise RuntimeError(f"the layer cannot be built from {lock.name}: {done.stderr.strip()[-2000:]}")


def unzipped_bytes(archive: Path) -> int:
    """Size of an archive's files once unzipped."""
    with zipfile.ZipFile(archive) as opened:
        return sum(entry.file_size for entry in opened.infolist())


def _wanted(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder)
    return path.is_file() and not any(Path(part).match(pattern) for part in inside.parts for pattern in _LEFT_OUT)


def runtime_layer(build: Path = BUILD, lock: Path = LOCK) -> Artifact:
    """The zip of third-party libraries, built once for each state of the lock.

    Raises RuntimeError when uv cannot install, ValueError when it would not fit into Lambda beside our code.
    """
    digest = layer_digest(lock)
    target = build / "layers" / f"runtime-{digest[:20]}.zip"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            folder = Path(scratch)
            install(folder / "python", lock)
            files = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if _wanted(path, folder)]
            size = sum(path.stat().st_size for _, path in files)
            if size > UNZIPPED_LIMIT:
                raise ValueError(f"the layer has {size} bytes unzipped, Lambda takes {UNZIPPED_LIMIT}")
            _write_zip(target, files)
    return Artifact(target, digest)


def no_layer(build: Path = BUILD) -> Artifact:
    """A layer without libraries, for tests that look at templates only."""
    target = build / "layers" / "empty.zip"
    if not target.exists():
        _write_zip(target, [("python/README", LOCK.parent / "runtime.in")])
    return Artifact(target, hashlib.sha256(b"empty").hexdigest())
