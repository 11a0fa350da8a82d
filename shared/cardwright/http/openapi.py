"""What OpenAPI says of every endpoint alike: problem answers, headers, security."""

from collections.abc import Mapping
from typing import Any

from cardwright.kernel.rows import Audience, Http, Idempotency, RateClass

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem document.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; branch on this."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {"field": {"type": "string"}, "code": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def _codes(row: Http, extra: Mapping[int, list[str]]) -> dict[int, list[str]]:
    codes: dict[int, list[str]] = {
        400: ["invalid_request"],
        413: ["payload_too_large"],
        422: ["invalid_fields"],
        500: ["internal_error"],
    }
    if row.needs:
        codes[503] = ["service_unavailable"]
    if row.method in ("POST", "PUT", "PATCH") and row.audience is not Audience.SIGNED:
        codes[400] = ["json_invalid"]
        codes[415] = ["unsupported_media_type"]
    if row.audience is Audience.USER:
        codes[401] = ["token_missing", "invalid_token", "token_expired"]
        codes[403] = ["role_not_allowed"]
    if row.audience is Audience.SIGNED:
        codes[401] = ["signature_missing", "signature_invalid", "timestamp_out_of_range"]
    if row.step_up:
        codes[403] += ["step_up_required", "mfa_enrolment_required"]
    if row.rate is not RateClass.NONE:
        codes[429] = ["rate_limited"]
    if row.idempotency is not Idempotency.IGNORED:
        codes[409] = ["idempotency_in_progress"]
        codes[422] = [*codes[422], "idempotency_key_reused"]
    if row.idempotency is Idempotency.REQUIRED:
        codes[400] = [*codes[400], "idempotency_key_required"]
    for status, names in extra.items():
        codes[status] = [*codes.get(status, []), *names]
    return dict(sorted(codes.items()))


def responses(row: Http, extra: Mapping[int, list[str]], media_type: str | None) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a row, each with its codes; `media_type` names a 200 that is not described by a model."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {
            "description": "Codes: " + ", ".join(f"`{name}`" for name in names),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, names in _codes(row, extra).items()
    }
    if media_type is not None and media_type != "application/json":
        answers[200] = {"description": "OK", "content": {media_type: {"schema": {"type": "string"}}}}
    return answers


def described(row: Http) -> dict[str, Any]:
    """Security and request headers of a row."""
    headers: list[dict[str, Any]] = []
    if row.idempotency is not Idempotency.IGNORED:
        headers.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": row.idempotency is Idempotency.REQUIRED,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    said: dict[str, Any] = {"security": [{"bearer": []}] if row.audience is Audience.USER else []}
    if headers:
        said["parameters"] = headers
    return said
