"""Text messages through Amazon SNS."""

from typing import TYPE_CHECKING
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.platform.aws import client
from cardwright.providers.sending import dead_address, refused, unavailable

if TYPE_CHECKING:
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

# SNS says these when it will not take the message later either.
_REFUSALS = frozenset({"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "ValidationError"})
_OPTED_OUT = "OptedOut"
# The parameter that holds the number, as SNS names it in its messages.
_NUMBER = "PhoneNumber"


class SnsSms:
    """Sends to numbers as E.164 writes them. `sender_id` is shown as the sender in countries that know such names.

    SNS knows no idempotency: a message whose answer was lost is sent again.
    """

    name = "sns"

    def __init__(self, sender_id: str | None = None) -> None:
        # Promotional messages, which is what SNS takes them for otherwise, give way to others and stop at night.
        attributes = {"AWS.SNS.SMS.SMSType": "Transactional"}
        if sender_id is not None:
            attributes["AWS.SNS.SMS.SenderID"] = sender_id
        self._attributes: dict[str, MessageAttributeValueTypeDef] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
        self._sns = client("sns")

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Send a text; return SNS's id of it.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused, DeadAddressError address_dead.
        """
        try:
            answer = self._sns.publish(PhoneNumber=to.reveal(), Message=message.body, MessageAttributes=self._attributes)
        except ClientError as error:
            failure = _fault(error)
        except BotoCoreError:
            failure = unavailable()
        else:
            return answer["MessageId"]
        # Outside of the handler, so that it is not chained: SNS repeats the number in its messages.
        raise failure


def _fault(error: ClientError) -> CardwrightError:
    told = error.response.get("Error", {})
    code = told.get("Code", "")
    if code == _OPTED_OUT or (code in _REFUSALS and _NUMBER in told.get("Message", "")):
        return dead_address()
    return refused() if code in _REFUSALS else unavailable()
