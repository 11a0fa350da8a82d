"""The gateway over real sockets: events as API Gateway and Function URLs make them, answers and limits as theirs."""

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cardwright.kernel.rows import Http, Url
from local.gateway.limits import INVOKE_PAYLOAD_BYTES, REST_BODY_BYTES
from local.gateway.routing import Router
from tests.local.gateway_host import app_of, served

ECHO = Http(name="echo", domain="tests", method="POST", path="/things/{thing_id}/echo")
READ = Http(name="read", domain="tests", method="GET", path="/things/{thing_id}")
MINE = Http(name="mine", domain="tests", method="GET", path="/things/mine")
ROOT = Http(name="root", domain="tests", method="GET", path="/healthz", root=True)
HANG = Http(name="hang", domain="tests", method="GET", path="/hang", timeout_s=1)
BREAK = Http(name="break_down", domain="tests", method="GET", path="/break")
BINARY = Http(name="binary", domain="tests", method="GET", path="/binary")
WIDE = Http(name="wide", domain="tests", method="GET", path="/wide")
SHAPE = Http(name="shape", domain="tests", method="GET", path="/shape")
DECIDE = Url(name="decide", domain="tests", path="/webhooks/decide", timeout_s=1)
ROWS = (ECHO, READ, MINE, ROOT, HANG, BREAK, BINARY, WIDE, SHAPE, DECIDE)
BLOB = bytes(range(256))


def _echo(event: dict[str, Any], context: Any) -> dict[str, Any]:
    shown = {"event": event, "left_ms": context.get_remaining_time_in_millis(), "arn": context.invoked_function_arn}
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json", "Connection": "close"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
        "body": json.dumps(shown),
    }


def _named(name: str) -> Any:
    return lambda event, context: {"statusCode": 200, "body": name}


def _break(event: dict[str, Any], context: Any) -> dict[str, Any]:
    raise ValueError("card 4000 of somebody")


def _shape(event: dict[str, Any], context: Any) -> Any:
    return json.loads(event["queryStringParameters"]["result"])


def _decide(event: dict[str, Any], context: Any) -> Any:
    if event.get("body") == "wait":
        time.sleep(2)
    return {"decision": "APPROVE", "event": event}


HANDLERS = {
    "echo": _echo,
    "read": _named("read"),
    "mine": _named("mine"),
    "root": _named("root"),
    "hang": lambda event, context: time.sleep(2),
    "break_down": _break,
    "binary": lambda event, context: {
        "statusCode": 200,
        "headers": {"content-type": "image/png"},
        "body": base64.b64encode(BLOB).decode(),
        "isBase64Encoded": True,
    },
    "wide": lambda event, context: {"statusCode": 200, "body": "x" * (INVOKE_PAYLOAD_BYTES + 1)},
    "shape": _shape,
    "decide": _decide,
}


@pytest.fixture(scope="module")
def rest() -> Iterator[int]:
    """A REST door over the handlers above."""
    with served(app_of("rest", ROWS, HANDLERS)) as port:
        yield port


@pytest.fixture(scope="module")
def url() -> Iterator[int]:
    """A Function URL door."""
    with served(app_of("url", ROWS, HANDLERS)) as port:
        yield port


def call(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def problem(answer: tuple[http.client.HTTPResponse, bytes], status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem of this status and code."""
    response, body = answer
    document: dict[str, Any] = json.loads(body)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert set(document) == {"type", "title", "status", "detail", "code", "request_id"}
    assert (document["status"], document["code"]) == (status, code)
    assert response.headers["x-request-id"] == document["request_id"]
    return document


def test_rest_event_has_what_a_proxy_integration_sends(rest: int) -> None:
    response, body = call(
        rest,
        "POST",
        "/api/v1/things/a%20b%2Fc/echo?tag=1&tag=%C3%A9&empty=",
        b'{"n": 1}',
        {"X-Thing": "one", "X-Forwarded-For": "203.0.113.9", "User-Agent": "test", "Content-Type": "application/json"},
    )
    shown = json.loads(body)
    event = shown["event"]
    assert event["resource"] == "/api/v1/things/{thing_id}/echo"
    assert event["path"] == "/api/v1/things/a%20b%2Fc/echo"
    assert event["pathParameters"] == {"thing_id": "a b/c"}
    assert event["multiValueQueryStringParameters"] == {"tag": ["1", "é"], "empty": [""]}
    assert event["queryStringParameters"] == {"tag": "é", "empty": ""}
    assert event["multiValueHeaders"]["X-Thing"] == ["one"]
    assert event["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert event["requestContext"]["identity"] == {"sourceIp": "127.0.0.1", "userAgent": "test"}
    assert (event["body"], event["isBase64Encoded"]) == ('{"n": 1}', False)
    assert 0 < shown["left_ms"] <= 29_000
    assert shown["arn"].endswith(":function:cardwright-echo")
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert response.headers["connection"] is None


def test_bodies_that_are_not_text_travel_as_base64_both_ways(rest: int) -> None:
    _, body = call(rest, "POST", "/api/v1/things/1/echo", BLOB)
    event = json.loads(body)["event"]
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == BLOB
    response, body = call(rest, "GET", "/api/v1/binary")
    assert (response.headers["content-type"], body) == ("image/png", BLOB)


def test_literal_segments_win_over_parameters(rest: int) -> None:
    assert call(rest, "GET", "/api/v1/things/mine")[1] == b"mine"
    assert call(rest, "GET", "/api/v1/things/other")[1] == b"read"
    assert call(rest, "GET", "/healthz")[1] == b"root"


@pytest.mark.parametrize("path", ["/", "/api/v1/nothing", "/api/v1/things/", "/api/v1/things/1/", "//api/v1/hang"])
def test_unknown_path_is_a_404_problem(rest: int, path: str) -> None:
    problem(call(rest, "GET", path), 404, "not_found")


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "TRACE"])
def test_wrong_method_is_a_405_that_names_the_right_ones(rest: int, method: str) -> None:
    answer = call(rest, method, "/api/v1/things/1/echo")
    assert answer[0].status == 405
    assert answer[0].headers["allow"] == "OPTIONS, POST"
    if method != "HEAD":
        problem(answer, 405, "method_not_allowed")


def test_preflight_reaches_the_function_it_asks_about(rest: int) -> None:
    _, body = call(rest, "OPTIONS", "/api/v1/things/1/echo", headers={"Access-Control-Request-Method": "POST"})
    assert json.loads(body)["event"]["httpMethod"] == "OPTIONS"
    assert call(rest, "OPTIONS", "/api/v1/things/mine")[1] == b"mine"


def test_answer_without_content_has_no_length(rest: int) -> None:
    response, body = call(rest, "GET", "/api/v1/shape?result=%7B%22statusCode%22%3A204%7D")
    assert (response.status, response.headers["content-length"], body) == (204, None, b"")


def test_request_over_10_mb_is_413_and_one_over_the_invocation_limit_too(rest: int) -> None:
    problem(call(rest, "POST", "/api/v1/things/1/echo", b"x" * (REST_BODY_BYTES + 1)), 413, "payload_too_large")
    problem(call(rest, "POST", "/api/v1/things/1/echo", b"x" * (INVOKE_PAYLOAD_BYTES + 1)), 413, "payload_too_large")


def test_headers_over_10240_bytes_are_431(rest: int) -> None:
    problem(call(rest, "GET", "/healthz", headers={"X-Long": "x" * 10_300}), 431, "headers_too_large")
    assert call(rest, "GET", "/healthz", headers={"X-Long": "x" * 9_000})[0].status == 200


def test_result_over_6_mb_is_502(rest: int) -> None:
    problem(call(rest, "GET", "/api/v1/wide"), 502, "internal_error")


def test_slow_handler_is_504_and_the_door_goes_on(rest: int) -> None:
    began = time.monotonic()
    problem(call(rest, "GET", "/api/v1/hang"), 504, "gateway_timeout")
    assert time.monotonic() - began < 1.8
    assert call(rest, "GET", "/healthz")[0].status == 200


def test_failing_handler_is_502_and_its_message_is_not_logged(rest: int, capfd: pytest.CaptureFixture[str]) -> None:
    answer = call(rest, "GET", "/api/v1/break", headers={"X-Request-Id": "mine-1"})
    assert problem(answer, 502, "internal_error")["request_id"] == "mine-1"
    log = capfd.readouterr().err
    assert "break_down failed: ValueError at test_gateway.py:" in log
    assert "4000" not in log


@pytest.mark.parametrize(
    "result", ["null", "{}", '{"statusCode":"200"}', '{"statusCode":99}', '{"statusCode":200,"body":{}}', "[]",
               '{"statusCode":200,"headers":{"a":"\\u20ac"}}', '{"statusCode":200,"body":"%","isBase64Encoded":true}']
)  # fmt: skip
def test_malformed_result_is_502(rest: int, result: str) -> None:
    from urllib.parse import quote

    problem(call(rest, "GET", f"/api/v1/shape?result={quote(result)}"), 502, "internal_error")


@pytest.mark.parametrize("host", ["", "a b", "a:b:c", "evil.example/x", "a:"])
def test_host_that_is_none_is_400(rest: int, host: str) -> None:
    problem(call(rest, "GET", "/healthz", headers={"Host": host}), 400, "invalid_request")


@pytest.mark.parametrize("sent", ["with space", "x" * 200, "é"])
def test_strange_request_id_is_replaced(rest: int, sent: str) -> None:
    response, _ = call(rest, "GET", "/nothing", headers={"X-Request-Id": sent.encode().decode("latin-1")})
    assert len(response.headers["x-request-id"]) == 36


def test_keep_alive_serves_many_requests_on_one_connection(rest: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rest, timeout=10)
    for _ in range(20):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"root"
    connection.close()


def test_more_than_threads_and_waiting_room_is_429() -> None:
    release = threading.Event()
    handlers = {"root": lambda event, context: {"statusCode": 200 if release.wait(10) else 500}}
    app = app_of("rest", (ROOT,), handlers, threads=2, waiting=1)
    with served(app) as port, ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(call, port, "GET", "/healthz") for _ in range(6)]
        deadline = time.monotonic() + 5
        while sum(answer.done() for answer in answers) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        release.set()
        statuses = sorted(answer.result()[0].status for answer in answers)
        refused = next(answer.result() for answer in answers if answer.result()[0].status == 429)
    assert statuses == [200, 200, 200, 429, 429, 429]
    assert refused[0].headers["retry-after"] == "1"
    problem(refused, 429, "rate_limited")


def test_stuck_threads_are_replaced() -> None:
    release = threading.Event()

    def sometimes(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if event["headers"].get("X-Stuck"):
            release.wait(10)
        return {"statusCode": 200}

    row = Http(name="sometimes", domain="tests", method="GET", path="/sometimes", root=True, timeout_s=1)
    with served(app_of("rest", (row,), {"sometimes": sometimes}, threads=1)) as port, ThreadPoolExecutor(2) as pool:
        stuck = pool.submit(call, port, "GET", "/sometimes", None, {"X-Stuck": "1"})
        time.sleep(0.2)
        waiting = pool.submit(call, port, "GET", "/sometimes")
        assert stuck.result()[0].status == 504
        assert waiting.result()[0].status in {200, 504}
        assert [call(port, "GET", "/sometimes")[0].status for _ in range(3)] == [200, 200, 200]
        release.set()
        time.sleep(0.1)
        assert [call(port, "GET", "/sometimes")[0].status for _ in range(3)] == [200, 200, 200]


def test_url_event_is_payload_2_and_a_bare_object_is_the_answer(url: int) -> None:
    headers = {"Content-Type": "application/json", "X-Sig": "1", "X-Request-Id": "r"}
    response, body = call(url, "POST", "/any/path%20x?a=1&b=2", b'{"amount": "1.00"}', headers)
    answer = json.loads(body)
    event = answer["event"]
    assert (response.status, response.headers["content-type"], answer["decision"]) == (
        200,
        "application/json",
        "APPROVE",
    )
    assert (event["version"], event["routeKey"]) == ("2.0", "$default")
    assert (event["rawPath"], event["rawQueryString"]) == ("/any/path%20x", "a=1&b=2")
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["headers"]["x-sig"] == "1"
    assert (event["body"], event["isBase64Encoded"]) == ('{"amount": "1.00"}', False)


def test_url_event_encodes_other_content_types(url: int) -> None:
    _, body = call(url, "POST", "/", b"plain", {"Content-Type": "application/octet-stream"})
    event = json.loads(body)["event"]
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"plain", True)


def test_url_limits_and_timeout(url: int) -> None:
    problem(call(url, "POST", "/", b"x" * (INVOKE_PAYLOAD_BYTES + 1)), 413, "payload_too_large")
    problem(call(url, "POST", "/", b"wait", {"Content-Type": "text/plain"}), 504, "gateway_timeout")
    assert call(url, "GET", "/healthz")[1] == b'{"status":"ok"}'


def test_url_failures_are_problems() -> None:
    release = threading.Event()
    results: dict[str, Any] = {"raise": ValueError, "bad": {"statusCode": "x"}, "wide": "x" * INVOKE_PAYLOAD_BYTES}

    def handler(event: dict[str, Any], context: Any) -> Any:
        if event["rawPath"] == "/wait":
            release.wait(10)
            return {}
        result = results[event["rawPath"].strip("/")]
        if result is ValueError:
            raise ValueError
        return result

    row = Url(name="decide", domain="tests", path="/decide", timeout_s=20)
    with served(app_of("url", (row,), {"decide": handler}, threads=1, waiting=0)) as port, ThreadPoolExecutor(1) as pool:
        for path in ("/raise", "/bad", "/wide"):
            problem(call(port, "POST", path), 502, "internal_error")
        held = pool.submit(call, port, "POST", "/wait")
        time.sleep(0.2)
        problem(call(port, "POST", "/bad"), 429, "rate_limited")
        release.set()
        assert held.result()[1] == b"{}"


def test_url_function_is_routed_in_rest_too(rest: int) -> None:
    response, body = call(rest, "POST", "/api/v1/webhooks/decide", b"{}")
    # REST knows no short form: a result without statusCode is malformed there, as on AWS.
    problem((response, body), 502, "internal_error")


def test_router_refuses_two_rows_on_one_door() -> None:
    twin = Http(name="twin", domain="tests", method="GET", path="/things/mine")
    with pytest.raises(ValueError, match="GET /api/v1/things/mine is claimed by mine and twin"):
        Router((MINE, twin))
    other = Http(name="other", domain="tests", method="GET", path="/things/{id}")
    with pytest.raises(ValueError, match="one name per segment"):
        Router((READ, other))


@pytest.mark.parametrize(
    "sent",
    [
        b"BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: a\x01b\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_no_http_request_is_a_400_problem(rest: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", rest), timeout=5) as connection:
        connection.sendall(sent)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["code"] == "invalid_request"
