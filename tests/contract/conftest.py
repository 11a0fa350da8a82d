"""Mocks of vendors, each started once for a run of tests; without what they need, tests that ask for one are skipped."""

from collections.abc import Iterator

import pytest

from tests.contract.prism_mock import MockMissingError, prism


@pytest.fixture(scope="session")
def lithic_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a mock of Lithic's own description answers."""
    try:
        with prism("lithic.yml", tmp_path_factory.mktemp("lithic")) as url:
            yield url
    except MockMissingError as missing:
        pytest.skip(f"no contract test of Lithic: {missing}")
