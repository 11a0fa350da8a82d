"""Work off exports: pages of rows into parts of an upload, in memory that does not grow with the file.

What a run has stored is kept, and the next one goes on there, so that neither a kill nor a run's end costs more than one part.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.platform.objects import PART_MIN_BYTES, ObjectStore
from cardwright.platform.postgres import Actor, Database
from cardwright.platform.telemetry import logger
from cardwright.transactions.rules import exports as rules
from cardwright.transactions.store import export_runs as store
from cardwright.transactions.store import exports
from cardwright.transactions.store.export_runs import TakenExport

POLL_S = 1.0
# Longer than a part may take, and what is done after the last one: while it lasts nobody else takes the job.
LEASE = timedelta(seconds=120)
# What is left of a run's time when no further part is begun.
RESERVE_S = 30.0
# After so long a job makes room for one of another user.
TURN_S = 15.0
_SCHEDULE = Actor(None, "system")
_CONTENT_TYPE = "text/csv; charset=utf-8"
# Rows are counted no further than this before they are written: counting must end within a statement's time.
_COUNTED_MAX = 5_000_000


class ExportRunner:
    """Works off jobs, one after the other. Any number may run at once: each job is taken by one, for the time of its lease.

    `part_bytes` is the size a part has at least, but for the last one.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        objects: ObjectStore,
        *,
        part_bytes: int = PART_MIN_BYTES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._objects = objects
        self._part_bytes = part_bytes
        self._sleep = sleep

    def run(self, deadline: Callable[[], float]) -> int:
        """Run what is due, and what becomes due, until `deadline()`, the seconds left, is under RESERVE_S; return jobs ended.

        Goes on after a database that did not answer. Raises UnavailableError when it did not answer at the last look either.
        """
        ended = 0
        failure: UnavailableError | None = None
        while deadline() > RESERVE_S:
            try:
                job = self._take()
                failure = None
            except UnavailableError as error:
                job, failure = None, error
            if job is None:
                self._sleep(POLL_S)
            else:
                ended += self._run(job, deadline)
        if failure is not None:
            raise failure
        return ended

    def _take(self) -> TakenExport | None:
        """The next job that is due. One whose last try ended without a word, as a killed one does, has failed."""
        now = self._clock.now()
        with self._database.transaction(_SCHEDULE) as tx:
            store.lock_taking(tx)
            spent = store.find_spent(tx, rules.TRIES, now)
            if spent is None:
                return store.take_due(tx, now, now + LEASE)
            failed = store.fail(tx, spent, "export_interrupted", now)
        self._drop(failed)
        return None

    def _run(self, job: TakenExport, deadline: Callable[[], float]) -> bool:
        """Make one attempt at a job; True when it is at its end."""
        told = {"job_id": str(job.job_id)}
        try:
            try:
                return self._write(job, deadline)
            except UnavailableError as error:
                return self._later(job, error.code)
            except Exception:
                logger.exception("an export met an unexpected error", extra=told)
                return self._later(job, "internal_error")
        except UnavailableError:
            # Its lease ends by itself.
            logger.warning("the outcome of an export's run could not be recorded", extra=told)
            return False

    def _write(self, job: TakenExport, deadline: Callable[[], float]) -> bool:
        """Write what is still to be written; True when the file is there and noted.

        Raises UnavailableError when the database or the object store does not answer, and upload_lost.
        """
        key, begun = rules.object_key(job.job_id), deadline()
        # Of the whole file; a run that goes on after another has not seen all of it.
        digest = None if job.parts else hashlib.sha256()
        upload_id = job.upload_id
        if upload_id is None:
            upload_id = self._objects.begin_upload(key, _CONTENT_TYPE)
            job = replace(job, upload_id=upload_id, total=self._count(job))
            if not self._save(job):
                return False
        while not job.written:
            body, job = self._next_part(job)
            part = self._objects.put_part(key, upload_id, len(job.parts) + 1, body)
            if part is None:
                raise self._lost(job)
            if digest is not None:
                digest.update(body)
            job = replace(job, parts=(*job.parts, part))
            if not self._save(job):
                return False
            if self._must_stop(job, begun, deadline):
                return self._hand_on(job)
        if not self._objects.complete(key, upload_id, job.parts):
            raise self._lost(job)
        sha256 = self._digest_of(key) if digest is None else digest.digest()
        with self._database.transaction(_SCHEDULE) as tx:
            return store.finish(tx, job, sum(part.size for part in job.parts), sha256, self._clock.now())

    def _count(self, job: TakenExport) -> int:
        with self._database.transaction(_SCHEDULE) as tx:
            return exports.count(tx, job.card_id, job.filters, _COUNTED_MAX, job.before_id)

    def _next_part(self, job: TakenExport) -> tuple[bytes, TakenExport]:
        """The bytes of the next part, whole lines, and the job as it is once they are stored."""
        body = bytearray() if job.parts else bytearray(rules.header().encode())
        while True:
            with self._database.transaction(_SCHEDULE) as tx:
                page = exports.page(tx, job.card_id, job.filters, rules.PAGE, job.before_id)
            body += rules.lines(page).encode()
            done = job.done + len(page)
            job = replace(
                job,
                done=done,
                # What was counted is a beginning: some of it is found by words, and the count has its end.
                total=max(job.total, done),
                before_id=page[-1].transaction_id if page else job.before_id,
                written=len(page) < rules.PAGE,
            )
            if job.written or len(body) >= self._part_bytes:
                return bytes(body), job

    def _must_stop(self, job: TakenExport, begun: float, deadline: Callable[[], float]) -> bool:
        left = deadline()
        if left <= RESERVE_S:
            return True
        if job.written or begun - left < TURN_S:
            return False
        with self._database.transaction(_SCHEDULE) as tx:
            return store.others_due(tx, job.user_id, self._clock.now())

    def _digest_of(self, key: str) -> bytes:
        """SHA-256 of a file that several runs have written, read back piece by piece."""
        digest = hashlib.sha256()
        for piece in self._objects.read(key):
            digest.update(piece)
        return digest.digest()

    def _save(self, job: TakenExport) -> bool:
        with self._database.transaction(_SCHEDULE) as tx:
            return store.save(tx, job, self._clock.now() + LEASE)

    def _hand_on(self, job: TakenExport) -> bool:
        with self._database.transaction(_SCHEDULE) as tx:
            store.hand_on(tx, job, self._clock.now(), failed=False)
        return False

    def _lost(self, job: TakenExport) -> UnavailableError:
        """The upload is gone, or not what was put there: the next try begins anew. Returns what to raise."""
        before_id = rules.ceiling(job.created_at)
        self._save(replace(job, upload_id=None, parts=(), done=0, before_id=before_id, written=False))
        return UnavailableError("The upload is lost.", code="upload_lost")

    def _later(self, job: TakenExport, code: str) -> bool:
        """Let a job be tried again, unless that was its last try; True when it was."""
        now = self._clock.now()
        due_at = rules.next_try(job.tries, now)
        with self._database.transaction(_SCHEDULE) as tx:
            if due_at is not None:
                store.hand_on(tx, job, due_at, failed=True)
                return False
            failed = store.fail(tx, job, code, now)
        self._drop(failed)
        return failed is not None

    def _drop(self, job: TakenExport | None) -> None:
        """Remove the parts of a job that has failed. Where that fails, the bucket removes them itself, after a day."""
        if job is not None and job.upload_id is not None:
            with suppress(UnavailableError):
                self._objects.abort(rules.object_key(job.job_id), job.upload_id)
