"""The Function URL door: one function on a port of its own, payload 2.0, any path, little work per request."""

import uuid

from cardwright.kernel.rows import Url
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
from local.gateway.events import payload_bytes, url_event
from local.gateway.invoker import HandlerFailedError, HandlerTimeoutError, Invoker, ThrottledError, log_failure
from local.gateway.limits import INVOKE_PAYLOAD_BYTES
from local.gateway.problems import problem
from local.gateway.results import MalformedResultError, url_answer_of

_READINESS_PATH = "/healthz"


class UrlApp:
    """A Lambda Function URL as an ASGI application; GET /healthz answers the supervisor without the function."""

    def __init__(self, row: Url, invoker: Invoker) -> None:
        self._row = row
        self._invoker = invoker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the gateway speaks HTTP only, not {scope['type']}")
        request_id = str(uuid.uuid4())
        try:
            body = await read_body(receive, INVOKE_PAYLOAD_BYTES)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            answer = problem(413, "payload_too_large", f"The body is over {INVOKE_PAYLOAD_BYTES} bytes.", request_id)
            await send_answer(send, answer, close=True)
            return
        if scope["method"] == "GET" and scope["path"] == _READINESS_PATH:
            await send_answer(send, Answer(200, [(b"content-type", b"application/json")], b'{"status":"ok"}'))
            return
        event = url_event(scope, body, request_id)
        if payload_bytes(event, body) > INVOKE_PAYLOAD_BYTES:
            answer = problem(413, "payload_too_large", "The request is over what a function takes.", request_id)
        else:
            answer = await self._invoke(event, request_id)
        await send_answer(send, answer)

    async def _invoke(self, event: dict[str, object], request_id: str) -> Answer:
        try:
            return url_answer_of(await self._invoker.invoke(self._row, event, request_id, self._row.timeout_s))
        except ThrottledError:
            detail = "Too many requests are running at once; try again."
            return problem(429, "rate_limited", detail, request_id, {"retry-after": "1"})
        except HandlerTimeoutError:
            return problem(504, "gateway_timeout", "The request took too long.", request_id)
        except HandlerFailedError:
            return problem(502, "internal_error", "The request could not be processed.", request_id)
        except MalformedResultError as error:
            log_failure(self._row, request_id, error)
            return problem(502, "internal_error", "The request could not be processed.", request_id)
