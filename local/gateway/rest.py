"""The REST door: an ASGI application that routes by the catalogue and answers like API Gateway."""

import re
import uuid
from collections.abc import Sequence
from typing import Final

from cardwright.kernel.rows import Row
from local.gateway.asgi import (
    Answer,
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    read_body,
    send_answer,
)
from local.gateway.events import payload_bytes, rest_event
from local.gateway.invoker import HandlerFailedError, HandlerTimeoutError, Invoker, ThrottledError, log_failure
from local.gateway.limits import INVOKE_PAYLOAD_BYTES, REQUEST_HEADER_BYTES, REST_BODY_BYTES, REST_TIMEOUT_S
from local.gateway.problems import problem, request_id_of
from local.gateway.results import MalformedResultError, answer_of
from local.gateway.routing import Match, Router

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


def header_bytes(scope: Scope) -> int:
    """What counts toward API Gateway's header limit: the request line and the headers' names and values."""
    line = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"])
    return line + sum(len(name) + len(value) for name, value in scope["headers"])


def _refusal(scope: Scope, request_id: str) -> Answer | None:
    if header_bytes(scope) > REQUEST_HEADER_BYTES:
        detail = f"The request line and headers are over {REQUEST_HEADER_BYTES} bytes."
        return problem(431, "headers_too_large", detail, request_id)
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        return problem(400, "invalid_request", "Send exactly one valid Host header.", request_id)
    return None


def _row_for(match: Match, scope: Scope) -> Row | None:
    method = scope["method"]
    if method == "OPTIONS":
        # A preflight goes to the function it asks about: CORS is the application's to answer.
        asked = [value.decode("latin-1") for name, value in scope["headers"] if name == b"access-control-request-method"]
        return match.methods.get(asked[0] if asked else "") or next(iter(match.methods.values()))
    return match.methods.get(method)


class RestApp:
    """API Gateway's REST API as an ASGI application."""

    def __init__(self, rows: Sequence[Row], invoker: Invoker) -> None:
        self._router = Router(rows)
        self._invoker = invoker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the gateway speaks HTTP only, not {scope['type']}")
        generated = str(uuid.uuid4())
        request_id = request_id_of(scope["headers"], generated)
        try:
            body = await read_body(receive, REST_BODY_BYTES)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            answer = problem(413, "payload_too_large", f"The body is over {REST_BODY_BYTES} bytes.", request_id)
            await send_answer(send, answer, close=True)
            return
        answer = _refusal(scope, request_id) or await self._route(scope, body, generated, request_id)
        if scope["method"] == "HEAD":
            answer.body = b""
        await send_answer(send, answer)

    async def _route(self, scope: Scope, body: bytes, generated: str, request_id: str) -> Answer:
        raw_path = scope["raw_path"].decode("latin-1")
        match = self._router.match(raw_path)
        if match is None:
            return problem(404, "not_found", "There is nothing at this path.", request_id)
        row = _row_for(match, scope)
        if row is None:
            allow = ", ".join(sorted({*match.methods, "OPTIONS"}))
            detail = f"This path takes {allow}."
            return problem(405, "method_not_allowed", detail, request_id, {"allow": allow})
        event = rest_event(scope, body, match, generated, raw_path)
        if payload_bytes(event, body) > INVOKE_PAYLOAD_BYTES:
            return problem(413, "payload_too_large", "The request is over what a function takes.", request_id)
        return await self._invoke(row, event, generated, request_id)

    async def _invoke(self, row: Row, event: dict[str, object], generated: str, request_id: str) -> Answer:
        try:
            result = await self._invoker.invoke(row, event, generated, min(REST_TIMEOUT_S, row.timeout_s))
            return answer_of(result)
        except ThrottledError:
            detail = "Too many requests are running at once; try again."
            return problem(429, "rate_limited", detail, request_id, {"retry-after": "1"})
        except HandlerTimeoutError:
            detail = "The request took too long; it may still have had its effect."
            return problem(504, "gateway_timeout", detail, request_id)
        except HandlerFailedError:
            return problem(502, "internal_error", "The request could not be processed.", request_id)
        except MalformedResultError as error:
            log_failure(row, generated, error)
            return problem(502, "internal_error", "The request could not be processed.", request_id)
