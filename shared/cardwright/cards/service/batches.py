"""Batches as their owners handle them: taken at once, told about while they run. Making the cards is the workers'."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cardwright.cards import rules
from cardwright.cards.rules import AllowDeny, BatchOutcome, CardBatch, Failure, ItemState, Usage, WantedLimits
from cardwright.cards.service.issuing import IssueCard, Issuing
from cardwright.cards.service.tools import CardTools, spend_quota
from cardwright.cards.store import batches as store
from cardwright.cards.store import issuances
from cardwright.cards.store.batches import NewItem
from cardwright.kernel.errors import ForbiddenError, InvalidFieldsError, NotFoundError
from cardwright.platform.postgres import Actor, Transaction

_KEY_REUSED = Failure("idempotency_key_reused", "This key was used for another request.")
_LIMITS = ("per_transaction", "daily", "monthly")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One item as it was read: a wish, or why there is none. `key` is the caller's own, the same for the same card."""

    key: str | None = None
    wish: IssueCard | None = None
    failure: Failure | None = None


class CardBatches:
    """Takes batches and tells about them. `batches_per_hour` None switches that quota off."""

    def __init__(self, tools: CardTools, issuing: Issuing, batches_per_hour: int | None) -> None:
        self._tools = tools
        self._issuing = issuing
        self._batches_per_hour = batches_per_hour

    def create(self, actor: Actor, items: Sequence[BatchItem], job_id: UUID) -> CardBatch:
        """Take a batch; see CardService.create_batch."""
        user_id = actor.user_id
        if user_id is None:
            raise ForbiddenError("Only a user holds cards.", code="role_not_allowed")
        repeated = rules.repeated_keys([item.key for item in items])
        if repeated:
            raise InvalidFieldsError(repeated)
        now = self._tools.clock.now()
        with self._tools.database.transaction(actor) as tx:
            # One batch of a user at a time: the quota is exact, and of two with the same item key the second finds the first.
            issuances.lock_issuing(tx, user_id)
            earlier = store.get(tx, job_id)
            if earlier is not None:
                return earlier
            self._issuing.check_identity(tx, user_id)
            self._spend(tx, user_id, now)
            used = store.used_keys(tx, user_id, [item.key for item in items if item.key is not None])
            taken = [self._taken(item, used) for item in items]
            failed = sum(item.failure is not None for item in taken)
            batch = CardBatch(
                user_id=user_id,
                job_id=job_id,
                status=rules.first_status(failed, len(taken)),
                total=len(taken),
                done=failed,
                created_at=now,
                finished_at=now if failed == len(taken) else None,
            )
            store.insert(tx, batch, taken, actor.request_id)
        return batch

    def get(self, actor: Actor, job_id: UUID) -> tuple[CardBatch, list[BatchOutcome]]:
        """A batch with what has become of its items; see CardService.get_batch."""
        with self._tools.database.transaction(actor) as tx:
            batch = store.get(tx, job_id)
            if batch is None:
                raise NotFoundError("There is no such batch.", code="card_batch_not_found")
            outcomes = store.outcomes(tx, batch)
        # Read after the batch: a status may lag behind the items, and is never ahead of them.
        return replace(batch, done=sum(outcome.state is not ItemState.PENDING for outcome in outcomes)), outcomes

    def _taken(self, item: BatchItem, used: Mapping[str, tuple[bytes, UUID]]) -> NewItem:
        """The item with the card it is to make: the one its key has been given for the same wish, else a new one."""
        wish = {} if item.wish is None else wish_document(item.wish)
        digest = hashlib.sha256(json.dumps(wish, sort_keys=True, separators=(",", ":")).encode()).digest()
        card_id, failure = self._tools.ids.new(), item.failure
        used_before = None if item.key is None else used.get(item.key)
        if failure is None and used_before is not None:
            used_for, made = used_before
            if used_for == digest:
                card_id = made
            else:
                failure = _KEY_REUSED
        return NewItem(card_id=card_id, key=item.key, digest=digest, wish=wish, failure=failure)

    def _spend(self, tx: Transaction, user_id: UUID, now: datetime) -> None:
        """Raise RateLimitedError when the user has sent as many batches in the last hour as anybody may."""
        limit = self._batches_per_hour
        if limit is None:
            return
        counted = store.recent(tx, user_id, now - rules.BATCHES_WINDOW)
        busy_until = [at + rules.BATCHES_WINDOW for at in counted]
        detail = f"At most {limit} batches are taken in an hour."
        spend_quota(rules.BATCHES_QUOTA, limit, rules.BATCHES_WINDOW, busy_until, now, detail)


def wish_document(wish: IssueCard) -> dict[str, Any]:
    """A wish as JSON, the same for the same wish however it was written."""
    limits = {name: getattr(wish.limits, name) for name in _LIMITS}
    return {
        "currency": wish.currency,
        "label": wish.label,
        "program_id": None if wish.program_id is None else str(wish.program_id),
        "limits": {name: None if amount is None else str(amount) for name, amount in limits.items()},
        "merchant_categories": {"allow": list(wish.merchant_categories.allow), "deny": list(wish.merchant_categories.deny)},
        "usage": wish.usage.value,
        "expires_on": None if wish.expires_on is None else wish.expires_on.isoformat(),
    }


def read_wish_document(document: Mapping[str, Any]) -> IssueCard:
    """The wish that `wish_document` made. Raises KeyError for anything else."""
    limits, categories, expires_on = document["limits"], document["merchant_categories"], document["expires_on"]
    return IssueCard(
        currency=document["currency"],
        label=document["label"],
        program_id=None if document["program_id"] is None else UUID(document["program_id"]),
        limits=WantedLimits(**{name: None if limits[name] is None else Decimal(limits[name]) for name in _LIMITS}),
        merchant_categories=AllowDeny(tuple(categories["allow"]), tuple(categories["deny"])),
        usage=Usage(document["usage"]),
        expires_on=None if expires_on is None else date.fromisoformat(expires_on),
    )
