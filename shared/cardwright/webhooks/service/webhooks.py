"""The sending of events to subscriptions."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.outbox.ports import EventSource
from cardwright.outbox.rules import Event
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Database
from cardwright.ratelimit.service import WebhookPace
from cardwright.webhooks import rules
from cardwright.webhooks.ports import Sender
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service.dispatch import Dispatcher, Job
from cardwright.webhooks.service.jobs import WORKER, DeliveryJob, Tools
from cardwright.webhooks.service.measuring import report
from cardwright.webhooks.service.ordering import fan_out_in_order
from cardwright.webhooks.service.posting import Poster
from cardwright.webhooks.service.replaying import Replays
from cardwright.webhooks.service.sweeping import Sweep
from cardwright.webhooks.service.verifying import VerificationJob
from cardwright.webhooks.store import claiming, subscriptions
from cardwright.webhooks.store import deliveries as store

# Longer than any post: while it runs nobody else may try.
LEASE = timedelta(seconds=60)


class WebhookService:
    """Sends events to subscriptions, under role worker. `sender` is asked for when the first post is made.

    `sources` keep events that may not be in the feed yet; without `pace` a subscription is sent as much as there is.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        sealer: Sealer,
        sender: Callable[[], Sender],
        *,
        sources: Sequence[EventSource] = (),
        pace: WebhookPace | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._sealer = sealer
        self._sender = sender
        self._sources = tuple(sources)
        self._pace = pace
        self._dispatcher = dispatcher or Dispatcher()
        self._replays = Replays(database, clock, ids)
        # Subscriptions over their pace, and until when nothing more of them is claimed here.
        self._paced: dict[UUID, datetime] = {}
        self._walk = claiming.Walk()

    @cached_property
    def _tools(self) -> Tools:
        return Tools(self._database, Poster(self._sender(), self._clock), self._sealer, self._clock, self._ids)

    def send_event(self, event: Event) -> list[Job]:
        """Make one delivery for each subscription that wants the event; return the attempts to be made now.

        Events that no version of the schemas knows go nowhere. Raises UnavailableError.
        """
        rendered = {version: rules.render(event, version) for version in sorted(rules.SUPPORTED)}
        payloads = {version: rules.compact(document) for version, document in rendered.items() if document is not None}
        if not payloads:
            return []
        now = self._clock.now()
        token, lease_until = self._ids.new(), now + LEASE
        with self._database.transaction(WORKER) as tx:
            made = store.fan_out(tx, event, payloads, now=now, token=token, lease_until=lease_until)
            leases = made.leases
            if made.in_order:
                leases = leases + fan_out_in_order(
                    tx, self._sources, event, made.in_order, now=now, token=token, lease_until=lease_until
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
        return self._dispatcher.run(self._in_pace(jobs), time_left)

    def retry_failed(self, time_left: Callable[[], float], poll_s: float = 0.25) -> int:
        """Attempt what is due, and what becomes due, until too little time is left; return how many attempts were begun.

        Beside it moves replays on and asks for overdue verifications, which holds up no attempt when it fails. Goes on after a
        database that did not answer. Raises UnavailableError when it did not answer at the last look either.
        """
        begun, sweep = 0, Sweep(self._database, self._clock, self._replays)
        failure: UnavailableError | None = None

        def due(room: int, flying: Sequence[Job]) -> Collection[Job]:
            nonlocal begun, failure
            sweep.move_replays()
            overdue = sweep.overdue_verifications(min(room, self._dispatcher.per_subscription))
            asked: list[Job] = [VerificationJob(self._tools, one, self._ids.new()) for one in overdue]
            try:
                deliveries = self._claim(room - len(asked), flying)
            except UnavailableError as error:
                failure = error
                time.sleep(poll_s)
                return asked
            failure = None
            begun += len(deliveries)
            return [*asked, *deliveries]

        sweep.end_of_deleted()
        with suppress(UnavailableError):
            report(self._database, self._clock)
        self._dispatcher.run([], time_left, refill=due, poll_s=poll_s)
        if failure is not None:
            raise failure
        return begun

    def _claim(self, room: int, flying: Sequence[Job]) -> list[Job]:
        now = self._clock.now()
        self._paced = {subscription_id: until for subscription_id, until in self._paced.items() if until > now}
        with self._database.transaction(WORKER) as tx:
            leases = claiming.claim_due(
                tx,
                now=now,
                token=self._ids.new(),
                lease_until=now + LEASE,
                limit=room,
                per_subscription=self._dispatcher.per_subscription,
                flying=Counter(job.subscription_id for job in flying),
                per_owner=self._dispatcher.per_owner,
                owners=Counter(job.owner_id for job in flying),
                but=list(self._paced),
                walk=self._walk,
            )
        return self._in_pace(DeliveryJob(self._tools, lease) for lease in leases)

    def _in_pace(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs that may go now. What is over a subscription's pace is no attempt: it is due again a moment later."""
        kept = list(jobs)
        if self._pace is None:
            return kept
        grants = self._pace.grant(Counter(job.subscription_id for job in kept if isinstance(job, DeliveryJob)))
        allowed = {subscription_id: grant.allowed for subscription_id, grant in grants.items()}
        going: list[Job] = []
        for job in kept:
            if not isinstance(job, DeliveryJob):
                going.append(job)
            elif allowed[job.subscription_id] > 0:
                allowed[job.subscription_id] -= 1
                going.append(job)
            else:
                until = self._clock.now() + timedelta(milliseconds=grants[job.subscription_id].wait_ms)
                self._paced[job.subscription_id] = until
                # When the database is away its lease ends by itself.
                with suppress(UnavailableError):
                    job.postpone(until)
        return going
