"""Texts through Amazon SNS: what is asked for, and what each of its errors means."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from cardwright.kernel.errors import CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DeadAddressError, Rendered
from cardwright.platform.aws import forget_clients
from cardwright.providers import sms_sns
from cardwright.providers.sms_sns import SnsSms

NUMBER = "+15550100"
MESSAGE = Rendered(None, "Your card was used.", {})
MESSAGE_ID = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")


class Sns:
    """A client that notes what it is asked for, and fails when told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._failure = failure

    def publish(self, **wanted: Any) -> dict[str, str]:
        """Take a message."""
        self.asked.append(wanted)
        if self._failure is not None:
            raise self._failure
        return {"MessageId": "m-1"}


def over(monkeypatch: pytest.MonkeyPatch, sns: Sns, sender_id: str | None = None) -> SnsSms:
    """The adapter over a client."""
    monkeypatch.setattr(sms_sns, "client", lambda _service: sns)
    return SnsSms(sender_id)


def refusal(code: str, message: str = "") -> ClientError:
    """An error of SNS."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Publish")


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients of the emulator, and of no other test."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    forget_clients()
    yield
    forget_clients()


@pytest.mark.usefixtures("clients")
def test_the_emulator_takes_a_text_to_a_number() -> None:
    with mock_aws():
        named = SnsSms().send(Secret(NUMBER), MESSAGE, MESSAGE_ID)
        (sent,) = sns_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sms_messages.items()
        assert sent[0] == named
        assert NUMBER in sent[1]


@pytest.mark.parametrize("sender_id", [None, "Cardwright"])
def test_a_text_is_transactional_and_says_who_sends_it_where_that_is_set(
    monkeypatch: pytest.MonkeyPatch, sender_id: str | None
) -> None:
    sns = Sns()
    assert over(monkeypatch, sns, sender_id).send(Secret(NUMBER), MESSAGE, MESSAGE_ID) == "m-1"
    (asked,) = sns.asked
    assert (asked["PhoneNumber"], asked["Message"]) == (NUMBER, "Your card was used.")
    attributes = {name: value["StringValue"] for name, value in asked["MessageAttributes"].items()}
    assert attributes.pop("AWS.SNS.SMS.SMSType") == "Transactional"
    assert attributes == ({} if sender_id is None else {"AWS.SNS.SMS.SenderID": sender_id})


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refusal("InvalidParameter", f"Invalid parameter: PhoneNumber Reason: {NUMBER} is not valid"), DeadAddressError),
        (refusal("OptedOut", f"{NUMBER} has opted out"), DeadAddressError),
        (refusal("InvalidParameter", "Invalid parameter: Message too long"), ProviderRefusedError),
        (refusal("Throttling"), UnavailableError),
        (refusal("AuthorizationError"), UnavailableError),
        (refusal("InternalError"), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://sns.us-east-1.amazonaws.com"), UnavailableError),
    ],
)
def test_an_error_is_told_apart_and_names_nobody(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[CardwrightError]
) -> None:
    with pytest.raises(CardwrightError) as caught:
        over(monkeypatch, Sns(failure)).send(Secret(NUMBER), MESSAGE, MESSAGE_ID)
    assert type(caught.value) is kind
    assert NUMBER not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_sdk_asks_once() -> None:
    from cardwright.platform import aws

    assert vars(aws._CONFIGS["sns"])["_user_provided_options"]["retries"]["total_max_attempts"] == 1
