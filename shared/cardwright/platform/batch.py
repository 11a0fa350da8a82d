"""SQS batches with partial failures, through Powertools: one bad message does not bring the others back."""

from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from cardwright.platform.telemetry import logger


def run_batch(event: Mapping[str, Any], handle: Callable[[str, str], None]) -> list[str]:
    """Call `handle(message_id, body)` for each message; return the ids of those that raised, which come again."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

    def one(record: SQSRecord) -> None:
        try:
            handle(record.message_id, record.body)
        except Exception:
            logger.exception("a message could not be processed", extra={"message_id": record.message_id})
            raise

    with processor(records=list(event.get("Records", [])), handler=one):
        processor.process()
    return [str(failure["itemIdentifier"]) for failure in processor.response()["batchItemFailures"]]
