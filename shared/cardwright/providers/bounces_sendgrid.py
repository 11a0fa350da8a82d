"""SendGrid's Event Webhook, signed with ECDSA (docs.sendgrid.com, Event Webhook security features)."""

import base64
import binascii
import contextlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cardwright.kernel import jsontext
from cardwright.kernel.errors import BrokenInvariantError, InvalidRequestError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Bounce
from cardwright.notifications.rules import Because
from cardwright.platform.telemetry import logger
from cardwright.providers.sending import Settings, read_settings

SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
# SendGrid posts a report again for a day, and does not say that it signs it anew. To take one twice does no harm.
_TOLERANCE_S = 24 * 60 * 60 + 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_EVENTS = {
    "spamreport": Because.COMPLAINT,
    "unsubscribe": Because.UNSUBSCRIBED,
    "group_unsubscribe": Because.UNSUBSCRIBED,
}
# Why SendGrid did not even try.
_DROPS = {
    "bounced address": Because.BOUNCE,
    "invalid": Because.BOUNCE,
    "spam reporting address": Because.COMPLAINT,
    "unsubscribed address": Because.UNSUBSCRIBED,
}


class _Settings(BaseModel):
    model_config = ConfigDict(extra="ignore")

    # As SendGrid shows them: DER in base64. Two while one is rotated.
    webhook_keys: list[str] = Field(min_length=1, max_length=10)


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    email: str = Field(default="", max_length=320)
    event: str = ""
    type: str = ""
    reason: str = ""

    def because(self) -> Because | None:
        """Why the address is dead; None when it is not, or not for good."""
        # The other type, blocked, is of this mail alone.
        if self.event == "bounce":
            return Because.BOUNCE if self.type == "bounce" else None
        if self.event == "dropped":
            return _DROPS.get(self.reason.strip().lower())
        return _EVENTS.get(self.event)


_EVENT_LIST = TypeAdapter(list[object])


class SendGridBounces:
    """Settings: {"webhook_keys": [...]}, the verification keys of the Event Webhook."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Bounce]:
        """The dead addresses of one report. An event that cannot be read is left out: SendGrid would not send the others again.

        Raises UnauthenticatedError, InvalidRequestError, UnavailableError.
        """
        _verify(read_settings(self._settings, _Settings).webhook_keys, headers, body, now)
        try:
            events = _EVENT_LIST.validate_python(jsontext.parse(body))
        except ValidationError:
            raise InvalidRequestError("The report has not the fields it must have.", code="event_invalid") from None
        found = ((event.email, event.because()) for event in _read(events))
        return [Bounce("email", Secret(email), because) for email, because in found if email and because is not None]


def _read(told: Sequence[object]) -> list[_Event]:
    events = []
    for one in told:
        with contextlib.suppress(ValidationError):
            events.append(_Event.model_validate(one))
    if len(events) < len(told):
        logger.warning("events of a report cannot be read", extra={"left_out": len(told) - len(events)})
    return events


def _verify(keys: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    given = {name.lower(): value for name, value in headers.items()}
    signature, timestamp = given.get(SIGNATURE_HEADER, ""), given.get(TIMESTAMP_HEADER, "")
    if not (signature and timestamp):
        raise UnauthenticatedError("The request is not signed.", code="signature_missing")
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    signed = timestamp.encode() + body
    if not decoded or not _TIMESTAMP.fullmatch(timestamp) or not any(_fits(key, decoded, signed) for key in keys):
        raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid")
    if abs(now.timestamp() - int(timestamp)) > _TOLERANCE_S:
        raise UnauthenticatedError("The signed timestamp is too far from our clock.", code="timestamp_out_of_range")


def _fits(key: str, signature: bytes, signed: bytes) -> bool:
    try:
        _key(key).verify(signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=8)
def _key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except ValueError:
        raise BrokenInvariantError("a message provider's settings have not the shape they must have") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BrokenInvariantError("a message provider's settings have not the shape they must have")
    return key
