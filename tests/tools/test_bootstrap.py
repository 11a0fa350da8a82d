"""The set-up: what it chooses on which machine, what it says when it cannot, and what the lock files hold."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bootstrap

ROOT = Path(bootstrap.ROOT)
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def script(folder: Path, name: str, body: str) -> Path:
    """Write a shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_each_package_with_hashes_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    entries = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert entries
    assert all(re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+.* \\$", line) for line in entries)
    assert text.count("--hash=sha256:") >= len(entries)
    assert not re.search(r"://|--(index|extra-index|find-links)|(^|\s)/", text)


def test_the_runtime_lock_is_the_same_versions_as_the_developers() -> None:
    pinned = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)
    developers = {match[0]: match[1] for match in pinned.findall((ROOT / "requirements" / "dev.txt").read_text())}
    runtime = pinned.findall((ROOT / "requirements" / "runtime.txt").read_text())
    assert runtime
    assert {name: developers.get(name) for name, _ in runtime} == dict(runtime)


def test_the_set_up_can_be_read_by_an_old_python() -> None:
    tree = ast.parse((ROOT / "tools" / "bootstrap.py").read_text(), feature_version=(3, 6))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("library", "python", "locks"),
    [
        (("glibc", (2, 36)), (3, 11), ["postgres-celerp.txt", "valkey.txt"]),
        (("glibc", (2, 31)), (3, 12), ["postgres-binaries.txt", "valkey.txt"]),
        (("glibc", (2, 31)), (3, 11), ["valkey.txt"]),
        (("glibc", (2, 17)), (3, 12), ["postgres-binaries.txt"]),
        (("macos", (26, 1)), (3, 13), ["postgres-celerp.txt", "valkey.txt"]),
        (("macos", (14, 5)), (3, 14), ["postgres-binaries.txt", "valkey.txt"]),
        (("musl", (0, 0)), (3, 12), ["postgres-celerp.txt"]),
    ],
)
def test_each_machine_gets_the_servers_that_have_a_wheel_for_it(
    monkeypatch: pytest.MonkeyPatch,
    library: tuple[str, tuple[int, int]],
    python: tuple[int, int],
    locks: list[str],
) -> None:
    monkeypatch.setattr(bootstrap, "c_library", lambda: library)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert bootstrap.server_locks(python) == locks
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert bootstrap.server_locks(python) == []


def test_a_python_named_by_hand_is_obeyed_or_refused_in_one_line(tmp_path: Path) -> None:
    assert bootstrap.choose_python(sys.executable) == (sys.executable, sys.version_info[:2])
    old = script(tmp_path, "python3", "echo 3 9")
    broken = script(tmp_path, "shim", "exit 127")
    with pytest.raises(bootstrap.SetupError, match=r"is Python 3\.9: at least 3\.11 is needed"):
        bootstrap.choose_python(str(old))
    with pytest.raises(bootstrap.SetupError, match=r"does not run: name a Python of at least 3\.11"):
        bootstrap.choose_python(str(broken))


def test_an_old_python_looks_for_a_newer_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 6, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.SetupError, match=r"Python 3\.9 is too old: install Python 3\.11 or newer"):
        bootstrap.choose_python("")
    script(tmp_path, "python3.13", "exit 127")
    newer = script(tmp_path, "python3.12", "echo 3 12")
    assert bootstrap.choose_python("") == (str(newer), (3, 12))


def test_a_failed_command_is_told_in_one_line(tmp_path: Path) -> None:
    noisy = script(tmp_path, "pip", 'echo "collecting"; echo "ERROR: no such\nhint: look there"; exit 1')
    assert bootstrap.attempt([str(noisy)]) == "ERROR: no such | hint: look there"
    assert bootstrap.attempt([str(script(tmp_path, "silent", "exit 4"))]) == "exit code 4"
    assert bootstrap.attempt([str(script(tmp_path, "fine", "exit 0"))]) is None
    assert "No such file" in (bootstrap.attempt([str(tmp_path / "missing")]) or "")


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path / "venv"))
    bare = script(tmp_path, "python3", "echo 'Error: ensurepip is not available'; exit 1")
    with pytest.raises(bootstrap.SetupError, match=r"apt install python3\.12-venv"):
        bootstrap.make_venv(str(bare), (3, 12))
    assert not (tmp_path / "venv").exists()


def test_a_second_run_does_nothing_until_a_lock_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").write_text("version = {}.{}.1\n".format(*sys.version_info))
    monkeypatch.setattr(bootstrap, "VENV", str(venv))
    monkeypatch.setattr(bootstrap, "VENV_PYTHON", str(venv / "bin" / "python"))
    monkeypatch.setattr(bootstrap, "STAMP", str(venv / "setup-done"))
    assert not bootstrap.is_done("")
    version = bootstrap.installed_version()
    assert version == sys.version_info[:2]
    (venv / "setup-done").write_text(bootstrap.digest(version, bootstrap.server_locks(version)))
    assert bootstrap.is_done("")
    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path / "moved"))
    monkeypatch.setattr(bootstrap, "requirement", lambda name: str(ROOT / "requirements" / name))
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "pyproject.toml").write_text("")
    assert not bootstrap.is_done("")
    (venv / "bin" / "python").unlink()
    assert bootstrap.installed_version() is None


def test_make_alone_lists_every_verb() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-C", str(ROOT), "--no-print-directory"]
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=kept)
    verbs = set(re.findall(r"^make (\S+) +\S", told.stdout, re.MULTILINE))
    wanted = {"demo", "test", "up", "down", "reset", "check", "bench", "bench-long", "lock", "openapi", "fmt"}
    assert told.returncode == 0
    assert verbs >= wanted
