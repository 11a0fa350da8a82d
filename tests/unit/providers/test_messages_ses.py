"""Mail through an emulated SES."""

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.providers.messages_ses import SesMessages

SENDER = "no-reply@example.com"


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's region, and no other endpoint."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def test_a_mail_is_sent_without_its_data() -> None:
    with mock_aws():
        boto3.client("ses").verify_email_identity(EmailAddress=SENDER)
        SesMessages(SENDER).send("email", "ada@example.com", "Hello", "Body", {"code": "123456"})
        (sent,) = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
        assert (sent.source, sent.destinations["ToAddresses"], sent.subject, sent.body) == (
            SENDER,
            ["ada@example.com"],
            "Hello",
            "Body",
        )


def test_an_unverified_sender_is_refused_without_naming_the_recipient() -> None:
    with mock_aws(), pytest.raises(ProviderRefusedError) as caught:
        SesMessages(SENDER).send("email", "ada@example.com", "Hello", "Body", {})
    assert "ada" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_other_channels_are_refused() -> None:
    with pytest.raises(ProviderRefusedError):
        SesMessages(SENDER).send("sms", "+441632960961", "Hello", "Body", {})


def test_an_outage_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(UnavailableError):
        SesMessages(SENDER).send("email", "ada@example.com", "Hello", "Body", {})
