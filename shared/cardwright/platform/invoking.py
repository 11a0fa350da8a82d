"""Posting through a function of its own, which stands where neither data nor keys can be reached (docs/decisions/0025)."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.aws import client
from cardwright.platform.egress import Answer, EgressError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# Lambda's quota of a synchronous invocation.
PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
# The function was asked and its answer is lost: the post may have been made.
_ANSWER_LOST = (ReadTimeoutError, ConnectionClosedError, ResponseStreamingError, IncompleteReadError)


class InvokedSender:
    """Posts by invoking a function, by its name or ARN; each post once. Any number of threads may share it."""

    def __init__(self, function: str, invoker: "LambdaClient | None" = None) -> None:
        """`invoker` is the process's client of Lambda unless given."""
        self._function = function
        self._client = invoker or client("lambda")

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer, whatever its status. `body` is UTF-8.

        Raises EgressError when the receiver gave none: with the function's own code, with `sender_failed` when the function
        ended without an answer or its answer was lost, with `payload_too_large` for what Lambda does not take. Raises
        UnavailableError when the function was not started: no attempt was made.
        """
        payload = json.dumps({"url": url, "headers": dict(headers), "body": body.decode()}).encode()
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise EgressError("payload_too_large")
        try:
            invoked = self._client.invoke(FunctionName=self._function, InvocationType="RequestResponse", Payload=payload)
            told = invoked["Payload"].read()
        except _ANSWER_LOST as error:
            raise EgressError("sender_failed") from error
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("Webhooks cannot be sent.", code="webhook_sender_unavailable") from error
        if invoked.get("FunctionError"):
            raise EgressError("sender_failed")
        return _read(told)


def _read(told: bytes) -> Answer:
    try:
        document = json.loads(told)
        if "error" in document:
            raise EgressError(str(document["error"]))
        return Answer(int(document["status"]), dict(document["headers"]), base64.b64decode(document["body"], validate=True))
    except (binascii.Error, KeyError, TypeError, ValueError) as error:
        raise EgressError("sender_failed") from error
