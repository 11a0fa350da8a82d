"""Resolve requirements/*.in into lock files with hashes and without index addresses, for every platform at once."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Lock:
    """One lock file: its name, the oldest Python it serves, and the lock whose versions it shares."""

    name: str
    python: str = "3.11"
    within: str | None = None


LOCKS = (
    Lock("dev"),
    Lock("runtime", within="dev"),
    Lock("valkey", within="dev"),
    Lock("postgres-celerp", within="dev"),
    # Its wheels ask for 3.12.
    Lock("postgres-binaries", python="3.12", within="dev"),
    Lock("uv"),
)
OPTIONS = (
    "--universal",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-header",
    "--no-annotate",
)


def compile_lock(lock: Lock, extra: list[str]) -> None:
    """Write one lock file; CalledProcessError when nothing fits together (uv says what)."""
    command = [str(UV), "pip", "compile", "--quiet", *OPTIONS, "--python-version", lock.python, *extra]
    if lock.within is not None:
        command += ["--constraints", f"{lock.within}.txt"]
    # Relative names: a path of this machine has no place in a committed file.
    subprocess.run([*command, f"{lock.name}.in", "-o", f"{lock.name}.txt"], check=True, cwd=REQUIREMENTS)


def main() -> None:
    """Resolve every lock, those that others share first."""
    extra = [argument for argument in sys.argv[1:] if argument == "--upgrade"]
    for lock in LOCKS:
        compile_lock(lock, extra)
        print(f"requirements/{lock.name}.txt")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError:
        sys.exit("the requirements do not fit together: see above")
