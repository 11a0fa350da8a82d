"""Go round the ledger, page by page, and tell what does not hold."""

from collections.abc import Callable

from cardwright.kernel.clock import Clock
from cardwright.ledger import store
from cardwright.ledger.service.posting import PAGE
from cardwright.platform.postgres import Actor, Database
from cardwright.platform.telemetry import logger

# What is left of a run's time when no further look is begun, in seconds.
RESERVE_S = 5.0
SCHEDULE = Actor(None, "system")


class LedgerCheck:
    """Goes round all postings, page by page, under role worker. A run that ends in the middle is gone on with by the next."""

    def __init__(self, database: Database, clock: Clock, *, page: int = PAGE) -> None:
        self._database = database
        self._clock = clock
        self._page = page

    def run(self, deadline: Callable[[], float]) -> int:
        """Look on until the round ends or `deadline()`, the seconds left, runs out; return how many postings were looked at."""
        checked = 0
        while deadline() > RESERVE_S:
            page = self._step()
            checked += page.checked
            for fault in page.discrepancies:
                logger.error(
                    "a posting of the ledger does not hold",
                    extra={"kind": fault.kind, "card_id": str(fault.card_id), "posting_id": str(fault.posting_id)},
                )
            if page.checked < self._page:
                break
        return checked

    def count_discrepancies(self) -> int:
        """What the last whole round found, or the one under way where that is more already. Raises UnavailableError."""
        with self._database.transaction(SCHEDULE) as tx:
            return store.count_discrepancies(tx)

    def _step(self) -> store.Page:
        now = self._clock.now()
        with self._database.transaction(SCHEDULE) as tx:
            page = store.look(tx, store.begin_check(tx, now), self._page)
            if page.last is None or page.checked < self._page:
                store.end_check(tx, len(page.discrepancies), now)
            else:
                store.advance_check(tx, page.last, len(page.discrepancies))
        return page
