"""What transactions ask of a processor: events it signs in a scheme of its own and words in a form of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from cardwright.kernel.secret import Secret
from cardwright.transactions.rules.events import ProcessorEvent


class InboundScheme(Protocol):
    """How one processor signs and words what it tells us."""

    def verify(self, secrets: Sequence[Secret[str]], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Return when the body, byte by byte as it came, is signed with one of the secrets; header names without case.

        Raises UnauthenticatedError signature_missing / signature_invalid / timestamp_out_of_range, and BrokenInvariantError
        for a secret of ours that has not the shape the scheme needs.
        """
        ...

    def read(self, body: bytes) -> tuple[ProcessorEvent, ...]:
        """Translate one message: the events in it, none where it tells of what does not concern us.

        An event reads the same in every message that holds it. Raises InvalidRequestError json_invalid, event_malformed
        (which names fields, not their values) and, in our own form, event_type_unknown.
        """
        ...
