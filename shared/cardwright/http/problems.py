"""The only map from errors to HTTP: RFC 9457 problem documents with a stable `code`."""

from collections.abc import Mapping, Sequence
from typing import Any

from cardwright.kernel import errors
from cardwright.kernel.errors import CardwrightError, FieldError, FieldValueError

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[CardwrightError], tuple[int, str]] = {
    errors.InvalidRequestError: (400, "Bad request"),
    errors.UnauthenticatedError: (401, "Not authenticated"),
    errors.ForbiddenError: (403, "Forbidden"),
    errors.NotFoundError: (404, "Not found"),
    errors.ConflictError: (409, "Conflict"),
    errors.GoneError: (410, "Gone"),
    errors.StaleVersionError: (412, "Precondition failed"),
    errors.PayloadTooLargeError: (413, "Payload too large"),
    errors.UnsupportedMediaTypeError: (415, "Unsupported media type"),
    errors.InvalidFieldsError: (422, "Unprocessable content"),
    errors.UnprocessableError: (422, "Unprocessable content"),
    errors.RateLimitedError: (429, "Too many requests"),
    errors.ProviderRefusedError: (502, "Bad gateway"),
    errors.UnavailableError: (503, "Service unavailable"),
    errors.CircuitOpenError: (503, "Service unavailable"),
    errors.BrokenInvariantError: (500, "Internal server error"),
}
_INTERNAL = (500, "Internal server error")
# RFC 6750, section 3: only what an access token can mend is challenged, a wrong password or signature is not. Who sent no token
# at all is told no error.
_CHALLENGES: Mapping[str, str] = {
    "token_missing": 'Bearer realm="cardwright"',
    **{
        code: f'Bearer realm="cardwright", error="invalid_token", error_description="{code}"'
        for code in ("invalid_token", "token_expired", "session_ended")
    },
}


def status_of(error: CardwrightError) -> int:
    """HTTP status of an error."""
    return STATUS.get(type(error), _INTERNAL)[0]


def document(error: Exception, request_id: str) -> dict[str, Any]:
    """The problem document of any exception; what is not ours shows nothing of itself."""
    status, title = STATUS.get(type(error), _INTERNAL) if isinstance(error, CardwrightError) else _INTERNAL
    shown = isinstance(error, CardwrightError) and status != 500
    code = error.code if isinstance(error, CardwrightError) and shown else "internal_error"
    problem: dict[str, Any] = {
        "type": f"urn:cardwright:problem:{code}",
        "title": title,
        "status": status,
        "detail": error.detail if isinstance(error, CardwrightError) and shown else "Something went wrong on our side.",
        "code": code,
        "request_id": request_id,
    }
    if isinstance(error, errors.InvalidFieldsError):
        problem["errors"] = [{"field": e.field, "code": e.code, "detail": e.detail} for e in error.errors]
    elif status == 422:
        # Every 422 has the list (CONTRACT, errors); what no field is to blame for is the request's.
        problem["errors"] = [{"field": "request", "code": code, "detail": problem["detail"]}]
    return problem


def headers_of(error: Exception) -> dict[str, str]:
    """Headers that go with the problem: when to come back, what quota refused, how to authenticate."""
    headers: dict[str, str] = {}
    if isinstance(error, errors.RateLimitedError):
        headers["Retry-After"] = str(error.retry_after_s)
        headers["RateLimit"] = f'"{error.quota}";r=0;t={error.retry_after_s}'
        headers["RateLimit-Policy"] = f'"{error.quota}";q={error.limit};w={error.window_s}'
    if isinstance(error, errors.UnauthenticatedError) and error.code in _CHALLENGES:
        headers["WWW-Authenticate"] = _CHALLENGES[error.code]
    if isinstance(error, errors.UnavailableError):
        headers["Retry-After"] = "2"
    if isinstance(error, errors.ConflictError) and error.code == "idempotency_in_progress":
        headers["Retry-After"] = "1"
    return headers


# Constraint names of pydantic that clients meet, under names that do not change with the library.
_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "uuid_parsing": "uuid_invalid",
    "uuid_type": "uuid_invalid",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_many_items",
    "too_short": "too_few_items",
    "literal_error": "not_allowed",
    "enum": "not_allowed",
}
_DETAILS = {
    "unknown_field": "This field is not known.",
    "uuid_invalid": "This is not a UUID.",
    "required": "This field is required.",
}


def from_validation(raw: Sequence[Mapping[str, Any]]) -> errors.InvalidFieldsError:
    """Pydantic's errors as ours. The rejected input is left out: it may be a card number in the wrong field."""
    fields = []
    for item in raw:
        context = item.get("ctx") or {}
        kind = str(item.get("type", "invalid"))
        broken = context.get("error")
        if isinstance(broken, FieldValueError):
            code, detail = broken.code, broken.detail
        else:
            code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid")
            detail = _DETAILS.get(
                code,
                str(item.get("msg", "This value is not valid.")) if code != "invalid" else "This value is not valid.",
            )
        # A client chose the names of unknown fields: show no more of one than is needed to find it.
        path = [str(part)[:64] for part in item.get("loc", ())]
        name = ".".join(path[1:]) if path and path[0] in ("body", "query", "path", "header") and len(path) > 1 else ".".join(path)
        fields.append(FieldError(name, code, detail))
    return errors.InvalidFieldsError(fields)
