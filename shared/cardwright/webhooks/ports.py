"""What webhooks asks of the outside world."""

from collections.abc import Mapping
from typing import Protocol

from cardwright.platform.egress import Answer


class Sender(Protocol):
    """Posts to a URL a subscriber chose."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer, whatever its status. Raises EgressError when there is none."""
        ...
