"""Clients of the AWS SDK do not outlive a test: the next one has another region, endpoint or emulator."""

import pytest

from cardwright.platform.aws import forget_clients


@pytest.fixture(autouse=True)
def aws_clients_of_this_test() -> None:
    """Let the process's clients be made anew."""
    forget_clients()
