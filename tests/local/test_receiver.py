"""The receiver that is started by hand: it takes what is signed, once, and fails when it is told to."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from local import receiver as by_hand
from local.home import PROJECT
from local.receiver import Receiver, secrets_of

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
OTHER = "whsec_" + "AAAA" * 8


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A listening receiver."""
    receiver = Receiver()
    yield receiver
    receiver.close()


def signed_post(message_id: str, event: object, *secrets: str, ahead: timedelta = timedelta(0)) -> tuple[str, dict[str, str]]:
    """One event's body, and its headers with a signature of each secret."""
    body, at = json.dumps(event), datetime.now(UTC) + ahead
    return body, {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(one).sign(message_id, at, body) for one in secrets),
    }


def deliver(url: str, message_id: str, event: object, *secrets: str, ahead: timedelta = timedelta(0)) -> httpx.Response:
    """Post one event, signed with each secret."""
    body, headers = signed_post(message_id, event, *(secrets or (SECRET,)), ahead=ahead)
    return httpx.post(url, content=body, headers=headers, trust_env=False)


def test_challenge_is_answered_also_before_the_secret_is_known(receiver: Receiver) -> None:
    challenge = {"type": "webhook.verification", "challenge": "c1"}
    early = deliver(receiver.url, "m0", challenge)
    receiver.trust(SECRET)
    late = deliver(receiver.url, "m1", challenge)
    assert [(one.status_code, one.json()) for one in (early, late)] == [(200, {"challenge": "c1"})] * 2
    assert receiver.refused == []
    assert receiver.taken == {}


def test_a_challenge_another_secret_signed_is_not_answered(receiver: Receiver) -> None:
    receiver.trust(SECRET)
    answer = deliver(receiver.url, "m0", {"type": "webhook.verification", "challenge": "c1"}, OTHER)
    assert (answer.status_code, answer.json()) == (401, {})


def test_events_are_counted_once_by_id(receiver: Receiver) -> None:
    receiver.trust(SECRET)
    for message_id in ("m1", "m1", "m2"):
        assert deliver(receiver.url, message_id, {"type": "card.created"}).status_code == 200
    assert receiver.wait_for({"card.created": 2}, 1.0) == {"card.created": 2}
    assert receiver.wait_for({"card.created": 3}, 0.1) == {"card.created": 2}
    assert {name: one.times for name, one in receiver.taken.items()} == {"m1": 2, "m2": 1}


def test_wrong_signature_is_refused_and_remembered(receiver: Receiver) -> None:
    early = deliver(receiver.url, "m1", {"type": "card.created"}, OTHER)
    receiver.trust(SECRET)
    late = deliver(receiver.url, "m2", {"type": "card.created"}, OTHER)
    assert (early.status_code, late.status_code) == (200, 401)
    assert len(receiver.refused) == 2
    assert receiver.taken == {}


def test_both_secrets_of_a_rotation_are_good_and_counted(receiver: Receiver) -> None:
    receiver.trust(SECRET, OTHER)
    assert deliver(receiver.url, "m1", {"type": "card.created"}, SECRET, OTHER).status_code == 200
    assert deliver(receiver.url, "m2", {"type": "card.created"}, OTHER).status_code == 200
    assert [(one.signatures, one.secrets) for one in receiver.taken.values()] == [(2, 2), (1, 1)]


def test_told_to_fail_it_fails_so_often_and_no_challenge(receiver: Receiver) -> None:
    receiver.trust(SECRET)
    receiver.fail(2)
    assert deliver(receiver.url, "m0", {"type": "webhook.verification", "challenge": "c"}).status_code == 200
    assert [deliver(receiver.url, "m1", {"type": "card.created"}).status_code for _ in range(3)] == [500, 500, 200]
    assert (receiver.failed, receiver.taken["m1"].times) == (2, 1)


def test_its_clock_may_be_another(receiver: Receiver) -> None:
    ahead = timedelta(hours=7)
    moved = Receiver(now=lambda: datetime.now(UTC) + ahead)
    try:
        for one in (receiver, moved):
            one.trust(SECRET)
        event = {"type": "card.created"}
        answers = [
            deliver(one.url, "m1", event, ahead=by).status_code for one in (receiver, moved) for by in (ahead, timedelta(0))
        ]
        assert answers == [401, 200, 200, 401]
    finally:
        moved.close()


def test_a_clock_that_does_not_answer_asks_for_the_delivery_again() -> None:
    def broken() -> datetime:
        raise ConnectionRefusedError

    receiver = Receiver(now=broken)
    try:
        receiver.trust(SECRET)
        assert deliver(receiver.url, "m1", {"type": "card.created"}).status_code == 503
        assert receiver.taken == {}
    finally:
        receiver.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"type":'], ids=["empty", "list", "no type", "no text", "cut"])
def test_what_is_no_event_is_bad_input(receiver: Receiver, body: bytes) -> None:
    assert httpx.post(receiver.url, content=body, trust_env=False).status_code == 400


def test_a_body_without_an_end_is_not_read(receiver: Receiver) -> None:
    assert httpx.post(receiver.url, content=iter([b"x"] * 3), trust_env=False).status_code == 413


def test_a_text_that_is_no_secret_is_not_repeated(receiver: Receiver) -> None:
    with pytest.raises(ValueError, match=r"^a signing secret is whsec_ and base64$"):
        receiver.trust("whsec_" + "not base64!")
    with pytest.raises(ValueError, match=r"^a signing secret is whsec_ and base64$"):
        receiver.trust("")


def test_secrets_of_a_file_are_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    assert secrets_of(path) == ()
    path.write_text(f"{SECRET}\n\n  {OTHER}  \n")
    assert secrets_of(path) == (SECRET, OTHER)


def test_asked_for_its_secret_it_says_what_it_does_not_take(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([SECRET, "no secret!", OTHER, ""])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    by_hand.ask(receiver)
    assert receiver.secrets == (SECRET, OTHER)
    assert capsys.readouterr().err == "not taken: a signing secret is whsec_ and base64\n"


def test_started_by_hand_it_waits_for_its_secret_fails_twice_and_tells_of_each(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    command = [sys.executable, "-m", "local.receiver", "--fail", "2", "--secret-file", str(path)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening at ").strip()
        event = {"type": "card.created"}
        told = [deliver(url, "m0", {"type": "webhook.verification", "challenge": "c"}).status_code]
        told += [deliver(url, "m1", event).status_code for _ in range(3)]
        assert told == [200, 500, 500, 200]
        path.write_text(SECRET + "\n")
        lines = [process.stdout.readline() for _ in range(4 + 2)]
        assert deliver(url, "m1", event).status_code == 200
        lines.append(process.stdout.readline())
        process.terminate()
        rest, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    said = [" ".join(line.split()[1:]) for line in lines]
    assert said == [
        "webhook.verification m0 kept until the secret is known",
        "card.created m1 answered 500, as told to",
        "card.created m1 answered 500, as told to",
        "card.created m1 kept until the secret is known",
        "webhook.verification m0 verified",
        "card.created m1 verified",
        "card.created m1 verified, delivery 2 of it",
    ]
    assert rest == "taken: 1 card.created; refused: 0\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("known", "sent", "signed", "wanted"),
    [
        (None, {"type": "webhook.verification", "challenge": "c"}, SECRET, (200, {"challenge": "c"})),
        (None, {"id": "m1", "type": "card.created", "data": {}}, SECRET, (503, {"challenge": None})),
        (SECRET, {"type": "webhook.verification", "challenge": "c"}, SECRET, (200, {"challenge": "c"})),
        (SECRET, {"type": "webhook.verification", "challenge": "c"}, OTHER, (401, {})),
        (SECRET, {"id": "m1", "type": "card.created", "data": {}}, SECRET, (200, {})),
        (SECRET, {"id": "m1", "type": "card.created", "data": {}}, OTHER, (401, {})),
    ],
    ids=["early challenge", "early event", "challenge", "a stranger's challenge", "event", "a stranger's event"],
)
def test_the_guides_server_does_what_the_guide_says(
    monkeypatch: pytest.MonkeyPatch, known: str | None, sent: dict[str, object], signed: str, wanted: tuple[int, object]
) -> None:
    program = re.search(r"```python\n([\s\S]*?)```", (PROJECT / "docs" / "guide" / "webhooks.md").read_text())
    assert program is not None
    if known is None:
        monkeypatch.delenv("WEBHOOK_SECRET", raising=False)
    else:
        monkeypatch.setenv("WEBHOOK_SECRET", known)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(program.group(1), names)  # noqa: S102 - the guide's program is ours
    body, headers = signed_post("m1", sent, signed)
    answer = names["app"].test_client().post("/hooks", data=body, headers=headers)
    assert (answer.status_code, answer.json) == wanted


def test_waiting_ends_with_what_it_waits_for() -> None:
    answers = iter([False, False, True])
    assert Receiver.wait(lambda: next(answers), 60.0) is True
    assert Receiver.wait(lambda: False, 0.0) is False
