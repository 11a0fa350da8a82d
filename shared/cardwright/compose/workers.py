"""Composition root of queue, schedule and signed-event functions: the worker role, no user."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.compose.cards import CardRoot
from cardwright.compose.restore import prepare
from cardwright.kernel.errors import BrokenInvariantError, NotFoundError
from cardwright.kernel.rows import Capability
from cardwright.platform.postgres import Database

if TYPE_CHECKING:
    from cardwright.authorizations.service.unanswered import UnansweredHolds
    from cardwright.cards.service.numbers import CardNumberRotation
    from cardwright.kyc.ports import KycProvider
    from cardwright.kyc.service import KycService
    from cardwright.ledger.service import LedgerCheck
    from cardwright.notifications.service import NotificationService, NotificationWorker
    from cardwright.notifications.service.reports import BounceReports
    from cardwright.outbox.service import OutboxRelay
    from cardwright.platform.dead_letters import DeadLetters
    from cardwright.platform.egress import Egress
    from cardwright.platform.invoking import InvokedSender
    from cardwright.settlement.service import Reconciliation
    from cardwright.transactions.service.export_runs import ExportRunner
    from cardwright.transactions.service.life import TransactionLife
    from cardwright.transactions.service.sweeping import TransactionSweeps
    from cardwright.webhooks.service import WebhookService, WebhookWorker


class Workers(CardRoot):
    """Builds services for workers, under role worker."""

    @property
    def database(self) -> Database:
        """The database under role worker; sweeps may take longer than requests."""
        self._require(Capability.DATABASE_WORKER)
        return resources.database(Capability.DATABASE_WORKER, budget_s=35.0)

    @cached_property
    def kyc(self) -> "KycService":
        """Who may hold cards; workers submit nothing to the provider."""
        from cardwright.kyc.service import KycService

        return KycService(self.database, self.clock, self.ids, provider=self._no_kyc, public_url=self.settings.public_url)

    @staticmethod
    def _no_kyc() -> "KycProvider":
        raise BrokenInvariantError("workers submit nothing to the KYC provider")

    @cached_property
    def card_numbers(self) -> "CardNumberRotation":
        """Brings card numbers under the vault's current key."""
        from cardwright.cards.service.numbers import CardNumberRotation

        # The only part that opens what the vault has sealed.
        self._require(Capability.VAULT_DECRYPT)
        return CardNumberRotation(self.database, self.vault, self.clock, self.ids)

    @cached_property
    def ledger_check(self) -> "LedgerCheck":
        """Looks whether the ledger holds."""
        from cardwright.ledger.service import LedgerCheck

        return LedgerCheck(self.database, self.clock)

    @cached_property
    def outbox(self) -> "OutboxRelay":
        """Copies decisions into the feed and moves committed events to the queues that want them."""
        from cardwright.outbox.ports import QueueRoute
        from cardwright.outbox.rules import for_partners, for_people
        from cardwright.outbox.service import OutboxRelay
        from cardwright.platform.queue import QueueSender
        from cardwright.transactions.service import TransactionEvents

        self._require(Capability.EVENT_QUEUE)
        partners = environment.variable(Capability.EVENT_QUEUE, "CARDWRIGHT_EVENT_QUEUE_URL")
        people = environment.variable(Capability.EVENT_QUEUE, "CARDWRIGHT_NOTIFICATION_QUEUE_URL")
        routes = [
            QueueRoute("events", QueueSender(partners), for_partners),
            QueueRoute("notifications", QueueSender(people), for_people),
        ]
        return OutboxRelay(self.database, [TransactionEvents()], routes, self.clock)

    def dead_letters(self, queue: str) -> "DeadLetters":
        """What the consumer of a queue, by its logical name, gave up. Raises NotFoundError queue_not_found."""
        from cardwright.platform.dead_letters import DeadLetters

        self._require(Capability.DEAD_LETTERS)
        variables = {"events": "CARDWRIGHT_EVENT_QUEUE_URL", "notifications": "CARDWRIGHT_NOTIFICATION_QUEUE_URL"}
        if queue not in variables:
            raise NotFoundError(f"There is no such queue; there are: {', '.join(variables)}.", code="queue_not_found")
        return DeadLetters(environment.variable(Capability.DEAD_LETTERS, variables[queue]))

    @cached_property
    def transaction_life(self) -> "TransactionLife":
        """What happens to transactions after they were decided."""
        from cardwright.transactions.service.life import TransactionLife

        return TransactionLife(self.database, self.clock, self.ids)

    @cached_property
    def unanswered_holds(self) -> "UnansweredHolds":
        """Gives back holds of answers that never arrived."""
        from cardwright.authorizations.service.unanswered import UnansweredHolds

        self._require(Capability.PROCESSOR_INBOUND)
        secret = environment.variable(Capability.PROCESSOR_INBOUND, "CARDWRIGHT_PROCESSOR_INBOUND_SECRET")
        return UnansweredHolds(self.cache, self.transaction_life, self.clock, secrets=lambda: resources.signing_secrets(secret))

    @cached_property
    def export_runs(self) -> "ExportRunner":
        """Writes exported histories to files."""
        from cardwright.transactions.service.export_runs import ExportRunner

        return ExportRunner(self.database, self.clock, self._objects(Capability.EXPORTS))

    @cached_property
    def reconciliation(self) -> "Reconciliation":
        """Compares what we know with what the processor that CARDWRIGHT_PROCESSOR names tells of its side."""
        from cardwright.compose.settlement import settlement_source
        from cardwright.settlement.service import Reconciliation

        self._require(Capability.PROCESSOR)
        named = environment.variable(Capability.PROCESSOR, "CARDWRIGHT_PROCESSOR")
        url = environment.variable(Capability.PROCESSOR, "CARDWRIGHT_PROCESSOR_URL")
        secret = environment.variable(Capability.PROCESSOR, "CARDWRIGHT_PROCESSOR_API_SECRET")
        source = settlement_source(self.settings, named, url, lambda: resources.secrets().get(secret).reveal())
        return Reconciliation(self.database, self.clock, self.ids, self.transaction_life, named, source)

    @cached_property
    def transaction_sweeps(self) -> "TransactionSweeps":
        """Parked events and overdue holds."""
        from cardwright.transactions.service.sweeping import TransactionSweeps

        return TransactionSweeps(self.transaction_life)

    @cached_property
    def egress(self) -> "Egress":
        """Posts to URLs strangers chose; on the local stage also to this machine."""
        from cardwright.platform.egress import Egress

        self._require(Capability.INTERNET)
        return Egress(loopback=self.settings.local)

    def send_webhook(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Make the post an invocation describes; tell the answer, or why there is none."""
        from cardwright.platform.egress import answer_invocation

        return answer_invocation(self.egress, event)

    @cached_property
    def webhook_sender(self) -> "InvokedSender":
        """Posts through the function that stands apart."""
        from cardwright.platform.invoking import InvokedSender

        self._require(Capability.WEBHOOK_SENDER)
        return InvokedSender(environment.variable(Capability.WEBHOOK_SENDER, "CARDWRIGHT_WEBHOOK_SENDER_FUNCTION"))

    @cached_property
    def webhooks(self) -> "WebhookService":
        """Sends events to subscriptions."""
        from cardwright.ratelimit.service import WebhookPace
        from cardwright.transactions.service import TransactionEvents
        from cardwright.webhooks.service import WebhookService

        return WebhookService(
            self.database,
            self.clock,
            self.ids,
            self.sealer,
            lambda: self.webhook_sender,
            sources=[TransactionEvents()],
            pace=WebhookPace(self.cache, self.clock, self.ids, enabled=self.settings.rate_limits),
        )

    @cached_property
    def webhook_worker(self) -> "WebhookWorker":
        """Consumes the events queue."""
        from cardwright.webhooks.service import WebhookWorker

        return WebhookWorker(self.webhooks)

    @cached_property
    def notifications(self) -> "NotificationService":
        """Tells people of events."""
        from cardwright.identity.service import Contacts
        from cardwright.notifications.service import Carriers, NotificationService
        from cardwright.platform.keys import DataKeys

        self._require(Capability.USER_KEY)
        key = environment.variable(Capability.USER_KEY, "CARDWRIGHT_USER_KEY_ARN")
        return NotificationService(
            self.database,
            self.clock,
            self.ids,
            self.sealer,
            contacts=lambda: Contacts(self.database, DataKeys(key)),
            carriers=lambda: Carriers(self.channels, self.cache, self.clock),
        )

    @cached_property
    def ses_reports(self) -> "BounceReports":
        """What SES tells of mail it took."""
        from cardwright.notifications.service import NotificationBounces
        from cardwright.notifications.service.reports import BounceReports
        from cardwright.providers.bounces_ses import SesBounces

        return BounceReports(NotificationBounces(self.database, self.clock, self.sealer), self.clock, SesBounces())

    @cached_property
    def notification_worker(self) -> "NotificationWorker":
        """Consumes the notifications queue."""
        from cardwright.notifications.service import NotificationWorker

        return NotificationWorker(self.notifications)


@cache
def workers(needs: frozenset[Capability]) -> Workers:
    """The parts, built once per process."""
    return Workers(needs)


def host(needs: frozenset[Capability]) -> Callable[[], Workers]:
    """Called when a worker's module is imported, with its row's capabilities; what it returns gives the parts."""
    prepare(needs, workers.cache_clear)
    return lambda: workers(needs)
