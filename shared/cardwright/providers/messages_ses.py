"""Mail through Amazon SES."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_ses import SESClient

# SES says these when a message as such is not taken; anything else may pass.
_REFUSALS = frozenset({"MessageRejected", "MailFromDomainNotVerifiedException", "InvalidParameterValue"})


class SesMessages:
    """Sends mail from one verified sender; `data` is for simulated channels and is not sent."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._ses: SESClient = boto3.client(
            "ses", config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
        )

    def send(self, channel: Literal["email", "sms", "push"], to: str, subject: str, body: str, data: Mapping[str, str]) -> None:
        """Send a mail as plain text. Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused."""
        if channel != "email":
            raise ProviderRefusedError(f"This channel carries no {channel}.", code="messages_refused")
        try:
            self._ses.send_email(
                Source=self._sender,
                Destination={"ToAddresses": [to]},
                Message={
                    "Subject": {"Data": subject, "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": body, "Charset": "UTF-8"}},
                },
            )
        except ClientError as error:
            # SES repeats the recipient in its messages: only the code is looked at.
            if error.response.get("Error", {}).get("Code") in _REFUSALS:
                raise ProviderRefusedError("The message was refused.", code="messages_refused") from None
            raise _unavailable() from None
        except BotoCoreError:
            raise _unavailable() from None


def _unavailable() -> UnavailableError:
    return UnavailableError("The message channel does not answer.", code="messages_unavailable")
