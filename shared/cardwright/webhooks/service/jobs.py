"""The two kinds of posts: a delivery of an event, and the verification of a URL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel.clock import Clock
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import IdSource, random_bytes
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.webhooks import rules, store
from cardwright.webhooks.rules import DeliveryStatus, SubscriptionStatus
from cardwright.webhooks.service.posting import Posted, Poster

WORKER = Actor(None, "system")


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
    def subscription_id(self) -> UUID:
        """Whose receiver it goes to."""
        return self._lease.subscription_id

    def post(self) -> Posted | None:
        """Send the stored bytes, signed now."""
        lease = self._lease
        return self._tools.poster.post(
            lease.url,
            lambda: self._tools.secrets(lease.user_id, lease.subscription_id, lease.secrets_sealed),
            lease.event_id,
            lease.payload,
        )

    def record(self, posted: Posted) -> None:
        """Note the attempt, the delivery's next step, and what it says of the receiver. Nothing when the lease is lost."""
        lease, now = self._lease, self._tools.clock.now()
        number = lease.attempts + 1
        delivered, gone = posted.outcome == "delivered", posted.outcome == "gone"
        again = None if delivered or gone else rules.next_attempt(number, now, _jitter(), posted.retry_after_s)
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
            health = store.lock_health(tx, lease.user_id, lease.subscription_id)
            if health is None or not store.record_attempt(tx, lease, attempt, status, again, now):
                return
            after = rules.learn(health, delivered=delivered, spent=again is None, gone=gone, latency_ms=posted.latency_ms)
            if after == health:
                return
            detail = posted.outcome if after.status is not health.status else None
            store.save_health(tx, lease.user_id, lease.subscription_id, after, detail, now)
            if detail is not None:
                store.cancel_pending(tx, lease.user_id, lease.subscription_id, now)
                self._tools.note(tx, lease.subscription_id, "webhook.disabled", status=after.status.value, cause=detail)

    def release(self) -> None:
        """Leave the delivery to the schedule."""
        with self._tools.database.transaction(WORKER) as tx:
            store.release(tx, self._lease)


class VerificationJob:
    """Asks a new URL whether it wants our events: it must answer the challenge."""

    def __init__(self, tools: Tools, subscription: rules.Subscription, message_id: UUID) -> None:
        self._tools = tools
        self._subscription = subscription
        self._message_id = message_id
        self._challenge = random_bytes(24).hex()

    @property
    def subscription_id(self) -> UUID:
        """Whose receiver it goes to."""
        return self._subscription.subscription_id

    def post(self) -> Posted | None:
        """Send the challenge, signed."""
        wanted = self._subscription
        return self._tools.poster.post(
            wanted.url,
            lambda: self._tools.secrets(wanted.user_id, wanted.subscription_id, wanted.secrets_sealed),
            self._message_id,
            rules.compact({"type": "webhook.verification", "challenge": self._challenge}),
        )

    def record(self, posted: Posted) -> None:
        """Make the subscription ACTIVE or VERIFICATION_FAILED, unless it has changed meanwhile."""
        met = posted.status_code is not None and rules.challenge_met(posted.status_code, posted.body, self._challenge)
        status = SubscriptionStatus.ACTIVE if met else SubscriptionStatus.VERIFICATION_FAILED
        detail = "verified" if met else "challenge_not_met" if posted.outcome == "delivered" else posted.outcome
        with self._tools.database.transaction(WORKER) as tx:
            if store.set_verified(tx, self._subscription, status, detail, self._tools.clock.now()):
                action = "webhook.verified" if met else "webhook.verification_failed"
                self._tools.note(tx, self.subscription_id, action, status=status.value, cause=detail)

    def release(self) -> None:
        """Nothing is held: the message comes again."""


def _jitter() -> float:
    return int.from_bytes(random_bytes(4), "big") / 2**32
