"""Mail through SendGrid's API, v3.

Without SendGrid's own package: it brings an HTTP client of its own without deadlines, for what is one call.
"""

import re
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.providers.sending import Settings, dead_address, fault, read_settings, unavailable

_URL = "https://api.sendgrid.com"
_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
_RECIPIENT = re.compile(r"personalizations\.\d+\.to\.\d+\.email", re.ASCII)
_UNREADABLE = 400


class _Settings(BaseModel):
    model_config = ConfigDict(extra="ignore")

    api_key: str = Field(min_length=1, repr=False)
    sender: str = Field(min_length=3)


class _Complaint(BaseModel):
    field: str | None = None


class _Refusal(BaseModel):
    errors: list[_Complaint] = Field(default_factory=list)


class SendGridMail:
    """Sends plain text. Settings: {"api_key", "sender"}, the sender verified at SendGrid.

    Our message id goes along as the argument `message_id`, which SendGrid's events repeat (see bounces_sendgrid). SendGrid knows
    no idempotency: a message whose answer was lost is sent again.
    """

    name = "sendgrid"

    def __init__(self, settings: Settings, *, url: str = _URL, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False, transport=transport)

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Send a mail; return SendGrid's id of it.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused, DeadAddressError address_dead.
        """
        settings = read_settings(self._settings, _Settings)
        mail = {
            "personalizations": [{"to": [{"email": to.reveal()}]}],
            "from": {"email": settings.sender},
            "subject": message.subject or "",
            "content": [{"type": "text/plain", "value": message.body}],
            "custom_args": {"message_id": str(message_id)},
            # A link to a bank's page that leads over somebody else's is what people are taught to distrust.
            "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}},
        }
        try:
            answer = self._http.post("/v3/mail/send", json=mail, headers={"Authorization": f"Bearer {settings.api_key}"})
        except httpx.HTTPError:
            # The cause holds the request, and that the recipient and the key.
            raise unavailable() from None
        if not answer.is_success:
            raise _fault(answer)
        named: str | None = answer.headers.get("x-message-id")
        return named


def _fault(answer: httpx.Response) -> CardwrightError:
    """What a refusal is about: SendGrid names the field of a request that it cannot read."""
    if answer.status_code == _UNREADABLE:
        try:
            complaints = _Refusal.model_validate_json(answer.content).errors
        except ValidationError:
            complaints = []
        if any(_RECIPIENT.fullmatch(complaint.field or "") for complaint in complaints):
            return dead_address()
    return fault(answer.status_code)
