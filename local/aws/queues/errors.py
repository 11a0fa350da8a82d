"""The refusals of the queue twin, with the codes of SQS's JSON protocol and of its older query protocol."""

from typing import Final

_SQS: Final = "com.amazonaws.sqs#"
_CORAL: Final = "com.amazon.coral.service#"


class QueueError(Exception):
    """A refusal as a client of SQS sees it: JSON error type, query-protocol code, and a sentence."""

    def __init__(self, kind: str, code: str, message: str) -> None:
        """`kind` is the JSON error type, `code` what boto3 shows as `response["Error"]["Code"]`."""
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message


def _named(kind: str, message: str) -> QueueError:
    return QueueError(f"{_SQS}{kind}", f"AWS.SimpleQueueService.{kind}", message)


def no_such_queue() -> QueueError:
    """The queue's URL, name or ARN leads nowhere."""
    return QueueError(
        f"{_SQS}QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
    )


def queue_exists(attribute: str) -> QueueError:
    """CreateQueue for an existing name with another value of `attribute`."""
    return QueueError(
        f"{_SQS}QueueNameExists",
        "QueueAlreadyExists",
        f"A queue already exists with the same name and a different value for attribute {attribute}",
    )


def bad_receipt(message: str = "The input receipt handle is invalid.") -> QueueError:
    """A receipt handle this queue never gave out."""
    return QueueError(f"{_SQS}ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", message)


def not_in_flight() -> QueueError:
    """A visibility change for a message that is not being processed."""
    return _named("MessageNotInflight", "The message referred to isn't in flight.")


def bad_value(parameter: str, reason: str) -> QueueError:
    """A parameter outside what SQS documents."""
    return QueueError(
        f"{_CORAL}InvalidParameterValueException",
        "InvalidParameterValue",
        f"Value for parameter {parameter} is invalid. Reason: {reason}",
    )


def missing(parameter: str) -> QueueError:
    """A required parameter was left out."""
    return QueueError(
        f"{_CORAL}MissingRequiredParameterException",
        "MissingParameter",
        f"The request must contain the parameter {parameter}.",
    )


def bad_attribute_name(name: str) -> QueueError:
    """An attribute SQS does not have."""
    return QueueError(f"{_SQS}InvalidAttributeName", "InvalidAttributeName", f"Unknown Attribute {name}.")


def bad_attribute_value(name: str, reason: str) -> QueueError:
    """A queue attribute outside its range."""
    return QueueError(
        f"{_SQS}InvalidAttributeValue",
        "InvalidAttributeValue",
        f"Invalid value for the parameter {name}. Reason: {reason}",
    )


def bad_contents() -> QueueError:
    """A body with characters outside XML 1.0's set."""
    return QueueError(
        f"{_SQS}InvalidMessageContents",
        "InvalidMessageContents",
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | "
        "#xE000 to #xFFFD | #x10000 to #x10FFFF",
    )


def empty_batch() -> QueueError:
    """A batch without entries."""
    return _named("EmptyBatchRequest", "There should be at least one entry in the request.")


def too_many_entries(count: int) -> QueueError:
    """A batch of more than ten entries."""
    return _named("TooManyEntriesInBatchRequest", f"Maximum number of entries per request are 10. You have sent {count}.")


def ids_not_distinct(entry_id: str) -> QueueError:
    """Two entries of one batch with the same id."""
    return _named("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")


def bad_entry_id() -> QueueError:
    """An entry id that is not 1-80 letters, digits, hyphens and underscores."""
    return _named(
        "InvalidBatchEntryId",
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. At most 80 long.",
    )


def batch_too_long(size: int) -> QueueError:
    """Entries that together exceed the payload limit."""
    return _named(
        "BatchRequestTooLong",
        f"Batch requests cannot be longer than 1048576 bytes. You have sent {size} bytes.",
    )


def purge_running() -> QueueError:
    """A second purge within 60 seconds."""
    return _named("PurgeQueueInProgress", "Only one PurgeQueue operation is allowed every 60 seconds.")


def unsupported(message: str) -> QueueError:
    """Something the twin does not play; said aloud instead of played wrongly."""
    return _named("UnsupportedOperation", message)


def no_such_task() -> QueueError:
    """A message move task, or the queue it names, that does not exist."""
    return QueueError(
        f"{_SQS}ResourceNotFoundException",
        "ResourceNotFoundException",
        "The resource that you specified doesn't exist.",
    )


def unknown_action(action: str) -> QueueError:
    """A target that is not an SQS operation the twin knows."""
    return QueueError(f"{_CORAL}UnknownOperationException", "InvalidAction", f"The action {action} is not valid.")
