"""Rules of webhooks: URLs we post to, when an attempt is repeated, when a subscription is given up. Pure."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from cardwright.kernel.errors import FieldError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import SECRET_PREFIX
from cardwright.outbox.rules import EVENT_TYPES

SUBSCRIPTIONS_MAX = 20
URL_LENGTH_MAX = 2048
CARD_IDS_MAX = 100
# Standard Webhooks 1.0 asks for 24 to 64 bytes.
SECRET_BYTES = 32
RESPONSE_CHARACTERS_MAX = 1024
# After each attempt, the wait before the next (CONTRACT, events out); the first is at once.
RETRY_DELAYS_S = (60, 300, 900, 3600, 21600)
ATTEMPTS_MAX = len(RETRY_DELAYS_S) + 1
JITTER = 0.1
RETRY_AFTER_MAX_S = 21600
FAILED_EVENTS_MAX = 5
# A receiver slower than this is served by the schedule, where it holds nobody else up.
SLOW_MS = 3000

_PORTS = frozenset({None, 443, 8443})
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Names that never lead to the public Internet (RFC 6761, RFC 6762, RFC 7686, RFC 8375, ICANN resolution on .internal).
_PRIVATE_SUFFIXES = frozenset("localhost local internal invalid onion".split())
_URL_DETAILS = {
    "url_invalid": f"A URL is ASCII without spaces, backslashes or fragment, at most {URL_LENGTH_MAX} characters.",
    "url_not_https": "A webhook URL starts with https://.",
    "url_has_credentials": "A webhook URL holds no user name or password.",
    "url_host_not_allowed": "The host is a public DNS name, written in ASCII.",
    "url_port_not_allowed": "The port is 443 or 8443.",
}
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)


class SubscriptionStatus(StrEnum):
    """Only an ACTIVE subscription is sent events."""

    PENDING_VERIFICATION = "PENDING_VERIFICATION"
    ACTIVE = "ACTIVE"
    VERIFICATION_FAILED = "VERIFICATION_FAILED"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"


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


class Scope(StrEnum):
    """Whose events a subscription hears: its owner's, or everybody's (staff)."""

    OWN = "own"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A URL and what it wants to hear of. `card_ids` None means every card; secrets are sealed, newest first."""

    user_id: UUID
    subscription_id: UUID
    url: str
    event_types: tuple[str, ...]
    card_ids: tuple[UUID, ...] | None
    scope: Scope
    status: SubscriptionStatus
    status_detail: str | None
    secrets_sealed: tuple[bytes, ...]
    version: int
    last_operation_id: UUID
    created_at: datetime
    updated_at: datetime


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
    """One event's way to one subscription."""

    event_id: UUID
    event_type: str
    status: DeliveryStatus
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    attempts: tuple[Attempt, ...]


def check_url(url: str, *, local: bool) -> FieldError | None:
    """Why we would not post to this URL, or None. On the local stage this machine is allowed, over http and at any port.

    Only plain DNS names are taken: no addresses, no other alphabets, no user info. Names that lead to private addresses
    are found when we connect.
    """
    code = "url_invalid"
    if 1 <= len(url) <= URL_LENGTH_MAX and _PRINTABLE.fullmatch(url) and "\\" not in url and "#" not in url:
        try:
            parts = urlsplit(url)
            code = _url_code(parts, parts.port, local)
        except ValueError:
            code = "url_invalid"
    return FieldError("url", code, _URL_DETAILS[code]) if code else None


def _url_code(parts: SplitResult, port: int | None, local: bool) -> str:
    host = _host(parts)
    ours = local and host in _LOOPBACK_HOSTS
    allowed_schemes = ("https", "http") if ours else ("https",)
    if parts.scheme not in allowed_schemes or not parts.netloc:
        return "url_not_https"
    if "@" in parts.netloc:
        return "url_has_credentials"
    if not ours and (not _HOST.fullmatch(host) or len(host) > 253 or host.rpartition(".")[2] in _PRIVATE_SUFFIXES):
        return "url_host_not_allowed"
    if parts.netloc.endswith(":") or port == 0 or not (ours or port in _PORTS):
        return "url_port_not_allowed"
    return ""


def _host(parts: SplitResult) -> str:
    host = parts.netloc.lower()
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def check_event_types(event_types: Sequence[str]) -> list[FieldError]:
    """One error for each type that is not offered, or for an empty list."""
    if not event_types:
        return [FieldError("event_types", "required", "Name at least one event type.")]
    return [
        FieldError(f"event_types.{position}", "event_type_unknown", "There is no such event type.")
        for position, event_type in enumerate(event_types)
        if event_type not in EVENT_TYPES
    ]


def check_card_ids(card_ids: Sequence[UUID] | None) -> list[FieldError]:
    """Errors of the card filter: absent means all cards, so an empty list would be a trap."""
    if card_ids is None:
        return []
    if not card_ids:
        return [FieldError("card_ids", "too_few_items", "Leave card_ids out to hear of all cards.")]
    if len(card_ids) > CARD_IDS_MAX:
        return [FieldError("card_ids", "too_many_items", f"At most {CARD_IDS_MAX} cards can be named.")]
    return []


def secret_text(entropy: bytes) -> Secret[str]:
    """A signing secret as its owner sees it. Raises ValueError outside the 24 to 64 bytes of the specification."""
    if not 24 <= len(entropy) <= 64:
        raise ValueError("a webhook secret has 24 to 64 bytes")
    return Secret(SECRET_PREFIX + base64.b64encode(entropy).decode())


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
