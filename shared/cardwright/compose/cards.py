"""What doors and workers have alike to work on cards: cache, programs, vault, processor, the service."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.compose.root import Root
from cardwright.kernel.rows import Capability
from cardwright.platform.cache import Cache
from cardwright.platform.postgres import Database

if TYPE_CHECKING:
    from cardwright.cards.ports import Processor
    from cardwright.cards.service import CardService, KycStatuses
    from cardwright.platform.keys import MacKey
    from cardwright.programs.service import ProgramService
    from cardwright.vault.service import Vault

# One creation asks four times before it gives up: more than two of them in a row must fail before nobody asks any more.
_FAILURES = 10
_OPEN_S = 10
# Longer than any call to a card: a creation may be two calls of 11 s each, and that for each of the keys while one is rotated.
_PROBE_S = 90


class CardRoot(Root, ABC):
    """Parts of cards, under whichever database role and with whichever view of KYC the root has."""

    @property
    @abstractmethod
    def database(self) -> Database:
        """The database under the root's role."""

    @property
    @abstractmethod
    def kyc(self) -> "KycStatuses":
        """Who may hold cards."""

    @property
    def cache(self) -> Cache:
        """Valkey."""
        self._require(Capability.CACHE)
        return resources.cache_client()

    @cached_property
    def mac(self) -> "MacKey":
        """Blind indexes and fingerprints."""
        from cardwright.platform.keys import MacKey

        self._require(Capability.MAC_KEY)
        return MacKey(environment.variable(Capability.MAC_KEY, "CARDWRIGHT_MAC_KEY_ARN"))

    @cached_property
    def programs(self) -> "ProgramService":
        """Programs of cards."""
        from cardwright.programs.service import ProgramService

        return ProgramService()

    @cached_property
    def vault(self) -> "Vault":
        """Encrypts card numbers."""
        from cardwright.platform.envelopes import EnvelopeKey
        from cardwright.vault.service import Vault

        self._require(Capability.VAULT_KEY)
        arns = environment.variable(Capability.VAULT_KEY, "CARDWRIGHT_VAULT_KEY_ARNS").split(",")
        return Vault(EnvelopeKey(arns), lambda: self.mac)

    @cached_property
    def processor(self) -> "Processor":
        """The issuer processor that CARDWRIGHT_PROCESSOR names, behind a breaker that all functions share."""
        from cardwright.cards.service import GuardedProcessor
        from cardwright.compose.processors import processor
        from cardwright.platform.breaker import Breaker

        self._require(Capability.PROCESSOR)
        named = environment.variable(Capability.PROCESSOR, "CARDWRIGHT_PROCESSOR")
        url = environment.variable(Capability.PROCESSOR, "CARDWRIGHT_PROCESSOR_URL")
        secret = environment.variable(Capability.PROCESSOR, "CARDWRIGHT_PROCESSOR_API_SECRET")
        breaker = Breaker(
            self.cache,
            self.clock,
            f"processor-{named}",
            code="processor_unavailable",
            failures=_FAILURES,
            open_s=_OPEN_S,
            probe_s=_PROBE_S,
        )
        return GuardedProcessor(processor(self.settings, named, url, lambda: resources.secrets().get(secret).reveal()), breaker)

    @cached_property
    def cards(self) -> "CardService":
        """Cards."""
        from cardwright.cards.rules import BATCHES_PER_HOUR, CREATIONS_PER_HOUR, REVEALS_PER_HOUR
        from cardwright.cards.service import CardService

        limited = self.settings.rate_limits
        return CardService(
            self,
            creations_per_hour=CREATIONS_PER_HOUR if limited else None,
            batches_per_hour=BATCHES_PER_HOUR if limited else None,
            reveals_per_hour=REVEALS_PER_HOUR if limited else None,
        )
