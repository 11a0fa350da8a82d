"""Exports as cardholders ask for them: a file at once where it fits into an answer, else a job; workers run it (export_runs)."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ConflictError, ForbiddenError, GoneError, NotFoundError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.transactions.rules import exports as rules
from cardwright.transactions.rules.exports import ExportStatus, TransactionExport
from cardwright.transactions.rules.history import HistoryFilters
from cardwright.transactions.store import exports as store

if TYPE_CHECKING:
    from cardwright.cards.service import CardService

    # Only the door that makes links needs what S3 is reached with.
    from cardwright.platform.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that is an answer by itself."""

    filename: str
    text: str


@dataclass(frozen=True, slots=True)
class ExportLink:
    """Where a finished file can be downloaded, by whoever has the link, and until when."""

    url: str
    expires_at: datetime


class TransactionExports:
    """Gives files, takes jobs and tells about them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        *,
        cards: "CardService",
        objects: "Callable[[], ObjectStore]",
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._cards = cards
        self._objects = objects

    def export(self, actor: Actor, card_id: UUID, filters: HistoryFilters) -> ExportedFile | TransactionExport:
        """A card's transactions as CSV, newest first, declines included; a job when they are too many for one answer.

        Asking again while the job is open tells of the same job. Raises NotFoundError card_not_found, ConflictError
        too_many_exports.
        """
        self._cards.get_card(actor, card_id)
        now = self._clock.now()
        # Later ones are left out, of the file as of the job, however long either takes.
        before_id = rules.ceiling(now)
        with self._database.transaction(actor) as tx:
            counted = store.count(tx, card_id, filters, rules.INLINE_MAX_ROWS + 1, before_id)
            text = _whole(tx, card_id, filters, before_id, counted)
            if text is not None:
                return ExportedFile(rules.filename(card_id, now), text)
            return self._job(tx, actor, card_id, filters, counted, now)

    def get(self, actor: Actor, card_id: UUID, job_id: UUID) -> tuple[TransactionExport, ExportLink | None]:
        """A job of this card's, with a fresh link to its file when it is DONE.

        Raises NotFoundError card_not_found, transaction_export_not_found; GoneError transaction_export_expired.
        """
        self._cards.get_card(actor, card_id)
        with self._database.transaction(actor) as tx:
            job = store.get(tx, card_id, job_id)
        if job is None:
            raise NotFoundError("There is no such export.", code="transaction_export_not_found")
        until = rules.kept_until(job)
        if until is None:
            return job, None
        now = self._clock.now()
        if until - now < rules.LINK_LIFE:
            raise GoneError("The file of this export is kept no longer; ask for a new one.", code="transaction_export_expired")
        url = self._objects().link(rules.object_key(job_id), rules.filename(card_id, job.created_at), rules.LINK_LIFE)
        return job, ExportLink(url, now + rules.LINK_LIFE)

    def _job(
        self, tx: Transaction, actor: Actor, card_id: UUID, filters: HistoryFilters, counted: int, now: datetime
    ) -> TransactionExport:
        user_id = actor.user_id
        if user_id is None:
            raise ForbiddenError("Only a user exports transactions.", code="role_not_allowed")
        asked = json.dumps({"card_id": str(card_id), "filters": filters.document()}, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(asked.encode()).digest()
        # One request of a user at a time: of two the second finds the first's job, and the sixth is counted.
        store.lock_exports(tx, user_id)
        earlier = store.find_open(tx, user_id, digest)
        if earlier is not None:
            return earlier
        if store.count_open(tx, user_id) >= rules.OPEN_MAX:
            detail = f"At most {rules.OPEN_MAX} exports are open at a time; wait until one of them is done."
            raise ConflictError(detail, code="too_many_exports")
        job = TransactionExport(
            user_id=user_id,
            job_id=self._ids.new(),
            card_id=card_id,
            status=ExportStatus.QUEUED,
            total=counted,
            created_at=now,
        )
        store.insert(tx, job, filters, digest, rules.ceiling(now))
        return job


def _whole(tx: Transaction, card_id: UUID, filters: HistoryFilters, before_id: UUID, counted: int) -> str | None:
    """The file, unless it is too long for an answer: mostly the count or the first page tells, before much is built in vain."""
    if counted > rules.INLINE_MAX_ROWS and filters.text is None:
        return None
    text, after = rules.header(), before_id
    while True:
        page = store.page(tx, card_id, filters, rules.PAGE, after)
        text += rules.lines(page)
        if not rules.fits(text):
            return None
        if len(page) < rules.PAGE:
            return text
        if after == before_id and filters.text is None and not rules.will_fit(text, counted):
            return None
        after = page[-1].transaction_id
