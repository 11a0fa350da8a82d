"""Push through FCM's HTTP v1: tokens of the service account, what is sent, and what each error means."""

import base64
import json
import logging
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DeadAddressError, Rendered
from cardwright.providers.push_fcm import FcmPush

TO = Secret("registration-token-1")
MESSAGE = Rendered("Card used", "12.34 EUR at a shop", {"notification_id": "n-1"})
MESSAGE_ID = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
TOKEN_URL = "https://oauth2.googleapis.com/token"


@pytest.fixture(scope="module")
def private_key() -> str:
    """A key of the service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class Google:
    """The token endpoint and FCM; `answer` is FCM's, `token_status` the endpoint's."""

    def __init__(self, private_key: str) -> None:
        self.account = {
            "type": "service_account",
            "project_id": "cardwright-test",
            "private_key_id": "key-1",
            "private_key": private_key,
            "client_email": "push@cardwright-test.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": TOKEN_URL,
        }
        self.answer = httpx.Response(200, json={"name": "projects/cardwright-test/messages/1"})
        self.token_answer: httpx.Response | None = None
        self.expires_in = 3599
        self.down = False
        self.at = 100.0
        self.tokens: list[dict[str, str]] = []
        self.sent: list[httpx.Request] = []
        self.push = FcmPush(lambda: self.account, transport=httpx.MockTransport(self), monotonic=lambda: self.at)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.down:
            raise httpx.ConnectError("no way", request=request)
        if str(request.url) == TOKEN_URL:
            self.tokens.append(dict(parse_qsl(request.content.decode())))
            made = {"access_token": f"ya29.{len(self.tokens)}", "expires_in": self.expires_in, "token_type": "Bearer"}
            return self.token_answer or httpx.Response(200, json=made)
        self.sent.append(request)
        return self.answer

    def send(self) -> str | None:
        """Send the message."""
        return self.push.send(TO, MESSAGE, MESSAGE_ID)

    def refusal(self) -> CardwrightError:
        """What the adapter makes of the answer."""
        with pytest.raises(CardwrightError) as caught:
            self.send()
        assert "registration-token" not in str(caught.value)
        assert caught.value.__cause__ is None
        return caught.value


@pytest.fixture
def google(private_key: str) -> Google:
    return Google(private_key)


def error(status: int, word: str, *details: dict[str, Any], message: str = "Told.") -> httpx.Response:
    """An error as FCM words it."""
    return httpx.Response(status, json={"error": {"code": status, "message": message, "status": word, "details": [*details]}})


def fcm(code: str) -> dict[str, Any]:
    """FCM's own part of an error."""
    return {"@type": FCM_ERROR, "errorCode": code}


def violation(field: str) -> dict[str, Any]:
    """The part that names a field."""
    return {"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "Invalid"}]}


def test_a_push_is_sent_to_the_project_under_our_id(google: Google) -> None:
    assert google.send() == "projects/cardwright-test/messages/1"
    (sent,) = google.sent
    assert str(sent.url) == "https://fcm.googleapis.com/v1/projects/cardwright-test/messages:send"
    assert sent.headers["authorization"] == "Bearer ya29.1"
    tag = str(MESSAGE_ID)
    assert json.loads(sent.content) == {
        "message": {
            "token": "registration-token-1",
            "notification": {"title": "Card used", "body": "12.34 EUR at a shop"},
            "data": {"notification_id": "n-1"},
            "android": {"priority": "HIGH", "notification": {"tag": tag}},
            "apns": {"headers": {"apns-collapse-id": tag}},
            "webpush": {"notification": {"tag": tag}},
        }
    }


def test_a_token_is_asked_for_with_the_scope_of_messaging_alone(google: Google) -> None:
    google.send()
    (asked,) = google.tokens
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = asked["assertion"].split(".")[1]
    told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert told["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert (told["iss"], told["aud"]) == (google.account["client_email"], TOKEN_URL)


def test_a_token_is_held_while_it_is_good(google: Google) -> None:
    google.send()
    google.send()
    assert (len(google.tokens), len(google.sent)) == (1, 2)


def test_a_token_about_to_end_is_asked_for_anew(google: Google) -> None:
    google.expires_in = 60
    google.send()
    google.send()
    assert [sent.headers["authorization"] for sent in google.sent] == ["Bearer ya29.1", "Bearer ya29.2"]


def test_another_key_of_the_account_gets_a_token_of_its_own(google: Google) -> None:
    google.send()
    google.account |= {"private_key_id": "key-2"}
    google.send()
    assert len(google.tokens) == 2


def test_a_token_that_fcm_does_not_know_is_dropped(google: Google) -> None:
    google.send()
    google.answer = error(401, "UNAUTHENTICATED")
    assert type(google.refusal()) is UnavailableError
    google.answer = httpx.Response(200, json={"name": "projects/cardwright-test/messages/2"})
    google.send()
    assert len(google.tokens) == 2


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "NOT_FOUND", fcm("UNREGISTERED")),
        error(400, "INVALID_ARGUMENT", fcm("INVALID_ARGUMENT"), violation("message.token")),
        error(
            400,
            "INVALID_ARGUMENT",
            fcm("INVALID_ARGUMENT"),
            message="The registration token is not a valid FCM registration token",
        ),
    ],
)
def test_a_token_that_is_not_registered_is_dead(google: Google, answer: httpx.Response) -> None:
    google.answer = answer
    assert isinstance(google.refusal(), DeadAddressError)


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "INVALID_ARGUMENT", violation("message.data[0].value")),
        error(400, "INVALID_ARGUMENT", fcm("INVALID_ARGUMENT"), message="Request contains an invalid argument."),
        error(400, "INVALID_ARGUMENT", message="Request contains an invalid argument."),
        error(401, "UNAUTHENTICATED", fcm("THIRD_PARTY_AUTH_ERROR")),
        error(403, "PERMISSION_DENIED", fcm("SENDER_ID_MISMATCH")),
    ],
)
def test_another_refusal_is_this_messages(google: Google, answer: httpx.Response) -> None:
    google.answer = answer
    assert type(google.refusal()) is ProviderRefusedError


@pytest.mark.parametrize(
    "answer",
    [
        error(429, "RESOURCE_EXHAUSTED", fcm("QUOTA_EXCEEDED")),
        error(503, "UNAVAILABLE", fcm("UNAVAILABLE")),
        error(500, "INTERNAL", fcm("INTERNAL")),
        # A project that is not there: no device is to be forgotten for it.
        error(404, "NOT_FOUND"),
        httpx.Response(502, content=b"<!DOCTYPE html>"),
        httpx.Response(302),
    ],
)
def test_what_may_pass_is_unavailable(google: Google, answer: httpx.Response) -> None:
    google.answer = answer
    assert type(google.refusal()) is UnavailableError


def test_an_outage_is_unavailable_before_and_after_there_is_a_token(google: Google) -> None:
    google.down = True
    assert google.refusal().code == "messages_unavailable"
    google.down = False
    google.at += 5
    google.send()
    google.down = True
    assert google.refusal().code == "messages_unavailable"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(400, json={"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
        httpx.Response(200, content=b"{}"),
        httpx.Response(200, content=b"<html>"),
    ],
)
def test_without_a_token_nothing_is_sent_and_google_is_asked_once(google: Google, answer: httpx.Response) -> None:
    google.token_answer = answer
    assert type(google.refusal()) is UnavailableError
    assert (len(google.tokens), google.sent) == (1, [])


def test_while_google_gives_no_token_it_is_asked_again_after_some_seconds_only(google: Google) -> None:
    google.token_answer = httpx.Response(503)
    for _ in range(3):
        assert type(google.refusal()) is UnavailableError
    google.token_answer = None
    google.at += 4.9
    assert type(google.refusal()) is UnavailableError
    assert (len(google.tokens), google.sent) == (1, [])
    google.at += 0.1
    google.send()
    assert (len(google.tokens), len(google.sent)) == (2, 1)


def test_another_key_is_tried_at_once_after_one_that_failed(google: Google) -> None:
    google.token_answer = httpx.Response(503)
    google.refusal()
    google.token_answer = None
    google.account = {**google.account, "private_key_id": "key-2"}
    google.send()
    assert len(google.sent) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"name": 7}'])
def test_a_push_that_was_taken_without_a_name_was_taken(google: Google, content: bytes) -> None:
    google.answer = httpx.Response(200, content=content)
    assert google.send() is None


@pytest.mark.parametrize(
    "changed",
    [
        {"private_key": "no key"},
        {"private_key": ""},
        {"project_id": "../other"},
        {"client_email": None},
        {"token_uri": "http://a"},
    ],
)
def test_an_account_that_cannot_be_read_is_a_fault_of_ours(google: Google, changed: dict[str, Any]) -> None:
    google.account |= changed
    with pytest.raises(BrokenInvariantError) as caught:
        google.send()
    assert caught.value.__cause__ is None


def test_no_token_is_logged(google: Google, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        google.send()
    for secret in ("ya29", "registration-token", "assertion", "12.34"):
        assert secret not in caplog.text
