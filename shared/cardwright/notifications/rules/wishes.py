"""How people wish to be told: by category and channel, in which language, at which hours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from uuid import UUID
from zoneinfo import available_timezones

from cardwright.kernel.errors import FieldError, InvalidFieldsError

LOCALES = ("en", "de")
# Names of the machine's own, not of places.
_NO_ZONES = frozenset({"Factory", "localtime"})


class Channel(StrEnum):
    """Ways to a person."""

    IN_APP = "in_app"
    PUSH = "push"
    EMAIL = "email"
    SMS = "sms"


class Category(StrEnum):
    """What a message is about; wishes go by it."""

    SECURITY = "security"
    TRANSACTIONS = "transactions"
    CARDS = "cards"
    ACCOUNT = "account"
    OPERATIONS = "operations"


class DigestMode(StrEnum):
    """Whether messages about transactions come one by one, or once a day in one e-mail."""

    OFF = "OFF"
    DAILY = "DAILY"


Choices = Mapping[Category, Mapping[Channel, bool]]

# The inbox takes everything. An SMS costs money and goes to a number somebody confirmed: security alone, unless asked for.
DEFAULTS: Choices = MappingProxyType(
    {
        category: MappingProxyType(
            {
                Channel.IN_APP: True,
                Channel.PUSH: True,
                Channel.EMAIL: category is not Category.TRANSACTIONS,
                Channel.SMS: category is Category.SECURITY,
            }
        )
        for category in Category
    }
)
# What nobody can switch off: somebody who took an account over would begin with it.
FIXED = frozenset({(Category.SECURITY, Channel.EMAIL), *((category, Channel.IN_APP) for category in Category)})


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of the day to another by the person's clock, over midnight where `start` is the later one."""

    start: time
    until: time


@dataclass(frozen=True, slots=True)
class NewPreferences:
    """What somebody wishes, as it came: names of categories and channels are not checked yet, what is left out is default."""

    locale: str
    time_zone: str
    quiet_hours: QuietHours | None
    digest: DigestMode
    digest_hour: int
    channels: Mapping[str, Mapping[str, bool]]


@dataclass(frozen=True, slots=True)
class Preferences:
    """A person's wishes, complete. `version` is 1 for somebody who never told any."""

    user_id: UUID
    locale: str
    time_zone: str
    quiet_hours: QuietHours | None
    digest: DigestMode
    digest_hour: int
    choices: Choices
    version: int
    last_operation_id: UUID | None = None

    def wants(self, category: Category, channel: Channel) -> bool:
        """True when messages of the category go by the channel."""
        return (category, channel) in FIXED or self.choices[category][channel]


@dataclass(frozen=True, slots=True)
class Entry:
    """A notification in the inbox, in its reader's language. `count` is how often the same happened within minutes."""

    notification_id: UUID
    template: str
    category: Category
    title: str
    body: str
    count: int
    created_at: datetime
    read_at: datetime | None


def unknowing(user_id: UUID) -> Preferences:
    """The preferences of somebody who never told any."""
    return Preferences(user_id, LOCALES[0], "UTC", None, DigestMode.OFF, 8, DEFAULTS, 1)


def complete(told: Mapping[str, Mapping[str, bool]]) -> Choices:
    """Choices with the defaults for what is not told; names that are none of ours are left out."""
    return {
        category: {
            channel: (category, channel) in FIXED or told.get(category, {}).get(channel, default)
            for channel, default in DEFAULTS[category].items()
        }
        for category in Category
    }


def check_preferences(wanted: NewPreferences) -> None:
    """Refuse wishes we cannot keep. Raises InvalidFieldsError."""
    errors = []
    if wanted.locale not in LOCALES:
        errors.append(FieldError("locale", "locale_unknown", f"The languages are {', '.join(LOCALES)}."))
    if wanted.time_zone not in _zone_names():
        errors.append(FieldError("time_zone", "time_zone_unknown", "A time zone is an IANA name such as Europe/Berlin."))
    quiet = wanted.quiet_hours
    if quiet is not None and quiet.start == quiet.until:
        errors.append(FieldError("quiet_hours.until", "quiet_hours_empty", "Quiet hours end at another time than they begin."))
    if quiet is not None and (quiet.start.tzinfo or quiet.until.tzinfo or quiet.start.second or quiet.until.second):
        errors.append(FieldError("quiet_hours", "quiet_hours_invalid", "Quiet hours are times of the day such as 22:00."))
    if not 0 <= wanted.digest_hour <= 23:
        errors.append(FieldError("digest.hour", "digest_hour_invalid", "The hour is 0 to 23."))
    for name, channels in wanted.channels.items():
        errors += _check_category(name, channels)
    if errors:
        raise InvalidFieldsError(errors)


def _check_category(name: str, channels: Mapping[str, bool]) -> list[FieldError]:
    if name not in list(Category):
        return [FieldError(f"channels.{name[:40]}", "category_unknown", f"The categories are {', '.join(Category)}.")]
    errors = []
    for channel, on in channels.items():
        field = f"channels.{name}.{channel[:40]}"
        if channel not in list(Channel):
            errors.append(FieldError(field, "channel_unknown", f"The channels are {', '.join(Channel)}."))
        elif not on and (Category(name), Channel(channel)) in FIXED:
            errors.append(FieldError(field, "channel_required", "These messages cannot be switched off here."))
    return errors


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_ZONES
