"""Takes what a processor sends: checks its signature, reads it, and hands each event on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ConflictError, InvalidRequestError
from cardwright.kernel.secret import Secret
from cardwright.transactions.ports import InboundScheme
from cardwright.transactions.service.life import Receipt, TransactionLife

IGNORED = "ignored"
# Of several events in one message the sender is told the outcome that asks most to be looked at.
_TOLD_FIRST = ("parked", "applied", "duplicate")


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one message: `outcome` is applied, parked, duplicate, or ignored for a message without an event of ours."""

    outcome: str
    parked_reason: str | None = None
    transaction_id: UUID | None = None


class ProcessorEvents:
    """Takes a processor's signed messages: at least once, in any order. `scheme` is the processor's own way to sign and word."""

    def __init__(
        self, life: TransactionLife, clock: Clock, *, scheme: InboundScheme, secrets: Callable[[], Sequence[Secret[str]]]
    ) -> None:
        self._life = life
        self._clock = clock
        self._scheme = scheme
        self._secrets = secrets

    def receive(self, headers: Mapping[str, str], body: bytes) -> Taken:
        """Check and take one message. Each event of it is committed by itself, so that a message cut short may be sent again.

        One that is refused holds up none of those behind it: the first refusal is raised when all have had their turn.

        Raises UnauthenticatedError signature_missing / signature_invalid / timestamp_out_of_range, InvalidRequestError
        json_invalid / event_malformed / event_type_unknown / event_id_reserved, ConflictError event_id_reused, UnavailableError.
        """
        self._scheme.verify(self._secrets(), headers, body, self._clock.now())
        receipts: list[Receipt] = []
        refusal: ConflictError | InvalidRequestError | None = None
        for event in self._scheme.read(body):
            try:
                receipts.append(self._life.receive(event))
            except (ConflictError, InvalidRequestError) as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal
        return _summary(receipts)


def _summary(receipts: Sequence[Receipt]) -> Taken:
    for outcome in _TOLD_FIRST:
        for receipt in receipts:
            if receipt.outcome == outcome:
                return Taken(str(outcome), receipt.parked_reason, receipt.transaction_id)
    return Taken(IGNORED)
