"""Lambda's Invoke API for the catalogue's tasks: what another function starts by name runs here, in a thread of its own."""

import json
import socket
import threading
import uuid
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

import uvicorn

from cardwright.kernel.rows import Row, Task
from local.gateway.asgi import Answer, BodyTooLargeError, ClientGoneError, Receive, Scope, Send, read_body, send_answer
from local.gateway.invoker import HandlerFailedError, Handlers, HandlerTimeoutError, Invoker, ThrottledError
from local.gateway.limits import INVOKE_PAYLOAD_BYTES
from local.lambda_context import LambdaContext

_PREFIX: Final = "/2015-03-31/functions/"
_SUFFIX: Final = "/invocations"
# As many as the workers' own threads can ask for at once; beyond it callers are throttled, as by reserved concurrency.
_AT_ONCE: Final = 80


def _error(status: int, kind: str, message: str) -> Answer:
    """An error of the API itself, as the SDKs read it."""
    headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", kind.encode())]
    return Answer(status, headers, json.dumps({"Type": "User", "message": message}).encode())


def _failed(kind: str, message: str) -> Answer:
    """The function was started and did not answer: a success of the API with a mark."""
    headers = [(b"content-type", b"application/json"), (b"x-amz-function-error", b"Unhandled")]
    return Answer(200, headers, json.dumps({"errorType": kind, "errorMessage": message}).encode())


class InvocationsApp:
    """Answers POST /2015-03-31/functions/{name or ARN}/invocations for synchronous invocations of tasks."""

    def __init__(self, rows: Iterable[Row], invoker: Invoker) -> None:
        """`invoker` runs the handlers and says when there are too many."""
        self._rows = {LambdaContext(row, "").function_name: row for row in rows if isinstance(row, Task)}
        self._invoker = invoker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            body = await read_body(receive, INVOKE_PAYLOAD_BYTES)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            await send_answer(send, _error(413, "RequestTooLargeException", "The request payload is over 6 MB."), close=True)
            return
        await send_answer(send, await self._answer(scope, body))

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        path = str(scope["path"])
        if scope["method"] != "POST" or not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)):
            return _error(404, "ResourceNotFoundException", "There is no such operation here.")
        headers = dict(scope["headers"])
        if headers.get(b"x-amz-invocation-type", b"RequestResponse") != b"RequestResponse":
            return _error(400, "InvalidParameterValueException", "Functions are invoked synchronously here.")
        row = self._row(unquote(path[len(_PREFIX) : -len(_SUFFIX)]))
        if row is None:
            return _error(404, "ResourceNotFoundException", "Function not found.")
        try:
            event: Any = json.loads(body or b"{}")
        except ValueError:
            return _error(400, "InvalidRequestContentException", "Could not parse the request body into JSON.")
        return await self._run(row, event)

    def _row(self, named: str) -> Task | None:
        """The row of a function's name or ARN, with or without an alias."""
        if named.startswith("arn:"):
            named = ":".join(named.split(":")[6:])
        return self._rows.get(named.partition(":")[0])

    async def _run(self, row: Task, event: Any) -> Answer:
        try:
            outcome = await self._invoker.invoke(row, event, str(uuid.uuid4()), row.timeout_s)
        except ThrottledError:
            return _error(429, "TooManyRequestsException", "Rate exceeded.")
        except HandlerTimeoutError:
            return _failed("Sandbox.Timedout", f"Task timed out after {row.timeout_s:.2f} seconds")
        except HandlerFailedError:
            return _failed("HandlerFailed", "The log has where.")
        return Answer(200, [(b"content-type", b"application/json")], json.dumps(outcome).encode())


def serve_invocations(rows: Iterable[Row], handlers: Handlers, port: int, *, at_once: int = _AT_ONCE) -> uvicorn.Server:
    """Answer on 127.0.0.1 from a thread of its own. Connections are taken from now on. Raises OSError for a port in use."""
    listener = socket.create_server(("127.0.0.1", port))
    app = InvocationsApp(rows, Invoker(handlers, threads=at_once, waiting=0))
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), name="invocations", daemon=True).start()
    return server
