"""The sending of events to subscriptions."""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cached_property
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox.rules import EVENT_TYPES, Event, envelope
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Database
from cardwright.webhooks import rules
from cardwright.webhooks.ports import Sender
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service.dispatch import Dispatcher, Job
from cardwright.webhooks.service.jobs import WORKER, DeliveryJob, Tools
from cardwright.webhooks.service.posting import Poster
from cardwright.webhooks.service.verifying import VerificationJob
from cardwright.webhooks.store import deliveries as store
from cardwright.webhooks.store import subscriptions

# Longer than any post: while it runs nobody else may try.
LEASE = timedelta(seconds=60)


class WebhookService:
    """Sends events to subscriptions, under role worker. `sender` is asked for when the first post is made."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        sealer: Sealer,
        sender: Callable[[], Sender],
        *,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._sealer = sealer
        self._sender = sender
        self._dispatcher = dispatcher or Dispatcher()

    @cached_property
    def _tools(self) -> Tools:
        return Tools(self._database, Poster(self._sender(), self._clock), self._sealer, self._clock, self._ids)

    def send_event(self, event: Event) -> list[Job]:
        """Make one delivery for each subscription that wants the event; return the attempts to be made now.

        Events that are not for partners go nowhere. Raises UnavailableError.
        """
        if event.type not in EVENT_TYPES:
            return []
        now = self._clock.now()
        with self._database.transaction(WORKER) as tx:
            leases = store.fan_out(
                tx,
                event_id=event.event_id,
                event_type=event.type,
                user_id=event.user_id,
                card_id=event.card_id,
                payload=rules.compact(envelope(event)),
                now=now,
                token=self._ids.new(),
                lease_until=now + LEASE,
            )
        return [DeliveryJob(self._tools, lease) for lease in leases]

    def verification(self, event: Event) -> Job | None:
        """The post that verifies the subscription an internal event names; None when it needs none any more."""
        if event.user_id is None:
            raise ValueError("a verification concerns a user")
        with self._database.transaction(WORKER) as tx:
            subscription = subscriptions.load(tx, event.user_id, UUID(str(event.data["subscription_id"])))
        if subscription is None or subscription.status is not SubscriptionStatus.PENDING_VERIFICATION:
            return None
        return VerificationJob(self._tools, subscription, event.event_id)

    def attempt(self, jobs: Iterable[Job], time_left: Callable[[], float]) -> list[Job]:
        """Make the attempts and record them; return those without a recorded outcome. `time_left` is in seconds."""
        return self._dispatcher.run(jobs, time_left)

    def retry_failed(self, time_left: Callable[[], float], poll_s: float = 1.0) -> int:
        """Attempt what is due, and what becomes due, until too little time is left; return how many attempts were begun.

        Goes on after a database that did not answer. Raises UnavailableError when it did not answer at the last look either.
        """
        begun = 0
        failure: UnavailableError | None = None

        def due(room: int, busy: list[UUID]) -> list[Job]:
            nonlocal begun, failure
            now = self._clock.now()
            try:
                with self._database.transaction(WORKER) as tx:
                    leases = store.claim_due(
                        tx,
                        now=now,
                        token=self._ids.new(),
                        lease_until=now + LEASE,
                        limit=room,
                        per_subscription=self._dispatcher.per_subscription,
                        busy=busy,
                    )
            except UnavailableError as error:
                failure = error
                time.sleep(poll_s)
                return []
            failure = None
            begun += len(leases)
            return [DeliveryJob(self._tools, lease) for lease in leases]

        self._dispatcher.run([], time_left, refill=due, poll_s=poll_s)
        if failure is not None:
            raise failure
        return begun
