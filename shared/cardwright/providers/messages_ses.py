"""Mail through Amazon SES."""

from collections.abc import Mapping
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.aws import client

# SES says these when a message as such is not taken; anything else may pass.
_REFUSALS = frozenset({"MessageRejected", "MailFromDomainNotVerifiedException", "InvalidParameterValue"})


class SesMessages:
    """Sends mail from one verified sender; `data` is for simulated channels and is not sent."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._ses = client("ses")

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
