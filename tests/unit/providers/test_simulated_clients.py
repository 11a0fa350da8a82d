"""Clients of the simulated providers: what is sent, and what each answer means."""

import json
from collections.abc import Callable
from datetime import date
from uuid import UUID

import httpx
import pytest

from cardwright.kernel.errors import CardwrightError, InvalidRequestError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.kyc.rules import Details, KycStatus, Outcome, reference
from cardwright.notifications.ports import DeadAddressError, Rendered
from cardwright.providers.channels_simulated import SimulatedChannel
from cardwright.providers.kyc_simulated import SimulatedKyc, read_event

MESSAGE = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a90b")
USER = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
SUBMISSION = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a90a")
DETAILS = Details(Secret("Ada"), Secret("Lovelace"), Secret(date(1990, 12, 10)), "GB", "passport", Secret("X123"))
CALLBACK = "https://api.example.com/api/v1/webhooks/kyc"
EVENT = {"event_id": "evt_1", "type": "verification.completed", "reference": reference(USER, SUBMISSION), "status": "approved"}


def api_key() -> Secret[str]:
    """The key of these tests."""
    return Secret("key-1")


def kyc(answer: Callable[[httpx.Request], httpx.Response]) -> SimulatedKyc:
    """A client whose requests are answered here."""
    return SimulatedKyc("http://kyc.test", api_key, transport=httpx.MockTransport(answer))


def send(answer: Callable[[httpx.Request], httpx.Response]) -> str | None:
    """Send a mail through a channel whose requests are answered here."""
    channel = SimulatedChannel("email", "http://mail.test", api_key, transport=httpx.MockTransport(answer))
    return channel.send(Secret("ada@example.com"), Rendered("Hello", "Body", {"code": "123456"}), MESSAGE)


def broken(request: httpx.Request) -> httpx.Response:
    """A network that does not carry."""
    raise httpx.ReadTimeout("nothing came", request=request)


def events(**changed: object) -> bytes:
    """An event with changed fields."""
    return json.dumps({**EVENT, **changed}).encode()


def test_a_submission_is_sent_whole_and_named_by_the_provider() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={"id": "ver_1", "status": "pending"})

    assert kyc(answer).submit("ref", DETAILS, CALLBACK) == "ver_1"
    assert (seen[0].url.path, seen[0].headers["authorization"]) == ("/v1/verifications", "Bearer key-1")
    assert json.loads(seen[0].content) == {
        "reference": "ref",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "date_of_birth": "1990-12-10",
        "country": "GB",
        "document": {"type": "passport", "number": "X123"},
        "callback_url": CALLBACK,
    }


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_refusal_is_final(status: int) -> None:
    with pytest.raises(ProviderRefusedError) as submission:
        kyc(lambda _: httpx.Response(status)).submit("ref", DETAILS, CALLBACK)
    with pytest.raises(ProviderRefusedError) as message:
        send(lambda _: httpx.Response(status))
    assert (submission.value.code, message.value.code) == ("kyc_refused", "messages_refused")


@pytest.mark.parametrize("status", [401, 408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_unavailable(status: int) -> None:
    with pytest.raises(UnavailableError) as submission:
        kyc(lambda _: httpx.Response(status)).submit("ref", DETAILS, CALLBACK)
    with pytest.raises(UnavailableError) as message:
        send(lambda _: httpx.Response(status))
    assert (submission.value.code, message.value.code) == ("kyc_unavailable", "messages_unavailable")


def test_an_outage_says_nothing_of_the_person() -> None:
    caught: list[CardwrightError] = []
    acts: list[Callable[[], object]] = [lambda: kyc(broken).submit("ref", DETAILS, CALLBACK), lambda: send(broken)]
    for act in acts:
        with pytest.raises(UnavailableError) as error:
            act()
        caught.append(error.value)
    assert [error.__cause__ for error in caught] == [None, None]
    assert not any("ada" in str(error).lower() for error in caught)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"id": 7}', b'{"id": ""}'])
def test_garbage_leaves_the_outcome_open(content: bytes) -> None:
    with pytest.raises(UnavailableError):
        kyc(lambda _: httpx.Response(202, content=content)).submit("ref", DETAILS, CALLBACK)
    with pytest.raises(UnavailableError):
        send(lambda _: httpx.Response(202, content=content))


def test_an_address_that_is_gone_is_told_apart() -> None:
    with pytest.raises(DeadAddressError):
        send(lambda _: httpx.Response(410))


def test_a_message_is_sent_whole() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={"id": "msg_1"})

    assert send(answer) == "msg_1"
    assert (seen[0].headers["authorization"], seen[0].headers["idempotency-key"]) == ("Bearer key-1", str(MESSAGE))
    assert json.loads(seen[0].content) == {
        "channel": "email",
        "to": "ada@example.com",
        "subject": "Hello",
        "body": "Body",
        "data": {"code": "123456"},
    }


@pytest.mark.parametrize(
    ("status", "ours"), [("approved", KycStatus.VERIFIED), ("declined", KycStatus.REJECTED), ("review", KycStatus.NEEDS_REVIEW)]
)
def test_an_event_is_translated_and_unknown_fields_are_ignored(status: str, ours: KycStatus) -> None:
    body = events(status=status, id="ver_1", occurred_at="2026-11-21T10:00:00Z", score=0.25, extra={"a": [1]})
    assert read_event(body) == Outcome("evt_1", USER, SUBMISSION, ours)


@pytest.mark.parametrize(
    "changed", [{"type": "verification.started"}, {"status": "pending"}, {"status": "maybe"}, {"reference": "somebody else's"}]
)
def test_an_event_of_no_interest_is_none(changed: dict[str, object]) -> None:
    assert read_event(events(**changed)) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b'{"event_id": NaN}', "json_invalid"),
        (b"[]", "event_invalid"),
        (b"{}", "event_invalid"),
        (events(event_id=""), "event_invalid"),
        (events(event_id="x" * 201), "event_invalid"),
        (events(status=7), "event_invalid"),
    ],
)
def test_a_broken_event_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_event(body)
    assert caught.value.code == code
