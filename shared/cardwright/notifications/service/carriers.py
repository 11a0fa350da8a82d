"""The way out: providers of a channel asked in their order, each left alone while it is known not to answer."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import ChannelProvider, Kind, Rendered, Sent
from cardwright.platform.breaker import Breaker
from cardwright.platform.cache import Cache
from cardwright.platform.telemetry import logger


class Carriers:
    """Hands a message to the first provider that takes it. Safe to share among threads."""

    def __init__(self, providers: Mapping[Kind, Sequence[ChannelProvider]], cache: Cache, clock: Clock) -> None:
        self._providers = {
            kind: [(one, Breaker(cache, clock, f"messages-{kind}-{one.name}", code="messages_unavailable")) for one in listed]
            for kind, listed in providers.items()
        }
        self._cache = cache

    def carries(self, kind: Kind) -> bool:
        """True when the stage has a provider of the channel."""
        return bool(self._providers.get(kind))

    def send(self, kind: Kind, to: Secret[str], message: Rendered, message_id: UUID) -> Sent:
        """Send by the first provider that answers. One that refuses has answered: no other is asked.

        Raises UnavailableError when none answers, ProviderRefusedError, DeadAddressError.
        """
        failure: UnavailableError | None = None
        for provider, breaker in self._providers.get(kind, ()):
            try:
                return Sent(provider.name, breaker.call(_sending(provider, to, message, message_id)))
            except UnavailableError as error:
                logger.warning("a message provider does not answer", extra={"provider": provider.name, "code": error.code})
                failure = error
        raise failure or UnavailableError("There is no provider of this channel.", code="messages_unavailable")

    def close(self) -> None:
        """Close what this thread holds open."""
        self._cache.close()


def _sending(provider: ChannelProvider, to: Secret[str], message: Rendered, message_id: UUID) -> Callable[[], str | None]:
    return lambda: provider.send(to, message, message_id)
