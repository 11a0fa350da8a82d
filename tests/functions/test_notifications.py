"""The notification doors: what people see and wish, their devices, and what is sent by templates."""

from collections.abc import Iterator
from typing import Any

import pytest

from cardwright.platform.postgres import Actor
from functions.notifications.confirm_notification_device import endpoint as confirm
from functions.notifications.get_notification_preferences import endpoint as get_preferences
from functions.notifications.list_notification_devices import endpoint as list_devices
from functions.notifications.list_notifications import endpoint as list_all
from functions.notifications.read_notification import endpoint as read
from functions.notifications.register_notification_device import endpoint as register
from functions.notifications.remove_notification_device import endpoint as remove
from functions.notifications.send_notification import endpoint as send
from functions.notifications.update_notification_preferences import endpoint as put_preferences
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import CardWorld
from tests.fakes.notification_world import NotificationWorld
from tests.pans import pan

NUMBER = "+15550100123"
PUSH = {"channel": "push", "platform": "android", "token": "registration-token-1"}
WISHES = {"locale": "de", "time_zone": "Europe/Berlin"}
PARAMS = {"begins": "2026-12-01T01:00:00Z", "ends": "2026-12-01T03:00:00Z"}
TEMPLATE = {"template_id": "maintenance", "params": PARAMS}
NOBODY = "0190163d-8694-739b-aea5-966c26f8ad91"


class Doors(ApiWorld):
    """The API's parts with notifications."""

    def __init__(self, cards: CardWorld, world: NotificationWorld) -> None:
        super().__init__(cards)
        self.people = world
        self.notifications = world.users
        self.notification_devices = world.devices

    def code(self) -> str:
        """The last code that was texted."""
        return str(self.people.sms.taken[-1].data["code"])

    def requested(self, user: Actor) -> int:
        """How many messages of the staff are on their way to a user."""
        wanted = "SELECT 1 FROM outbox WHERE type = 'notification.requested' AND user_id = %s"
        return len(self.people.sql(wanted, user.user_id))


@pytest.fixture
def api(database_url: str, cache_url: str) -> Iterator[Doors]:
    """Doors over the database, to be asked by users of this test."""
    cards, world = CardWorld(database_url), NotificationWorld(database_url, cache_url)
    yield Doors(cards, world)
    cards.close()
    world.close()


@pytest.fixture
def user(api: Doors) -> Actor:
    """A cardholder."""
    return api.people.add_user()


@pytest.fixture
def token(api: Doors, user: Actor) -> str:
    """The user's access token."""
    return api.let_in(user, stepped_up=False)


@pytest.fixture
def other(api: Doors) -> str:
    """Somebody else's access token."""
    return api.let_in(api.people.add_user(), stepped_up=False)


def codes(answer: Answer) -> set[str]:
    """The codes of a problem's fields."""
    return {error["code"] for error in answer.json.get("errors", [])}


def test_the_inbox_is_paged_newest_first_and_nobody_elses(api: Doors, user: Actor, token: str, other: str) -> None:
    api.people.consume(*(api.people.card_event(user) for _ in range(3)))
    first = api.ask(list_all, token, limit=2).json
    second = api.ask(list_all, token, limit=2, cursor=first["pagination"]["next_cursor"]).json
    ids = [one["id"] for one in (*first["data"], *second["data"])]
    assert ids == sorted(ids, reverse=True)
    assert (len(set(ids)), second["pagination"]["has_more"]) == (3, False)
    assert (first["data"][0]["template"], first["data"][0]["category"]) == ("card_frozen", "cards")
    assert "4242" in first["data"][0]["body"]
    assert api.ask(list_all, other).json["data"] == []


def test_a_read_notification_leaves_the_unread_ones_and_a_strangers_is_not_found(
    api: Doors, user: Actor, token: str, other: str
) -> None:
    api.people.consume(api.people.card_event(user), api.people.alert(user))
    newest, oldest = api.ask(list_all, token, unread="true").json["data"]
    first = api.ask(read, token, notification_id=newest["id"])
    assert (first.status, first.json["read_at"] is not None) == (200, True)
    api.people.advance(minutes=5)
    assert api.ask(read, token, notification_id=newest["id"]).json["read_at"] == first.json["read_at"]
    assert [one["id"] for one in api.ask(list_all, token, unread="true").json["data"]] == [oldest["id"]]
    assert len(api.ask(list_all, token).json["data"]) == 2
    missing = api.ask(read, other, notification_id=newest["id"])
    assert (missing.status, missing.json["code"]) == (404, "notification_not_found")


def test_a_cursor_of_the_whole_inbox_does_not_fit_the_unread(api: Doors, user: Actor, token: str) -> None:
    api.people.consume(api.people.card_event(user), api.people.alert(user))
    cursor = api.ask(list_all, token, limit=1).json["pagination"]["next_cursor"]
    assert api.ask(list_all, token, limit=1, unread="true", cursor=cursor).json["code"] == "cursor_invalid"


def test_who_never_said_has_the_defaults(api: Doors, token: str) -> None:
    found = api.ask(get_preferences, token)
    assert (found.status, found.headers["etag"]) == (200, '"1"')
    told = found.json
    assert (told["locale"], told["time_zone"], told["quiet_hours"]) == ("en", "UTC", None)
    assert told["digest"] == {"mode": "OFF", "hour": 8}
    assert told["channels"]["security"] == {"in_app": True, "push": True, "email": True, "sms": True}
    assert told["channels"]["transactions"] == {"in_app": True, "push": True, "email": False, "sms": False}


def test_preferences_are_replaced_whole_under_their_version(api: Doors, token: str) -> None:
    wanted = {
        **WISHES,
        "quiet_hours": {"from": "22:00", "until": "07:30"},
        "digest": {"mode": "DAILY", "hour": 18},
        "channels": {"cards": {"push": False}},
    }
    changed = api.ask(put_preferences, token, wanted, headers={"If-Match": '"1"'})
    assert (changed.status, changed.headers["etag"]) == (200, '"2"')
    assert changed.json == api.ask(get_preferences, token).json
    assert changed.json["quiet_hours"] == {"from": "22:00", "until": "07:30"}
    assert changed.json["digest"] == {"mode": "DAILY", "hour": 18}
    assert changed.json["channels"]["cards"]["push"] is False
    stale = api.ask(put_preferences, token, WISHES, headers={"If-Match": '"1"'})
    assert (stale.status, stale.json["code"]) == (412, "version_mismatch")
    again = api.ask(put_preferences, token, WISHES).json
    assert (again["quiet_hours"], again["digest"]["mode"], again["channels"]["cards"]["push"]) == (None, "OFF", True)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"locale": "tlh"}, "locale_unknown"),
        ({"time_zone": "Mars/Olympus"}, "time_zone_unknown"),
        ({"quiet_hours": {"from": "22:00", "until": "22:00"}}, "quiet_hours_empty"),
        ({"channels": {"weather": {"push": True}}}, "category_unknown"),
        ({"channels": {"cards": {"fax": True}}}, "channel_unknown"),
        ({"channels": {"security": {"email": False}}}, "channel_required"),
        ({"channels": {"cards": {"in_app": False}}}, "channel_required"),
        ({"quiet_hours": {"from": "24:00", "until": "07:00"}}, None),
        ({"quiet_hours": {"begins": "22:00", "until": "07:00"}}, None),
        ({"quiet_hours": {"from": "22:00"}}, None),
        ({"digest": {"mode": "HOURLY"}}, None),
        ({"digest": {"hour": 24}}, None),
        ({"channels": {"cards": {"push": "yes, please"}}}, None),
        ({"channels": {"cards": {"email": "no"}}}, "invalid_type"),
        ({"channels": {"cards": {"email": 0}}}, "invalid_type"),
        ({"digest": {"hour": "7"}}, "invalid_type"),
        ({"channels": {f"c{number}": {} for number in range(21)}}, None),
        ({"version": 1}, None),
    ],
)
def test_wishes_we_cannot_keep_are_refused_and_change_nothing(
    api: Doors, token: str, changed: dict[str, Any], code: str | None
) -> None:
    refused = api.ask(put_preferences, token, WISHES | changed)
    assert refused.status == 422
    assert code is None or code in codes(refused)
    assert api.ask(get_preferences, token).json["version"] == 1


def test_a_push_token_is_registered_once_and_never_shown(api: Doors, token: str) -> None:
    made = api.ask(register, token, PUSH)
    assert (made.status, made.json["status"], made.json["platform"]) == (201, "ACTIVE", "android")
    assert made.headers["location"].endswith(made.json["id"])
    assert api.ask(register, token, PUSH).json["id"] == made.json["id"]
    listed = api.ask(list_devices, token)
    assert [device["id"] for device in listed.json["data"]] == [made.json["id"]]
    assert PUSH["token"] not in made.text + listed.text


def test_a_number_is_confirmed_by_its_code_and_shown_by_its_last_digits(api: Doors, token: str, other: str) -> None:
    made = api.ask(register, token, {"channel": "sms", "phone_number": NUMBER})
    assert (made.status, made.json["status"], made.json["last_four"]) == (201, "UNCONFIRMED", NUMBER[-4:])
    device_id, code = made.json["id"], api.code()
    wrong = api.ask(confirm, token, {"code": "000000" if code != "000000" else "000001"}, device_id=device_id)
    assert (wrong.status, wrong.json["code"]) == (422, "device_code_invalid")
    stranger = api.ask(confirm, other, {"code": code}, device_id=device_id)
    assert (stranger.status, stranger.json["code"]) == (404, "device_not_found")
    done = api.ask(confirm, token, {"code": code}, device_id=device_id)
    assert (done.status, done.json["status"]) == (200, "ACTIVE")
    assert NUMBER not in made.text + done.text
    assert code not in made.text + wrong.text + done.text


def test_a_code_is_spent_after_five_tries_and_after_ten_minutes(api: Doors, token: str) -> None:
    def attempt(code: str) -> int:
        return api.ask(confirm, token, {"code": code}, device_id=device_id).status

    device_id = api.ask(register, token, {"channel": "sms", "phone_number": NUMBER}).json["id"]
    code = api.code()
    wrong = "000000" if code != "000000" else "000001"
    assert [attempt(wrong) for _ in range(5)] == [422] * 5
    assert attempt(code) == 422
    api.ask(register, token, {"channel": "sms", "phone_number": NUMBER})
    api.people.advance(minutes=10, seconds=1)
    assert attempt(api.code()) == 422


def test_three_codes_an_hour_are_texted_and_no_more(api: Doors, token: str) -> None:
    answers = [api.ask(register, token, {"channel": "sms", "phone_number": NUMBER}) for _ in range(4)]
    assert [answer.status for answer in answers] == [201, 201, 201, 429]
    assert answers[3].json["code"] == "rate_limited"
    assert int(answers[3].headers["retry-after"]) > 0
    assert len(api.people.sms.taken) == 3


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"channel": "push", "token": "registration-token-1"}, "platform_missing"),
        ({"channel": "push", "platform": "ios"}, "token_invalid"),
        ({**PUSH, "token": "with spaces in it"}, "token_invalid"),
        ({"channel": "sms"}, "phone_number_invalid"),
        ({"channel": "sms", "phone_number": "0555 0100"}, "phone_number_invalid"),
        ({"channel": "sms", "phone_number": "+0123456789"}, "phone_number_invalid"),
        ({"channel": "email"}, None),
        ({**PUSH, "platform": "symbian"}, None),
        ({**PUSH, "token": "x" * 4097}, None),
        ({**PUSH, "user_id": NOBODY}, None),
    ],
)
def test_a_device_that_cannot_be_is_refused_without_its_address(
    api: Doors, token: str, body: dict[str, Any], code: str | None
) -> None:
    refused = api.ask(register, token, body)
    assert refused.status == 422
    assert code is None or code in codes(refused)
    for secret in (body.get("token"), body.get("phone_number")):
        assert secret is None or secret not in refused.text
    assert api.ask(list_devices, token).json["data"] == []


def test_a_removed_device_is_gone_and_a_strangers_stays(api: Doors, token: str, other: str) -> None:
    device_id = api.ask(register, token, PUSH).json["id"]
    assert api.ask(remove, other, device_id=device_id).status == 404
    assert api.ask(remove, token, device_id=device_id).status == 204
    assert api.ask(remove, token, device_id=device_id).status == 404
    assert api.ask(list_devices, token).json["data"] == []


@pytest.mark.parametrize(("role", "stepped_up", "status"), [("admin", True, 202), ("admin", False, 403), ("support", True, 403)])
def test_templates_are_sent_by_administrators_with_a_second_factor(
    api: Doors, user: Actor, role: str, stepped_up: bool, status: int
) -> None:
    staff = api.let_in(api.people.add_user(role), stepped_up=stepped_up)
    answer = api.ask(send, staff, {**TEMPLATE, "user_id": str(user.user_id)})
    assert answer.status == status
    assert api.requested(user) == (1 if status == 202 else 0)


def test_a_template_is_sent_once_for_one_key(api: Doors, user: Actor) -> None:
    staff = api.let_in(api.people.add_user("admin"))
    body = {**TEMPLATE, "user_id": str(user.user_id)}
    first, second = (api.ask(send, staff, body, headers={"Idempotency-Key": "k-1"}) for _ in range(2))
    assert (first.status, first.json) == (202, second.json)
    assert api.requested(user) == 1


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"template_id": "card_frozen"}, 422, "unknown_template"),
        ({"template_id": "../../secrets"}, 422, "unknown_template"),
        ({"params": {"begins": "2026-12-01T01:00:00Z"}}, 422, "parameter_missing"),
        ({"params": {**PARAMS, "text": "hello"}}, 422, "parameter_unknown"),
        ({"params": {**PARAMS, "ends": "soon"}}, 422, "parameter_invalid"),
        ({"template_id": "support_answer", "params": {"case": pan()}}, 422, "parameter_invalid"),
        ({"user_id": NOBODY}, 404, "user_not_found"),
    ],
)
def test_what_is_no_template_or_does_not_fill_it_is_refused(
    api: Doors, user: Actor, changed: dict[str, Any], status: int, code: str
) -> None:
    staff = api.let_in(api.people.add_user("admin"))
    refused = api.ask(send, staff, {**TEMPLATE, "user_id": str(user.user_id)} | changed)
    assert refused.status == status
    assert code in codes(refused) | {refused.json["code"]}
    assert pan() not in refused.text
    assert api.requested(user) == 0
