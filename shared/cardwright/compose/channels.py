"""Which providers carry messages on a stage, for each channel in the order in which they are asked.

Vendors' SDKs are heavy: the providers that are named are imported, and no others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from cardwright.compose import resources
from cardwright.compose import settings as environment
from cardwright.compose.settings import Settings
from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.rows import API_PREFIX, Capability
from cardwright.kernel.secret import Secret

if TYPE_CHECKING:
    from cardwright.notifications.ports import ChannelProvider

Channel = Literal["email", "sms", "push"]
Channels = Mapping[Channel, tuple["ChannelProvider", ...]]

CHANNELS: tuple[Channel, ...] = ("email", "sms", "push")
# Which providers there are for which channel.
PROVIDERS: Mapping[Channel, frozenset[str]] = {
    "email": frozenset({"ses", "sendgrid"}),
    "sms": frozenset({"sns", "twilio"}),
    "push": frozenset({"fcm"}),
}
SIMULATED, SES, LISTED = "simulated", "ses", "listed"
_MAILTO = "mailto:"
TWILIO_STATUS_PATH = f"{API_PREFIX}/webhooks/messages/twilio"


def open_channels(settings: Settings) -> Channels:
    """The channels that CARDWRIGHT_MESSAGES names; a channel with no provider has an empty tuple.

    `simulated`: all of them, at a URL. `ses`: mail alone, from the sender in the URL mailto:<sender>, and no secret.
    `listed`: the secret {"email": ["ses", "sendgrid"], "sms": ["sns", "twilio"], "push": ["fcm"]} lists them in the order of
    failover, each with its settings beside them under its name: {"twilio": {"account_sid", "auth_token", "sender"}, ...}; mail
    comes from the sender in the URL. Which are listed is read once a process, their settings at each message.

    Raises BrokenInvariantError for what cannot be meant; UnavailableError when the secret cannot be read.
    """
    named = environment.variable(Capability.MESSAGES, "CARDWRIGHT_MESSAGES")
    url = environment.variable(Capability.MESSAGES, "CARDWRIGHT_MESSAGES_URL")
    secret = environment.variable(Capability.MESSAGES, "CARDWRIGHT_MESSAGES_API_SECRET")
    return channels(settings, named, url, lambda: resources.secrets().get(secret).reveal())


def channels(settings: Settings, named: str, url: str, secret: Callable[[], Mapping[str, Any]]) -> Channels:
    """As `open_channels` says, from values. `secret` is asked at each message."""
    if named == SIMULATED:
        return {channel: (_simulated(channel, url, secret),) for channel in CHANNELS}
    if not url.startswith(_MAILTO):
        raise BrokenInvariantError(f"message channels called {named} have no sender")
    sender = url.removeprefix(_MAILTO)
    if named == SES:
        return {"email": (_provider("ses", settings, sender, dict),), "sms": (), "push": ()}
    if named == LISTED:
        listed = secret()
        return {
            channel: tuple(
                _provider(provider, settings, sender, _part_of(secret, provider)) for provider in _names(listed, channel)
            )
            for channel in CHANNELS
        }
    raise BrokenInvariantError(f"there are no message channels called {named}")


def inbound_settings(provider: str) -> Mapping[str, Any]:
    """What a provider's reports are checked with: its part of a secret with one for each, see the adapter's class.

    Raises UnauthenticatedError signature_invalid for a provider the stage has no part of: nobody signs as that one;
    UnavailableError, BrokenInvariantError.
    """
    secret = environment.variable(Capability.MESSAGES_INBOUND, "CARDWRIGHT_MESSAGES_INBOUND_SECRET")
    part = _part_of(lambda: resources.secrets().get(secret).reveal(), provider)()
    if not part:
        raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid")
    return part


def _names(document: Mapping[str, Any], channel: Channel) -> Sequence[str]:
    listed = document.get(channel, [])
    known = PROVIDERS[channel]
    if not isinstance(listed, list) or not all(isinstance(name, str) and name in known for name in listed):
        raise BrokenInvariantError(f"the channel {channel} lists providers there are none of")
    if len(set(listed)) != len(listed):
        raise BrokenInvariantError(f"the channel {channel} lists a provider twice")
    return listed


def _part_of(secret: Callable[[], Mapping[str, Any]], provider: str) -> Callable[[], Mapping[str, Any]]:
    def part() -> Mapping[str, Any]:
        found = secret().get(provider, {})
        if not isinstance(found, dict):
            raise BrokenInvariantError("a message provider's settings have not the shape they must have")
        return cast("Mapping[str, Any]", found)

    return part


def _simulated(channel: Channel, url: str, secret: Callable[[], Mapping[str, Any]]) -> "ChannelProvider":
    from cardwright.providers.channels_simulated import SimulatedChannel

    def api_key() -> Secret[str]:
        value = secret().get("api_key")
        if not isinstance(value, str) or not value:
            raise BrokenInvariantError("a provider's secret has not the shape it must have")
        return Secret(value)

    return SimulatedChannel(channel, url, api_key)


def _provider(name: str, settings: Settings, sender: str, part: Callable[[], Mapping[str, Any]]) -> "ChannelProvider":
    match name:
        case "ses":
            from cardwright.providers.mail_ses import SesMail

            return SesMail(sender, part().get("configuration_set"))
        case "sendgrid":
            from cardwright.providers.mail_sendgrid import SendGridMail

            return SendGridMail(lambda: {"sender": sender, **part()})
        case "sns":
            from cardwright.providers.sms_sns import SnsSms

            return SnsSms(part().get("sender_id"))
        case "twilio":
            from cardwright.providers.sms_twilio import TwilioSms

            # Twilio calls nobody back over plain http.
            told = settings.public_url.startswith("https://")
            return TwilioSms(part, status_url=settings.public_url + TWILIO_STATUS_PATH if told else None)
        case _:
            from cardwright.providers.push_fcm import FcmPush

            return FcmPush(part)
