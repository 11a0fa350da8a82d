"""What is said of the processors' adapters is so: which are proven, and by what."""

import re

import pytest

from cardwright.compose import channels
from cardwright.compose.processors import NAMES
from cardwright.providers.proven import CHANNELS, PROCESSORS
from infra import stages
from tests.house.sources import ROOT

UNPROVEN = re.compile(r"unproven adapters[^:]*: ([a-z, `]+)\.", re.IGNORECASE)


def listed(text: str) -> set[str] | None:
    """The adapters a document calls unproven, None where it says nothing of the kind."""
    found = UNPROVEN.search(text)
    return None if found is None else set(re.findall(r"`([a-z]+)`", found[1]))


@pytest.mark.parametrize("name", sorted(PROCESSORS))
def test_a_proven_adapter_has_a_contract_test(name: str) -> None:
    module = ROOT / "tests" / "contract" / f"test_{name}.py"
    assert "def test_" in module.read_text()
    assert name in NAMES


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_a_proven_message_provider_has_a_contract_test(name: str) -> None:
    module = ROOT / "tests" / "contract" / f"test_{name}.py"
    assert "def test_" in module.read_text()
    assert name in {one for listed in channels.PROVIDERS.values() for one in listed}


def test_the_readme_lists_the_unproven_ones() -> None:
    assert listed((ROOT / "README.md").read_text()) == set(NAMES - PROCESSORS)


def test_deployment_and_start_refuse_the_same_adapters() -> None:
    assert stages.PROVEN_PROCESSORS == PROCESSORS
    assert {*stages.PROCESSORS, stages.SIMULATED} == NAMES


def test_every_adapter_has_a_module() -> None:
    folder = ROOT / "shared" / "cardwright" / "providers"
    assert {path.stem.removeprefix("processor_") for path in folder.glob("processor_*.py")} == NAMES


def test_the_lock_of_the_mock_names_no_registry() -> None:
    lock = (ROOT / "tests" / "contract" / "prism" / "package-lock.json").read_text()
    assert '"@stoplight/prism-cli": "5.16.0"' in lock
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')


def test_the_list_in_a_document_is_found() -> None:
    assert listed("Unproven adapters, refused in prod: `a`, `b`.") == {"a", "b"}
    assert listed("nothing of the kind") is None
