"""Messages of identity over the channels that notifications use, the second provider where the first does not answer."""

from collections.abc import Mapping, Sequence

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import ChannelProvider, Kind, Rendered
from cardwright.platform.ids import IdSource
from cardwright.providers.sending import unavailable


class ChannelMessages:
    """Sends what somebody waits for right now: each provider is asked once, in order, and nothing is kept for later."""

    def __init__(self, channels: Mapping[Kind, Sequence[ChannelProvider]], ids: IdSource) -> None:
        self._channels = channels
        self._ids = ids

    def send(self, channel: Kind, to: str, subject: str, body: str, data: Mapping[str, str]) -> None:
        """Hand a message over; `data` is for a channel that carries values beside its text.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused or address_dead.
        """
        providers = self._channels.get(channel, ())
        if not providers:
            raise ProviderRefusedError(f"There is no way to send {channel}.", code="messages_refused")
        message, message_id = Rendered(subject, body, data), self._ids.new()
        for provider in providers:
            try:
                provider.send(Secret(to), message, message_id)
            except UnavailableError:
                continue
            return
        raise unavailable()
