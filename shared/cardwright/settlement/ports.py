"""What settlement asks of an issuer processor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cardwright.settlement.rules import ProcessorTransaction


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """A page of the processor's authorizations; `next_cursor` is None at the end of the list."""

    transactions: tuple[ProcessorTransaction, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A settlement file the processor has; `digest` is the SHA-256 of its bytes, where the processor tells it."""

    file_id: str
    digest: bytes | None


class SettlementSource(Protocol):
    """The processor's own view of what happened, and its settlement files.

    Every call raises UnavailableError processor_unavailable when there is no answer that can be read, and ProviderRefusedError
    processor_refused when the processor refused.
    """

    @property
    def name(self) -> str:
        """Kept with all that came from it."""
        ...

    def transactions(self, since: datetime, cursor: str | None) -> TransactionPage:
        """Return a page of the authorizations that changed at `since` or later; None begins."""
        ...

    def files(self, since: datetime) -> Sequence[ListedFile]:
        """Return the settlement files made at `since` or later, the earliest first."""
        ...

    def open(self, file_id: str) -> Iterator[bytes]:
        """Give a file's bytes in pieces, from its beginning."""
        ...
