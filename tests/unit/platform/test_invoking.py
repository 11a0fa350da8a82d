"""Posting through a function: what is invoked, what its answers mean, what happens when it is not there. Over real sockets."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.rows import Capability, Task
from cardwright.platform import aws
from cardwright.platform.egress import READ_BYTES_MAX, Answer, Egress, EgressError, answer_invocation
from cardwright.platform.invoking import PAYLOAD_BYTES_MAX, InvokedSender
from functions.webhooks.routes import SEND_WEBHOOK
from local.environment import WEBHOOK_SENDER, aws_environment
from local.gateway.invoker import Handler, Handlers
from local.workers.invocations import serve_invocations
from tests.fakes.receiver import RawReceiver

ARN = f"arn:aws:lambda:us-east-1:123456789012:function:{WEBHOOK_SENDER}:live"


def through(egress: Egress) -> Handler:
    """The function's handler over an egress."""
    return lambda event, context: answer_invocation(egress, event)


@dataclass
class Api:
    """The local Invoke API with one function behind it."""

    port: int

    def client(self, *, read_timeout: float = 20) -> Any:
        """A client of Lambda as the platform makes it, but for its time-out."""
        retries: Any = {"total_max_attempts": 1, "mode": "standard"}
        config = Config(connect_timeout=2, read_timeout=read_timeout, retries=retries, proxies={})
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
        return session.client("lambda", endpoint_url=f"http://127.0.0.1:{self.port}", config=config)

    def sender(self, function: str = ARN, *, read_timeout: float = 20) -> InvokedSender:
        """A sender that invokes it."""
        return InvokedSender(function, self.client(read_timeout=read_timeout))


Serve = Callable[..., Api]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts the API over a handler; ends it with the test."""
    servers = []

    def start(handler: Handler, *, row: Task = SEND_WEBHOOK, at_once: int = 8) -> Api:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        servers.append(serve_invocations([row], Handlers({row.module: handler}), port, at_once=at_once))
        return Api(port)

    yield start
    for server in servers:
        server.should_exit = True


@pytest.fixture
def api(serve: Serve) -> Api:
    """The API with the real function's work behind it."""
    return serve(through(Egress(loopback=True)))


def failure(sender: InvokedSender, url: str = "http://127.0.0.1:9/", body: bytes = b"{}") -> str:
    """The code a post fails with."""
    with pytest.raises(EgressError) as failed:
        sender.post(url, {}, body)
    return failed.value.code


def test_a_post_arrives_as_it_was_given_and_its_answer_comes_back(api: Api) -> None:
    reply = b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\n\xff\x00\xfe\n"
    with RawReceiver(reply) as receiver:
        got = api.sender().post(f"http://127.0.0.1:{receiver.port}/a?b=c", {"webhook-id": "m1"}, '{"a":"é"}'.encode())
    assert (got.status, got.headers["retry-after"], got.body) == (429, "7", b"\xff\x00\xfe\n")
    (request,) = receiver.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert b"webhook-id: m1" in head
    assert body == '{"a":"é"}'.encode()


def test_it_is_found_by_its_name_by_its_arn_and_by_its_arn_with_an_alias(api: Api) -> None:
    with RawReceiver() as receiver:
        for function in (WEBHOOK_SENDER, ARN, ARN.removesuffix(":live")):
            assert api.sender(function).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}").status == 200
        assert len(receiver.requests) == 3


def test_the_largest_answer_fits(api: Api) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {READ_BYTES_MAX + 1}\r\n\r\n".encode()
    with RawReceiver(head + b"\xff" * (READ_BYTES_MAX + 1)) as receiver:
        assert api.sender().post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}").body == b"\xff" * READ_BYTES_MAX


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "address_refused"),
        ("https://nobody.invalid/", "name_not_resolved"),
        ("https://user@hooks.example.com/", "url_refused"),
    ],
)
def test_why_there_is_no_answer_comes_back(api: Api, url: str, code: str) -> None:
    assert failure(api.sender(), url) == code


def test_a_hang_ends_at_the_functions_deadline_and_is_a_time_out(serve: Serve) -> None:
    api = serve(through(Egress(loopback=True, total_s=0.3)))
    with RawReceiver(lambda _connection, _request: time.sleep(2)) as receiver:
        assert failure(api.sender(), f"http://127.0.0.1:{receiver.port}/") == "timeout"


def test_a_function_that_fails_is_an_attempt_that_failed(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(event: dict[str, Any], context: object) -> None:
        raise LookupError("hidden")

    assert failure(serve(fail).sender()) == "sender_failed"
    assert "hidden" not in capfd.readouterr().err


def test_a_function_that_overruns_is_an_attempt_that_failed(serve: Serve) -> None:
    release = threading.Event()
    api = serve(lambda event, context: release.wait(5), row=replace(SEND_WEBHOOK, timeout_s=1))
    assert failure(api.sender()) == "sender_failed"
    release.set()


@pytest.mark.parametrize(
    "answer",
    [
        *(None, [], "text", 7, {}, {"status": 200}),
        {"status": "x", "headers": {}, "body": ""},
        {"status": 200, "headers": 1, "body": ""},
        {"status": 200, "headers": {}, "body": "%%%"},
        {"status": 200, "headers": {}, "body": None},
    ],
)
def test_an_answer_that_is_none_is_an_attempt_that_failed(serve: Serve, answer: object) -> None:
    assert failure(serve(lambda event, context: answer).sender()) == "sender_failed"


def test_over_its_concurrency_callers_are_throttled_and_no_attempt_was_made(serve: Serve) -> None:
    release, started = threading.Event(), threading.Semaphore(0)

    def wait(event: dict[str, Any], context: object) -> dict[str, Any]:
        started.release()
        release.wait(5)
        return {"status": 200, "headers": {}, "body": ""}

    api = serve(wait, at_once=1)
    sender, answers = api.sender(), list[Answer]()
    first = threading.Thread(target=lambda: answers.append(sender.post("http://127.0.0.1:9/", {}, b"{}")))
    first.start()
    assert started.acquire(timeout=5)
    with pytest.raises(UnavailableError):
        sender.post("http://127.0.0.1:9/", {}, b"{}")
    release.set()
    first.join(5)
    assert [found.status for found in answers] == [200]
    assert sender.post("http://127.0.0.1:9/", {}, b"{}").status == 200


def test_who_is_not_there_made_no_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UnavailableError):
        Api(port).sender().post("http://127.0.0.1:9/", {}, b"{}")


def test_an_answer_that_does_not_come_is_an_attempt_as_the_post_may_have_been_made_and_is_asked_for_once(
    serve: Serve,
) -> None:
    release, calls = threading.Event(), list[int]()

    def hang(event: dict[str, Any], context: object) -> None:
        calls.append(1)
        release.wait(5)

    assert failure(serve(hang).sender(read_timeout=0.3)) == "sender_failed"
    release.set()
    assert calls == [1]


def test_an_answer_that_breaks_off_is_an_attempt() -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
    for reply in (b"", begun):
        with RawReceiver(reply) as api:
            assert failure(Api(api.port).sender()) == "sender_failed"
            assert len(api.requests) == 1


def test_a_function_nobody_knows_is_no_attempt(api: Api) -> None:
    with pytest.raises(UnavailableError):
        api.sender("cardwright-nobody").post("http://127.0.0.1:9/", {}, b"{}")


def test_a_payload_over_the_quota_is_refused_before_it_is_sent(serve: Serve) -> None:
    calls: list[int] = []
    api = serve(lambda event, context: calls.append(1))
    assert failure(api.sender(), body=b"x" * PAYLOAD_BYTES_MAX) == "payload_too_large"
    # The API refuses it as well, as Lambda does.
    client = api.client()
    with pytest.raises(client.exceptions.RequestTooLargeException):
        client.invoke(FunctionName=WEBHOOK_SENDER, Payload=b'"' + b"x" * PAYLOAD_BYTES_MAX + b'"')
    assert calls == []


def test_the_api_refuses_what_it_does_not_do(api: Api) -> None:
    client = api.client()
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.invoke(FunctionName=WEBHOOK_SENDER, InvocationType="Event", Payload=b"{}")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName=WEBHOOK_SENDER, Payload=b"{")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=WEBHOOK_SENDER)


def test_only_tasks_are_invoked_by_name(serve: Serve) -> None:
    api = serve(lambda event, context: {}, row=replace(SEND_WEBHOOK, name="migrate_database"))
    with pytest.raises(UnavailableError):
        api.sender().post("http://127.0.0.1:9/", {}, b"{}")


def test_an_event_that_describes_no_post_is_refused() -> None:
    with pytest.raises(KeyError):
        answer_invocation(Egress(), {"url": "https://hooks.example.com/"})


def test_what_goes_over_the_wire_is_a_url_headers_and_a_body() -> None:
    sent: list[dict[str, Any]] = []

    class Invoker:
        def invoke(self, **arguments: Any) -> dict[str, Any]:
            sent.append(arguments)
            answer = {"status": 200, "headers": {}, "body": base64.b64encode(b"ok").decode()}
            return {"Payload": socketless(json.dumps(answer).encode())}

    client: Any = Invoker()
    assert InvokedSender(ARN, client).post("https://hooks.example.com/", {"a": "b"}, b'{"c":1}').body == b"ok"
    (call,) = sent
    assert (call["FunctionName"], call["InvocationType"]) == (ARN, "RequestResponse")
    assert json.loads(call["Payload"]) == {"url": "https://hooks.example.com/", "headers": {"a": "b"}, "body": '{"c":1}'}


def socketless(data: bytes) -> Any:
    """A stream over bytes."""

    class Stream:
        def read(self) -> bytes:
            return data

    return Stream()


def test_the_processs_client_invokes_where_the_environment_says_and_never_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws_environment(1, api.port).items():
        monkeypatch.setenv(name, value)
    aws.forget_clients()
    try:
        config: Any = aws.client("lambda").meta.config
        # Longer than the function may take, so that whoever gives up first is the function.
        assert config.read_timeout > SEND_WEBHOOK.timeout_s
        assert config.retries["total_max_attempts"] == 1
        assert config.max_pool_connections >= 32
        with RawReceiver() as receiver:
            assert InvokedSender(WEBHOOK_SENDER).post(f"http://127.0.0.1:{receiver.port}/", {}, b"{}").status == 200
    finally:
        aws.forget_clients()


def test_the_row_asks_for_the_internet_and_nothing_else() -> None:
    assert SEND_WEBHOOK.needs == {Capability.INTERNET}
