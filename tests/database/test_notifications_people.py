"""What people see and wish: inbox, preferences, devices, what the staff sends; nobody's is anybody else's."""

import threading
from collections.abc import Callable, Iterator

import pytest

from cardwright.kernel.errors import (
    CardwrightError,
    ConflictError,
    InvalidFieldsError,
    NotFoundError,
    ProviderRefusedError,
    RateLimitedError,
    StaleVersionError,
    UnavailableError,
    UnprocessableError,
)
from cardwright.kernel.secret import Secret
from cardwright.notifications.rules import Channel, DigestMode, NewDevice, NewPreferences, Platform
from cardwright.notifications.store import devices as store
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor
from tests.fakes.notification_world import Delivered, NotificationWorld

NUMBER = NewDevice(Channel.SMS, phone_number=Secret("+15550100123"))
WANTED = NewPreferences("de", "Europe/Berlin", None, DigestMode.OFF, 8, {"cards": {"push": False}})


@pytest.fixture
def world(database_url: str, cache_url: str) -> Iterator[NotificationWorld]:
    """A world beside those of other tests: only own rows are looked at."""
    world = NotificationWorld(database_url, cache_url)
    yield world
    world.close()


def together(*deeds: Callable[[], object]) -> list[object]:
    """Do things at the same moment; what each returned or raised."""
    gate = threading.Barrier(len(deeds))
    became: list[object] = [None] * len(deeds)

    def run(position: int) -> None:
        gate.wait()
        try:
            became[position] = deeds[position]()
        except CardwrightError as error:
            became[position] = error

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return became


def test_the_inbox_is_paged_newest_first_and_read_once(world: NotificationWorld) -> None:
    ada = world.add_user()
    for _ in range(3):
        world.consume(world.card_event(ada))
        world.advance(seconds=1)
    newest, second = world.users.list_notifications(ada, 2)
    (oldest,) = world.users.list_notifications(ada, 10, second.notification_id)
    assert newest.created_at > second.created_at > oldest.created_at
    read = world.users.mark_read(ada, newest.notification_id)
    world.advance(seconds=5)
    assert world.users.mark_read(ada, newest.notification_id) == read
    assert [one.notification_id for one in world.users.list_notifications(ada, 10, unread=True)] == [
        second.notification_id,
        oldest.notification_id,
    ]


def test_nobody_sees_reads_or_removes_what_is_anothers(world: NotificationWorld) -> None:
    ada, bob, support = world.add_user(), world.add_user(), world.add_user("support")
    world.consume(world.card_event(ada))
    (entry,) = world.users.list_notifications(ada, 10)
    device = world.add_phone(ada)
    for other in (bob, support, Actor(None, "system")):
        with pytest.raises(NotFoundError, match="notification"):
            world.users.mark_read(other, entry.notification_id)
        with pytest.raises(NotFoundError, match="device"):
            world.devices.remove_device(other, device.device_id)
        with pytest.raises(NotFoundError, match="device"):
            world.devices.confirm_device(other, device.device_id, Secret("123456"))
    assert world.users.list_notifications(bob, 10) == world.users.list_notifications(support, 10) == []
    assert world.devices.list_devices(support) == []


def test_preferences_are_the_defaults_until_they_are_told(world: NotificationWorld) -> None:
    ada = world.add_user()
    before = world.users.get_preferences(ada)
    assert (before.locale, before.time_zone, before.version) == ("en", "UTC", 1)
    after = world.users.put_preferences(ada, WANTED, world.ids.new(), if_match=1)
    assert world.users.get_preferences(ada) == after
    assert (after.locale, after.version) == ("de", 2)
    assert not after.choices["cards"]["push"]  # type: ignore[index]  # names are their values


def test_preferences_are_replaced_by_who_knows_the_version_and_once_by_an_operation(world: NotificationWorld) -> None:
    ada, operation = world.add_user(), world.ids.new()
    first = world.users.put_preferences(ada, WANTED, operation, if_match=1)
    assert world.users.put_preferences(ada, WANTED, operation, if_match=1) == first
    with pytest.raises(StaleVersionError):
        world.users.put_preferences(ada, WANTED, world.ids.new(), if_match=1)
    assert world.users.get_preferences(ada).version == 2


def test_of_two_who_replace_the_same_version_at_once_one_is_told_so(world: NotificationWorld) -> None:
    ada = world.add_user()

    def put() -> object:
        try:
            return world.users.put_preferences(ada, WANTED, world.ids.new(), if_match=1)
        finally:
            world.app.close()

    became = together(put, put, put)
    assert sum(isinstance(one, StaleVersionError) for one in became) == 2


def test_wishes_that_cannot_be_kept_change_nothing(world: NotificationWorld) -> None:
    ada = world.add_user()
    with pytest.raises(InvalidFieldsError):
        world.wish(ada, channels={"security": {"email": False}})
    assert world.users.get_preferences(ada).version == 1


def test_a_token_is_sealed_and_its_device_registered_once(world: NotificationWorld) -> None:
    ada = world.add_user()
    token = f"token-{world.ids.new().hex}"
    first, again = world.add_phone(ada, token), world.add_phone(ada, token)
    assert first == again
    assert (first.status, first.platform, first.last_four) == ("ACTIVE", Platform.ANDROID, None)
    (row,) = world.sql("SELECT * FROM notification_devices WHERE user_id = %s", ada.user_id)
    assert token.encode() not in row["address_sealed"] + row["address_digest"]


def test_a_token_another_registers_is_the_others(world: NotificationWorld) -> None:
    ada, bob = world.add_user(), world.add_user()
    token = f"token-{world.ids.new().hex}"
    world.add_phone(ada, token)
    world.add_phone(bob, token)
    assert world.devices.list_devices(ada) == []
    assert len(world.devices.list_devices(bob)) == 1
    world.consume(world.purchase(ada))
    assert world.push.taken == []


def test_a_token_registered_by_many_at_once_ends_with_one_of_them(world: NotificationWorld) -> None:
    people = [world.add_user() for _ in range(4)]
    token = f"token-{world.ids.new().hex}"

    def register(actor: Actor) -> Callable[[], object]:
        def run() -> object:
            try:
                return world.add_phone(actor, token)
            finally:
                world.app.close()

        return run

    became = together(*[register(person) for person in people])
    assert {type(one).__name__ for one in became} <= {"Device", "ConflictError"}
    assert sum(len(world.devices.list_devices(person)) for person in people) == 1


def test_a_dead_token_lives_again_when_the_app_registers_it(world: NotificationWorld) -> None:
    ada = world.add_user()
    token = f"token-{world.ids.new().hex}"
    other = world.add_phone(ada, token)
    world.sql("UPDATE notification_devices SET status = 'DEAD' WHERE device_id = %s", other.device_id)
    assert world.add_phone(ada, token).status == "ACTIVE"


def test_a_number_takes_messages_when_its_code_is_told(world: NotificationWorld) -> None:
    ada = world.add_user()
    device = world.devices.register_device(ada, NUMBER, world.ids.new())
    assert (device.status, device.last_four) == ("UNCONFIRMED", "0123")
    (text,) = world.sms.taken
    code = text.data["code"]
    assert f"Your code is {code}" in text.body
    world.consume(world.alert(ada))
    assert len(world.sms.taken) == 1
    assert world.devices.confirm_device(ada, device.device_id, Secret(code)).status == "ACTIVE"
    assert world.devices.confirm_device(ada, device.device_id, Secret("wrong")).status == "ACTIVE"
    world.consume(world.alert(ada))
    assert len(world.sms.taken) == 2


def test_a_number_two_have_is_theirs_who_confirmed_it_last(world: NotificationWorld) -> None:
    ada, bob = world.add_user(), world.add_user()
    world.add_number(ada, "+15550100199")
    asked = world.devices.register_device(bob, NewDevice(Channel.SMS, phone_number=Secret("+15550100199")), world.ids.new())
    assert len(world.devices.list_devices(ada)) == 1
    world.devices.confirm_device(bob, asked.device_id, Secret(world.sms.taken[-1].data["code"]))
    assert world.devices.list_devices(ada) == []


def test_five_wrong_codes_spend_the_right_one(world: NotificationWorld) -> None:
    ada = world.add_user()
    device = world.devices.register_device(ada, NUMBER, world.ids.new())
    code = world.sms.taken[-1].data["code"]
    for _ in range(5):
        with pytest.raises(UnprocessableError, match="not right"):
            world.devices.confirm_device(ada, device.device_id, Secret("x" + code))
    with pytest.raises(UnprocessableError, match="not right"):
        world.devices.confirm_device(ada, device.device_id, Secret(code))


def test_a_code_is_good_for_ten_minutes_and_not_for_another_device(world: NotificationWorld) -> None:
    ada = world.add_user()
    device = world.devices.register_device(ada, NUMBER, world.ids.new())
    code = Secret(world.sms.taken[-1].data["code"])
    other = world.devices.register_device(ada, NewDevice(Channel.SMS, phone_number=Secret("+15550100124")), world.ids.new())
    with pytest.raises(UnprocessableError):
        world.devices.confirm_device(ada, other.device_id, code)
    world.advance(minutes=10)
    with pytest.raises(UnprocessableError):
        world.devices.confirm_device(ada, device.device_id, code)


def test_three_codes_an_hour_are_texted_whatever_is_removed_meanwhile(world: NotificationWorld) -> None:
    ada = world.add_user()
    for number in ("+15550100131", "+15550100132", "+15550100133"):
        device = world.devices.register_device(ada, NewDevice(Channel.SMS, phone_number=Secret(number)), world.ids.new())
        world.devices.remove_device(ada, device.device_id)
    with pytest.raises(RateLimitedError) as caught:
        world.devices.register_device(ada, NUMBER, world.ids.new())
    assert (caught.value.quota, caught.value.limit, caught.value.retry_after_s) == ("notification_codes", 3, 3601)
    assert world.devices.list_devices(ada) == []
    world.advance(hours=1)
    assert world.devices.register_device(ada, NUMBER, world.ids.new()).status == "UNCONFIRMED"


def test_the_same_operation_texts_one_code_and_another_one_a_new_code(world: NotificationWorld) -> None:
    ada, operation = world.add_user(), world.ids.new()
    first = world.devices.register_device(ada, NUMBER, operation)
    assert world.devices.register_device(ada, NUMBER, operation) == first
    assert len(world.sms.taken) == 1
    assert world.devices.register_device(ada, NUMBER, world.ids.new()).device_id == first.device_id
    old, new = (text.data["code"] for text in world.sms.taken)
    if old != new:
        with pytest.raises(UnprocessableError):
            world.devices.confirm_device(ada, first.device_id, Secret(old))
    assert world.devices.confirm_device(ada, first.device_id, Secret(new)).status == "ACTIVE"


def test_a_code_no_provider_took_is_texted_when_the_operation_comes_again(world: NotificationWorld) -> None:
    ada, operation = world.add_user(), world.ids.new()

    def away(_message: Delivered) -> None:
        raise UnavailableError("away", code="messages_unavailable")

    world.sms.script = away
    with pytest.raises(UnavailableError):
        world.devices.register_device(ada, NUMBER, operation)
    world.sms.script = lambda _message: None
    device = world.devices.register_device(ada, NUMBER, operation)
    assert world.devices.confirm_device(ada, device.device_id, Secret(world.sms.taken[-1].data["code"])).status == "ACTIVE"


def test_a_number_that_is_refused_is_no_device(world: NotificationWorld) -> None:
    ada = world.add_user()

    def refusing(_message: Delivered) -> None:
        raise ProviderRefusedError("no", code="messages_refused")

    world.sms.script = refusing
    with pytest.raises(UnprocessableError) as caught:
        world.devices.register_device(ada, NUMBER, world.ids.new())
    assert caught.value.code == "phone_number_refused"
    assert world.devices.list_devices(ada) == []


def test_twenty_devices_are_the_most_also_at_once(world: NotificationWorld) -> None:
    ada = world.add_user()
    for _ in range(18):
        world.add_phone(ada)

    def register() -> object:
        try:
            return world.add_phone(ada)
        finally:
            world.app.close()

    became = together(*[register] * 4)
    assert sum(isinstance(one, ConflictError) and one.code == "too_many_devices" for one in became) == 2
    assert len(world.devices.list_devices(ada)) == 20


def test_the_staff_sends_a_template_as_the_person_wishes_and_once(world: NotificationWorld) -> None:
    ada, admin, operation = world.add_user(), world.add_user("admin"), world.ids.new()
    assert ada.user_id is not None
    for _ in range(2):
        world.users.send(admin, "support_answer", ada.user_id, {"case": "17"}, operation)
    (row,) = world.sql("SELECT * FROM outbox WHERE event_id = %s", operation)
    event = Event(row["event_id"], row["type"], row["created_at"], row["data"], row["user_id"])
    world.consume(event, event)
    assert [mail.subject for mail in world.mail.taken] == ["An answer to your case 17"]
    noted = world.sql("SELECT action FROM audit_log WHERE subject_id = %s", ada.user_id)
    assert [one["action"] for one in noted] == ["notification.requested"]


def test_nobody_is_told_by_a_template_there_is_none_of_and_no_stranger_by_any(world: NotificationWorld) -> None:
    ada, admin = world.add_user(), world.add_user("admin")
    assert ada.user_id is not None
    with pytest.raises(UnprocessableError) as caught:
        world.users.send(admin, "security_alert", ada.user_id, {}, world.ids.new())
    assert caught.value.code == "unknown_template"
    with pytest.raises(NotFoundError):
        world.users.send(admin, "support_answer", world.ids.new(), {"case": "17"}, world.ids.new())


def test_an_address_is_taken_from_others_for_the_caller_alone(world: NotificationWorld) -> None:
    ada, eve = world.add_user(), world.add_user()
    world.add_phone(ada)
    (row,) = world.sql("SELECT address_digest FROM notification_devices WHERE user_id = %s", ada.user_id)
    # Nobody, and who has it already, takes it from nobody.
    for actor, taken in ((Actor(None, "system"), 0), (ada, 0), (eve, 1)):
        with world.app.transaction(actor) as tx:
            assert store.take_address(tx, Channel.PUSH, [row["address_digest"]]) == taken
