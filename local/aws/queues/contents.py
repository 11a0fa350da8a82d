"""What may be in a message: sizes, characters, typed attributes, and the digests a client checks."""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from local.aws.queues import errors

LARGEST_PAYLOAD_BYTES: Final = 1_048_576
MOST_ATTRIBUTES: Final = 10

_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATTRIBUTE_NAME: Final = re.compile(r"(?!(?i:aws\.|amazon\.))(?!\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_DATA_TYPE: Final = re.compile(r"(?P<base>String|Number|Binary)(?:\..{1,248})?")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")

Attributes: TypeAlias = dict[str, dict[str, str]]


def md5_of_body(body: str) -> str:
    """Hex MD5 of the UTF-8 body, as SendMessage and ReceiveMessage answer it."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Mapping[str, str]]) -> str:
    """Hex MD5 over the attributes sorted by name: length-prefixed name and type, transport byte, length-prefixed value.

    Source: SQS Developer Guide, "Calculating the MD5 message digest for message attributes".
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        if "BinaryValue" in attribute:
            transport, value = b"\x02", base64.b64decode(attribute["BinaryValue"])
        else:
            transport, value = b"\x01", attribute["StringValue"].encode()
        for part in (name.encode(), attribute["DataType"].encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update(transport + struct.pack(">I", len(value)) + value)
    return digest.hexdigest()


def check_body(body: object) -> str:
    """The body, if SQS would accept it. Raises QueueError."""
    if body is None:
        raise errors.missing("MessageBody")
    if not isinstance(body, str):
        raise errors.bad_value("MessageBody", "Must be a string.")
    if not body:
        raise errors.missing("MessageBody")
    if _FORBIDDEN.search(body):
        raise errors.bad_contents()
    return body


def check_attributes(given: object) -> Attributes:
    """Message attributes, if SQS would accept them; values of unused kinds are left out. Raises QueueError."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise errors.bad_value("MessageAttributes", "Must be a map.")
    if len(given) > MOST_ATTRIBUTES:
        raise errors.bad_value("MessageAttributes", f"Number of message attributes exceeds {MOST_ATTRIBUTES}.")
    return {name: _check_attribute(name, value) for name, value in given.items()}


def _check_attribute(name: str, value: Any) -> dict[str, str]:
    if not _ATTRIBUTE_NAME.fullmatch(name) or ".." in name:
        raise errors.bad_value("MessageAttributes", f"The message attribute name '{name[:80]}' is invalid.")
    kind = value.get("DataType") if isinstance(value, dict) else None
    match = _DATA_TYPE.fullmatch(kind) if isinstance(kind, str) else None
    if match is None:
        raise errors.bad_value("MessageAttributes", f"The message attribute '{name}' has an invalid type.")
    field = "BinaryValue" if match["base"] == "Binary" else "StringValue"
    content = value.get(field)
    if not isinstance(content, str) or not content:
        raise errors.bad_value("MessageAttributes", f"The message attribute '{name}' must contain a non-empty {field}.")
    if field == "BinaryValue":
        try:
            base64.b64decode(content, validate=True)
        except binascii.Error:
            raise errors.bad_value("MessageAttributes", f"The message attribute '{name}' is not base64.") from None
    elif _FORBIDDEN.search(content):
        raise errors.bad_contents()
    elif match["base"] == "Number" and not _NUMBER.fullmatch(content):
        raise errors.bad_value("MessageAttributes", f"Could not cast message attribute '{name}' value to number.")
    return {"DataType": str(kind), field: content}


def payload_bytes(body: str, attributes: Mapping[str, Mapping[str, str]]) -> int:
    """What counts against the size limit: the body and each attribute's name, type and value, in bytes."""
    size = len(body.encode())
    for name, attribute in attributes.items():
        size += len(name.encode()) + len(attribute["DataType"].encode())
        if "BinaryValue" in attribute:
            size += len(base64.b64decode(attribute["BinaryValue"]))
        else:
            size += len(attribute["StringValue"].encode())
    return size


def selected(attributes: Attributes, wanted: Iterable[str]) -> Attributes:
    """The attributes a receiver asked for: by name, by `prefix.*`, or all with `All` or `.*`."""
    names = set(wanted)
    if names & {"All", ".*"}:
        return attributes
    prefixes = tuple(name.removesuffix("*") for name in names if name.endswith(".*"))
    return {name: value for name, value in attributes.items() if name in names or name.startswith(prefixes or ("\0",))}
