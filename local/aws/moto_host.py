"""moto's own application inside this process, called with whole requests from a bounded set of threads."""

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local.aws.asgi import HttpAnswer, HttpRequest

_DROPPED: Final = {"transfer-encoding", "connection", "content-length"}


class MotoHost:
    """Calls moto as a WSGI server would, without a server in between."""

    def __init__(self, port: int) -> None:
        """Prepare moto for requests that reach it under `port`."""
        self._port = port
        self._application = DomainDispatcherApplication(create_backend_app)

    def call(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request; blocks, so it belongs in a worker thread."""
        started: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
            started["status"], started["headers"] = int(status.split(" ", 1)[0]), headers
            return lambda data: None

        application = cast(Callable[..., Iterable[bytes]], self._application)
        chunks = application(self._environ(request), start_response)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        # HEAD answers state the length of the body they leave out.
        kept = {*_DROPPED} - ({"content-length"} if request.method == "HEAD" else set())
        headers = [(name, value) for name, value in started["headers"] if name.lower() not in kept]
        return HttpAnswer(started["status"], headers, b"" if request.method == "HEAD" else body)

    def _environ(self, request: HttpRequest) -> dict[str, Any]:
        target = request.raw_path + (f"?{request.query}" if request.query else "")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path.encode().decode("latin-1"),
            "QUERY_STRING": request.query,
            "RAW_URI": target,
            "REQUEST_URI": target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self._port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "CONTENT_LENGTH": str(len(request.body)),
        }
        spelled: dict[str, str] = {}
        for name, value in request.headers:
            if name.lower() in {"content-length", "transfer-encoding"}:
                continue
            if "_" in name:
                # WSGI cannot tell a_b from a-b: only S3 metadata may use it, under the spelling moto asks for.
                if not should_preserve_original_header_name(name):
                    continue
                spelled[environ_key_for_header(name)] = name
            key = environ_key_for_header(name)
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = spelled
        return environ
