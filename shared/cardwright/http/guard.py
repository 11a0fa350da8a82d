"""What stands between a request and its use case: quotas, authentication, roles, step-up, idempotency, origins."""

import json
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from cardwright.http.call import Call
from cardwright.idempotency.service import Replay
from cardwright.kernel.errors import (
    CardwrightError,
    ForbiddenError,
    InvalidRequestError,
    UnauthenticatedError,
    UnavailableError,
)
from cardwright.kernel.rows import Audience, Idempotency, RateClass
from cardwright.platform.telemetry import logger


def admit(call: Call[Any]) -> None:
    """Authenticate, spend the quota, check role, step-up and the presence of a required idempotency key.

    Raises UnauthenticatedError, RateLimitedError, ForbiddenError, InvalidRequestError.
    """
    row = call.row
    if row.audience is Audience.USER:
        call.principal = call.api.identity.authenticate(_bearer(call))
    if row.rate is not RateClass.NONE:
        standing = call.api.ratelimit.spend(
            user_id=call.principal.user_id if call.principal else None,
            organization_id=call.principal.organization_id if call.principal else None,
            address=call.address,
        )
        if standing is not None:
            call.response_headers["RateLimit"] = f'"{standing.quota.name}";r={standing.remaining};t={standing.reset_s}'
            call.response_headers["RateLimit-Policy"] = (
                f'"{standing.quota.name}";q={standing.quota.limit};w={standing.quota.window_s}'
            )
    if call.principal is not None and call.principal.role not in row.roles:
        raise ForbiddenError("Your role may not do this.", code="role_not_allowed")
    if row.step_up:
        call.require_step_up()
    if row.idempotency is Idempotency.REQUIRED and call.idempotency_key is None:
        raise InvalidRequestError("This request needs an Idempotency-Key header.", code="idempotency_key_required")


def idempotent(call: Call[Any], work: Callable[[], tuple[Response, frozenset[str]]]) -> Response:
    """Run the work once per idempotency key: replay its answer, or refuse what cannot be the same request."""
    key = None if call.row.idempotency is Idempotency.IGNORED else call.idempotency_key
    if key is None:
        call.operation_id = call.api.ids.new()
        return work()[0]
    service = call.api.idempotency
    claim = service.begin(call.actor, key, call.row.method, call.target, call.raw_body)
    if isinstance(claim, Replay):
        return _replayed(claim)
    call.operation_id = claim.operation_id
    try:
        response, once = work()
    except Exception as error:
        # A refusal changed nothing, so the key is free again; an unknown outcome goes on under the same operation.
        if isinstance(error, CardwrightError) and not isinstance(error, UnavailableError) and error.code != "internal_error":
            _closing(call, lambda: service.release(call.actor, key))
        else:
            _closing(call, lambda: service.suspend(call.actor, key))
        raise
    kept = _kept(response, once)
    _closing(call, lambda: service.complete(call.actor, key, response.status_code, kept))
    return response


def _closing(call: Call[Any], close: Callable[[], None]) -> None:
    # What happened has happened, and the caller is told it. The claim's lease ends by itself; the next run of the key then
    # goes on under the same operation, as after a crash.
    try:
        close()
    except UnavailableError:
        logger.warning(
            "an idempotency claim stays open", exc_info=True, extra={"function": call.row.name, "request_id": call.request_id}
        )


def _kept(response: Response, once: frozenset[str]) -> bytes:
    body = bytes(response.body)
    if once:
        shown = {name: value for name, value in json.loads(body).items() if name not in once}
        body = json.dumps(shown, separators=(",", ":")).encode()
    headers = {name: response.headers[name] for name in ("etag", "location") if name in response.headers}
    return json.dumps(headers).encode() + b"\n" + body


def _replayed(claim: Replay) -> Response:
    headers, _, body = claim.body.partition(b"\n")
    return Response(
        body,
        claim.status,
        headers={**json.loads(headers), "Idempotency-Replayed": "true"},
        media_type="application/json" if body else None,
    )


def _bearer(call: Call[Any]) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("Send an access token.", code="token_missing")
    return token.strip()


def cors_headers(allowed: frozenset[str], origin: str | None) -> dict[str, str]:
    """CORS headers for a configured origin; none for any other."""
    if origin is None:
        return {}
    headers = {"Vary": "Origin"}
    if origin in allowed:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = (
            "ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
        )
    return headers


def preflight_headers(allowed: frozenset[str], origin: str | None) -> dict[str, str]:
    """What a configured origin may send; the list is the same for every path."""
    headers = cors_headers(allowed, origin)
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-Id"
        headers["Access-Control-Max-Age"] = "600"
    return headers
