"""Devices and numbers people are reached at."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cardwright.kernel.errors import FieldError, InvalidFieldsError
from cardwright.kernel.secret import Secret
from cardwright.notifications.rules.wishes import Channel

DEVICES_MAX = 20
CODE_DIGITS = 6
CODE_TRIES = 5
CODE_AGE = timedelta(minutes=10)
# A number costs money to text, and whoever owns it did not ask for it.
CODES_PER_WINDOW = 3
CODES_WINDOW = timedelta(hours=1)
TOKEN_LENGTH = (8, 4096)
# ITU-T E.164: a country code, fifteen digits at most; the shortest numbers in use have seven.
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


class Platform(StrEnum):
    """What kind of device a push token is of."""

    ANDROID = "android"
    IOS = "ios"
    WEB = "web"


class DeviceStatus(StrEnum):
    """Whether a device takes messages. DEAD: its token or number is not in use any more."""

    UNCONFIRMED = "UNCONFIRMED"
    ACTIVE = "ACTIVE"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device as it came: `token` and `platform` with push, `phone_number` with sms."""

    channel: Channel
    platform: Platform | None = None
    token: Secret[str] | None = None
    phone_number: Secret[str] | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its owner sees it: of a number its last four digits, of a token nothing."""

    device_id: UUID
    channel: Channel
    platform: Platform | None
    last_four: str | None
    status: DeviceStatus
    created_at: datetime


def check_device(wanted: NewDevice) -> Secret[str]:
    """The address of a new device. Raises InvalidFieldsError."""
    if wanted.channel is Channel.PUSH:
        if wanted.platform is None:
            raise InvalidFieldsError([FieldError("platform", "platform_missing", "A push token is of a platform.")])
        token = wanted.token
        if token is None or not _token_valid(token.reveal()):
            raise InvalidFieldsError([FieldError("token", "token_invalid", "A token is 8 to 4096 visible characters.")])
        return token
    number = wanted.phone_number
    if wanted.channel is not Channel.SMS:
        raise InvalidFieldsError([FieldError("channel", "channel_without_devices", "Devices are of push or sms.")])
    if number is None or _NUMBER.fullmatch(number.reveal()) is None:
        told = "A number is in E.164 form: +, country code, digits alone."
        raise InvalidFieldsError([FieldError("phone_number", "phone_number_invalid", told)])
    return number


def _token_valid(token: str) -> bool:
    return TOKEN_LENGTH[0] <= len(token) <= TOKEN_LENGTH[1] and _TOKEN.fullmatch(token) is not None
