"""What providers report of addresses: who signed it, and which of them are dead."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from twilio.request_validator import RequestValidator

from cardwright.kernel.errors import BrokenInvariantError, InvalidRequestError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Bounce
from cardwright.notifications.rules import Because
from cardwright.providers.bounces_sendgrid import SendGridBounces
from cardwright.providers.bounces_ses import SesBounces
from cardwright.providers.bounces_twilio import TwilioBounces

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
URL = "https://api.example.com/api/v1/webhooks/messages/twilio"
NUMBER = "+15550100"
TOKEN = "token-2"


class SendGridSide:
    """SendGrid's end: a key of its own for each webhook."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        """The verification key as SendGrid shows it."""
        shown = self._key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(shown).decode()

    def sign(self, body: bytes, at: datetime = NOW) -> dict[str, str]:
        """Headers of a report."""
        timestamp = str(int(at.timestamp()))
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }


OURS, FORMER = SendGridSide(), SendGridSide()


def reader(keys: list[str]) -> SendGridBounces:
    """A reader that knows some keys."""
    return SendGridBounces(lambda: {"webhook_keys": keys})


def sendgrid() -> SendGridBounces:
    """The reader, which knows two keys."""
    return reader([OURS.public, FORMER.public])


def events(*told: Mapping[str, Any]) -> bytes:
    """A report of SendGrid."""
    return json.dumps([{"sg_event_id": "e", "timestamp": 1, "email": "ada@example.com", **one} for one in told]).encode()


def refused(read: Callable[[], Sequence[Bounce]]) -> str:
    """The code a report is refused with."""
    with pytest.raises(UnauthenticatedError) as caught:
        read()
    return caught.value.code


@pytest.mark.parametrize(
    ("told", "because"),
    [
        ({"event": "bounce", "type": "bounce"}, Because.BOUNCE),
        ({"event": "dropped", "reason": "Bounced Address"}, Because.BOUNCE),
        ({"event": "dropped", "reason": "Invalid"}, Because.BOUNCE),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, Because.COMPLAINT),
        ({"event": "spamreport"}, Because.COMPLAINT),
        ({"event": "unsubscribe"}, Because.UNSUBSCRIBED),
        ({"event": "group_unsubscribe", "asm_group_id": 7}, Because.UNSUBSCRIBED),
    ],
)
def test_sendgrid_reports_a_dead_mailbox(told: Mapping[str, Any], because: Because) -> None:
    body = events(told)
    assert sendgrid().read(OURS.sign(body), body, NOW) == [Bounce("email", Secret("ada@example.com"), because)]


def test_what_sendgrid_tells_beside_it_kills_no_mailbox() -> None:
    body = events(
        {"event": "delivered"},
        {"event": "deferred"},
        {"event": "bounce", "type": "blocked"},
        {"event": "dropped", "reason": "Unauthorized"},
        {"event": "bounce", "type": "bounce", "email": ""},
        {"event": "something new"},
    )
    assert sendgrid().read(OURS.sign(body), body, NOW) == []


def test_sendgrids_former_key_still_opens_and_a_strangers_does_not() -> None:
    body = events({"event": "spamreport"})
    assert len(sendgrid().read(FORMER.sign(body), body, NOW)) == 1
    assert refused(lambda: sendgrid().read(SendGridSide().sign(body), body, NOW)) == "signature_invalid"


@pytest.mark.parametrize("position", [0, 10, -1])
def test_one_changed_byte_of_sendgrids_report_is_refused(position: int) -> None:
    body = events({"event": "spamreport"})
    changed = bytearray(body)
    changed[position] ^= 1
    assert refused(lambda: sendgrid().read(OURS.sign(body), bytes(changed), NOW)) == "signature_invalid"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"X-Twilio-Email-Event-Webhook-Signature": ""}, "signature_missing"),
        ({"X-Twilio-Email-Event-Webhook-Timestamp": ""}, "signature_missing"),
        ({"X-Twilio-Email-Event-Webhook-Signature": "no base64!"}, "signature_invalid"),
        ({"X-Twilio-Email-Event-Webhook-Signature": "AAAA"}, "signature_invalid"),
        ({"X-Twilio-Email-Event-Webhook-Timestamp": "1"}, "signature_invalid"),
        ({"X-Twilio-Email-Event-Webhook-Timestamp": "now"}, "signature_invalid"),
    ],
)
def test_sendgrids_headers_that_are_not_as_they_were_are_refused(changed: dict[str, str], code: str) -> None:
    body = events({"event": "spamreport"})
    assert refused(lambda: sendgrid().read(OURS.sign(body) | changed, body, NOW)) == code


@pytest.mark.parametrize(
    ("age", "taken"), [(timedelta(hours=24), True), (timedelta(hours=25), False), (-timedelta(hours=25), False)]
)
def test_a_report_is_taken_for_as_long_as_sendgrid_sends_it_again(age: timedelta, taken: bool) -> None:
    body = events({"event": "spamreport"})
    headers = OURS.sign(body, NOW - age)
    if taken:
        assert len(sendgrid().read(headers, body, NOW)) == 1
    else:
        assert refused(lambda: sendgrid().read(headers, body, NOW)) == "timestamp_out_of_range"


@pytest.mark.parametrize(("body", "code"), [(b"{", "json_invalid"), (b"{}", "event_invalid"), (b"7", "event_invalid")])
def test_a_signed_report_that_is_none_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        sendgrid().read(OURS.sign(body), body, NOW)
    assert caught.value.code == code


def test_keys_that_are_none_are_a_fault_of_ours() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    wrong = base64.b64encode(
        other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    body = events({"event": "spamreport"})
    for keys in ([], [wrong], ["AAAA"], ["not base64"]):
        with pytest.raises(BrokenInvariantError):
            reader(keys).read(OURS.sign(body), body, NOW)


def twilio() -> TwilioBounces:
    """The reader, which knows two tokens."""
    return TwilioBounces(lambda: {"auth_token": TOKEN, "former_auth_tokens": ["token-1"]}, URL)


def status(**changed: str) -> dict[str, str]:
    """The form of a status callback."""
    told = {
        "MessageSid": "SM1",
        "MessageStatus": "undelivered",
        "ErrorCode": "30005",
        "To": NUMBER,
        "From": "+15550199",
        "Empty": "",
    }
    return told | changed


def callback(form: Mapping[str, str], signed_with: str = TOKEN, url: str = URL) -> tuple[dict[str, str], bytes]:
    """Headers and body as Twilio posts them."""
    return {"X-Twilio-Signature": RequestValidator(signed_with).compute_signature(url, form)}, urlencode(form).encode()


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({}, Because.BOUNCE),
        ({"ErrorCode": "30006"}, Because.BOUNCE),
        ({"ErrorCode": "21614", "MessageStatus": "failed"}, Because.BOUNCE),
        ({"ErrorCode": "21610", "MessageStatus": "failed"}, Because.UNSUBSCRIBED),
    ],
)
def test_twilio_reports_a_dead_number(changed: dict[str, str], because: Because) -> None:
    assert twilio().read(*callback(status(**changed)), NOW) == [Bounce("sms", Secret(NUMBER), because)]


@pytest.mark.parametrize(
    "changed",
    [
        {"MessageStatus": "delivered", "ErrorCode": ""},
        {"MessageStatus": "sent"},
        {"ErrorCode": "30003"},
        {"ErrorCode": "30007"},
        {"To": "whatsapp:+15550100"},
    ],
)
def test_what_twilio_tells_beside_it_kills_no_number(changed: dict[str, str]) -> None:
    assert twilio().read(*callback(status(**changed)), NOW) == []


def test_twilios_former_token_still_opens_and_a_strangers_does_not() -> None:
    assert len(twilio().read(*callback(status(), "token-1"), NOW)) == 1
    assert refused(lambda: twilio().read(*callback(status(), "token-0"), NOW)) == "signature_invalid"
    assert refused(lambda: twilio().read(*callback(status(), url=URL + "?a=1"), NOW)) == "signature_invalid"


def test_a_strange_event_of_a_report_costs_no_other() -> None:
    told = [
        7,
        {"event": "bounce", "type": ["bounce"], "email": "a@example.com"},
        {"event": "spamreport", "email": "b@example.com"},
    ]
    body = json.dumps(told).encode()
    (found,) = sendgrid().read(OURS.sign(body), body, NOW)
    assert (found.address.reveal(), found.because) == ("b@example.com", Because.COMPLAINT)


@pytest.mark.parametrize("other", [b"", b"MessageStatus", b"&" * 200, b"\xff=\xfe", b"To=%2B15550101&MessageStatus=failed"])
def test_another_body_than_twilio_signed_is_refused(other: bytes) -> None:
    headers, _ = callback(status())
    assert refused(lambda: twilio().read(headers, other, NOW)) == "signature_invalid"


def test_a_callback_without_a_signature_is_refused() -> None:
    _, body = callback(status())
    assert refused(lambda: twilio().read({}, body, NOW)) == "signature_missing"
    assert refused(lambda: twilio().read({"X-Twilio-Signature": "é"}, body, NOW)) == "signature_invalid"


def test_a_signed_callback_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        twilio().read(*callback({"CallSid": "CA1"}), NOW)
    assert caught.value.code == "event_invalid"


def ses(document: Any) -> Sequence[Bounce]:
    """Read a message of the queue."""
    return SesBounces().read({}, json.dumps(document).encode(), NOW)


@pytest.mark.parametrize("name", ["notificationType", "eventType"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_ses_reports_dead_mailboxes_raw_and_in_an_envelope(name: str, wrapped: bool) -> None:
    recipients = [{"emailAddress": "ada@example.com"}, {"emailAddress": "Grace <grace@example.com>", "status": "5.1.1"}]
    told = {name: "Bounce", "bounce": {"bounceType": "Permanent", "bouncedRecipients": recipients}, "mail": {"messageId": "m"}}
    found = ses({"Type": "Notification", "Message": json.dumps(told)} if wrapped else told)
    assert found == [Bounce("email", Secret(f"{who}@example.com"), Because.BOUNCE) for who in ("ada", "grace")]


def test_ses_reports_a_complaint() -> None:
    told = {"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "ada@example.com"}]}}
    assert ses(told) == [Bounce("email", Secret("ada@example.com"), Because.COMPLAINT)]


@pytest.mark.parametrize(
    "told",
    [
        {"bounce": {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": "ada@example.com"}]}},
        {"bounce": {"bounceType": "Undetermined", "bouncedRecipients": [{"emailAddress": "ada@example.com"}]}},
        {"notificationType": "Delivery", "delivery": {"recipients": ["ada@example.com"]}},
        {"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe"},
        {"bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": ""}]}},
    ],
)
def test_what_ses_tells_beside_it_kills_no_mailbox(told: Mapping[str, Any]) -> None:
    assert ses(told) == []


@pytest.mark.parametrize("told", [[], "text", {"bounce": 7}, {"Type": "Notification", "Message": "no JSON"}])
def test_a_message_that_is_no_report_is_refused(told: Any) -> None:
    with pytest.raises(InvalidRequestError):
        ses(told)
