"""The stack's folder: private, not mistaken for somebody else's, one stack at a time; settings its parts are given."""

import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from cardwright.kernel import environment as names
from cardwright.kernel.rows import Capability
from local import down, environment, reset, up
from local.doors import keep_or_choose, listen
from local.home import Home, StackError, load_secrets, write_atomically


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A prepared folder."""
    home = Home(tmp_path / "stack")
    home.prepare()
    return home


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_documents_are_private_and_replaced_whole(home: Home) -> None:
    home.write_json("stack.json", {"a": 1})
    home.write_json("stack.json", {"a": 2})
    assert home.read_json("stack.json") == {"a": 2}
    assert mode(home.stack_file) == 0o600
    assert mode(home.root) == 0o711
    with pytest.raises(TypeError):
        home.write_json("stack.json", {"a": object()})
    assert [path.name for path in home.root.glob(".stack.json*")] == []


def test_failed_write_leaves_no_part_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "x", "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_damaged_document_says_how_to_mend_it(home: Home) -> None:
    for text in ("{", "[]"):
        (home.root / "secrets.json").write_text(text)
        with pytest.raises(StackError, match="damaged: restore it, or start anew with `make reset`"):
            load_secrets(home)


def test_secrets_are_made_once_and_completed_later(home: Home) -> None:
    first = load_secrets(home)
    assert load_secrets(home) == first
    assert first["processor_secret"].startswith("whsec_")
    assert set(first["roles"]) == {"app", "worker", "auditor", "migrator"}
    del first["kyc_secret"]
    home.write_json("secrets.json", first)
    completed = load_secrets(home)
    assert completed["sealing_key"] == first["sealing_key"]
    assert "kyc_secret" in completed


def test_folder_with_other_files_is_refused_and_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StackError, match="holds other files"):
        Home(tmp_path).prepare()
    with pytest.raises(StackError, match="not made by this program"):
        Home(tmp_path).erase()
    with pytest.raises(StackError, match="not made by this program"):
        reset.reset(Home(tmp_path))
    assert (tmp_path / "thesis.txt").exists()


def test_one_stack_per_folder(home: Home) -> None:
    descriptor = home.lock()
    with pytest.raises(StackError, match="already runs"):
        home.lock()
    os.close(descriptor)
    os.close(home.lock())


def test_large_log_is_begun_anew(home: Home) -> None:
    path = home.log("aws")
    with path.open("wb") as log:
        log.truncate(11 * 1024 * 1024)
    assert not home.log("aws").exists()


def test_locate_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARDWRIGHT_HOME", str(tmp_path))
    assert Home.locate().root == tmp_path
    monkeypatch.delenv("CARDWRIGHT_HOME")
    assert Home.locate().root.name == ".local"


def test_taken_port_is_told_in_one_line() -> None:
    with listen(0) as taken:
        port: int = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is taken: free it or choose another, e.g. PORT="):
            listen(port)
        assert keep_or_choose(port) != port
    assert keep_or_choose(port) == port
    assert keep_or_choose("nonsense") > 0


def test_door_listens_on_loopback_only() -> None:
    with listen(0) as door:
        assert door.getsockname()[0] == "127.0.0.1"
        with socket.create_connection(door.getsockname(), timeout=2):
            pass


def test_every_capability_has_its_variables() -> None:
    values = {capability: tuple(f"v-{name}" for name in names.VARIABLES[capability]) for capability in Capability}
    settings = environment.function_environment(values, {names.STAGE: "local"})
    assert settings[names.STAGE] == "local"
    for variables in names.VARIABLES.values():
        for variable in variables:
            assert settings[variable] == f"v-{variable}"
    del values[Capability.CACHE]
    with pytest.raises(KeyError):
        environment.function_environment(values, {})


def test_users_own_cloud_settings_do_not_reach_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("NO_PROXY", "internal.example")
    base = environment.base_environment()
    assert "AWS_PROFILE" not in base
    assert "PGHOST" not in base
    assert base["NO_PROXY"] == "127.0.0.1,localhost,internal.example"
    assert base["PATH"] == os.environ["PATH"]
    assert environment.aws_environment(4566)["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert "AWS_ENDPOINT_URL_LAMBDA" not in environment.aws_environment(4566)
    both = environment.aws_environment(4566, 4567)
    assert (both["AWS_ENDPOINT_URL"], both["AWS_ENDPOINT_URL_LAMBDA"]) == ("http://127.0.0.1:4566", "http://127.0.0.1:4567")


def test_secret_documents_have_the_shapes_compose_reads(home: Home) -> None:
    documents = environment.secret_documents(load_secrets(home))
    sealing = documents[environment.SEALING]
    assert sealing["active"] in sealing["keys"]
    assert len(documents[environment.PROCESSOR_INBOUND]["secrets"]) == 1
    assert set(documents[environment.KYC_API]) == {"api_key"}
    assert json.dumps(documents)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, (8080, True)), ({"PORT": "9000", "RATE_LIMITS": "off"}, (9000, False)), ({"PORT": ""}, (8080, True))],
)
def test_options_are_read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[int, bool]) -> None:
    for name in ("PORT", "RATE_LIMITS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = up.read_options()
    assert (options.port, options.rate_limits) == expected


@pytest.mark.parametrize("variables", [{"PORT": "http"}, {"PORT": "0"}, {"PORT": "70000"}, {"RATE_LIMITS": "maybe"}])
def test_options_that_mean_nothing_are_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StackError, match="must be"):
        up.read_options()


def test_up_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CARDWRIGHT_HOME", str(tmp_path / "stack"))
    with listen(0) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        assert up.run(threading.Event()) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_down_and_reset_of_nothing_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARDWRIGHT_HOME", str(tmp_path / "none"))
    assert (down.main(), reset.main()) == (0, 0)
    assert capsys.readouterr().out == "nothing was running\nnothing to delete\n"


def test_reset_deletes_a_stack_that_is_down(
    monkeypatch: pytest.MonkeyPatch, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARDWRIGHT_HOME", str(home.root))
    load_secrets(home)
    assert reset.main() == 0
    assert not home.root.exists()
    assert capsys.readouterr().out == f"deleted {home.root}\n"
