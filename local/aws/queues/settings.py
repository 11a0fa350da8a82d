"""Queue attributes: their ranges, their defaults and the redrive policy."""

import json
from dataclasses import dataclass
from typing import Any, Final

from local.aws.queues import errors

_RANGES: Final = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1_024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
# Kept and given back, but without effect here: there is no IAM and no encryption at rest to set.
_KEPT: Final = {"KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "SqsManagedSseEnabled"}
DEFAULTS: Final = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
_MOST_RECEIVES: Final = 1_000
LONGEST_VISIBILITY_S: Final = 43_200
LONGEST_DELAY_S: Final = 900
LONGEST_WAIT_S: Final = 20
COUNTED: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
READABLE: Final = {
    *_RANGES,
    *_KEPT,
    *COUNTED,
    "All",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
    "RedrivePolicy",
}


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where a message goes that was received `most_receives` times without being deleted."""

    target_arn: str
    most_receives: int


def read_redrive(text: str) -> Redrive:
    """Read a RedrivePolicy. Raises QueueError."""
    try:
        policy = json.loads(text)
        redrive = Redrive(str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"]))
    except (ValueError, TypeError, KeyError):
        raise errors.bad_attribute_value("RedrivePolicy", "Redrive policy is not a valid JSON map.") from None
    if not 1 <= redrive.most_receives <= _MOST_RECEIVES:
        raise errors.bad_attribute_value("RedrivePolicy", "maxReceiveCount must be between 1 and 1000.")
    return redrive


def check(given: object) -> dict[str, str]:
    """Attributes as CreateQueue and SetQueueAttributes take them; an empty policy removes it. Raises QueueError."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise errors.bad_value("Attributes", "Must be a map.")
    checked = {}
    for name, value in given.items():
        if name in {"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"}:
            raise errors.unsupported("The queue twin plays standard queues only.")
        if name in _RANGES:
            low, high = _RANGES[name]
            checked[name] = str(check_range(name, value, low, high, attribute=True))
        elif name == "RedrivePolicy":
            if value:
                read_redrive(value)
            checked[name] = str(value)
        elif name in _KEPT:
            checked[name] = str(value)
        else:
            raise errors.bad_attribute_name(name)
    return checked


def check_range(name: str, value: Any, low: int, high: int, *, attribute: bool = False) -> int:
    """A whole number within its documented range. Raises QueueError."""
    refuse = errors.bad_attribute_value if attribute else errors.bad_value
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise refuse(name, "Must be a whole number.") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise refuse(name, f"Must be >= {low} and <= {high}.")
    return number
