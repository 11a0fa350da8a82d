"""Deliveries: what an answer means, when the next attempt is due, what attempts teach of a receiver."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from uuid import UUID

from cardwright.webhooks.rules.subscriptions import SubscriptionStatus

RESPONSE_CHARACTERS_MAX = 1024
# After each attempt, the wait before the next (CONTRACT, events out); the first is at once.
RETRY_DELAYS_S = (60, 300, 900, 3600, 21600)
ATTEMPTS_MAX = len(RETRY_DELAYS_S) + 1
JITTER = 0.1
RETRY_AFTER_MAX_S = 21600
FAILED_EVENTS_MAX = 5
# A receiver slower than this is served by the schedule, where it holds nobody else up.
SLOW_MS = 3000


class DeliveryStatus(StrEnum):
    """Where one event's way to one subscription stands."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Health:
    """What attempts have taught of a subscription. In the `background` it is served by the schedule only."""

    status: SubscriptionStatus
    consecutive_failures: int
    background: bool
    version: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: `latency_ms` from start to answer, `status_code` None without one, `response` its first 1024 characters."""

    number: int
    started_at: datetime
    latency_ms: int
    status_code: int | None
    outcome: str
    response: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event's way to one subscription; `attempted` counts the attempts, those of earlier rounds too."""

    user_id: UUID
    subscription_id: UUID
    event_id: UUID
    event_type: str
    card_id: UUID | None
    status: DeliveryStatus
    attempted: int
    next_attempt_at: datetime | None
    event_created_at: datetime
    created_at: datetime
    finished_at: datetime | None
    attempts: tuple[Attempt, ...]


def succeeded(status_code: int) -> bool:
    """Only 2xx takes an event; a redirect is never followed (Standard Webhooks 1.0)."""
    return 200 <= status_code < 300


def outcome_of(status_code: int) -> str:
    """Stable name of what a status means for an attempt."""
    if succeeded(status_code):
        return "delivered"
    if status_code == 410:
        return "gone"
    return "redirect_refused" if 300 <= status_code < 400 else "http_error"


def next_attempt(attempts: int, now: datetime, jitter: float, retry_after_s: int | None = None) -> datetime | None:
    """When the attempt after `attempts` failed ones is due, or None when they are spent.

    `jitter` in [0, 1) spreads by up to +10 %. A receiver may ask for more time, up to six hours, never for less.
    """
    if not attempts >= 1:
        raise ValueError("there is no next attempt before the first")
    if attempts >= ATTEMPTS_MAX:
        return None
    delay_s = RETRY_DELAYS_S[attempts - 1] * (1 + JITTER * jitter)
    return now + timedelta(seconds=max(delay_s, min(retry_after_s or 0, RETRY_AFTER_MAX_S)))


def retry_after_s(headers: Mapping[str, str], now: datetime) -> int | None:
    """Seconds a receiver asks us to wait (RFC 9110, section 10.2.3: seconds or a date), or None."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return int(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return max(0, int((moment - now).total_seconds()))


def disables(consecutive_failures: int, *, gone: bool) -> bool:
    """True when a subscription is given up: the receiver said 410, or five events in a row failed for good."""
    return gone or consecutive_failures >= FAILED_EVENTS_MAX


def learn(health: Health, *, delivered: bool, spent: bool, gone: bool, latency_ms: int) -> Health:
    """The health after an attempt. `spent`: it was the event's last, or the receiver is gone."""
    if delivered:
        return replace(health, consecutive_failures=0, background=latency_ms > SLOW_MS)
    failures = health.consecutive_failures + (1 if spent else 0)
    if health.status is SubscriptionStatus.ACTIVE and disables(failures, gone=gone):
        return Health(SubscriptionStatus.DISABLED, failures, True, health.version + 1)
    return replace(health, consecutive_failures=failures, background=True)


def printable(body: bytes) -> str:
    """The beginning of a response as text people can look at: undecodable bytes and control characters replaced."""
    text = body[: 4 * RESPONSE_CHARACTERS_MAX].decode(errors="replace")[:RESPONSE_CHARACTERS_MAX]
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def compact(document: Mapping[str, object]) -> bytes:
    """The bytes that are signed and sent: JSON without spaces."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def challenge_met(status_code: int, body: bytes, challenge: str) -> bool:
    """True when the receiver answered 2xx with the challenge it was sent."""
    if not succeeded(status_code):
        return False
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("challenge") == challenge
