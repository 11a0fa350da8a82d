"""Webhooks on the whole stack, by a client of the contract: a receiver started by hand, and what must be refused."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from local.demo.client import Client, Network
from local.home import PROJECT
from local.receiver import Receiver
from local.reset import reset
from local.running import RunningStack
from tests.fakes.receiver import RawReceiver

SUBSCRIPTIONS = "/webhooks/subscriptions"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for the module."""
    stack = RunningStack(tmp_path_factory.mktemp("e2e") / "webhooks", rate_limits=False)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        reset(stack.home)


@pytest.fixture(scope="module")
def network(stack: RunningStack) -> Iterator[Network]:
    """The stack's clock."""
    network = Network(stack.description()["simulator_url"])
    yield network
    network.close()


@pytest.fixture(scope="module")
def http(stack: RunningStack, network: Network) -> Iterator[httpx.Client]:
    """A client of the API under a cardholder's token."""
    description = stack.description()
    client = Client(description["base_url"], description["users"]["cardholder"], network)
    client.log_in()
    headers = {"Authorization": f"Bearer {client.access_token}"}
    with httpx.Client(base_url=f"{description['base_url']}/api/v1", headers=headers, timeout=30.0, trust_env=False) as http:
        yield http
    client.close()


def subscribe(http: httpx.Client, url: str, **wanted: Any) -> httpx.Response:
    """Ask for a subscription."""
    return http.post(SUBSCRIPTIONS, json={"url": url, "event_types": ["card.created"], **wanted})


def verified(http: httpx.Client, path: str) -> dict[str, Any]:
    """The subscription once its verification is over."""
    document: dict[str, Any] = {}

    def over() -> bool:
        document.update(http.get(path).json())
        return bool(document["status"] != "PENDING_VERIFICATION")

    assert wait_for(over), document
    return document


def wait_for(true: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Poll a condition."""
    deadline = time.monotonic() + timeout_s
    while not (answer := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer


def refusal(answer: httpx.Response) -> tuple[int, list[tuple[str, str]]]:
    """Status and the fields' codes of a problem."""
    return answer.status_code, [(error["field"], error["code"]) for error in answer.json().get("errors", [])]


def test_a_receiver_started_by_hand_fails_once_and_gets_its_event(
    http: httpx.Client, network: Network, stack: RunningStack, tmp_path: Path
) -> None:
    secrets, said = tmp_path / "secrets", tmp_path / "said"
    clock = stack.description()["simulator_url"]
    command = [sys.executable, "-m", "local.receiver", "--fail", "1", "--secret-file", str(secrets), "--clock", clock]
    with said.open("w") as out:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=out, stdin=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: "listening at " in said.read_text())
        made = subscribe(http, said.read_text().split()[2])
        assert made.status_code == 201, made.text
        path = f"{SUBSCRIPTIONS}/{made.json()['id']}"
        assert verified(http, path)["status"] == "ACTIVE"
        secrets.write_text(made.json()["secret"])
        sent = http.post(f"{path}/test")
        assert sent.status_code == 202, sent.text
        event_id = sent.json()["event_id"]
        assert wait_for(lambda: "answered 500, as told to" in said.read_text())
        delivery = f"{path}/deliveries/{event_id}"
        assert wait_for(lambda: len(http.get(delivery).json()["attempts"]) == 1)
        network.advance("PT1M7S")
        assert wait_for(lambda: f"{event_id}  verified" in said.read_text()), said.read_text()
        assert wait_for(lambda: bool(http.get(delivery).json()["status"] == "DELIVERED"))
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert "webhook.verification" in said.read_text()
    assert said.read_text().endswith("taken: 1 webhook.test; refused: 0\n")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "url_not_https"),
        ("https://169.254.169.254/latest/meta-data/", "url_host_not_allowed"),
        ("https://2852039166/", "url_host_not_allowed"),
        ("https://10.0.0.1/hooks", "url_host_not_allowed"),
        ("https://hooks.internal/", "url_host_not_allowed"),
        ("https://user@hooks.example.com/", "url_has_credentials"),
        ("https://hooks.example.com:22/", "url_port_not_allowed"),
        ("not a url", "url_invalid"),
    ],
)
def test_a_url_that_leads_where_we_do_not_post_is_refused(http: httpx.Client, url: str, code: str) -> None:
    assert refusal(subscribe(http, url)) == (422, [("url", code)])


def test_a_url_of_our_own_is_refused(http: httpx.Client, stack: RunningStack) -> None:
    ours = f"{stack.description()['base_url']}/api/v1/webhooks/kyc"
    assert refusal(subscribe(http, ours)) == (422, [("url", "url_is_ours")])


def test_a_url_of_another_part_of_the_stack_is_refused(http: httpx.Client, stack: RunningStack) -> None:
    description = stack.description()
    for name in ("authorization_url", "database_url", "cache_url", "aws_endpoint_url", "mailbox_url", "simulator_url"):
        port = urlsplit(description[name]).port
        assert refusal(subscribe(http, f"http://localhost:{port}/hook")) == (422, [("url", "url_is_ours")]), name


def test_a_path_that_is_no_routes_has_an_answer_with_a_name(http: httpx.Client) -> None:
    answer = http.get("/webhooks/event-types/..%2f..%2fx/schema")
    assert answer.status_code == 404
    assert answer.json()["request_id"] == answer.headers["x-request-id"] != "unknown"


def test_an_event_type_that_does_not_exist_is_refused(http: httpx.Client) -> None:
    answer = subscribe(http, "https://hooks.example.com/", event_types=["card.created", "card.exploded"])
    assert refusal(answer) == (422, [("event_types.1", "event_type_unknown")])


def test_a_receiver_that_says_yes_to_everything_is_not_verified_and_hears_nothing(http: httpx.Client) -> None:
    with RawReceiver() as receiver:
        path = f"{SUBSCRIPTIONS}/{subscribe(http, f'http://127.0.0.1:{receiver.port}/').json()['id']}"
        assert verified(http, path)["status"] == "VERIFICATION_FAILED"
        answer = http.post(f"{path}/test")
        assert (answer.status_code, answer.json()["code"]) == (409, "subscription_not_active")
        assert [b"webhook.verification" in one for one in receiver.requests] == [True]
        assert http.delete(path).status_code == 204


def test_a_host_that_never_resolves_is_not_verified(http: httpx.Client) -> None:
    # No name under .example is ever registered (RFC 2606).
    path = f"{SUBSCRIPTIONS}/{subscribe(http, 'https://hooks.example/').json()['id']}"
    found = verified(http, path)
    assert (found["status"], found["status_detail"]) in {
        ("VERIFICATION_FAILED", "name_not_resolved"),
        # A resolver that is far away may need longer than we wait.
        ("VERIFICATION_FAILED", "timeout"),
    }
    assert http.delete(path).status_code == 204


def test_a_replay_of_last_year_is_refused(http: httpx.Client) -> None:
    receiver = Receiver()
    try:
        path = f"{SUBSCRIPTIONS}/{subscribe(http, receiver.url).json()['id']}"
        assert verified(http, path)["status"] == "ACTIVE"
        begin = datetime.now(UTC) - timedelta(days=365)
        wanted = {"from": begin.isoformat(), "to": (begin + timedelta(days=7)).isoformat()}
        assert refusal(http.post(f"{path}/replay", json=wanted)) == (422, [("from", "range_too_old")])
        assert http.delete(path).status_code == 204
    finally:
        receiver.close()
