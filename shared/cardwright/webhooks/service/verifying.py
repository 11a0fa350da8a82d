"""The post that asks a new URL whether it wants our events."""

from dataclasses import replace
from uuid import UUID

from cardwright.platform.ids import random_bytes
from cardwright.webhooks import rules
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service.jobs import WORKER, Tools
from cardwright.webhooks.service.posting import Posted
from cardwright.webhooks.service.replaying import replay_missed
from cardwright.webhooks.store import subscriptions as store


class VerificationJob:
    """Asks a new URL whether it wants our events: it must answer the challenge."""

    def __init__(self, tools: Tools, subscription: rules.Subscription, message_id: UUID) -> None:
        self._tools = tools
        self._subscription = subscription
        self._message_id = message_id
        self._challenge = random_bytes(24).hex()

    @property
    def owner_id(self) -> UUID:
        """Whose subscription it is."""
        return self._subscription.user_id

    @property
    def subscription_id(self) -> UUID:
        """Whose receiver it goes to."""
        return self._subscription.subscription_id

    def post(self) -> Posted | None:
        """Send the challenge, signed."""
        wanted = self._subscription
        secrets = rules.signing(wanted.secrets_sealed, wanted.secrets_until, self._tools.clock.now())
        return self._tools.poster.post(
            wanted.url,
            lambda: self._tools.secrets(wanted.user_id, wanted.subscription_id, secrets),
            self._message_id,
            rules.compact({"type": "webhook.verification", "challenge": self._challenge}),
        )

    def record(self, posted: Posted) -> None:
        """Make the subscription ACTIVE or VERIFICATION_FAILED, if it still waits for this URL's answer.

        A subscription that becomes ACTIVE is sent what happened since it was made, or since it was ACTIVE last.
        """
        met = posted.status_code is not None and rules.challenge_met(posted.status_code, posted.body, self._challenge)
        detail = "verified" if met else "challenge_not_met" if posted.outcome == "delivered" else posted.outcome
        asked, tools = self._subscription, self._tools
        with tools.database.transaction(WORKER) as tx:
            current = store.load(tx, asked.user_id, asked.subscription_id, lock=True)
            if current is None or current.url != asked.url or current.status is not SubscriptionStatus.PENDING_VERIFICATION:
                return
            now = tools.clock.now()
            judged = rules.activated(current, detail, now) if met else rules.unverified(current, detail)
            store.save_standing(tx, replace(judged, version=current.version + 1, updated_at=now))
            if met:
                replay_missed(tx, current, tools.ids.new(), now)
            action = "webhook.verified" if met else "webhook.verification_failed"
            tools.note(tx, self.subscription_id, action, status=judged.status.value, cause=detail)

    def slow(self) -> None:
        """A receiver is judged by its deliveries."""

    def release(self, *, tried: bool = False) -> None:
        """Nothing is held: the message comes again, or the schedule finds it overdue."""
