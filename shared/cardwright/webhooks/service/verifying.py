"""The post that asks a new URL whether it wants our events."""

from uuid import UUID

from cardwright.platform.ids import random_bytes
from cardwright.webhooks import rules
from cardwright.webhooks.rules import SubscriptionStatus
from cardwright.webhooks.service.jobs import WORKER, Tools
from cardwright.webhooks.service.posting import Posted
from cardwright.webhooks.store import subscriptions as store


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
