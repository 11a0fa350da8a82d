"""Text messages through Twilio, with Twilio's SDK."""

import logging
from typing import Any
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.providers.sending import Settings, dead_address, fault, read_settings, unavailable

_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_BASE = "https://api.twilio.com"
# 21211 no such number, 21614 no mobile number, 21610 its owner has answered STOP.
_DEAD = frozenset({21211, 21610, 21614})
_SERVICE = "MG"
# The SDK reads a region from the process's environment unless it is given another one, which must not be empty.
_NOWHERE = {"TWILIO_REGION": "", "TWILIO_EDGE": ""}
_logger = logging.getLogger("twilio.http_client")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="ignore")

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: str = Field(min_length=1, repr=False)
    sender: str = Field(min_length=1)


class _Wire(HttpClient):  # type: ignore[misc]  # the SDK publishes no types
    """Carries the SDK's requests over our own client, and writes none of them to a log: their paths and forms name people."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        super().__init__(_logger, False, None)
        self._http, self._url = http, url

    def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Send one request. Raises TwilioException without an answer."""
        form: Any = data
        try:
            answer = self._http.request(method, uri.replace(_BASE, self._url, 1), data=form, headers=headers, auth=auth)
        except httpx.HTTPError:
            raise TwilioException("no answer") from None
        return Response(answer.status_code, answer.text, answer.headers)


class TwilioSms:
    """Sends to numbers as E.164 writes them.

    Settings: {"account_sid", "auth_token", "sender"}; the sender is a number, a name, or the id of a messaging service (MG...).
    `status_url` is where Twilio tells what became of a message (see bounces_twilio). Twilio knows no idempotency: a message
    whose answer was lost is sent again.
    """

    name = "twilio"

    def __init__(
        self,
        settings: Settings,
        *,
        status_url: str | None = None,
        url: str = _BASE,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._status_url = status_url
        # No proxies from the environment. Tries again are made by our own schedule.
        self._wire = _Wire(httpx.Client(timeout=_TIMEOUT, trust_env=False, transport=transport), url.rstrip("/"))

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Send a text; return Twilio's id of it.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused, DeadAddressError address_dead.
        """
        settings = read_settings(self._settings, _Settings)
        client = Client(settings.account_sid, settings.auth_token, http_client=self._wire, environment=_NOWHERE)
        wanted: dict[str, str] = {"to": to.reveal(), "body": message.body}
        wanted["messaging_service_sid" if settings.sender.startswith(_SERVICE) else "from_"] = settings.sender
        if self._status_url is not None:
            wanted["status_callback"] = self._status_url
        try:
            made = client.messages.create(**wanted)
        except (TwilioRestException, TwilioServiceException) as error:
            failure = _fault(error.status, error.code)
        except TwilioException:
            failure = unavailable()
        except (AttributeError, TypeError, ValueError):
            # A 2xx that cannot be read: it was taken, and to send it again for want of its id would say it twice.
            return None
        else:
            return made.sid if isinstance(made.sid, str) else None
        # Outside of the handler, so that it is not chained: the SDK's error holds the number.
        raise failure


def _fault(status: int, code: object) -> CardwrightError:
    return dead_address() if isinstance(code, int) and code in _DEAD else fault(status)
