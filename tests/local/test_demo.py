"""The demo's own parts: the client and the demo fail loudly."""

from pathlib import Path

import httpx
import pytest

from local.demo import __main__ as demo
from local.demo.client import StoryError, expect
from local.demo.story import Decision, Summary, require
from local.home import StackError
from local.running import RunningStack


def test_expectations_name_both_sides() -> None:
    with pytest.raises(StoryError, match=r"paying: expected 200, got 500 oops"):
        expect(httpx.Response(500, text="oops"), 200, "paying")
    with pytest.raises(StoryError, match="expected a JSON object, got list"):
        expect(httpx.Response(200, json=[]), 200, "paying")
    assert expect(httpx.Response(204), 204, "paying") == {}
    with pytest.raises(StoryError, match="status: expected ACTIVE, got FROZEN"):
        require("status", "ACTIVE", "FROZEN")


def test_table_lines_up() -> None:
    one = Decision("a", "Shop", "FR", "1.00", "EUR", "APPROVE", "approved", 3.14)
    lines = demo.table(Summary(decisions=[one])).splitlines()
    assert lines[2] == "  Shop      FR         1.00  EUR  APPROVE   approved  3.1"
    assert len(lines[1]) == len(lines[2])


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (StoryError("a: expected 1, got 2"), 1, "demo failed: a: expected 1, got 2"),
        (StackError("port 1 is taken"), 1, "demo failed: port 1 is taken"),
        (KeyError("decision"), 1, "an answer is not as the contract says"),
        (KeyboardInterrupt(), 130, "demo interrupted"),
    ],
)
def test_demo_fails_loudly(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    told: str,
) -> None:
    def fail(stack: RunningStack) -> None:
        raise error

    monkeypatch.setattr(RunningStack, "start", fail)
    assert demo.main(tmp_path) == status
    assert told in capsys.readouterr().err
    assert not (tmp_path / "summary.json").exists()
