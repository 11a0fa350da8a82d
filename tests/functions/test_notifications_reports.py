"""The doors and the queue through which providers report dead addresses."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from cardwright.notifications.service.reports import BounceReports
from cardwright.platform.postgres import Actor
from cardwright.providers.bounces_sendgrid import SendGridBounces
from cardwright.providers.bounces_ses import SesBounces
from cardwright.providers.bounces_twilio import TwilioBounces
from functions.notifications import process_message_events
from functions.notifications.receive_sendgrid_events import endpoint as sendgrid
from functions.notifications.receive_twilio_status import endpoint as twilio
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import CardWorld
from tests.fakes.notification_world import NotificationWorld
from tests.unit.providers.test_bounces import SendGridSide

URL = "https://api.test/twilio"
SETTINGS = {"auth_token": "token-1"}


class Doors(ApiWorld):
    """The API's parts that take reports."""

    def __init__(self, cards: CardWorld, world: NotificationWorld) -> None:
        super().__init__(cards)
        self.people = world
        self.sendgrid_side = SendGridSide()
        keys = {"webhook_keys": [self.sendgrid_side.public]}
        self.sendgrid_reports = BounceReports(world.bounces, world.clock, SendGridBounces(lambda: keys))
        self.twilio_reports = BounceReports(world.bounces, world.clock, TwilioBounces(lambda: SETTINGS, URL))
        self.ses_reports = BounceReports(world.bounces, world.clock, SesBounces())

    def mails(self, actor: Actor) -> int:
        """How many mails an alert sends to a user."""
        before = len(self.people.mail.taken)
        self.people.consume(self.people.alert(actor))
        return len(self.people.mail.taken) - before


@pytest.fixture
def api(database_url: str, cache_url: str) -> Iterator[Doors]:
    """Doors over the database, with users of this test."""
    cards, world = CardWorld(database_url), NotificationWorld(database_url, cache_url)
    yield Doors(cards, world)
    cards.close()
    world.close()


@pytest.fixture
def user(api: Doors) -> Actor:
    """A cardholder."""
    return api.people.add_user()


def address(api: Doors, actor: Actor) -> str:
    """The user's e-mail address."""
    assert actor.user_id is not None
    return api.people.people.emails[actor.user_id]


def test_a_mailbox_that_sendgrid_reports_gets_nothing_more(api: Doors, user: Actor) -> None:
    neighbour = api.people.add_user()
    body = json.dumps([{"email": address(api, user).upper(), "event": "bounce", "type": "bounce"}])
    headers = api.sendgrid_side.sign(body.encode(), api.clock.now())
    for _ in range(2):
        assert api.ask(sendgrid, None, body, headers=headers).status == 202
    assert (api.mails(user), api.mails(neighbour)) == (0, 1)


def test_a_report_that_sendgrid_did_not_sign_changes_nothing(api: Doors, user: Actor) -> None:
    body = json.dumps([{"email": address(api, user), "event": "bounce", "type": "bounce"}])
    forged = SendGridSide().sign(body.encode(), api.clock.now())
    for headers, code in (({}, "signature_missing"), (forged, "signature_invalid")):
        refused = api.ask(sendgrid, None, body, headers=headers)
        assert (refused.status, refused.json["code"]) == (401, code)
    assert api.mails(user) == 1


def test_a_signed_report_that_cannot_be_read_is_a_bad_request(api: Doors) -> None:
    headers = api.sendgrid_side.sign(b"{", api.clock.now())
    refused = api.ask(sendgrid, None, "{", headers=headers)
    assert (refused.status, refused.json["code"]) == (400, "json_invalid")


def test_a_number_that_twilio_reports_is_dead(api: Doors, user: Actor) -> None:
    number = "+15550100777"
    api.people.add_number(user, number)
    form = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005", "To": number}
    signature = RequestValidator(SETTINGS["auth_token"]).compute_signature(URL, form)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
    forged = api.ask(twilio, None, urlencode({**form, "To": "+15550100778"}), headers=headers)
    assert (forged.status, forged.json["code"]) == (401, "signature_invalid")
    assert [device.status for device in api.people.devices.list_devices(user)] == ["ACTIVE"]
    assert api.ask(twilio, None, urlencode(form), headers=headers).status == 202
    assert [device.status for device in api.people.devices.list_devices(user)] == ["DEAD"]


def test_a_mailbox_that_ses_reports_gets_nothing_more_and_a_bad_message_comes_again_alone(
    api: Doors, user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_message_events, "_workers", lambda: api)
    told = {
        "eventType": "Bounce",
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": address(api, user)}]},
    }
    bodies = ["no JSON", json.dumps({"Type": "Notification", "Message": json.dumps(told)})]
    records: list[dict[str, Any]] = [
        {"messageId": f"m{position}", "body": body, "eventSource": "aws:sqs"} for position, body in enumerate(bodies)
    ]
    answer = process_message_events.handler({"Records": records}, cast(Any, SimpleNamespace()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert api.mails(user) == 0
