"""Mail through Amazon SES."""

from typing import TYPE_CHECKING
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.platform.aws import client
from cardwright.providers.sending import refused, unavailable

if TYPE_CHECKING:
    from mypy_boto3_ses.type_defs import SendEmailRequestTypeDef

# SES says these when a message as such is not taken; anything else may pass.
_REFUSALS = frozenset({"MessageRejected", "MailFromDomainNotVerifiedException", "InvalidParameterValue"})


class SesMail:
    """Sends plain text from one verified sender; a message's `data` is for other channels and is not sent.

    `configuration_set` is SES's name for where bounces and complaints are told of; without one they are told of nowhere.
    SES knows no idempotency: a message whose answer was lost is sent again.
    """

    name = "ses"

    def __init__(self, sender: str, configuration_set: str | None = None) -> None:
        self._sender = sender
        self._configuration_set = configuration_set
        self._ses = client("ses")

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Send a mail; return SES's id of it.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused.
        """
        wanted: SendEmailRequestTypeDef = {
            "Source": self._sender,
            "Destination": {"ToAddresses": [to.reveal()]},
            "Message": {
                "Subject": {"Data": message.subject or "", "Charset": "UTF-8"},
                "Body": {"Text": {"Data": message.body, "Charset": "UTF-8"}},
            },
        }
        if self._configuration_set is not None:
            wanted["ConfigurationSetName"] = self._configuration_set
        try:
            answer = self._ses.send_email(**wanted)
        except ClientError as error:
            # SES repeats the recipient in its messages: only the code is looked at.
            if error.response.get("Error", {}).get("Code") in _REFUSALS:
                raise refused() from None
            raise unavailable() from None
        except BotoCoreError:
            raise unavailable() from None
        return answer["MessageId"]
