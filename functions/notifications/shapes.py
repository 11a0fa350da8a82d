"""Documents of the notification doors."""

from datetime import time
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from cardwright.http.fields import SecretText, StrictModel, Timestamp
from cardwright.kernel.secret import Secret
from cardwright.notifications.rules import (
    LOCALES,
    Category,
    Channel,
    Device,
    DeviceStatus,
    DigestMode,
    Entry,
    NewDevice,
    NewPreferences,
    Platform,
    Preferences,
    QuietHours,
)

_NAMES_MAX = 20
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=60)]
# By names that the service knows; names in a schema are no part of OpenAPI 3.0.
Choices = Annotated[dict[str, StrictBool], Field(max_length=_NAMES_MAX)]
ParameterText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class NotificationResponse(StrictModel):
    """One notification; `count` is how often the same happened within minutes."""

    id: UUID
    template: str
    category: Category
    title: str
    body: str
    count: int
    created_at: Timestamp
    read_at: Timestamp | None

    @classmethod
    def of(cls, entry: Entry) -> "NotificationResponse":
        """The document of an entry of the inbox."""
        return cls(
            id=entry.notification_id,
            template=entry.template,
            category=entry.category,
            title=entry.title,
            body=entry.body,
            count=entry.count,
            created_at=entry.created_at,
            read_at=entry.read_at,
        )


class QuietHoursDocument(StrictModel):
    """From one time of the day to another, by the clock of the time zone; over midnight where `from` is the later one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begins: TimeOfDay = Field(alias="from", examples=["22:00"])
    until: TimeOfDay = Field(examples=["07:00"])

    @classmethod
    def of(cls, quiet: QuietHours | None) -> "QuietHoursDocument | None":
        """The document of quiet hours."""
        return None if quiet is None else cls.model_validate({"from": f"{quiet.start:%H:%M}", "until": f"{quiet.until:%H:%M}"})

    def hours(self) -> QuietHours:
        """As the service takes it."""
        return QuietHours(time.fromisoformat(self.begins), time.fromisoformat(self.until))


class DigestDocument(StrictModel):
    """Whether messages about transactions come one by one, or once a day in one e-mail at a full hour."""

    mode: DigestMode = DigestMode.OFF
    hour: StrictInt = Field(default=8, ge=0, le=23)


class PreferencesRequest(StrictModel):
    """How somebody wishes to be told; choices that are left out are as the defaults are."""

    locale: Annotated[str, StringConstraints(min_length=2, max_length=10)] = Field(
        description=f"One of {', '.join(LOCALES)}.", examples=[*LOCALES]
    )
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="A name of the IANA time zone database.", examples=["Europe/Berlin"]
    )
    quiet_hours: QuietHoursDocument | None = Field(default=None, description="Messages of security do not wait for their end.")
    digest: DigestDocument = Field(default_factory=DigestDocument)
    channels: dict[str, Choices] = Field(
        default_factory=dict,
        max_length=_NAMES_MAX,
        description=f"By category ({', '.join(Category)}), then by channel ({', '.join(Channel)}).",
        examples=[{"transactions": {"push": False, "email": True}}],
    )

    def wanted(self) -> NewPreferences:
        """As the service takes it."""
        return NewPreferences(
            locale=self.locale,
            time_zone=self.time_zone,
            quiet_hours=None if self.quiet_hours is None else self.quiet_hours.hours(),
            digest=self.digest.mode,
            digest_hour=self.digest.hour,
            channels=self.channels,
        )


class PreferencesResponse(StrictModel):
    """How somebody is told, complete."""

    locale: str
    time_zone: str
    quiet_hours: QuietHoursDocument | None
    digest: DigestDocument
    channels: dict[str, dict[str, bool]]
    version: int

    @classmethod
    def of(cls, preferences: Preferences) -> "PreferencesResponse":
        """The document of preferences."""
        return cls(
            locale=preferences.locale,
            time_zone=preferences.time_zone,
            quiet_hours=QuietHoursDocument.of(preferences.quiet_hours),
            digest=DigestDocument(mode=preferences.digest, hour=preferences.digest_hour),
            channels={
                category.value: {channel.value: preferences.wants(category, channel) for channel in Channel}
                for category in Category
            },
            version=preferences.version,
        )


class DeviceRequest(StrictModel):
    """A device: `platform` and `token` with push, `phone_number` with sms."""

    channel: Literal["push", "sms"]
    platform: Platform | None = Field(default=None, description="Of a push token.")
    token: Annotated[Secret[str], SecretText(min_length=1, max_length=4096)] | None = Field(
        default=None, description="The registration token of Firebase Cloud Messaging."
    )
    phone_number: Annotated[Secret[str], SecretText(min_length=1, max_length=30)] | None = Field(
        default=None, description="E.164: +, country code, digits alone."
    )

    def wanted(self) -> NewDevice:
        """As the service takes it."""
        return NewDevice(Channel(self.channel), self.platform, self.token, self.phone_number)


class DeviceConfirmRequest(StrictModel):
    """The code that was texted."""

    code: Annotated[Secret[str], SecretText(min_length=6, max_length=6), Field(description="The six digits that were texted.")]


class DeviceResponse(StrictModel):
    """A device; its token or number is not shown again."""

    id: UUID
    channel: Channel
    platform: Platform | None
    last_four: str | None = Field(description="Of a number, the last four digits.")
    status: DeviceStatus
    created_at: Timestamp

    @classmethod
    def of(cls, device: Device) -> "DeviceResponse":
        """The document of a device."""
        return cls(
            id=device.device_id,
            channel=device.channel,
            platform=device.platform,
            last_four=device.last_four,
            status=device.status,
            created_at=device.created_at,
        )


class DeviceListResponse(StrictModel):
    """All devices of the caller."""

    data: list[DeviceResponse]


class SendRequest(StrictModel):
    """Whom to tell, by which template, filled with what."""

    template_id: Name = Field(examples=["maintenance"])
    user_id: UUID
    params: dict[str, ParameterText] = Field(
        default_factory=dict,
        max_length=_NAMES_MAX,
        examples=[{"begins": "2026-12-01T01:00:00Z", "ends": "2026-12-01T03:00:00Z"}],
    )


class SendAcceptedResponse(StrictModel):
    """It was taken; it is sent as its reader wishes."""

    id: UUID


class ReportedResponse(StrictModel):
    """The report was taken; it need not be sent again."""

    received: Literal[True] = True
