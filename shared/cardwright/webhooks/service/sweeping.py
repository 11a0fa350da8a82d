"""What the schedule does beside attempts: it moves replays on, asks for overdue verifications, and tidies up."""

import time
from collections.abc import Callable
from datetime import timedelta

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.platform.postgres import Database
from cardwright.platform.telemetry import logger
from cardwright.webhooks.rules import Subscription
from cardwright.webhooks.service.jobs import WORKER
from cardwright.webhooks.service.replaying import Replays
from cardwright.webhooks.store import deliveries, subscriptions

# How often it looks while there is nothing to do.
SWEEP_S = 1.0
# Replays are moved on for this long before attempts have their turn again.
SPELL_S = 0.25
# What failed is left alone for so long: a database that has no time for it must have some for attempts.
REST_S = 30.0
# No fan-out is under way for longer.
DELETED_SINCE = timedelta(hours=1)


class Sweep:
    """Of one run of the schedule, by its thread, between attempts. What fails here is logged and holds up no attempt."""

    def __init__(
        self, database: Database, clock: Clock, replays: Replays, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._clock = clock
        self._replays = replays
        self._monotonic = monotonic
        self._replays_at = self._verifications_at = monotonic()

    def move_replays(self) -> None:
        """Move replays on, page after page, for a while; soon again while there is more to do."""
        if self._monotonic() < self._replays_at:
            return
        until = self._monotonic() + SPELL_S
        self._replays_at = self._monotonic() + REST_S
        try:
            while self._replays.step() is not None:
                if self._monotonic() >= until:
                    self._replays_at = self._monotonic()
                    return
        except UnavailableError:
            logger.warning("replays could not be moved on")
        except Exception:
            logger.exception("replays could not be moved on")
        else:
            self._replays_at = self._monotonic() + SWEEP_S

    def end_of_deleted(self) -> None:
        """End what was fanned out to subscriptions while they were being deleted."""
        now = self._clock.now()
        try:
            with self._database.transaction(WORKER) as tx:
                deliveries.cancel_of_deleted(tx, now - DELETED_SINCE, now)
        except UnavailableError:
            logger.warning("deliveries to deleted subscriptions could not be ended")

    def overdue_verifications(self, limit: int) -> list[Subscription]:
        """Subscriptions to ask now, which nobody else asks then."""
        if limit <= 0 or self._monotonic() < self._verifications_at:
            return []
        self._verifications_at = self._monotonic() + SWEEP_S
        try:
            with self._database.transaction(WORKER) as tx:
                return subscriptions.claim_unverified(tx, self._clock.now(), limit)
        except UnavailableError:
            logger.warning("overdue verifications could not be looked for")
        except Exception:
            self._verifications_at = self._monotonic() + REST_S
            logger.exception("overdue verifications could not be looked for")
        return []
