"""The REST API as one document: routes of the catalogue and the gateway's own answers. Pure; no CDK here."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from cardwright.kernel.rows import Audience, Http, Row, Url
from infra.naming import alias_arn
from infra.stages import Stage

# API Gateway gives up after this long, whatever the function's own timeout.
INTEGRATION_TIMEOUT_MS = 29_000

# Answers the gateway gives without a function: type -> (status, code, title, detail). Codes agree with the local gateway's.
_INTERNAL = (500, "internal_error", "Internal server error", "Something went wrong on our side.")
_NOT_FOUND = (404, "not_found", "Not found", "There is nothing here.")
_FORBIDDEN = (403, "forbidden", "Forbidden", "This request is not allowed.")
_UNAUTHENTICATED = (401, "token_missing", "Not authenticated", "Send an access token.")
_INVALID = (400, "invalid_request", "Bad request", "The request cannot be read.")
_TOO_MANY = (429, "rate_limited", "Too many requests", "Too many requests; try again later.")

GATEWAY_ANSWERS: dict[str, tuple[int, str, str, str]] = {
    "ACCESS_DENIED": _FORBIDDEN,
    "API_CONFIGURATION_ERROR": _INTERNAL,
    "AUTHORIZER_CONFIGURATION_ERROR": _INTERNAL,
    "AUTHORIZER_FAILURE": _INTERNAL,
    "BAD_REQUEST_BODY": _INVALID,
    "BAD_REQUEST_PARAMETERS": _INVALID,
    "DEFAULT_4XX": _INVALID,
    "DEFAULT_5XX": _INTERNAL,
    "EXPIRED_TOKEN": _UNAUTHENTICATED,
    "INTEGRATION_FAILURE": (502, "internal_error", "Bad gateway", "Something went wrong on our side."),
    "INTEGRATION_TIMEOUT": (504, "gateway_timeout", "Gateway timeout", "The service did not answer in time."),
    "INVALID_API_KEY": _FORBIDDEN,
    "INVALID_SIGNATURE": _UNAUTHENTICATED,
    # What the gateway calls a missing token is a path or method that does not exist.
    "MISSING_AUTHENTICATION_TOKEN": _NOT_FOUND,
    "QUOTA_EXCEEDED": _TOO_MANY,
    "REQUEST_TOO_LARGE": (413, "payload_too_large", "Payload too large", "The body is over what the gateway takes."),
    "RESOURCE_NOT_FOUND": _NOT_FOUND,
    "THROTTLED": _TOO_MANY,
    "UNAUTHORIZED": _UNAUTHENTICATED,
    "UNSUPPORTED_MEDIA_TYPE": (415, "unsupported_media_type", "Unsupported media type", "Send application/json."),
    "WAF_FILTERED": (403, "request_refused", "Forbidden", "The firewall refused this request."),
}


def problem(answer: tuple[int, str, str, str], request_id: str) -> str:
    """A problem document (RFC 9457) as the functions shape theirs."""
    status, code, title, detail = answer
    return json.dumps(
        {
            "type": f"urn:cardwright:problem:{code}",
            "title": title,
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": request_id,
        },
        separators=(",", ":"),
    )


def _gateway_response(answer: tuple[int, str, str, str], origins: Sequence[str]) -> dict[str, Any]:
    headers = {
        "Content-Type": "'application/problem+json'",
        "Cache-Control": "'no-store'",
        "X-Request-Id": "context.requestId",
    }
    if answer[0] in (429, 503, 504):
        headers["Retry-After"] = "'2'"
    if len(origins) == 1:
        # The gateway cannot choose between origins; with a single one a browser may read these answers as well.
        headers["Access-Control-Allow-Origin"] = f"'{origins[0]}'"
    return {
        "statusCode": answer[0],
        "responseParameters": {f"gatewayresponse.header.{name}": value for name, value in headers.items()},
        "responseTemplates": {"application/json": problem(answer, "$context.requestId")},
    }


def routed(rows: Iterable[Row]) -> list[Http | Url]:
    """Rows the deployed API routes: all that have a path, but those of the local stage alone."""
    return [row for row in rows if isinstance(row, Url) or (isinstance(row, Http) and not row.local_only)]


def method_of(row: Http | Url) -> str:
    """A row's HTTP method; machines always post."""
    return row.method if isinstance(row, Http) else "POST"


def _operation(stage: Stage, row: Http | Url) -> dict[str, Any]:
    functions = f"arn:aws:apigateway:{stage.region}:lambda:path/2015-03-31/functions"
    parameters = [part[1:-1] for part in row.full_path.split("/") if part.startswith("{")]
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters],
        # The function answers everything itself; the gateway adds nothing.
        "responses": {"default": {"description": "The function's answer."}},
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": f"{functions}/{alias_arn(stage, row)}/invocations",
            "passthroughBehavior": "when_no_match",
            "timeoutInMillis": min(row.timeout_s * 1000, INTEGRATION_TIMEOUT_MS),
        },
    }


def document(stage: Stage, rows: Iterable[Row]) -> dict[str, Any]:
    """The API for one stage in OpenAPI 3.0 with the gateway's extensions.

    Whether a caller may do what he asks is decided in the function (audience and roles of its row): the gateway checks no tokens.
    Raises ValueError when two rows claim one method and path.
    """
    paths: dict[str, dict[str, Any]] = {}
    for row in routed(rows):
        operations = paths.setdefault(row.full_path, {})
        method = method_of(row).lower()
        if method in operations:
            raise ValueError(f"two functions claim {method.upper()} {row.full_path}")
        operations[method] = _operation(stage, row)
        if isinstance(row, Http) and row.audience is not Audience.SIGNED and "options" not in operations:
            # Browsers ask first. Any function of the path answers, with the same list for every path.
            operations["options"] = _operation(stage, row)
    return {
        "openapi": "3.0.1",
        "info": {"title": stage.prefix, "version": "1"},
        "paths": paths,
        "x-amazon-apigateway-gateway-responses": {
            kind: _gateway_response(answer, stage.cors_origins) for kind, answer in GATEWAY_ANSWERS.items()
        },
    }
