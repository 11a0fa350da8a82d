"""From what a handler returned to an HTTP answer; anything malformed is the 502 API Gateway gives."""

import base64
import binascii
import json
from typing import Any

from local.gateway.asgi import Answer
from local.gateway.limits import INVOKE_PAYLOAD_BYTES

_HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade"})
_STATUS_MIN, _STATUS_MAX = 100, 599


class MalformedResultError(Exception):
    """The handler returned something that is not a proxy result, or more than Lambda lets out."""


def _headers(result: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    many: dict[str, list[str]] = {}
    for name, value in (result.get("headers") or {}).items():
        many[name.lower()] = [str(value)]
    for name, values in (result.get("multiValueHeaders") or {}).items():
        many[name.lower()] = [str(value) for value in values]
    if result.get("cookies"):
        many.setdefault("set-cookie", []).extend(result["cookies"])
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, values in many.items()
        if name not in _HOP_BY_HOP
        for value in values
    ]


def _body(result: dict[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResultError("body is not text")
    if result.get("isBase64Encoded"):
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise MalformedResultError("body is not base64") from error
    return body.encode()


def answer_of(result: object) -> Answer:
    """Turn a proxy result into an answer. Raises MalformedResultError."""
    if not isinstance(result, dict):
        raise MalformedResultError("not an object")
    status = result.get("statusCode")
    if isinstance(status, bool) or not isinstance(status, int) or not _STATUS_MIN <= status <= _STATUS_MAX:
        raise MalformedResultError("statusCode is missing or not a status")
    if isinstance(result.get("body"), str) and len(result["body"].encode()) > INVOKE_PAYLOAD_BYTES:
        raise MalformedResultError("result is over 6 MB")
    try:
        return Answer(status, _headers(result), _body(result))
    except (UnicodeEncodeError, AttributeError, TypeError) as error:
        raise MalformedResultError("headers are not text") from error


def url_answer_of(result: object) -> Answer:
    """Like answer_of with payload 2.0's short form: an object without statusCode is the JSON body of a 200."""
    if isinstance(result, dict) and "statusCode" in result:
        return answer_of(result)
    body = json.dumps(result, separators=(",", ":")).encode()
    if len(body) > INVOKE_PAYLOAD_BYTES:
        raise MalformedResultError("result is over 6 MB")
    return Answer(200, [(b"content-type", b"application/json")], body)
