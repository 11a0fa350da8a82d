"""Messages: their states, how many a person gets at most, and what becomes of each when a notification is planned."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cardwright.notifications.rules.timing import digest_due, in_order, quiet_until
from cardwright.notifications.rules.wishes import Category, Channel, DigestMode, Preferences

# Ways that leave the house; the inbox is no message.
SENT = "sent"
OUTGOING = (Channel.PUSH, Channel.EMAIL, Channel.SMS)


class MessageStatus(StrEnum):
    """Where one message stands. DIGESTED: it is told in a digest."""

    PENDING = "PENDING"
    SENT = "SENT"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"
    DIGESTED = "DIGESTED"


class Because(StrEnum):
    """Why an address takes nothing more."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` notifications in `window` go to a person by one channel."""

    most: int
    window: timedelta


_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_CAPS = {Channel.PUSH: Cap(60, _HOUR), Channel.EMAIL: Cap(30, _DAY), Channel.SMS: Cap(10, _DAY)}
# Apart from the others, so that a flood of purchases does not use up what a warning needs.
_SECURITY_CAPS = {Channel.PUSH: Cap(60, _HOUR), Channel.EMAIL: Cap(30, _HOUR), Channel.SMS: Cap(10, _HOUR)}


@dataclass(frozen=True, slots=True)
class Way:
    """What becomes of a notification on one channel: due at a time, told in a digest due at a time, or not sent and why."""

    channel: Channel
    status: MessageStatus
    at: datetime
    outcome: str | None = None


def cap_of(category: Category, channel: Channel) -> Cap:
    """How many a person gets of such messages. Those of security are counted apart."""
    return (_SECURITY_CAPS if category is Category.SECURITY else _CAPS)[channel]


def ways(
    preferences: Preferences, category: Category, counts: Mapping[Channel, int], now: datetime, happened_at: datetime
) -> list[Way]:
    """The ways a new notification takes, by the person's wishes. `counts`: what went by each channel within its cap's window.

    Nothing of security is held back by hours or digests; what is held goes in the order in which it happened.
    """
    urgent = category is Category.SECURITY
    digested = category is Category.TRANSACTIONS and preferences.digest is DigestMode.DAILY
    quiet_end = None if urgent else quiet_until(preferences.quiet_hours, preferences.time_zone, now)
    found = []
    for channel in OUTGOING:
        if digested and channel is Channel.EMAIL:
            due = digest_due(preferences.digest_hour, preferences.time_zone, preferences.quiet_hours, now)
            found.append(Way(channel, MessageStatus.DIGESTED, due))
        elif digested or not preferences.wants(category, channel):
            continue
        elif counts.get(channel, 0) >= cap_of(category, channel).most:
            found.append(Way(channel, MessageStatus.SUPPRESSED, now, "cap_reached"))
        else:
            found.append(Way(channel, MessageStatus.PENDING, in_order(quiet_end, happened_at) if quiet_end else now))
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt at a message came to. `retry`: nothing and nobody refused it, so it is tried again."""

    name: str
    retry: bool = False
    provider: str | None = None
    provider_message_id: str | None = None
    # The address is known to take nothing more.
    dead: bool = False
    # Nobody was asked: the person, or what is known of the address, stands in the way.
    suppressed: bool = False

    @property
    def sent(self) -> bool:
        """True when a provider took the message."""
        return self.name == SENT


def status_after(outcome: Outcome, *, again: bool) -> MessageStatus:
    """Where a message stands after an attempt. `again`: it is tried once more."""
    if outcome.sent:
        return MessageStatus.SENT
    if outcome.suppressed:
        return MessageStatus.SUPPRESSED
    return MessageStatus.PENDING if again else MessageStatus.FAILED


@dataclass(frozen=True, slots=True)
class Told:
    """One notification as a digest tells it."""

    template: str
    params: Mapping[str, str]
    notification_id: UUID
