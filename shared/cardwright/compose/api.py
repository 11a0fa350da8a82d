"""Composition root of the HTTP endpoints: one per row's capabilities, parts built at their first use."""

from functools import cached_property
from typing import TYPE_CHECKING

from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.compose.cards import CardRoot
from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.rows import Capability
from cardwright.platform.postgres import Database

if TYPE_CHECKING:
    from cardwright.idempotency.service import IdempotencyService
    from cardwright.identity.ports import Messages
    from cardwright.identity.service import IdentityService
    from cardwright.kyc.ports import KycProvider
    from cardwright.kyc.service import KycEvents, KycService
    from cardwright.ledger.service import LedgerBooks
    from cardwright.notifications.ports import BounceScheme
    from cardwright.notifications.service import NotificationDevices, UserNotifications
    from cardwright.notifications.service.reports import BounceReports
    from cardwright.platform.keys import DataKeys, SigningKeys
    from cardwright.programs.service import ProgramAdministration
    from cardwright.ratelimit.service import RateLimiter
    from cardwright.settlement.service import SettlementDesk
    from cardwright.transactions.service import TransactionService
    from cardwright.transactions.service.exports import TransactionExports
    from cardwright.transactions.service.inbound import ProcessorEvents
    from cardwright.transactions.service.life import TransactionLife
    from cardwright.transactions.service.parked import ParkedEvents
    from cardwright.webhooks.service import WebhookSubscriptions


class Api(CardRoot):
    """Builds services for endpoints, under role app."""

    @property
    def database(self) -> Database:
        """The database under role app."""
        self._require(Capability.DATABASE_APP)
        return resources.database(Capability.DATABASE_APP)

    @cached_property
    def signing(self) -> "SigningKeys":
        """RSA keys of access tokens."""
        from cardwright.platform.keys import SigningKeys

        capability = Capability.SIGNING_KEY if Capability.SIGNING_KEY in self._needs else Capability.SIGNING_PUBLIC_KEY
        self._require(capability)
        return SigningKeys(environment.variable(capability, "CARDWRIGHT_SIGNING_KEY_ARNS").split(","))

    @cached_property
    def data_keys(self) -> "DataKeys":
        """Data keys of users."""
        from cardwright.platform.keys import DataKeys

        self._require(Capability.USER_KEY)
        return DataKeys(environment.variable(Capability.USER_KEY, "CARDWRIGHT_USER_KEY_ARN"))

    @cached_property
    def ratelimit(self) -> "RateLimiter":
        """Quotas."""
        from cardwright.ratelimit.service import RateLimiter

        return RateLimiter(self.cache, self.clock, self.ids, enabled=self.settings.rate_limits)

    @cached_property
    def idempotency(self) -> "IdempotencyService":
        """Idempotency keys."""
        from cardwright.idempotency.service import IdempotencyService

        return IdempotencyService(self.database, self.sealer, self.clock, self.ids)

    @cached_property
    def messages(self) -> "Messages":
        """What identity sends people, over the channels of notifications."""
        from cardwright.providers.messages_channels import ChannelMessages

        return ChannelMessages(self.channels, self.ids)

    @cached_property
    def identity(self) -> "IdentityService":
        """People, logins, sessions."""
        from cardwright.identity.service import IdentityService

        return IdentityService(self)

    @cached_property
    def kyc_provider(self) -> "KycProvider":
        """The KYC provider that CARDWRIGHT_KYC names."""
        from cardwright.providers.kyc_simulated import SimulatedKyc

        self._require(Capability.KYC)
        named = environment.variable(Capability.KYC, "CARDWRIGHT_KYC")
        if named != "simulated":
            raise BrokenInvariantError(f"there is no KYC provider called {named}")
        secret = environment.variable(Capability.KYC, "CARDWRIGHT_KYC_API_SECRET")
        return SimulatedKyc(environment.variable(Capability.KYC, "CARDWRIGHT_KYC_URL"), lambda: resources.api_key(secret))

    @cached_property
    def kyc(self) -> "KycService":
        """Identity checks."""
        from cardwright.kyc.service import KycService

        return KycService(
            self.database, self.clock, self.ids, provider=lambda: self.kyc_provider, public_url=self.settings.public_url
        )

    @cached_property
    def kyc_events(self) -> "KycEvents":
        """Outcomes the KYC provider sends; taken under role worker, for no user."""
        from cardwright.kyc.service import KycEvents
        from cardwright.providers.kyc_simulated import read_event

        self._require(Capability.DATABASE_WORKER, Capability.KYC_INBOUND)
        secret = environment.variable(Capability.KYC_INBOUND, "CARDWRIGHT_KYC_INBOUND_SECRET")
        return KycEvents(
            resources.database(Capability.DATABASE_WORKER),
            self.clock,
            self.ids,
            secrets=lambda: resources.signing_secrets(secret),
            read_event=read_event,
        )

    @cached_property
    def program_administration(self) -> "ProgramAdministration":
        """Programs as staff handles them."""
        from cardwright.programs.service import ProgramAdministration

        return ProgramAdministration(self.database, self.clock)

    @cached_property
    def ledger(self) -> "LedgerBooks":
        """The ledger, to read."""
        from cardwright.ledger.service import LedgerBooks

        return LedgerBooks(self.database)

    @cached_property
    def transactions(self) -> "TransactionService":
        """What cards were used for."""
        from cardwright.transactions.service import RememberedPages, TransactionService

        return TransactionService(self.database, self.cards, RememberedPages(self.cache, lambda: self.sealer.keys_for("history")))

    @cached_property
    def transaction_life(self) -> "TransactionLife":
        """What becomes of transactions; written under role worker, for no user."""
        from cardwright.transactions.service.life import TransactionLife

        self._require(Capability.DATABASE_WORKER)
        return TransactionLife(resources.database(Capability.DATABASE_WORKER), self.clock, self.ids)

    @cached_property
    def processor_events(self) -> "ProcessorEvents":
        """Events the issuer processor sends, in the scheme of the one that the secret names beside what it signs with.

        The secret is {"secrets": [...], "processor": "lithic"}; where no processor is named, the scheme is our own (CONTRACT).
        Raises UnavailableError, and BrokenInvariantError for a processor that there is none of.
        """
        from cardwright.compose.processors import inbound_scheme
        from cardwright.transactions.service.inbound import ProcessorEvents

        self._require(Capability.PROCESSOR_INBOUND)
        secret = environment.variable(Capability.PROCESSOR_INBOUND, "CARDWRIGHT_PROCESSOR_INBOUND_SECRET")
        named = resources.secrets().get(secret).reveal().get("processor", "simulated")
        return ProcessorEvents(
            self.transaction_life,
            self.clock,
            scheme=inbound_scheme(self.settings, str(named)),
            secrets=lambda: resources.signing_secrets(secret),
        )

    @cached_property
    def transaction_exports(self) -> "TransactionExports":
        """Histories as files."""
        from cardwright.transactions.service.exports import TransactionExports

        return TransactionExports(
            self.database, self.clock, self.ids, cards=self.cards, objects=lambda: self._objects(Capability.EXPORT_LINKS)
        )

    @cached_property
    def parked_events(self) -> "ParkedEvents":
        """What the processor told of nothing we know."""
        from cardwright.transactions.service.parked import ParkedEvents

        return ParkedEvents(self.database, self.clock)

    @cached_property
    def settlement_desk(self) -> "SettlementDesk":
        """Cases and runs of settlement."""
        from cardwright.settlement.service import SettlementDesk

        return SettlementDesk(self.database, self.clock)

    @cached_property
    def notifications(self) -> "UserNotifications":
        """What people were told, and how they wish to be."""
        from cardwright.identity.service import ContactSeals
        from cardwright.notifications.service import UserNotifications

        people = ContactSeals(self.database, lambda: self.data_keys)
        return UserNotifications(self.database, self.clock, self.ids, people)

    @cached_property
    def notification_devices(self) -> "NotificationDevices":
        """Devices of people. Doors that text nobody have no channels, and those that seal nothing no data keys."""
        from cardwright.identity.service import ContactSeals
        from cardwright.notifications.service import Carriers, NotificationDevices

        seals = ContactSeals(self.database, lambda: self.data_keys)
        carriers = Carriers(self.channels if Capability.MESSAGES in self._needs else {}, self.cache, self.clock)
        return NotificationDevices(self.database, self.clock, self.ids, seals, self.sealer, carriers)

    @cached_property
    def sendgrid_reports(self) -> "BounceReports":
        """What SendGrid tells of mail it took; taken under role worker, for no user."""
        from cardwright.compose.channels import inbound_settings
        from cardwright.providers.bounces_sendgrid import SendGridBounces

        return self._reports(SendGridBounces(lambda: inbound_settings("sendgrid")))

    @cached_property
    def twilio_reports(self) -> "BounceReports":
        """What Twilio tells of texts it took; taken under role worker, for no user."""
        from cardwright.compose.channels import TWILIO_STATUS_PATH, inbound_settings
        from cardwright.providers.bounces_twilio import TwilioBounces

        url = self.settings.public_url + TWILIO_STATUS_PATH
        return self._reports(TwilioBounces(lambda: inbound_settings("twilio"), url))

    def _reports(self, scheme: "BounceScheme") -> "BounceReports":
        from cardwright.notifications.service import NotificationBounces
        from cardwright.notifications.service.reports import BounceReports

        self._require(Capability.DATABASE_WORKER, Capability.MESSAGES_INBOUND)
        bounces = NotificationBounces(resources.database(Capability.DATABASE_WORKER), self.clock, self.sealer)
        return BounceReports(bounces, self.clock, scheme)

    @cached_property
    def webhooks(self) -> "WebhookSubscriptions":
        """Webhook subscriptions."""
        from cardwright.webhooks.service import WebhookSubscriptions

        return WebhookSubscriptions(
            self.database,
            self.clock,
            self.ids,
            self.sealer,
            local=self.settings.local,
            cards=self.cards,
            own_urls=self.settings.own_urls,
        )
