"""Composition root of queue, schedule and signed-event functions: the worker role, no user."""

from functools import cached_property
from typing import TYPE_CHECKING

from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.compose.settings import Settings, settings
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Database

if TYPE_CHECKING:
    from cardwright.outbox.service import OutboxRelay
    from cardwright.platform.egress import Egress
    from cardwright.platform.keys import Sealer
    from cardwright.platform.queue import QueueSender
    from cardwright.webhooks.service import WebhookService, WebhookWorker


class Workers:
    """Builds services for workers; a part whose capability the row did not ask for is refused."""

    def __init__(self, needs: frozenset[Capability]) -> None:
        self._needs = needs

    def _require(self, *capabilities: Capability) -> None:
        for capability in capabilities:
            if capability not in self._needs:
                raise BrokenInvariantError(f"the row does not ask for {capability}")

    @property
    def settings(self) -> Settings:
        """The stage's settings."""
        return settings()

    @property
    def clock(self) -> Clock:
        """The injected clock."""
        return resources.clock()

    @property
    def ids(self) -> IdSource:
        """The source of identifiers."""
        return resources.ids()

    @property
    def database(self) -> Database:
        """The database under role worker; sweeps may take longer than requests."""
        self._require(Capability.DATABASE_WORKER)
        return resources.database(Capability.DATABASE_WORKER, budget_s=35.0)

    @cached_property
    def sealer(self) -> "Sealer":
        """Opens sealed webhook secrets."""
        from cardwright.platform.keys import Sealer

        self._require(Capability.SEALING_SECRET)
        name = environment.variable(Capability.SEALING_SECRET, "CARDWRIGHT_SEALING_SECRET")
        return Sealer(resources.secrets(), name)

    @cached_property
    def event_queue(self) -> "QueueSender":
        """The queue events go to."""
        from cardwright.platform.queue import QueueSender

        self._require(Capability.EVENT_QUEUE)
        return QueueSender(environment.variable(Capability.EVENT_QUEUE, "CARDWRIGHT_EVENT_QUEUE_URL"))

    @cached_property
    def outbox(self) -> "OutboxRelay":
        """Moves committed events to the queue."""
        from cardwright.outbox.service import OutboxEvents, OutboxRelay
        from cardwright.transactions.service import TransactionEvents

        return OutboxRelay(self.database, [OutboxEvents(), TransactionEvents()], self.event_queue, self.clock)

    @cached_property
    def egress(self) -> "Egress":
        """Posts to URLs strangers chose; on the local stage also to this machine."""
        from cardwright.platform.egress import Egress

        self._require(Capability.INTERNET)
        return Egress(loopback=self.settings.local)

    @cached_property
    def webhooks(self) -> "WebhookService":
        """Sends events to subscriptions."""
        from cardwright.webhooks.service import WebhookService

        return WebhookService(self.database, self.clock, self.ids, self.sealer, lambda: self.egress, local=self.settings.local)

    @cached_property
    def webhook_worker(self) -> "WebhookWorker":
        """Consumes the events queue."""
        from cardwright.webhooks.service import WebhookWorker

        return WebhookWorker(self.webhooks)
