"""A queue under contract: moto's SQS or our twin behind one boto3 client, and where moto departs from AWS."""

import itertools
import os
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.programs import Running

# Where moto departs from what AWS documents. Strict: a moto that mends one of these makes its line fail.
MOTO_DIFFERS = {
    "test_attributes_outside_their_range_are_refused": "takes any value, and attributes SQS does not have",
    "test_control_characters_in_a_body_are_refused": "takes characters SQS refuses",
    "test_a_batch_sends_good_entries_and_reports_bad_ones": "takes characters SQS refuses",
    "test_an_empty_body_is_refused": "takes an empty body",
    "test_attributes_count_toward_the_size": "counts the body alone",
    "test_an_outdated_receipt_deletes_nothing": "deletes by any receipt it ever gave for the message",
    "test_visibility_cannot_be_changed_once_it_is_over": "hides the message again",
    "test_a_dead_letter_tells_where_it_came_from": "leaves DeadLetterQueueSourceArn out",
    "test_dead_letters_can_be_given_back_to_where_they_came_from": "has no StartMessageMoveTask",
    "test_only_a_dead_letter_queue_can_be_given_back": "has no StartMessageMoveTask",
}

_NUMBERS = itertools.count()


def fresh_name(kind: str) -> str:
    """A queue name nobody has used."""
    return f"{kind}-{os.getpid()}-{next(_NUMBERS)}"


@dataclass(frozen=True)
class Host:
    """One implementation under test."""

    kind: str
    running: Running
    sqs: Any

    def queue(self, **attributes: str) -> str:
        """The URL of a fresh queue."""
        name = fresh_name("contract")
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn(self, url: str) -> str:
        """A queue's ARN."""
        return str(self.attributes(url, "QueueArn")["QueueArn"])

    def attributes(self, url: str, *names: str) -> dict[str, str]:
        """Attributes of a queue."""
        found: dict[str, str] = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
        return found

    def counts(self, url: str) -> tuple[int, int, int]:
        """Messages waiting, in flight and delayed."""
        prefix = "ApproximateNumberOfMessages"
        found = self.attributes(url, prefix, f"{prefix}NotVisible", f"{prefix}Delayed")
        return int(found[prefix]), int(found[f"{prefix}NotVisible"]), int(found[f"{prefix}Delayed"])

    def send(self, url: str, *bodies: str, **more: Any) -> list[str]:
        """Send messages one by one; their ids."""
        return [self.sqs.send_message(QueueUrl=url, MessageBody=body, **more)["MessageId"] for body in bodies]

    def receive(self, url: str, **more: Any) -> list[dict[str, Any]]:
        """Receive up to ten messages, without waiting unless told to."""
        wanted = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "AttributeNames": ["All"]} | more
        found: list[dict[str, Any]] = self.sqs.receive_message(QueueUrl=url, **wanted).get("Messages", [])
        return found

    def refusal(self, operation: str, **arguments: Any) -> str:
        """The error code of a call that must be refused."""
        with pytest.raises(ClientError) as refused:
            getattr(self.sqs, operation)(**arguments)
        return str(refused.value.response["Error"]["Code"])
