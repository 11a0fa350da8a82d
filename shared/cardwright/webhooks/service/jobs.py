"""The post that delivers an event, and what posts work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel.clock import Clock
from cardwright.kernel.secret import Secret
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import WEBHOOK_DISABLED, Event
from cardwright.platform import metrics
from cardwright.platform.ids import IdSource, random_bytes
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.webhooks import rules
from cardwright.webhooks.rules import DeliveryStatus
from cardwright.webhooks.service.posting import Posted, Poster
from cardwright.webhooks.store import deliveries as store
from cardwright.webhooks.store import subscriptions

WORKER = Actor(None, "system")
_MILLISECOND = timedelta(milliseconds=1)
# Where no attempt could be made (no sender, no keys) the next try comes after 10 to 15 s.
_AGAIN_S, _SPREAD = 10, 0.5


@dataclass(frozen=True, slots=True)
class Tools:
    """What jobs work with."""

    database: Database
    poster: Poster
    sealer: Sealer
    clock: Clock
    ids: IdSource

    def secrets(self, user_id: UUID, subscription_id: UUID, sealed: Sequence[bytes]) -> list[Secret[str]]:
        """The signing secrets, opened. Raises UnavailableError, BrokenInvariantError."""
        context = seal_context(user_id, subscription_id)
        return [Secret(self.sealer.open(one, context).decode()) for one in sealed]

    def note(self, tx: Transaction, subscription_id: UUID, action: str, **values: object) -> None:
        """Append to the subscription's audit chain."""
        note(tx, self.ids.new(), self.clock.now(), subscription_id, action, values)


def note(tx: Transaction, entry_id: UUID, at: datetime, subscription_id: UUID, action: str, values: Mapping[str, object]) -> None:
    """Append to a subscription's audit chain. The URL stays out: it may hold a token of the receiver's."""
    audit.append(
        tx,
        subject_type="webhook_subscription",
        subject_id=subscription_id,
        entry_id=entry_id,
        action=action,
        occurred_at=at,
        new=values,
    )


def seal_context(user_id: UUID, subscription_id: UUID) -> str:
    """What a sealed secret is bound to."""
    return f"webhook:{user_id}:{subscription_id}"


class DeliveryJob:
    """One attempt of a leased delivery."""

    def __init__(self, tools: Tools, lease: store.Lease) -> None:
        self._tools = tools
        self._lease = lease

    @property
    def owner_id(self) -> UUID:
        """Whose subscription it is."""
        return self._lease.user_id

    @property
    def subscription_id(self) -> UUID:
        """Whose receiver it goes to."""
        return self._lease.subscription_id

    def post(self) -> Posted | None:
        """Send the stored bytes, signed now."""
        lease = self._lease
        sealed = rules.signing(lease.secrets_sealed, lease.secrets_until, self._tools.clock.now())
        return self._tools.poster.post(
            lease.url,
            lambda: self._tools.secrets(lease.user_id, lease.subscription_id, sealed),
            lease.event_id,
            lease.payload,
        )

    def record(self, posted: Posted) -> None:
        """Note the attempt, the delivery's next step, and what it says of the receiver. Nothing when the lease is lost."""
        lease, now = self._lease, self._tools.clock.now()
        number = lease.attempts + 1
        delivered, gone = posted.outcome == "delivered", posted.outcome == "gone"
        again = None
        if not delivered and not gone:
            again = rules.next_attempt(number - lease.round_start, now, _jitter(), posted.retry_after_s)
        attempt = rules.Attempt(
            number,
            posted.started_at,
            posted.latency_ms,
            posted.status_code,
            posted.outcome,
            None if posted.status_code is None else rules.printable(posted.body),
        )
        status = DeliveryStatus.DELIVERED if delivered else DeliveryStatus.FAILED if again is None else DeliveryStatus.PENDING
        with self._tools.database.transaction(WORKER) as tx:
            health = subscriptions.lock_health(tx, lease.user_id, lease.subscription_id)
            if health is None or not store.record_attempt(tx, lease, attempt, status, again, now):
                return
            after = rules.learn(health, delivered=delivered, spent=again is None, gone=gone, latency_ms=posted.latency_ms)
            if after != health:
                self._save(tx, health, after, posted.outcome, now)
        self._measure(attempt)

    def _save(self, tx: Transaction, before: rules.Health, after: rules.Health, outcome: str, now: datetime) -> None:
        """Save what was learnt; a subscription that is given up ends what waits for it, and its owner is told."""
        lease = self._lease
        disabled = after.status is not before.status
        subscriptions.save_health(tx, lease.user_id, lease.subscription_id, after, outcome if disabled else None, now)
        if not disabled:
            return
        store.cancel_pending(tx, lease.user_id, lease.subscription_id, now)
        self._tools.note(tx, lease.subscription_id, "webhook.disabled", status=after.status.value, cause=outcome)
        told = {"subscription_id": str(lease.subscription_id), "cause": outcome, "host": rules.shown_host(lease.url)}
        owned = subscriptions.load(tx, lease.user_id, lease.subscription_id)
        if owned is not None and owned.description:
            told["description"] = owned.description
        outbox.append(tx, Event(self._tools.ids.new(), WEBHOOK_DISABLED, now, told, lease.user_id))

    def _measure(self, attempt: rules.Attempt) -> None:
        metrics.emit({"WebhookAttempts": (1, "Count")}, {"outcome": attempt.outcome}, attempt.started_at)
        if attempt.number == 1 and not self._lease.replayed:
            delay = attempt.started_at - self._lease.event_created_at
            measured = max(0, delay // _MILLISECOND)
            metrics.emit({"WebhookFirstAttemptDelay": (measured, "Milliseconds")}, {}, attempt.started_at)

    def slow(self) -> None:
        """Leave what comes for this receiver to the schedule, until an answer says how slow it is."""
        with self._tools.database.transaction(WORKER) as tx:
            subscriptions.move_to_background(tx, self._lease.user_id, self._lease.subscription_id)

    def release(self, *, tried: bool = False) -> None:
        """Leave the delivery to the schedule: at once, or in some seconds when no attempt could be made here."""
        if tried:
            self.postpone(self._tools.clock.now() + timedelta(seconds=_AGAIN_S * (1 + _SPREAD * _jitter())))
            return
        with self._tools.database.transaction(WORKER) as tx:
            store.release(tx, self._lease)

    def postpone(self, until: datetime) -> None:
        """Leave the delivery to the schedule, not before then. Raises UnavailableError when the database does not answer."""
        with self._tools.database.transaction(WORKER) as tx:
            store.release(tx, self._lease, until)


def _jitter() -> float:
    return int.from_bytes(random_bytes(4), "big") / 2**32
