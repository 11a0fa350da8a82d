"""Texts through Twilio's SDK: what is sent, what each answer means, and what is written to no log."""

import logging
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import httpx
import pytest

from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DeadAddressError, Rendered
from cardwright.providers.sms_twilio import TwilioSms

ACCOUNT = "AC" + "0" * 32
SETTINGS: dict[str, Any] = {"account_sid": ACCOUNT, "auth_token": "token-1", "sender": "+15550199"}
NUMBER = "+15550100"
MESSAGE = Rendered("not sent", "Your card was used.", {"not": "sent"})
MESSAGE_ID = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
STATUS_URL = "https://api.example.com/status"


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


def twilio(wire: Wire, **changed: Any) -> TwilioSms:
    """The adapter over a wire."""
    return TwilioSms(lambda: SETTINGS | changed, status_url=STATUS_URL, transport=httpx.MockTransport(wire))


def problem(status: int, code: int) -> httpx.Response:
    """A refusal as Twilio words it."""
    told = {"code": code, "message": f"The number {NUMBER} is not one", "more_info": "https://example.com", "status": status}
    return httpx.Response(status, json=told)


def refusal(wire: Wire) -> CardwrightError:
    """What the adapter makes of an answer."""
    with pytest.raises(CardwrightError) as caught:
        twilio(wire).send(Secret(NUMBER), MESSAGE, MESSAGE_ID)
    assert NUMBER not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize(
    ("sender", "field"), [("+15550199", "From"), ("Cardwright", "From"), ("MG" + "0" * 32, "MessagingServiceSid")]
)
def test_a_text_is_sent_from_a_number_a_name_or_a_service(sender: str, field: str) -> None:
    wire = Wire(httpx.Response(201, json={"sid": "SM1", "status": "queued"}))
    assert twilio(wire, sender=sender).send(Secret(NUMBER), MESSAGE, MESSAGE_ID) == "SM1"
    (asked,) = wire.asked
    assert str(asked.url) == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert asked.headers["authorization"] == "Basic " + b64encode(f"{ACCOUNT}:token-1".encode()).decode()
    assert dict(parse_qsl(asked.content.decode())) == {
        "To": NUMBER,
        "Body": "Your card was used.",
        "StatusCallback": STATUS_URL,
        field: sender,
    }


def test_the_process_s_own_region_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_REGION", "au1")
    wire = Wire(httpx.Response(201, json={"sid": "SM1"}))
    twilio(wire).send(Secret(NUMBER), MESSAGE, MESSAGE_ID)
    assert wire.asked[0].url.host == "api.twilio.com"


@pytest.mark.parametrize("code", [21211, 21610, 21614])
def test_a_number_that_takes_no_texts_is_dead(code: int) -> None:
    assert isinstance(refusal(Wire(problem(400, code))), DeadAddressError)


def test_a_number_is_dead_in_the_newer_wording_too() -> None:
    told = {"type": "https://example.com", "title": "Unsubscribed", "status": 400, "code": 21610}
    assert isinstance(refusal(Wire(httpx.Response(400, json=told))), DeadAddressError)


@pytest.mark.parametrize("answer", [problem(400, 21408), problem(400, 21602), problem(404, 20404), problem(403, 20003)])
def test_another_refusal_is_this_texts(answer: httpx.Response) -> None:
    assert type(refusal(Wire(answer))) is ProviderRefusedError


@pytest.mark.parametrize(
    "answer",
    [problem(401, 20003), problem(429, 20429), problem(500, 20500), httpx.Response(502, content=b"<html>"), httpx.Response(302)],
)
def test_what_may_pass_is_unavailable(answer: httpx.Response) -> None:
    assert type(refusal(Wire(answer))) is UnavailableError


def test_an_outage_is_unavailable() -> None:
    assert refusal(Wire()).code == "messages_unavailable"


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"7", b'{"sid": 7}', b"{}"])
def test_a_text_that_was_taken_without_a_name_was_taken(content: bytes) -> None:
    assert twilio(Wire(httpx.Response(201, content=content))).send(Secret(NUMBER), MESSAGE, MESSAGE_ID) is None


def test_no_number_and_no_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("twilio.http_client").setLevel(logging.DEBUG)
        twilio(Wire(httpx.Response(201, json={"sid": "SM1"}))).send(Secret(NUMBER), MESSAGE, MESSAGE_ID)
        refusal(Wire(problem(400, 21211)))
    assert NUMBER.strip("+") not in caplog.text
    assert "token-1" not in caplog.text
    assert "Your card" not in caplog.text


@pytest.mark.parametrize("changed", [{"account_sid": "somebody"}, {"auth_token": ""}, {"sender": ""}, {"sender": None}])
def test_settings_that_lack_something_are_a_fault_of_ours(changed: dict[str, Any]) -> None:
    wire = Wire(httpx.Response(201))
    with pytest.raises(BrokenInvariantError):
        twilio(wire, **changed).send(Secret(NUMBER), MESSAGE, MESSAGE_ID)
    assert wire.asked == []
