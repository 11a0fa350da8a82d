"""The emulator's one address: queues to the twin, secrets to the extension's path, everything else to moto."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from xml.etree.ElementTree import ParseError, fromstring

from moto.kms.models import kms_backends
from moto.s3.models import s3_backends

from local.aws import key_state, object_lock, secrets_extension, uploads
from local.aws.archive import ACCOUNT, Archive
from local.aws.asgi import (
    BodyTooLargeError,
    ClientGoneError,
    HttpAnswer,
    HttpRequest,
    Receive,
    Scope,
    Send,
    json_answer,
    read_request,
    send_answer,
)
from local.aws.moto_host import MotoHost
from local.aws.queues.directory import Caller
from local.aws.queues.errors import QueueError
from local.aws.queues.service import QueueTwin

_THREADS: Final = 16
_REFUSED_FROM: Final = 400
_SCOPE: Final = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]{1,30})/(?P<service>[a-z0-9-]{1,40})/aws4_request")
_LOCAL_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
_KMS_READS: Final = re.compile(r"TrentService\.(Encrypt|Decrypt|ReEncrypt|Generate\w+|Sign|Verify\w*|Describe\w+|Get\w+|List\w+)")
_SECRET_READS: Final = re.compile(r"secretsmanager\.(Get\w+|BatchGet\w+|Describe\w+|List\w+|Validate\w+)")
log = logging.getLogger("local.aws")


class Emulator:
    """An ASGI application: AWS for one laptop."""

    def __init__(self, data: Path, port: int, *, region: str, twin: bool) -> None:
        """Restore what `data` holds and be ready for requests on `port`; `twin` chooses our SQS over moto's."""
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._region = region
        self._moto = MotoHost(port)
        self._queues = QueueTwin(data / "queues.db") if twin else None
        self._archive = Archive(data / "services.db")
        self._changing = threading.Lock()
        self._workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="moto")
        self._restore()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or take part in start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            request = await read_request(scope, receive)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            await send_answer(send, json_answer(413, {"__type": "RequestEntityTooLarge"}))
            return
        try:
            answer = await self._while_client_waits(request, receive)
        except ClientGoneError:
            return
        except Exception as error:
            # moto raises through WSGI what it does not implement; a client gets AWS's shape of it, the log the trace.
            log.exception("%s %s failed", request.method, request.named.get("x-amz-target", request.path))
            answer = json_answer(500, {"__type": "InternalFailure", "message": f"the emulator failed: {type(error).__name__}"})
        await send_answer(send, answer)

    async def _while_client_waits(self, request: HttpRequest, receive: Receive) -> HttpAnswer:
        """Answer; a receiver that dies while it waits for messages takes none with it."""
        if not request.named.get("x-amz-target", "").endswith(".ReceiveMessage"):
            return await self._answer(request)
        answer = asyncio.ensure_future(self._answer(request))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientGoneError
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._queues is not None:
            await self._queues.close()
        self._workers.shutdown(wait=False, cancel_futures=True)
        with self._changing:
            self._archive.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
        host = request.named.get("host", "")
        if not _LOCAL_HOST.fullmatch(host):
            # A name would also be taken for a bucket's; and no web page may reach this port under a name of its own.
            text = "The emulator answers under 127.0.0.1 only; address S3 buckets by path."
            return json_answer(400, {"__type": "InvalidHost", "message": text})
        if request.path == "/healthz":
            return json_answer(200, {"status": "ok"})
        if request.path == secrets_extension.PATH:
            return await self._in_thread(lambda: secrets_extension.answer(request, self._region))
        if self._queues is not None and _service(request) == "sqs":
            return await self._answer_queue(self._queues, request, f"http://{host}")
        return await self._in_thread(lambda: self._answer_moto(request))

    async def _in_thread(self, work: Callable[[], HttpAnswer]) -> HttpAnswer:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    async def _answer_queue(self, queues: QueueTwin, request: HttpRequest, base_url: str) -> HttpAnswer:
        action = request.named.get("x-amz-target", "").removeprefix("AmazonSQS.")
        kind = [("Content-Type", "application/x-amz-json-1.0")]
        try:
            body = json.loads(request.body)
            if not isinstance(body, dict):
                raise ValueError
        except ValueError:
            text = "The queue twin speaks SQS's JSON protocol: an X-Amz-Target header and a JSON object."
            return HttpAnswer(400, kind, json.dumps({"__type": "SerializationException", "message": text}).encode())
        try:
            answer = await queues.call(action, body, Caller(_region(request, self._region), base_url))
        except QueueError as error:
            headers = [*kind, ("x-amzn-query-error", f"{error.code};Sender")]
            return HttpAnswer(400, headers, json.dumps({"__type": error.kind, "message": error.message}).encode())
        return HttpAnswer(200, kind, json.dumps(answer).encode())

    # moto, and what is kept of its effects

    def _answer_moto(self, request: HttpRequest) -> HttpAnswer:
        save = self._saver(request)
        if save is None:
            return self._refusal(request) or self._moto.call(request)
        with self._changing:
            refused = self._refusal(request)
            if refused is not None:
                return refused
            answer = self._moto.call(request)
            if answer.status < _REFUSED_FROM:
                save()
            return answer

    def _refusal(self, request: HttpRequest) -> HttpAnswer | None:
        service = _service(request)
        if service == "kms":
            return key_state.refusal(request, _region(request, self._region))
        return (object_lock.refusal(request) or uploads.refusal(request)) if service == "s3" else None

    def _saver(self, request: HttpRequest) -> Callable[[], None] | None:
        service, region = _service(request), _region(request, self._region)
        target = request.named.get("x-amz-target", "")
        if service == "kms":
            if not _KMS_READS.fullmatch(target):
                return lambda: self._archive.save_keys(region)
            if b"alias/aws/" in request.body:
                return lambda: self._save_new_keys(region)
            return None
        if service == "secretsmanager":
            return None if _SECRET_READS.fullmatch(target) else lambda: self._archive.save_secrets(region)
        if service == "s3" and request.method in {"PUT", "POST", "DELETE"}:
            return lambda: self._save_s3(request, region)
        return None

    def _save_new_keys(self, region: str) -> None:
        if len(kms_backends[ACCOUNT][region].keys) != self._archive.key_count(region):
            self._archive.save_keys(region)

    def _save_s3(self, request: HttpRequest, region: str) -> None:
        bucket, _, key = unquote(request.raw_path.lstrip("/")).partition("/")
        query = parse_qs(request.query, keep_blank_values=True)
        if key:
            # The parts of an upload are not kept; the object is, when the upload is completed.
            if "partNumber" not in query and "uploads" not in query:
                self._archive.save_objects(bucket, [key])
        elif request.method == "POST":
            self._archive.save_objects(bucket, _deleted_keys(request.body) if "delete" in query else _all_keys(bucket))
        else:
            self._archive.save_setting(bucket, request, region)

    def _restore(self) -> None:
        self._archive.restore_keys_and_secrets()
        for region, created, kept in self._archive.settings():
            scope = f"AWS4-HMAC-SHA256 Credential=local/20260101/{region}/s3/aws4_request, SignedHeaders=host, Signature=0"
            headers = [
                *((name, value) for name, value in kept.headers),
                ("Authorization", scope),
                ("Host", "127.0.0.1"),
            ]
            request = HttpRequest(kept.method, kept.path, kept.raw_path, kept.query, headers, kept.body)
            answer = self._moto.call(request)
            if answer.status >= _REFUSED_FROM:
                raise RuntimeError(f"bucket {kept.path[1:]} cannot be restored: moto answers {answer.status}")
            if created:
                s3_backends[ACCOUNT]["aws"].buckets[kept.path[1:]].creation_date = datetime.fromisoformat(created)
        self._archive.restore_objects()


def _service(request: HttpRequest) -> str:
    target = request.named.get("x-amz-target", "")
    for prefix, service in (("AmazonSQS.", "sqs"), ("TrentService.", "kms"), ("secretsmanager.", "secretsmanager")):
        if target.startswith(prefix):
            return service
    match = _SCOPE.search(request.named.get("authorization", ""))
    if match is not None:
        return match["service"]
    # moto takes what names no service for S3, presigned URLs among them; /moto-api/ is moto's own console.
    return "moto" if request.path.startswith("/moto-api") else "s3"


def _region(request: HttpRequest, default: str) -> str:
    match = _SCOPE.search(request.named.get("authorization", ""))
    return match["region"] if match is not None else default


def _deleted_keys(body: bytes) -> set[str]:
    if b"<!" in body:
        return set()
    try:
        root: Any = fromstring(body.decode())  # noqa: S314 - no DTD can be in it, see above
    except (ParseError, UnicodeDecodeError):
        return set()
    return {element.text or "" for element in root.iter() if element.tag.rpartition("}")[2] == "Key"}


def _all_keys(bucket: str) -> list[str]:
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    return list(found.keys) if found is not None else []
