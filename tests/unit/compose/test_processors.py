"""Which adapter a stage gets, and which it is refused."""

import subprocess
import sys
from typing import Any

import pytest

from cardwright.compose import processors
from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.providers.proven import PROCESSORS

URL = "https://processor.test"


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
