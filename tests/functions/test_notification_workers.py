"""The notification workers as they are deployed: their handlers over the composition of their rows, keys in an emulated KMS."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from cardwright.compose import resources
from cardwright.compose import workers as composed
from cardwright.compose.workers import Workers
from cardwright.identity.service import IdentityService
from cardwright.kernel.rows import Capability
from cardwright.outbox.rules import Event, message
from functions.notifications import process_notification_queue, send_due_notifications
from functions.notifications.routes import PROCESS_NOTIFICATION_QUEUE, SEND_DUE_NOTIFICATIONS
from local.lambda_context import LambdaContext
from local.workers.schedules import schedule_event
from tests.fakes.notification_world import FakeProvider
from tests.fix_identity import KeyArns, Someone, Tools


class OneLook:
    """A context with time for one look at what is due, and to finish what that began."""

    def __init__(self) -> None:
        self._left = iter((100_000, 100_000))

    def get_remaining_time_in_millis(self) -> int:
        """Less than a message needs, from the third question on."""
        return next(self._left, 10_000)


@pytest.fixture
def mail() -> FakeProvider:
    """A mail provider that keeps what it is given."""
    return FakeProvider("mail")


@pytest.fixture
def deployed(
    tools: Tools,
    key_arns: KeyArns,
    database_url: str,
    cache_url: str,
    mail: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[None]:
    """The variables of the rows, and the mail provider in the place of the stage's channels."""
    monkeypatch.setenv("CARDWRIGHT_DATABASE_WORKER", f"{database_url}?options=-c%20role%3Dworker")
    monkeypatch.setenv("CARDWRIGHT_CACHE_URL", cache_url)
    monkeypatch.setenv("CARDWRIGHT_USER_KEY_ARN", key_arns.user)
    monkeypatch.setattr(Workers, "clock", tools.clock)
    monkeypatch.setattr(Workers, "ids", tools.ids)
    monkeypatch.setattr(Workers, "sealer", tools.sealer)
    monkeypatch.setattr(Workers, "channels", {"email": (mail,)})
    monkeypatch.setattr(resources, "conninfo", lambda _capability: f"{database_url}?options=-c%20role%3Dworker")
    parts = Workers(PROCESS_NOTIFICATION_QUEUE.needs)
    for module in (process_notification_queue, send_due_notifications):
        monkeypatch.setattr(module, "_workers", lambda: parts)
    resources.database.cache_clear()
    resources.cache_client.cache_clear()
    yield
    parts.database.close()
    parts.cache.close()
    resources.database.cache_clear()
    resources.cache_client.cache_clear()
    composed.workers.cache_clear()


def alert(tools: Tools, someone: Someone) -> Event:
    """A warning to somebody."""
    return Event(tools.ids.new(), "security.alert", tools.clock.now(), {"kind": "account_locked"}, someone.user_id)


def consume(*bodies: str) -> list[str]:
    """Hand messages to the queue's handler; the ids of those that come again."""
    records = [{"messageId": f"m{number}", "body": body, "eventSource": "aws:sqs"} for number, body in enumerate(bodies)]
    context = cast(Any, LambdaContext(PROCESS_NOTIFICATION_QUEUE, "req_1"))
    answer = process_notification_queue.handler({"Records": records}, context)
    return [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]


def test_a_warning_goes_to_the_address_that_only_the_persons_key_opens(
    deployed: None, tools: Tools, someone: Someone, mail: FakeProvider
) -> None:
    assert consume(json.dumps(message(alert(tools, someone)))) == []
    assert [(sent.to, sent.subject) for sent in mail.taken] == [(someone.email, "Security alert for your account")]


def test_what_is_no_event_comes_again_and_the_rest_does_not(
    deployed: None, tools: Tools, someone: Someone, mail: FakeProvider
) -> None:
    body = json.dumps(message(alert(tools, someone)))
    assert consume("{", body, '{"event": 1}') == ["m0", "m2"]
    assert len(mail.taken) == 1


def test_the_schedule_sends_what_a_dead_worker_left(
    deployed: None, tools: Tools, identity: IdentityService, someone: Someone, mail: FakeProvider
) -> None:
    process_notification_queue._workers().notifications.process(alert(tools, someone))
    tools.clock.at = tools.clock.at.replace(minute=tools.clock.at.minute + 2)
    send_due_notifications.handler(cast(Any, schedule_event(SEND_DUE_NOTIFICATIONS, tools.clock.at)), cast(Any, OneLook()))
    assert someone.email in [sent.to for sent in mail.taken]


def test_both_rows_may_do_the_same_and_neither_may_be_an_app() -> None:
    assert PROCESS_NOTIFICATION_QUEUE.needs == SEND_DUE_NOTIFICATIONS.needs
    assert Capability.DATABASE_APP not in PROCESS_NOTIFICATION_QUEUE.needs
