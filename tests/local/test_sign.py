"""The signing helper of the README: what it prints is what our own check takes."""

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import verify
from local import login, sign

SECRET = "whsec_" + base64.b64encode(os.urandom(24)).decode()
BODY = '{"amount": "42.10", "name": "Café"}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack's folder whose clock is an hour ahead."""
    (tmp_path / "clock").write_bytes((3_600_000_000).to_bytes(8, "little"))
    (tmp_path / "stack.json").write_text(json.dumps({"processor_secret": SECRET}))
    monkeypatch.setenv("CARDWRIGHT_HOME", str(tmp_path))
    return tmp_path


def test_the_headers_it_prints_hold_for_the_body_by_the_stacks_clock(home: Path) -> None:
    told = subprocess.run([sys.executable, "-m", "local.sign"], input=BODY + "\n", capture_output=True, text=True, check=True)
    headers = dict(line.split(": ", 1) for line in told.stdout.splitlines())
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    now = datetime.now(UTC) + timedelta(hours=1)
    verify([Secret(SECRET)], headers, BODY.encode(), now)
    with pytest.raises(Exception, match="does not fit"):
        verify([Secret(SECRET)], headers, BODY.encode() + b"\n", now)


@pytest.mark.parametrize(("module", "arguments"), [(sign, []), (login, ["cardholder"])])
def test_without_a_stack_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: object, arguments: list[str]
) -> None:
    monkeypatch.setenv("CARDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["x", *arguments])
    assert module.main() == 1  # type: ignore[attr-defined]  # both modules have one
    assert "make up" in capsys.readouterr().err
