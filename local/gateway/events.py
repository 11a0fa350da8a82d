"""The events API Gateway (REST, payload 1.0) and Lambda Function URLs (payload 2.0) hand to a handler."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from local.gateway.asgi import Scope
from local.gateway.limits import INVOKE_PAYLOAD_BYTES
from local.gateway.routing import Match
from local.lambda_context import ACCOUNT

Event = dict[str, Any]

_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")


def _text_or_base64(body: bytes) -> tuple[str | None, bool]:
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), True


def _titled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _query(raw: bytes) -> dict[str, list[str]]:
    many: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace"):
        many.setdefault(name, []).append(value)
    return many


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def _clf_time(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


def rest_event(scope: Scope, body: bytes, match: Match, request_id: str, raw_path: str) -> Event:
    """Build the REST proxy event (payload 1.0): multi-value headers and query, decoded path parameters, identity."""
    source_ip, port = scope["client"][0], scope["server"][1]
    many: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if not name.startswith(b"x-forwarded-"):
            many.setdefault(_titled(name.decode("latin-1")), []).append(value.decode("latin-1"))
    # API Gateway writes these itself; what a client claims in them is never passed on as its address.
    many["X-Forwarded-For"] = [source_ip]
    many["X-Forwarded-Proto"] = [scope["scheme"]]
    many["X-Forwarded-Port"] = [str(port)]
    query = _query(scope["query_string"])
    text, encoded = _text_or_base64(body)
    epoch_ms = _epoch_ms()
    agent = many.get("User-Agent", [None])[-1]
    return {
        "resource": match.resource,
        "path": raw_path,
        "httpMethod": scope["method"],
        "headers": {name: values[-1] for name, values in many.items()},
        "multiValueHeaders": many,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": match.parameters or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "resourceId": "local",
            "resourcePath": match.resource,
            "httpMethod": scope["method"],
            "path": raw_path,
            "protocol": f"HTTP/{scope['http_version']}",
            "stage": "local",
            "domainName": many.get("Host", ["localhost"])[0],
            "requestId": request_id,
            "extendedRequestId": request_id,
            "requestTime": _clf_time(epoch_ms),
            "requestTimeEpoch": epoch_ms,
            "identity": {"sourceIp": source_ip, "userAgent": agent},
        },
        "body": text,
        "isBase64Encoded": encoded,
    }


def url_event(scope: Scope, body: bytes, request_id: str) -> Event:
    """Build the Function URL event (payload 2.0): lower-case headers joined by commas; base64 unless a text type."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    source_ip = scope["client"][0]
    headers["x-forwarded-for"] = source_ip
    headers["x-forwarded-proto"] = scope["scheme"]
    headers["x-forwarded-port"] = str(scope["server"][1])
    raw_path = scope["raw_path"].decode("latin-1")
    epoch_ms = _epoch_ms()
    event: Event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": scope["query_string"].decode("latin-1"),
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": headers.get("host", "localhost"),
            "domainPrefix": "local",
            "http": {
                "method": scope["method"],
                "path": raw_path,
                "protocol": f"HTTP/{scope['http_version']}",
                "sourceIp": source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": _clf_time(epoch_ms),
            "timeEpoch": epoch_ms,
        },
        "isBase64Encoded": False,
    }
    if not body:
        return event
    if headers.get("content-type", "").startswith(_TEXT_TYPES):
        event["body"], event["isBase64Encoded"] = _text_or_base64(body)
    else:
        event["body"], event["isBase64Encoded"] = base64.b64encode(body).decode("ascii"), True
    return event


def payload_bytes(event: Event, body: bytes) -> int:
    """Size of the event as Lambda counts it; exact only near the limit, where the escaping of the body matters."""
    if len(body) < INVOKE_PAYLOAD_BYTES // 8:
        return len(body)
    return len(json.dumps(event, separators=(",", ":")).encode())
