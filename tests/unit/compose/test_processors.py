"""Which adapter a stage gets, and which it is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from cardwright.compose import cards, processors
from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.providers import processor_lithic, processor_marqeta, processor_simulated, processor_stripe
from cardwright.providers.proven import PROCESSORS
from functions.catalogue import CATALOGUE

URL = "https://processor.test"
FREEZE = "functions.cards.freeze_card"
# Imports the modules under each set of variables, and tells who refuses and with what words.
IMPORT = """
import importlib, json, os, sys
from cardwright.kernel.errors import BrokenInvariantError
modules, told = json.loads(sys.argv[1]), []
for variables in json.loads(sys.argv[2]):
    os.environ.update(variables)
    told.append({})
    for name in modules:
        sys.modules.pop(name, None)
        try:
            importlib.import_module(name)
        except BrokenInvariantError as refusal:
            told[-1][name] = str(refusal)
    for name in variables:
        del os.environ[name]
print(json.dumps(told))
"""


def settings(stage: str) -> Settings:
    """Settings of a stage."""
    return Settings(stage=stage, public_url="https://api.test", cors_origins=frozenset(), rate_limits=True, clock_file=None)


def secret() -> dict[str, Any]:
    """A secret that nobody should have asked for yet."""
    raise AssertionError("the secret is asked for at a call, not before")


@pytest.mark.parametrize("named", sorted(processors.NAMES))
def test_every_adapter_can_be_named(named: str) -> None:
    assert processors.processor(settings("dev"), named, URL, secret).name == named


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(BrokenInvariantError, match="no processor called visa"):
        processors.processor(settings("local"), "visa", URL, secret)


@pytest.mark.parametrize("named", sorted(processors.NAMES - PROCESSORS))
def test_prod_does_not_start_with_an_unproven_adapter(named: str) -> None:
    with pytest.raises(BrokenInvariantError, match="unproven"):
        processors.processor(settings("prod"), named, URL, secret)


def test_prod_starts_with_a_proven_adapter() -> None:
    assert [processors.processor(settings("prod"), named, URL, secret).name for named in sorted(PROCESSORS)] == ["lithic"]


def test_only_the_named_adapter_is_imported() -> None:
    program = (
        "import sys; from cardwright.compose import processors; from cardwright.compose.settings import Settings; "
        "settings = Settings('dev', 'https://api.test', frozenset(), True, None); "
        "processors.processor(settings, 'simulated', 'https://p.test', dict); "
        "print(sorted({'lithic', 'stripe'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def refusals(modules: Collection[str], *cases: Mapping[str, str]) -> list[dict[str, str]]:
    """For each set of variables, the functions that refuse to be imported, and what they say."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("CARDWRIGHT_")}
    command = [sys.executable, "-c", IMPORT, json.dumps(sorted(modules)), json.dumps(cases)]
    told = subprocess.run(command, env=outer, capture_output=True, text=True, check=True, timeout=120)
    found: list[dict[str, str]] = json.loads(told.stdout)
    return found


def test_a_function_is_not_imported_in_prod_with_an_unproven_adapter() -> None:
    unproven = sorted(processors.NAMES - PROCESSORS)
    told = refusals([FREEZE], *({"CARDWRIGHT_STAGE": "prod", "CARDWRIGHT_PROCESSOR": named} for named in unproven))
    assert told == [
        {FREEZE: f"the adapter of the processor {named} is unproven and does not start in prod"} for named in unproven
    ]


def test_a_function_is_imported_elsewhere_and_where_no_processor_is_told() -> None:
    cases: tuple[dict[str, str], ...] = (
        {"CARDWRIGHT_STAGE": "prod", "CARDWRIGHT_PROCESSOR": "lithic"},
        {"CARDWRIGHT_STAGE": "dev", "CARDWRIGHT_PROCESSOR": "simulated"},
        {"CARDWRIGHT_STAGE": "prod"},
        {"CARDWRIGHT_STAGE": "prod", "CARDWRIGHT_PROCESSOR": ""},
        {"CARDWRIGHT_PROCESSOR": "simulated"},
        {},
    )
    assert refusals([FREEZE], *cases) == [{}] * len(cases)


def test_every_function_that_needs_the_processor_refuses_and_no_other() -> None:
    asking = {row.module for row in CATALOGUE if Capability.PROCESSOR in row.needs}
    (told,) = refusals({row.module for row in CATALOGUE}, {"CARDWRIGHT_STAGE": "prod", "CARDWRIGHT_PROCESSOR": "simulated"})
    assert FREEZE in asking
    assert set(told) == asking


def test_a_probe_is_given_up_later_than_any_adapter_makes_a_card() -> None:
    calls_and_deadline = (
        (1, processor_lithic._TIMEOUT),
        (2, processor_stripe._TIMEOUT),
        (2, processor_marqeta._TIMEOUT),
        (1, processor_simulated._TIMEOUT),
    )
    keys_while_one_is_rotated = 2
    for calls, deadline in calls_and_deadline:
        assert deadline.connect is not None
        assert deadline.read is not None
        assert keys_while_one_is_rotated * calls * (deadline.connect + deadline.read) < cards._PROBE_S
