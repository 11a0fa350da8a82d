"""The demo's own parts: the receiver refuses what is not signed, the client and the demo fail loudly."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from local.demo import __main__ as demo
from local.demo.client import StoryError, expect
from local.demo.receiver import Receiver
from local.demo.story import Decision, Summary, require
from local.home import StackError
from local.running import RunningStack

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A listening receiver."""
    receiver = Receiver()
    yield receiver
    receiver.close()


def deliver(receiver: Receiver, message_id: str, event: dict[str, object], secret: str = SECRET) -> httpx.Response:
    """Post one signed event."""
    body, at = json.dumps(event), datetime.now(UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
    return httpx.post(receiver.url, content=body, headers=headers, trust_env=False)


def test_challenge_is_answered_also_before_the_secret_is_known(receiver: Receiver) -> None:
    answer = deliver(receiver, "m0", {"type": "webhook.verification", "challenge": "c1"})
    assert (answer.status_code, answer.json()) == (200, {"challenge": "c1"})
    receiver.trust(SECRET)
    assert receiver.refused == []
    assert receiver.events == {}


def test_events_are_counted_once_by_id(receiver: Receiver) -> None:
    receiver.trust(SECRET)
    for message_id in ("m1", "m1", "m2"):
        assert deliver(receiver, message_id, {"type": "card.created"}).status_code == 200
    assert receiver.wait_for({"card.created": 2}, 1.0) == {"card.created": 2}
    assert receiver.wait_for({"card.created": 3}, 0.1) == {"card.created": 2}


def test_wrong_signature_is_refused_and_remembered(receiver: Receiver) -> None:
    early = deliver(receiver, "m1", {"type": "card.created"}, "whsec_" + "AAAA" * 8)
    receiver.trust(SECRET)
    late = deliver(receiver, "m2", {"type": "card.created"}, "whsec_" + "AAAA" * 8)
    assert (early.status_code, late.status_code) == (200, 401)
    assert len(receiver.refused) == 2
    assert receiver.events == {}


def test_expectations_name_both_sides() -> None:
    with pytest.raises(StoryError, match=r"paying: expected 200, got 500 oops"):
        expect(httpx.Response(500, text="oops"), 200, "paying")
    with pytest.raises(StoryError, match="expected a JSON object, got list"):
        expect(httpx.Response(200, json=[]), 200, "paying")
    assert expect(httpx.Response(204), 204, "paying") == {}
    with pytest.raises(StoryError, match="status: expected ACTIVE, got FROZEN"):
        require("status", "ACTIVE", "FROZEN")


def test_table_lines_up() -> None:
    one = Decision("a", "Shop", "FR", "1.00", "EUR", "APPROVE", "approved", 3.14)
    lines = demo.table(Summary(decisions=[one])).splitlines()
    assert lines[2] == "  Shop      FR         1.00  EUR  APPROVE   approved  3.1"
    assert len(lines[1]) == len(lines[2])


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (StoryError("a: expected 1, got 2"), 1, "demo failed: a: expected 1, got 2"),
        (StackError("port 1 is taken"), 1, "demo failed: port 1 is taken"),
        (KeyError("decision"), 1, "an answer is not as the contract says"),
        (KeyboardInterrupt(), 130, "demo interrupted"),
    ],
)
def test_demo_fails_loudly(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    told: str,
) -> None:
    def fail(stack: RunningStack) -> None:
        raise error

    monkeypatch.setattr(RunningStack, "start", fail)
    assert demo.main(tmp_path) == status
    assert told in capsys.readouterr().err
    assert not (tmp_path / "summary.json").exists()
