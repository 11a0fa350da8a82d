"""A contract test that cannot run: told as skipped, or as a failure where it was asked for."""

from pathlib import Path

import pytest

from tests.contract.prism_mock import MockMissingError, do_without, vendor_spec

MISSING = MockMissingError("there is no Node with npm")


def test_where_descriptions_are_given_a_proven_adapter_without_a_mock_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_SPECS", "anywhere")
    with pytest.raises(pytest.fail.Exception, match="contract test of lithic has to run: there is no Node with npm"):
        do_without("lithic", MISSING)


def test_where_descriptions_are_given_an_unproven_adapter_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_SPECS", "anywhere")
    with pytest.raises(pytest.skip.Exception, match="no contract test of stripe"):
        do_without("stripe", MISSING)


@pytest.mark.parametrize("value", [None, ""])
def test_where_none_are_given_every_adapter_is_skipped(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("VENDOR_SPECS", raising=False)
    if value is not None:
        monkeypatch.setenv("VENDOR_SPECS", value)
    with pytest.raises(pytest.skip.Exception, match="no contract test of lithic: there is no Node with npm"):
        do_without("lithic", MISSING)


def test_a_description_that_is_not_in_the_folder_given_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VENDOR_SPECS", str(tmp_path))
    with pytest.raises(MockMissingError, match=r"lithic\.yml is not here"):
        vendor_spec("lithic.yml")
    (tmp_path / "lithic.yml").write_text("openapi: 3.0.0")
    assert vendor_spec("lithic.yml") == tmp_path / "lithic.yml"
