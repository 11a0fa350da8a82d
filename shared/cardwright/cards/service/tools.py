"""What the use cases of cards are composed of, and what they have alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.cards.ports import Processor
from cardwright.cards.rules import Card, quota_wait
from cardwright.cards.store import cards as store
from cardwright.kernel.clock import Clock, rfc3339
from cardwright.kernel.errors import NotFoundError, RateLimitedError, StaleVersionError
from cardwright.outbox.rules import Event
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.programs.service import ProgramService

if TYPE_CHECKING:
    # The encryption SDK is slow to import and only issuing needs it.
    from cardwright.vault.service import Vault

# While it runs nobody else follows an issuance. Who is slower does no harm: what was done meanwhile is looked at again before
# anything is written.
LEASE = timedelta(seconds=60)
# A processor may forget an idempotency key (the shortest we know of keeps it for a day): after this nobody asks again for a card
# that may be there, as it would be made a second time.
KEY_LIFE = timedelta(hours=12)


class KycStatuses(Protocol):
    """What cards ask of KYC."""

    def status_of(self, tx: Transaction, user_id: UUID) -> str:
        """Return the user's status; VERIFIED is the one that may hold cards."""
        ...


class CardTools(Protocol):
    """What the service is composed of, each built when it is first used, so that a caller needs no more than it uses."""

    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> IdSource: ...
    @property
    def database(self) -> Database: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def kyc(self) -> KycStatuses: ...
    @property
    def programs(self) -> ProgramService: ...
    @property
    def vault(self) -> "Vault": ...
    @property
    def processor(self) -> Processor: ...


# Who acts when nobody asked: the schedules.
SCHEDULE = Actor(None, "system")


def found(card: Card | None) -> Card:
    """The card. Raises NotFoundError card_not_found."""
    if card is None:
        raise NotFoundError("There is no such card.", code="card_not_found")
    return card


def check_version(card: Card, if_match: int | None) -> None:
    """Raise StaleVersionError when the caller has seen another version of the card."""
    if if_match is not None and if_match != card.version:
        raise StaleVersionError("The card has changed since.")


def spend_quota(quota: str, limit: int, window: timedelta, busy_until: Sequence[datetime], now: datetime, detail: str) -> None:
    """Raise RateLimitedError with `detail` when as many count at this moment as may; see rules.quota_wait."""
    wait = quota_wait(busy_until, limit, now)
    if wait is None:
        return
    raise RateLimitedError(
        detail,
        quota=quota,
        retry_after_s=max(1, ceil(wait / timedelta(seconds=1))),
        limit=limit,
        window_s=window // timedelta(seconds=1),
    )


def done_before(tools: CardTools, actor: Actor, card_id: UUID, operation_id: UUID) -> Card | None:
    """The card as it is now, when the audit knows the operation: an earlier run of it was done, and somebody came after it."""
    with tools.database.transaction(actor) as tx:
        card = found(store.get(tx, card_id))
        return card if audit.knows(tx, "card", card_id, operation_id) else None


def note(
    tx: Transaction,
    card_id: UUID,
    operation_id: UUID,
    action: str,
    at: datetime,
    *,
    old: Mapping[str, object] | None = None,
    new: Mapping[str, object] | None = None,
) -> None:
    """Append an entry to a card's audit chain, in the caller's transaction; changes of status have theirs from a trigger."""
    audit.append(
        tx, subject_type="card", subject_id=card_id, entry_id=operation_id, action=action, occurred_at=at, old=old, new=new
    )


def card_event(ids: IdSource, event_type: str, card: Card, **more: object) -> Event:
    """An event about a card as it is after the change; `more` stands beside what every event of a card tells."""
    data: dict[str, object] = {
        "id": str(card.card_id),
        "card_id": str(card.card_id),
        "program_id": str(card.program_id),
        "status": card.status.value,
        "reason_code": card.status_reason_code,
        "last_four": card.last_four,
        "currency": card.currency,
        "version": card.version,
        **more,
    }
    if card.cancel_after is not None:
        data["cancel_after"] = rfc3339(card.cancel_after)
    return Event(ids.new(), event_type, card.updated_at, data, user_id=card.user_id, card_id=card.card_id)
