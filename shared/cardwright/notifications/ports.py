"""What notifications ask of the outside world: channels to people, and the addresses people are reached by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from cardwright.kernel.errors import ProviderRefusedError
from cardwright.kernel.secret import Secret
from cardwright.notifications.rules import Because
from cardwright.platform.postgres import Actor

Kind = Literal["email", "sms", "push"]


class DeadAddressError(ProviderRefusedError):
    """The address takes no messages any more: it bounced, its owner unsubscribed, the token is not registered."""

    code = "address_dead"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message goes: an e-mail address, an E.164 number or a push token. E-mail has no device."""

    kind: Kind
    value: Secret[str]
    device_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message in its reader's language. `subject` is an e-mail's, or a push's title; `data` goes with a push, unseen."""

    subject: str | None
    body: str
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sent:
    """Who took a message, and the name it has there."""

    provider: str
    provider_message_id: str | None


class ChannelProvider(Protocol):
    """Carries messages of one kind."""

    @property
    def name(self) -> str:
        """Stable name: ses, sendgrid, sns, twilio, fcm, simulated."""
        ...

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Hand a message over; return the provider's id of it. The same `message_id` again is the same message.

        Raises UnavailableError (the next provider is tried), ProviderRefusedError (this message is refused for good),
        DeadAddressError. None of them names the recipient.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bounce:
    """What a provider tells of an address after it took a message for it: it takes nothing more."""

    kind: Kind
    address: Secret[str]
    because: Because


class BounceScheme(Protocol):
    """How a provider words, and where it posts them signs, its reports of what became of messages."""

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Bounce]:
        """The dead addresses in one report; what else it tells is left out.

        Raises UnauthenticatedError signature_missing, signature_invalid or timestamp_out_of_range; InvalidRequestError
        json_invalid or event_invalid; UnavailableError.
        """
        ...


class Contacts(Protocol):
    """Addresses of people, opened under each person's own data key, for workers."""

    def email(self, user_id: UUID) -> Secret[str] | None:
        """The confirmed e-mail address; None when there is none, or nobody of that id. Raises UnavailableError."""
        ...

    def open(self, user_id: UUID, field: str, sealed: bytes) -> Secret[str] | None:
        """A value that was sealed for the person; None when there is nobody of that id. Raises UnavailableError."""
        ...


class Seals(Protocol):
    """Seals values of people under their own data key, for doors."""

    def seal(self, actor: Actor, user_id: UUID, field: str, text: Secret[str]) -> bytes:
        """Seal one value; it opens as this field of this user only. Raises UnauthenticatedError, UnavailableError."""
        ...


class People(Protocol):
    """Knows who has an account."""

    def exists(self, actor: Actor, user_id: UUID) -> bool:
        """True when there is such a user for this actor."""
        ...


class DerivedKeys(Protocol):
    """Keys for a purpose, the active one first."""

    def keys_for(self, purpose: str) -> Sequence[Secret[bytes]]:
        """Raise UnavailableError."""
        ...
