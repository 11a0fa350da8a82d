"""Documents of what is sent: deliveries, replays, tests, and the types of events there are."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from cardwright.http.fields import StrictModel, Timestamp
from cardwright.kernel.errors import FieldValueError
from cardwright.outbox.rules import Event
from cardwright.webhooks.rules import Delivery, DeliveryStatus, Replay, ReplayStatus
from cardwright.webhooks.rules.schemas import EventKind
from cardwright.webhooks.service import ReplayRequest

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}.{0,30}", re.ASCII)


def _moment(value: object) -> datetime:
    """A time with an offset (RFC 3339), in UTC."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) and _TIME.fullmatch(value) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        # There is no such day, or at either end of the calendar no such time in UTC.
        pass
    raise FieldValueError("time_invalid", "A time such as 2026-11-21T10:00:00Z.")


def _left_out() -> Any:
    # A field that may be left out but not be null: nobody reads this value, only which fields were sent.
    return None


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T10:00:00Z"]}),
]


class ReplayCreateRequest(StrictModel):
    """What is sent again: one event, or those that happened in [`from`, `to`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"event_id": "019aa6a8-2c00-7c31-9d5a-0c1b2e3f4a05"},
                {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"},
                {"from": "2026-11-20T00:00:00Z", "only_missed": True},
            ]
        }
    )

    event_id: UUID = Field(default_factory=_left_out)
    since: Moment = Field(default_factory=_left_out, alias="from", description="At most 90 days ago.")
    until: Moment = Field(default_factory=_left_out, alias="to", description="At most 31 days after `from`; now without it.")
    only_missed: StrictBool = Field(default=False, description="Leaves alone what was delivered before.")

    def wanted(self) -> ReplayRequest:
        """The request as the service takes it; which of the two forms it has is for the service to see."""
        return ReplayRequest(event_id=self.event_id, since=self.since, until=self.until, only_missed=self.only_missed)


class EventSentResponse(StrictModel):
    """A test event that is on its way; how it fares is told by its delivery."""

    event_id: UUID
    event_type: str
    created_at: Timestamp

    @classmethod
    def of(cls, event: Event) -> "EventSentResponse":
        """The document of a test event."""
        return cls(event_id=event.event_id, event_type=event.type, created_at=event.created_at)


class ProgressResponse(StrictModel):
    """How far a job is; `total` is null until that is known."""

    done: int
    total: int | None


class ReplayResponse(StrictModel):
    """A replay as a job. DONE means that every event has a delivery, which is then attempted like a new one's."""

    id: UUID
    subscription_id: UUID
    status: ReplayStatus
    progress: ProgressResponse
    event_id: UUID | None
    since: Timestamp | None = Field(serialization_alias="from")
    until: Timestamp | None = Field(serialization_alias="to")
    only_missed: bool
    created_at: Timestamp
    finished_at: Timestamp | None

    @classmethod
    def of(cls, replay: Replay) -> "ReplayResponse":
        """The document of a replay."""
        return cls(
            id=replay.replay_id,
            subscription_id=replay.subscription_id,
            status=replay.status,
            progress=ProgressResponse(done=replay.done, total=replay.total),
            event_id=replay.event_id,
            since=replay.range_from,
            until=replay.range_until,
            only_missed=replay.only_missed,
            created_at=replay.created_at,
            finished_at=replay.finished_at,
        )


class AttemptResponse(StrictModel):
    """One try to deliver; `response` is the beginning of what the receiver answered."""

    number: int
    started_at: Timestamp
    latency_ms: int
    status_code: int | None
    outcome: str
    response: str | None


class DeliveryResponse(StrictModel):
    """One event's way to the subscription."""

    event_id: UUID
    event_type: str
    status: DeliveryStatus
    next_attempt_at: Timestamp | None
    created_at: Timestamp
    finished_at: Timestamp | None
    attempts: list[AttemptResponse]

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryResponse":
        """The document of a delivery."""
        return cls(**_steps(delivery))


class AnyDeliveryResponse(DeliveryResponse):
    """One event's way to somebody's subscription."""

    subscription_id: UUID
    user_id: UUID = Field(description="Whose subscription it is.")

    @classmethod
    def of(cls, delivery: Delivery) -> "AnyDeliveryResponse":
        """The document of a delivery."""
        return cls(**_steps(delivery), subscription_id=delivery.subscription_id, user_id=delivery.user_id)


class EventTypeResponse(StrictModel):
    """A type of event that can be subscribed to."""

    type: str
    description: str
    planned: bool = Field(description="True while nothing sends it yet.")
    api_versions: list[str] = Field(description="The versions that have it, oldest first.")
    schema_path: str = Field(description="Where its newest JSON Schema is; `api_version` asks for another one.")

    @classmethod
    def of(cls, kind: EventKind, path: str) -> "EventTypeResponse":
        """The document of a type; `path` is where schemas are."""
        return cls(
            type=kind.type,
            description=kind.description,
            planned=kind.planned,
            api_versions=list(kind.versions),
            schema_path=path.replace("{event_type}", kind.type),
        )


def _steps(delivery: Delivery) -> dict[str, Any]:
    attempts = [
        AttemptResponse(
            number=attempt.number,
            started_at=attempt.started_at,
            latency_ms=attempt.latency_ms,
            status_code=attempt.status_code,
            outcome=attempt.outcome,
            response=attempt.response,
        )
        for attempt in delivery.attempts
    ]
    return {
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "status": delivery.status,
        "next_attempt_at": delivery.next_attempt_at,
        "created_at": delivery.created_at,
        "finished_at": delivery.finished_at,
        "attempts": attempts,
    }
