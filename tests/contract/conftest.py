"""Mocks of vendors, each started once for a run of tests.

Without what they need, tests that ask for one are skipped; a proven adapter's fail where VENDOR_SPECS is set (see `do_without`).
"""

from collections.abc import Iterator

import pytest

from tests.contract.prism_mock import MockMissingError, do_without, prism


@pytest.fixture(scope="session")
def lithic_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a mock of Lithic's own description answers."""
    try:
        with prism("lithic.yml", tmp_path_factory.mktemp("lithic")) as url:
            yield url
    except MockMissingError as missing:
        do_without("lithic", missing)


@pytest.fixture(scope="session")
def twilio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a mock of Twilio's own description answers."""
    try:
        with prism("twilio.json", tmp_path_factory.mktemp("twilio")) as url:
            yield url
    except MockMissingError as missing:
        do_without("twilio", missing)
