"""A ground for each proof: a fresh database of the run's server, and the worker's Valkey."""

import pytest

from bench.proofs.grounds import Ground


@pytest.fixture
def ground(fresh_database: str, cache_url: str) -> Ground:
    """A migrated database without rows."""
    return Ground(fresh_database, cache_url)
