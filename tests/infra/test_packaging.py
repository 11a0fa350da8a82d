"""What Lambda gets: our code in one zip, the lock's libraries in another, both small enough and the same each time."""

import zipfile
from pathlib import Path

import pytest

from functions.catalogue import CATALOGUE
from infra import packaging


def test_handlers_stand_where_lambda_looks_for_them() -> None:
    files = packaging.code_files()
    modules = {row.module.replace(".", "/") + ".py" for row in CATALOGUE}
    assert modules <= {name for name in files if name.startswith("functions/")}
    assert "cardwright/kernel/rows.py" in files
    assert any(name.startswith("database/migrations/0001_") for name in files)


def test_nothing_but_our_code_is_packed() -> None:
    names = packaging.code_files()
    assert {name.split("/")[0] for name in names} <= {"functions", "cardwright", "database", "certificates"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".env"))]


def test_the_same_files_make_the_same_zip(tmp_path: Path) -> None:
    first, second = packaging.code(tmp_path / "a"), packaging.code(tmp_path / "b")
    assert first.digest == second.digest
    assert first.path.read_bytes() == second.path.read_bytes()


def test_a_changed_file_makes_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("a = 1\n")
    before = packaging.digest_of({"x.py": path})
    path.write_text("a = 2\n")
    assert packaging.digest_of({"x.py": path}) != before
    assert packaging.digest_of({"y.py": path}) != packaging.digest_of({"x.py": path})


def test_another_lock_is_another_layer(tmp_path: Path) -> None:
    lock = tmp_path / "runtime.txt"
    lock.write_text("a==1\n")
    before = packaging.layer_digest(lock)
    lock.write_text("a==2\n")
    assert packaging.layer_digest(lock) != before


def test_a_lock_without_hashes_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "runtime.txt"
    lock.write_text("idna==3.10\n")
    with pytest.raises(RuntimeError, match="cannot be built"):
        packaging.runtime_layer(tmp_path / "build", lock)
    assert not list((tmp_path / "build" / "layers").glob("*.zip"))


def test_an_empty_lock_makes_an_empty_layer_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Path] = []

    def install(target: Path, lock: Path) -> None:
        installed.append(target)
        for name in ("lib.py", "tests/test_lib.py", "bin/tool", "__pycache__/lib.pyc"):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lock.name)

    monkeypatch.setattr(packaging, "install", install)
    artifacts = [packaging.runtime_layer(tmp_path) for _ in range(2)]
    assert len(installed) == 1
    assert artifacts[0] == artifacts[1]
    with zipfile.ZipFile(artifacts[0].path) as archive:
        assert archive.namelist() == ["python/lib.py"]


def test_a_layer_over_lambdas_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(target: Path, lock: Path) -> None:
        target.mkdir(parents=True)
        (target / "large.bin").write_bytes(lock.name.encode() * 100)

    monkeypatch.setattr(packaging, "install", install)
    monkeypatch.setattr(packaging, "UNZIPPED_LIMIT", 100)
    with pytest.raises(ValueError, match="bytes unzipped"):
        packaging.runtime_layer(tmp_path)


def test_code_and_libraries_fit_into_lambda() -> None:
    layer, code = packaging.runtime_layer(), packaging.code()
    total = packaging.unzipped_bytes(layer.path) + packaging.unzipped_bytes(code.path)
    assert total < packaging.UNZIPPED_LIMIT
    with zipfile.ZipFile(layer.path) as archive:
        names = archive.namelist()
    assert all(name.startswith("python/") for name in names)
    compiled = [name for name in names if name.endswith(".so")]
    assert any("aarch64" in name for name in compiled)
    assert not [name for name in compiled if "x86_64" in name]
