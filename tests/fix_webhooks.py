"""A database for the tests of one file whose users are their own."""

from collections.abc import Callable, Iterator

import pytest

from local.servers.postgres import PostgresServer
from tests.fix_servers import temporary_database


@pytest.fixture(scope="module")
def database_of_all(postgres: PostgresServer, template_database: str, check_events: Callable[[str], None]) -> Iterator[str]:
    """A database of these tests, each of which has a user of its own."""
    with temporary_database(postgres, template_database) as url:
        yield url
        check_events(url)
