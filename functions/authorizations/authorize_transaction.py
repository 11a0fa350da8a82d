"""POST /webhooks/authorize-transaction: a plain handler behind a Function URL, and behind REST for mTLS or WAF."""

import base64
import binascii
import json
import time
from typing import Any

from cardwright.authorizations.rules import Decision
from cardwright.compose.authorization import Authorization, root, warm
from cardwright.http import problems
from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import InvalidRequestError, NotFoundError, PayloadTooLargeError, UnsupportedMediaTypeError
from cardwright.kernel.ids import sane_request_id
from cardwright.kernel.jsontext import quote
from cardwright.kernel.signatures import verify
from cardwright.platform import metrics
from functions.authorizations import shapes
from functions.authorizations.routes import AUTHORIZE_TRANSACTION

_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


warm(AUTHORIZE_TRANSACTION.needs)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one signed request: 200 with the decision, or a problem for what is not a well-formed signed request."""
    started = time.perf_counter()
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    own_id = sane_request_id(headers.get("x-request-id"))
    request_id = own_id or str(event.get("requestContext", {}).get("requestId", "unknown"))
    try:
        parts = root(AUTHORIZE_TRANSACTION.needs)
        decision = _decide(parts, event, headers)
    except Exception as error:
        problem = problems.document(error, request_id)
        if problem["status"] >= 500:
            metrics.error_line("authorization failed", error, request_id=request_id)
        answer_headers = {
            **_HEADERS,
            **problems.headers_of(error),
            "Content-Type": problems.MEDIA_TYPE,
            "X-Request-Id": request_id,
        }
        return {"statusCode": problem["status"], "headers": answer_headers, "body": json.dumps(problem)}
    metrics.emit(
        {
            "AuthorizationLatency": (round((time.perf_counter() - started) * 1000, 3), "Milliseconds"),
            "Decisions": (1, "Count"),
        },
        {"Decision": "APPROVE" if decision.approved else "DECLINE", "Reason": str(decision.reason)},
        decision.decided_at,
        transaction_id=decision.transaction_id,
        request_id=request_id,
    )
    return {
        "statusCode": 200,
        "headers": {**_HEADERS, "X-Request-Id": request_id},
        "body": _answer(decision),
    }


def _decide(parts: Authorization, event: dict[str, Any], headers: dict[str, str]) -> Decision:
    if _method(event) != "POST":
        raise NotFoundError("There is nothing here.")
    content_type = headers.get("content-type")
    if content_type is not None and content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaTypeError("Send application/json.")
    body = _body(event)
    verify(parts.inbound_secrets(), headers, body, parts.clock.now())
    return parts.service.evaluate(shapes.parse(body))


def _method(event: dict[str, Any]) -> str:
    described = event.get("requestContext", {}).get("http", {}).get("method") or event.get("httpMethod", "")
    return str(described).upper()


def _body(event: dict[str, Any]) -> bytes:
    """The raw bytes that were signed. Raises PayloadTooLargeError, InvalidRequestError."""
    text = event.get("body") or ""
    if event.get("isBase64Encoded"):
        try:
            body = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequestError("The body cannot be read.", code="body_unreadable") from error
    else:
        body = str(text).encode()
    if len(body) > AUTHORIZE_TRANSACTION.body_limit:
        raise PayloadTooLargeError(f"A body holds at most {AUTHORIZE_TRANSACTION.body_limit} bytes.")
    return body


def _answer(decision: Decision) -> str:
    """The answer as JSON, written out: an encoder for it would cost more than all of it."""
    transaction_id = "null" if decision.transaction_id is None else f'"{decision.transaction_id}"'
    risk_score = "null" if decision.risk_score is None else decision.risk_score
    return (
        f'{{"decision":"{"APPROVE" if decision.approved else "DECLINE"}","final":{"true" if decision.final else "false"},'
        f'"reason":{quote(decision.reason)},"authorization_id":{quote(decision.authorization_id)},'
        f'"transaction_id":{transaction_id},"risk_score":{risk_score},"approved_amount":"{decision.approved_amount:.2f}",'
        f'"decided_at":"{rfc3339(decision.decided_at)}"}}'
    )
