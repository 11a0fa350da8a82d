"""What a KMS key's state forbids, in front of moto, which goes on using disabled keys and those about to be deleted."""

import base64
import binascii
import json
import re
from typing import Any, Final

from moto.kms.models import Key, kms_backends

from local.aws.asgi import HttpAnswer, HttpRequest

ACCOUNT: Final = "123456789012"
_USES: Final = re.compile(r"TrentService\.(Encrypt|Decrypt|ReEncrypt|GenerateDataKey\w*|GenerateMac|VerifyMac|Sign|Verify)")
# moto's ciphertext begins with the id of the key it was made under.
_ID_BYTES: Final = 36


def refusal(request: HttpRequest, region: str) -> HttpAnswer | None:
    """What KMS would answer instead of using the key, or None when its state allows the use.

    Source: KMS Developer Guide, "Key states of AWS KMS keys".
    """
    if not _USES.fullmatch(request.named.get("x-amz-target", "")):
        return None
    try:
        body = json.loads(request.body)
    except ValueError:
        return None
    states = {key.key_state for key in _keys(body, region)} if isinstance(body, dict) else set()
    if "PendingDeletion" in states:
        return _error("KMSInvalidStateException", "The key is pending deletion.")
    if "Disabled" in states:
        return _error("DisabledException", "The key is disabled.")
    return None


def _keys(body: dict[str, Any], region: str) -> list[Key]:
    backend = kms_backends[ACCOUNT][region]
    named = [str(body[field]) for field in ("KeyId", "SourceKeyId", "DestinationKeyId") if body.get(field)]
    found = [backend.any_id_to_key_id(name) for name in named if not _unknown(backend, name)]
    try:
        blob = base64.b64decode(body.get("CiphertextBlob") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        blob = b""
    found.append(blob[:_ID_BYTES].decode("ascii", errors="replace"))
    return [backend.keys[key_id] for key_id in found if key_id in backend.keys]


def _unknown(backend: Any, name: str) -> bool:
    alias = backend.get_alias_name(name)
    return alias.startswith("alias/") and not backend.alias_exists(alias)


def _error(kind: str, message: str) -> HttpAnswer:
    return HttpAnswer(
        400,
        [("Content-Type", "application/x-amz-json-1.1")],
        json.dumps({"__type": kind, "message": message}).encode(),
    )
