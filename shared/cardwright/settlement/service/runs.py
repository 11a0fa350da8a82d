"""The reconciliation: one run at a time, which goes on where the last one was, or was killed."""

import contextlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database
from cardwright.platform.telemetry import logger
from cardwright.settlement.ports import SettlementSource
from cardwright.settlement.rules import Run
from cardwright.settlement.service.checks import Checks
from cardwright.settlement.service.files import CHUNK, FileWork
from cardwright.settlement.service.listing import ListWork
from cardwright.settlement.service.work import LEASE, SCHEDULE, LeaseLostError, Tally, Turns, Work
from cardwright.settlement.store import cases, sources
from cardwright.transactions.service.life import TransactionLife


class Reconciliation:
    """Compares what we know with a processor's list and files, and our own records with each other.

    A processor that has neither, `source` None, is compared with nothing; our own records still are.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        life: TransactionLife,
        processor: str,
        source: SettlementSource | None,
        *,
        chunk: int = CHUNK,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._life = life
        self._processor = processor
        self._source = source
        self._chunk = chunk

    def run(self, deadline: Callable[[], float]) -> Tally | None:
        """Go on with the comparison until it is done or `deadline()`, the seconds left, runs out; None while another is at it.

        A processor that does not answer ends the run where it is. What nobody expected is kept as `internal_error` and raised.
        """
        now = self._clock.now()
        run_id = self._ids.new()
        with self._database.transaction(SCHEDULE) as tx:
            progress = sources.claim(tx, self._processor, now, now + LEASE)
            if progress is None:
                return None
            sources.begin_run(tx, self._processor, run_id, now)
        work = Work(self._database, self._clock, self._ids, self._life, progress, deadline)
        failure = None
        try:
            self._compare(work)
        except (UnavailableError, ProviderRefusedError) as error:
            failure = error.code
            logger.warning("settlement broken off", extra={"code": error.code})
        except LeaseLostError:
            failure = "taken_over"
        except Exception:
            failure = CardwrightError.code
            raise
        finally:
            self._end(work, run_id, now, failure)
        return work.tally

    def count_open_cases(self) -> int:
        """How many cases wait for somebody to look at them. Raises UnavailableError."""
        with self._database.transaction(SCHEDULE) as tx:
            return cases.count_open(tx)

    def _compare(self, work: Work) -> None:
        """What is quick comes first, so that a long file holds none of it up."""
        checks, turns = Checks(work), Turns()
        listed = None if self._source is None else ListWork(work, self._source)
        turns.take(lambda: checks.look(files=self._source is not None))
        turns.take(lambda: checks.recheck(listed))
        if self._source is not None and listed is not None:
            turns.take(listed.run)
            turns.take(FileWork(work, self._source, chunk=self._chunk).run)
        turns.end()

    def _end(self, work: Work, run_id: UUID, started_at: datetime, failure: str | None) -> None:
        """Write down what the run did, and let the next one go on at once; else its lease ends by itself."""
        done = work.tally
        now = self._clock.now()
        run = Run(
            run_id=run_id,
            started_at=started_at,
            finished_at=now,
            failure=failure,
            transactions=done.transactions,
            lines=done.lines,
            settled=done.settled,
            mended=done.mended,
            cases_opened=done.cases_opened,
            cases_closed=done.cases_closed,
        )
        with contextlib.suppress(UnavailableError), self._database.transaction(SCHEDULE) as tx:
            sources.end_run(tx, self._processor, run)
            sources.release(tx, work.progress, now)
