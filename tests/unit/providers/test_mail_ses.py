"""Mail through an emulated SES."""

from collections.abc import Iterator
from uuid import UUID

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.platform.aws import forget_clients
from cardwright.providers.mail_ses import SesMail

SENDER = "no-reply@example.com"
TO = Secret("ada@example.com")
MESSAGE = Rendered("Grüße", "Ein Text", {"code": "123456"})
MESSAGE_ID = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The emulator's region, no other endpoint, and no client of another test."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    forget_clients()
    yield
    forget_clients()


def test_a_mail_is_sent_without_its_data_and_named_by_ses() -> None:
    with mock_aws():
        boto3.client("ses").verify_email_identity(EmailAddress=SENDER)
        named = SesMail(SENDER).send(TO, MESSAGE, MESSAGE_ID)
        (sent,) = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
        assert (sent.source, sent.destinations["ToAddresses"], sent.subject, sent.body) == (
            SENDER,
            ["ada@example.com"],
            "Grüße",
            "Ein Text",
        )
        assert named == sent.id


def test_a_configuration_set_goes_with_the_mail_only_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    class Ses:
        def send_email(self, **wanted: object) -> dict[str, str]:
            asked.append(wanted)
            return {"MessageId": "m-1"}

    monkeypatch.setattr("cardwright.providers.mail_ses.client", lambda _service: Ses())
    assert SesMail(SENDER, "bounces").send(TO, MESSAGE, MESSAGE_ID) == "m-1"
    SesMail(SENDER).send(TO, MESSAGE, MESSAGE_ID)
    assert [wanted.get("ConfigurationSetName") for wanted in asked] == ["bounces", None]


def test_an_unverified_sender_is_refused_without_naming_the_recipient() -> None:
    with mock_aws(), pytest.raises(ProviderRefusedError) as caught:
        SesMail(SENDER).send(TO, MESSAGE, MESSAGE_ID)
    assert caught.value.code == "messages_refused"
    assert "ada" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_outage_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(UnavailableError) as caught:
        SesMail(SENDER).send(TO, MESSAGE, MESSAGE_ID)
    assert caught.value.code == "messages_unavailable"
