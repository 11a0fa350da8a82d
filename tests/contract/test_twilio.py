"""The Twilio adapter against Twilio's own OpenAPI description, unedited.

Proves that each request is one Twilio's description accepts and that its answer is read. What Twilio's errors mean is tested
elsewhere (tests/unit/providers/test_sms_twilio.py): the description has none.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.kernel.errors import ProviderRefusedError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.providers.sms_twilio import TwilioSms

ACCOUNT = "AC" + "a" * 32
SETTINGS: dict[str, Any] = {"account_sid": ACCOUNT, "auth_token": "token-1", "sender": "+15550199"}
MESSAGE = Rendered(None, "Your card ending in 4242 was used: 12.34 €.", {})
MESSAGE_ID = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
STATUS_URL = "https://api.example.com/api/v1/webhooks/messages/twilio"


class Wire(httpx.HTTPTransport):
    """Carries requests and remembers what was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: list[tuple[str, str, int]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        self.answered.append((request.method, request.url.path, answer.status_code))
        return answer


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as transport:
        yield transport


def send(url: str, wire: Wire, status_url: str | None = STATUS_URL, **changed: Any) -> str | None:
    """Send a text to the mock."""
    sms = TwilioSms(lambda: SETTINGS | changed, status_url=status_url, url=url, transport=wire)
    return sms.send(Secret("+15550100"), MESSAGE, MESSAGE_ID)


@pytest.mark.parametrize("sender", ["+15550199", "MG" + "a" * 32])
@pytest.mark.parametrize("status_url", [STATUS_URL, None])
def test_a_text_is_asked_for_as_twilio_wants_it(twilio_url: str, wire: Wire, sender: str, status_url: str | None) -> None:
    # The name in the description's example.
    assert send(twilio_url, wire, status_url, sender=sender) == "SM" + "a" * 32
    assert wire.answered == [("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json", 201)]


def test_the_mock_refuses_what_twilio_would_refuse(twilio_url: str, wire: Wire) -> None:
    with pytest.raises(ProviderRefusedError):
        send(twilio_url, wire, status_url="no URL at all")
    with pytest.raises(ProviderRefusedError):
        send(twilio_url, wire, sender="MG-none")
    assert [status for _, _, status in wire.answered] == [422, 422]
