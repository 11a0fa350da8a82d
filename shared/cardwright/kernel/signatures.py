"""Signatures of Standard Webhooks 1.0, symmetric scheme `v1`: made for what we send, checked for what we get."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.macs import hmac_sha256
from cardwright.kernel.secret import Secret

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
SECRET_PREFIX = "whsec_"  # noqa: S105  # marks a secret, is none
TOLERANCE_S = 300
# A sender that rotates its secret signs with a few; a header with hundreds only makes us work.
SIGNATURES_MAX = 10
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MESSAGE_ID = re.compile(r"[!-~]{1,255}", re.ASCII)


def sign(secrets: Sequence[Secret[str]], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` value: one `v1` signature per secret, separated by spaces.

    `timestamp` is in seconds since 1970. Raises BrokenInvariantError for a secret that is not `whsec_` and base64.
    """
    signed = b"%s.%d." % (message_id.encode(), timestamp) + body
    return " ".join("v1," + base64.b64encode(_mac(secret, signed)).decode() for secret in secrets)


def verify(
    secrets: Sequence[Secret[str]],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance_s: int = TOLERANCE_S,
) -> None:
    """Return when one of the signatures is by one of the secrets over id, timestamp and body, and the timestamp is near `now`.

    Header names are compared without case. Raises UnauthenticatedError with code signature_missing,
    timestamp_out_of_range or signature_invalid, and BrokenInvariantError for a secret of ours that cannot be read.
    """
    given = headers
    if not (ID_HEADER in given and TIMESTAMP_HEADER in given and SIGNATURE_HEADER in given):
        given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = given.get(ID_HEADER, ""), given.get(TIMESTAMP_HEADER, "")
    signatures = given.get(SIGNATURE_HEADER, "")
    if not (message_id and timestamp and signatures):
        raise UnauthenticatedError("The request is not signed.", code="signature_missing")
    if not _TIMESTAMP.fullmatch(timestamp) or not _MESSAGE_ID.fullmatch(message_id):
        raise UnauthenticatedError("The signature headers cannot be read.", code="signature_invalid")
    if abs(now.timestamp() - int(timestamp)) > tolerance_s:
        raise UnauthenticatedError("The signed timestamp is too far from our clock.", code="timestamp_out_of_range")
    signed = f"{message_id}.{timestamp}.".encode() + body
    wanted = [b"v1," + base64.b64encode(_mac(secret, signed)) for secret in secrets]
    found = False
    for signature in signatures.encode(errors="replace").split(b" ")[:SIGNATURES_MAX]:
        for candidate in wanted:
            # Every pair is compared, so that time tells nothing about which one fits.
            found |= hmac.compare_digest(signature, candidate)
    if not found:
        raise UnauthenticatedError("The signature does not fit the request.", code="signature_invalid")


def _mac(secret: Secret[str], signed: bytes) -> bytes:
    return hmac_sha256(_key(secret), signed)


@lru_cache(maxsize=64)
def _key(secret: Secret[str]) -> Secret[bytes]:
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BrokenInvariantError("A signing secret is not base64.") from error
    if not text.startswith(SECRET_PREFIX) or not key:
        raise BrokenInvariantError("A signing secret has not the shape it must have.")
    return Secret(key)
