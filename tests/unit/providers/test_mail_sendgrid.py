"""Mail through SendGrid: what is sent, and what each answer means."""

import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DeadAddressError, Rendered
from cardwright.providers.mail_sendgrid import SendGridMail

SETTINGS: dict[str, Any] = {"api_key": "key-1", "sender": "no-reply@example.com", "webhook_keys": []}
TO = Secret("ada@example.com")
MESSAGE = Rendered("Hello", "Body", {"code": "123456"})
MESSAGE_ID = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")


class Wire:
    """Answers each request alike, and keeps them."""

    def __init__(self, answer: httpx.Response | None = None) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer, or be a network that does not carry."""
        self.asked.append(request)
        if self._answer is None:
            raise httpx.ReadTimeout("nothing came", request=request)
        return self._answer


def sendgrid(wire: Wire, settings: dict[str, Any] | None = None) -> SendGridMail:
    """The adapter over a wire."""
    return SendGridMail(lambda: settings or SETTINGS, transport=httpx.MockTransport(wire))


def refusal(wire: Wire) -> CardwrightError:
    """What the adapter makes of an answer."""
    with pytest.raises(CardwrightError) as caught:
        sendgrid(wire).send(TO, MESSAGE, MESSAGE_ID)
    assert "ada" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def test_a_mail_is_sent_whole_under_our_id_and_named_by_sendgrid() -> None:
    wire = Wire(httpx.Response(202, headers={"X-Message-Id": "sg-1"}))
    assert sendgrid(wire).send(TO, MESSAGE, MESSAGE_ID) == "sg-1"
    (asked,) = wire.asked
    assert str(asked.url) == "https://api.sendgrid.com/v3/mail/send"
    assert asked.headers["authorization"] == "Bearer key-1"
    mail = json.loads(asked.content)
    assert mail.pop("tracking_settings") == {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}}
    assert mail == {
        "personalizations": [{"to": [{"email": "ada@example.com"}]}],
        "from": {"email": "no-reply@example.com"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Body"}],
        "custom_args": {"message_id": str(MESSAGE_ID)},
    }


def test_a_mail_that_was_taken_without_a_name_was_taken() -> None:
    assert sendgrid(Wire(httpx.Response(202))).send(TO, MESSAGE, MESSAGE_ID) is None


def test_a_recipient_that_cannot_be_is_dead() -> None:
    errors = [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email", "help": None}]
    assert isinstance(refusal(Wire(httpx.Response(400, json={"errors": errors}))), DeadAddressError)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"errors": [{"message": "The from address does not match.", "field": "from.email"}]}),
        httpx.Response(400, json={"errors": [{"message": "Bad Request", "field": None}]}),
        httpx.Response(400, content=b"<html>"),
        httpx.Response(403, json={"errors": [{"message": "access forbidden"}]}),
        httpx.Response(413),
    ],
)
def test_another_refusal_is_this_mails(answer: httpx.Response) -> None:
    assert type(refusal(Wire(answer))) is ProviderRefusedError


@pytest.mark.parametrize("status", [302, 401, 408, 429, 500, 503])
def test_what_may_pass_is_unavailable(status: int) -> None:
    assert type(refusal(Wire(httpx.Response(status)))) is UnavailableError


def test_an_outage_is_unavailable() -> None:
    assert refusal(Wire()).code == "messages_unavailable"


@pytest.mark.parametrize("settings", [{"sender": "a@example.com"}, {"api_key": "", "sender": "a@example.com"}, {"api_key": "k"}])
def test_settings_that_lack_something_are_a_fault_of_ours(settings: dict[str, Any]) -> None:
    wire = Wire(httpx.Response(202))
    with pytest.raises(BrokenInvariantError):
        sendgrid(wire, settings).send(TO, MESSAGE, MESSAGE_ID)
    assert wire.asked == []
