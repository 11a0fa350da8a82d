"""One catalogue row as a Lambda handler: FastAPI behind Mangum, with everything that is the same for all endpoints."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Generic, TypeVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from mangum import Mangum
from mangum.types import LambdaContext
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cardwright.http import openapi, problems, reading
from cardwright.http.call import ApiRoot, Call, Reply
from cardwright.http.guard import admit, cors_headers, idempotent, preflight_headers
from cardwright.kernel import jsontext
from cardwright.kernel.errors import CardwrightError, InvalidRequestError, NotFoundError
from cardwright.kernel.ids import sane_request_id
from cardwright.kernel.rows import Audience, Capability, Http
from cardwright.platform.telemetry import logger

ApiT = TypeVar("ApiT", bound=ApiRoot)
Operation = Callable[..., Reply | Response]

# What goes out as text: API Gateway would hand a base64 body on as it is, having no binary types configured.
_TEXT = ["text/", "application/json", problems.MEDIA_TYPE]
_SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
}

_thread = threading.local()


def current_call(request: Request) -> Call[Any]:
    """The call in progress, for FastAPI's injection."""
    call: Call[Any] = request.state.call
    return call


class Endpoint(Generic[ApiT]):
    """Hosts one row. `root` builds the composition root from the row's capabilities at the first request, not at import."""

    def __init__(self, row: Http, root: Callable[[frozenset[Capability]], ApiT]) -> None:
        self.row = row
        self._root = root
        self.app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        self.app.router.route_class = _route_class(self)
        self.app.add_exception_handler(HTTPException, self._no_such_route)
        self.app.router.add_route(row.full_path, self._preflight, methods=["OPTIONS"], include_in_schema=False)
        _ensure_event_loop()
        self._mangum = Mangum(self.app, lifespan="off", text_mime_types=_TEXT)

    def operation(
        self,
        *,
        response: type[BaseModel] | None = None,
        status: int = 200,
        errors: Mapping[int, list[str]] | None = None,
        description: str | None = None,
        media_type: str = "application/json",
    ) -> Callable[[Operation], Operation]:
        """Register the function that answers this row; its signature is its contract.

        `errors` names the codes of each status beyond those every endpoint of its audience has. `media_type` is that of a 200
        which no model describes; with a `response` too, that one is the answer of `status`.
        """
        row = self.row

        def register(function: Operation) -> Operation:
            @wraps(function)
            async def run(*args: Any, **arguments: Any) -> Response:
                call: Call[Any] = arguments["call"]
                return idempotent(call, lambda: _to_response(function(*args, **arguments), status))

            self.app.add_api_route(
                row.full_path,
                run,
                methods=[row.method],
                response_model=response,
                # Said for the document alone: a redirect or a page has no JSON.
                response_class=JSONResponse if status < 300 and (response or media_type == "application/json") else Response,
                status_code=status,
                operation_id=row.name,
                summary=row.summary,
                description=description,
                tags=list(row.tags),
                responses=openapi.responses(row, errors or {}, media_type),
                openapi_extra=openapi.described(row),
            )
            return function

        return register

    def handler(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Answer an API Gateway REST proxy event."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            _ensure_event_loop()
        answer: dict[str, Any] = self._mangum(event, context)
        return answer

    async def respond(self, request: Request, inner: Callable[[Request], Awaitable[Response]]) -> Response:
        """Guard one request, run FastAPI's part, and turn whatever happens into a response."""
        request_id = sane_request_id(request.headers.get("x-request-id"))
        api: ApiT | None = None
        headers: dict[str, str] = dict(_SAFE_HEADERS)
        try:
            api = self._root(self.row.needs)
            request_id = request_id or str(api.ids.new())
            call = Call(api, self.row, request_id, _address(request), request.headers, target=reading.target(request))
            request.state.call = call
            answer = await self._guarded(request, call, inner)
            headers.update(call.response_headers)
        except CardwrightError as error:
            self._log_failure(error, request_id)
            answer = _problem(error, request_id or _gateway_id(request))
        except RequestValidationError as error:
            answer = _problem(problems.from_validation(error.errors()), request_id or _gateway_id(request))
        except Exception as error:
            logger.exception("unexpected error", extra={"function": self.row.name, "request_id": request_id})
            answer = _problem(error, request_id or _gateway_id(request))
        headers["X-Request-Id"] = request_id or _gateway_id(request)
        if api is not None:
            headers.update(cors_headers(api.settings.cors_origins, request.headers.get("origin")))
        for name, value in headers.items():
            answer.headers.setdefault(name, value)
        return answer

    def _log_failure(self, error: CardwrightError, request_id: str | None) -> None:
        """A dependency that does not answer is one line; a bug of ours comes with its traceback."""
        told = {"function": self.row.name, "request_id": request_id, "code": error.code}
        status = problems.status_of(error)
        if status == 500:
            logger.exception("request failed", extra=told)
        elif status > 500:
            logger.error("request failed", extra=told)

    async def _guarded(self, request: Request, call: Call[ApiT], inner: Callable[[Request], Awaitable[Response]]) -> Response:
        body = await request.body()
        reading.check_size(body, self.row.body_limit)
        admit(call)
        call.raw_body = body
        if self.row.audience is Audience.SIGNED:
            return await inner(reading.ParsedRequest(request, b"", None))
        value: Any = None
        if body:
            if self.row.method in ("GET", "DELETE"):
                raise InvalidRequestError("This request takes no body.", code="body_not_allowed")
            reading.check_media_type(request.headers.get("content-type"))
            value = jsontext.parse(body)
        return await inner(reading.ParsedRequest(request, body, value))

    async def _preflight(self, request: Request) -> Response:
        """Answer a browser's CORS preflight; it carries no credentials and reaches no use case."""
        allowed = self._root(self.row.needs).settings.cors_origins
        return Response(status_code=204, headers=preflight_headers(allowed, request.headers.get("origin")))

    async def _no_such_route(self, request: Request, error: Exception) -> Response:
        request_id = sane_request_id(request.headers.get("x-request-id")) or _gateway_id(request)
        refused: Exception = NotFoundError("There is nothing here.")
        if isinstance(error, HTTPException) and error.status_code not in (404, 405):
            refused = InvalidRequestError("The request cannot be read.")
        answer = _problem(refused, request_id)
        answer.headers.update({**_SAFE_HEADERS, "X-Request-Id": request_id})
        return answer


def _route_class(endpoint: Endpoint[Any]) -> type[APIRoute]:
    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            inner = super().get_route_handler()
            known = reading.query_names(self.dependant)

            async def checked(request: Request) -> Response:
                reading.check_query(request, known)
                return await inner(request)

            async def handle(request: Request) -> Response:
                return await endpoint.respond(request, checked)

            return handle

    return GuardedRoute


def _to_response(result: Reply | Response, default_status: int) -> tuple[Response, frozenset[str]]:
    if isinstance(result, Response):
        return result, frozenset()
    status = result.status or default_status
    body = b"" if result.body is None else result.body.model_dump_json(by_alias=True).encode()
    headers = dict(result.headers)
    if result.etag is not None:
        headers["ETag"] = f'"{result.etag}"'
    return Response(body, status, headers=headers, media_type="application/json" if body else None), result.once


def _problem(error: Exception, request_id: str) -> Response:
    document = problems.document(error, request_id)
    return Response(json.dumps(document), document["status"], headers=problems.headers_of(error), media_type=problems.MEDIA_TYPE)


def _gateway_id(request: Request) -> str:
    """The gateway's own name of the request, where nobody else has given it one."""
    context: Mapping[str, Any] = request.scope.get("aws.event", {}).get("requestContext", {})
    return sane_request_id(context.get("requestId")) or "unknown"


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _ensure_event_loop() -> None:
    # Mangum asks for the thread's loop, which newer Pythons no longer make by themselves; worker threads never had one.
    loop: asyncio.AbstractEventLoop | None = getattr(_thread, "loop", None)
    if loop is None or loop.is_closed():
        loop = _thread.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
