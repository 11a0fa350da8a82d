"""Twilio's status callbacks, checked with the SDK's validator (twilio.com/docs/usage/security)."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field
from twilio.request_validator import RequestValidator

from cardwright.kernel.errors import InvalidRequestError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Bounce
from cardwright.notifications.rules import Because
from cardwright.providers.sending import Settings, read_settings

SIGNATURE_HEADER = "x-twilio-signature"
_FIELDS_MAX = 100
_NOT_DELIVERED = frozenset({"failed", "undelivered"})
# 21211 no such number, 21614 no mobile number, 30005 an unknown one, 30006 a landline; 21610 its owner has answered STOP.
# One that is switched off (30003) is not dead.
_DEAD = {
    "21211": Because.BOUNCE,
    "21614": Because.BOUNCE,
    "30005": Because.BOUNCE,
    "30006": Because.BOUNCE,
    "21610": Because.UNSUBSCRIBED,
}
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="ignore")

    auth_token: str = Field(min_length=1, repr=False)
    # Twilio signs with the primary token: while it is rotated, some are signed with the one before.
    former_auth_tokens: list[str] = Field(default_factory=list, max_length=5, repr=False)


class TwilioBounces:
    """Settings: {"auth_token"}, the account's, and {"former_auth_tokens": [...]} while it is rotated.

    `url` is where Twilio posts, which is part of what it signs.

    The signature holds no time. To take one again does no harm: the number was dead when it was made.
    """

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Bounce]:
        """The number of one report, if it is dead. Raises UnauthenticatedError, InvalidRequestError, UnavailableError."""
        settings = read_settings(self._settings, _Settings)
        signature = {name.lower(): value for name, value in headers.items()}.get(SIGNATURE_HEADER, "")
        if not signature:
            raise UnauthenticatedError("The request is not signed.", code="signature_missing")
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=_FIELDS_MAX))
        except ValueError:
            # What cannot be read cannot have been signed as it is.
            raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid") from None
        tokens = [settings.auth_token, *settings.former_auth_tokens]
        if not any(RequestValidator(token).validate(self._url, form, signature) for token in tokens):
            raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid")
        if "MessageStatus" not in form:
            raise InvalidRequestError("The report has not the fields it must have.", code="event_invalid")
        because, number = _DEAD.get(form.get("ErrorCode", "")), form.get("To", "")
        if form["MessageStatus"] not in _NOT_DELIVERED or because is None or not _NUMBER.fullmatch(number):
            return []
        return [Bounce("sms", Secret(number), because)]
