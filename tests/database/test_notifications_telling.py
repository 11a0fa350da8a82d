"""Telling people: by which ways, at what time, how often; once, whatever happens on the way."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DeadAddressError
from cardwright.notifications.rules import Because
from cardwright.notifications.service import gauges
from tests.fakes.notification_world import Delivered, NotificationWorld


@pytest.fixture
def world(fresh_database: str, cache_url: str) -> Iterator[NotificationWorld]:
    """A world of the test's own."""
    world = NotificationWorld(fresh_database, cache_url)
    yield world
    world.close()


def away(_message: Delivered) -> None:
    """A provider that does not answer."""
    raise UnavailableError("away", code="messages_unavailable")


def refusing(_message: Delivered) -> None:
    """A provider that refuses the message."""
    raise ProviderRefusedError("no", code="messages_refused")


def bouncing(_message: Delivered) -> None:
    """A provider that knows the address to be dead."""
    raise DeadAddressError("dead")


def test_a_purchase_is_pushed_and_stands_in_the_inbox_at_once(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada, "token-of-ada")
    assert world.consume(world.purchase(ada)) == []
    (pushed,) = world.push.taken
    assert (pushed.to, pushed.subject, pushed.body) == (
        "token-of-ada",
        "Purchase approved",
        "€12.30 at \u201cBlue Bottle Coffee\u201d.",
    )
    assert world.mail.taken == world.sms.taken == []
    (entry,) = world.users.list_notifications(ada, 10)
    assert (entry.title, entry.body, entry.count, entry.read_at) == (pushed.subject, pushed.body, 1, None)
    (row,) = world.messages()
    assert (row["status"], row["provider"], row["provider_message_id"], row["attempts"]) == ("SENT", "push", "push-1", 1)


def test_the_same_event_again_tells_nothing_more(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    event = world.purchase(ada)
    world.consume(event, event)
    world.consume(event)
    assert len(world.push.taken) == len(world.users.list_notifications(ada, 10)) == 1


def test_the_same_event_at_two_workers_at_once_is_told_once(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    events = [world.card_event(ada) for _ in range(5)]
    gate = threading.Barrier(4)

    def work() -> None:
        service = world.another_worker()
        gate.wait()
        for event in events:
            service.send(service.process(event), lambda: 100.0)
        world.worker_database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.push.taken) == len(world.mail.taken) == 5


def test_an_event_of_nobody_or_of_no_interest_is_told_to_nobody(world: NotificationWorld) -> None:
    ada = world.add_user()
    cleared = world.purchase(ada, "transaction.cleared")
    assert world.consume(cleared) == []
    assert world.users.list_notifications(ada, 10) == []


def test_a_message_that_is_no_event_fails_alone(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    broken = world.card_event(ada)
    broken = type(broken)(broken.event_id, broken.type, broken.created_at, {"id": "1"}, broken.user_id, broken.card_id)
    assert world.consume(broken, world.purchase(ada)) == ["m0"]
    assert len(world.push.taken) == 1


def test_repeated_declines_within_minutes_are_one_push_and_counted_in_the_inbox(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    card = world.ids.new()
    for amount in ("50.00", "40.00", "30.00"):
        world.consume(world.purchase(ada, "transaction.declined", card_id=card, amount=amount))
        world.advance(minutes=1)
    assert [entry.count for entry in world.users.list_notifications(ada, 10)] == [3]
    assert len(world.push.taken) == 1
    world.advance(minutes=3)
    world.consume(world.purchase(ada, "transaction.declined", card_id=card))
    assert len(world.push.taken) == 2


def test_two_purchases_of_different_amounts_are_two_things(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    card = world.ids.new()
    world.consume(world.purchase(ada, card_id=card), world.purchase(ada, card_id=card, amount="99.00"))
    assert len(world.push.taken) == 2


def test_quiet_hours_hold_a_purchase_until_their_end_and_a_warning_not_at_all(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    # It is 13:00 in Berlin.
    world.be_quiet(ada, "Europe/Berlin", "12:30", "15:00")
    world.consume(world.purchase(ada), world.alert(ada))
    assert [pushed.data["template"] for pushed in world.push.taken] == ["security_alert"]
    assert len(world.users.list_notifications(ada, 10)) == 2
    world.clock.at = datetime(2026, 11, 21, 13, 59, 59, tzinfo=UTC)
    assert world.run_schedule() == 0
    world.clock.at = datetime(2026, 11, 21, 14, 0, 1, tzinfo=UTC)
    assert world.run_schedule() == 1
    assert [pushed.data["template"] for pushed in world.push.taken] == ["security_alert", "transaction_authorized"]


def test_what_was_switched_off_while_it_was_held_back_does_not_go(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    world.be_quiet(ada, "UTC", "11:00", "13:00")
    world.consume(world.purchase(ada))
    world.wish(ada, channels={"transactions": {"push": False}})
    world.advance(hours=2)
    world.run_schedule()
    assert world.push.taken == []
    assert [(row["status"], row["outcome"]) for row in world.messages()] == [("SUPPRESSED", "switched_off")]


def test_messages_come_in_the_readers_language_zone_and_manner(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.wish(ada, locale="de", time_zone="Europe/Berlin", channels={"transactions": {"email": True}})
    world.consume(world.purchase(ada))
    (mail,) = world.mail.taken
    assert mail.subject == "Zahlung genehmigt: 12,30\N{NO-BREAK SPACE}€ bei \u201eBlue Bottle Coffee\u201c"
    assert "21. November 2026" in mail.body
    assert "13:00:00" in mail.body
    assert world.users.list_notifications(ada, 1)[0].title == "Zahlung genehmigt"


def test_over_its_cap_a_channel_is_silent_and_warnings_still_go(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    world.consume(*[world.purchase(ada) for _ in range(62)])
    assert len(world.push.taken) == 60
    assert [row["outcome"] for row in world.messages() if row["status"] == "SUPPRESSED"] == ["cap_reached"] * 2
    assert len(world.users.list_notifications(ada, 100)) == 62
    world.consume(world.alert(ada))
    assert len(world.push.taken) == 61
    world.advance(hours=1, seconds=1)
    world.consume(world.purchase(ada))
    assert len(world.push.taken) == 62


def test_a_provider_that_does_not_answer_gives_way_to_the_next(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.mail.script = away
    world.consume(world.alert(ada))
    assert [row["provider"] for row in world.messages("email")] == ["spare-mail"]
    assert len(world.spare_mail.taken) == 1


def test_a_provider_that_has_failed_five_times_is_left_alone(world: NotificationWorld) -> None:
    world.mail.script = away
    for _ in range(8):
        world.consume(world.alert(world.add_user()))
    assert world.mail.asked == 5
    assert len(world.spare_mail.taken) == 8


def test_when_nobody_answers_it_is_tried_five_times_and_given_up(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.mail.script = world.spare_mail.script = away
    world.consume(world.alert(ada))
    for minutes in (1, 5, 15, 60):
        world.advance(minutes=minutes, seconds=-1)
        assert world.run_schedule() == 0
        world.advance(seconds=1)
        assert world.run_schedule() == 1
    (row,) = world.messages("email")
    assert (row["status"], row["outcome"], row["attempts"]) == ("FAILED", "unavailable", 5)
    world.advance(days=1)
    assert world.run_schedule() == 0


def test_a_refused_message_is_not_tried_again_nor_elsewhere(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.mail.script = refusing
    world.consume(world.alert(ada))
    world.advance(days=1)
    world.run_schedule()
    assert [(row["status"], row["outcome"]) for row in world.messages("email")] == [("FAILED", "refused")]
    assert world.spare_mail.asked == 0


def test_a_token_that_is_dead_gets_nothing_more(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    world.push.script = bouncing
    world.consume(world.purchase(ada))
    assert [device.status for device in world.devices.list_devices(ada)] == ["DEAD"]
    world.consume(world.purchase(ada))
    assert world.push.asked == 1


def test_a_mailbox_that_bounced_gets_nothing_more_and_the_inbox_everything(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.mail.script = bouncing
    world.consume(world.alert(ada))
    world.advance(seconds=1)
    world.consume(world.alert(ada))
    assert world.mail.asked == 1
    assert [row["outcome"] for row in world.messages("email")] == ["address_dead", "suppressed_bounce"]
    assert len(world.users.list_notifications(ada, 10)) == 2


def test_a_bounce_told_later_is_known_however_the_address_is_written(world: NotificationWorld) -> None:
    ada = world.add_user()
    assert ada.user_id is not None
    for _ in range(2):
        world.bounces.record_bounce("email", Secret(world.people.emails[ada.user_id].upper()), Because.COMPLAINT)
    world.consume(world.alert(ada))
    assert [row["outcome"] for row in world.messages("email")] == ["suppressed_complaint"]


def test_who_unsubscribed_is_warned_and_told_nothing_else(world: NotificationWorld) -> None:
    ada = world.add_user()
    assert ada.user_id is not None
    world.bounces.record_bounce("email", Secret(world.people.emails[ada.user_id]), Because.UNSUBSCRIBED)
    world.consume(world.card_event(ada), world.alert(ada))
    assert [mail.data["template"] for mail in world.mail.taken] == ["security_alert"]


def test_a_number_whose_owner_wrote_stop_is_dead(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_number(ada, "+15550100177")
    world.bounces.record_bounce("sms", Secret("+15550100177"), Because.UNSUBSCRIBED)
    assert [device.status for device in world.devices.list_devices(ada)] == ["DEAD"]


def test_sms_goes_to_a_confirmed_number_and_only_with_a_warning(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_number(ada)
    world.sms.taken.clear()
    world.consume(world.card_event(ada), world.purchase(ada), world.alert(ada))
    assert [text.data["template"] for text in world.sms.taken] == ["security_alert"]


def test_who_has_no_confirmed_address_is_told_in_the_app_alone(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.people.emails.clear()
    assert world.consume(world.alert(ada)) == []
    assert [row["outcome"] for row in world.messages("email")] == ["no_address"]
    assert len(world.users.list_notifications(ada, 10)) == 1


def test_a_worker_that_dies_before_sending_leaves_it_to_the_schedule(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.service.process(world.alert(ada))
    assert world.run_schedule() == 0
    world.advance(seconds=60)
    assert world.run_schedule() == 1
    assert len(world.mail.taken) == 1


def test_a_worker_that_dies_after_sending_sends_again_under_the_same_id(world: NotificationWorld) -> None:
    ada = world.add_user()
    leases = world.service.process(world.alert(ada))
    world.advance(seconds=60)
    world.run_schedule()
    # The first worker was only slow: it sends, and what it records counts no more.
    world.service.send(leases, lambda: 100.0)
    first, second = world.mail.taken
    assert first.message_id == second.message_id
    (row,) = world.messages("email")
    assert (row["attempts"], row["provider_message_id"]) == (1, "mail-1")


def test_what_there_is_no_time_for_is_left_to_the_schedule(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.consume(world.alert(ada), time_left=10.0)
    assert world.mail.asked == 0
    assert world.run_schedule() == 1


def test_two_schedules_at_once_send_each_message_once(world: NotificationWorld) -> None:
    people = [world.add_user() for _ in range(40)]
    for person in people:
        world.service.process(world.alert(person))
    world.advance(seconds=60)
    gate = threading.Barrier(2)

    def work() -> None:
        service, looks = world.another_worker(), iter([100.0] * 200)
        gate.wait()
        service.send_due(lambda: next(looks, 0.0))
        world.worker_database.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(mail.to for mail in world.mail.taken) == sorted(world.people.emails.values())


def test_what_waits_for_a_device_that_was_removed_does_not_go(world: NotificationWorld) -> None:
    ada = world.add_user()
    device = world.add_phone(ada)
    world.service.process(world.purchase(ada))
    world.devices.remove_device(ada, device.device_id)
    world.advance(seconds=60)
    assert world.run_schedule() == 0
    assert [(row["status"], row["outcome"]) for row in world.messages()] == [("SUPPRESSED", "device_gone")]


def test_the_gauges_tell_what_is_due_and_since_when(world: NotificationWorld) -> None:
    assert gauges(world.worker_database, world.clock) == [
        ("cardwright_notifications_waiting", 0.0),
        ("cardwright_notifications_oldest_age_seconds", 0.0),
    ]
    world.service.process(world.alert(world.add_user()))
    world.advance(seconds=90)
    assert [value for _, value in gauges(world.worker_database, world.clock)] == [1.0, 90.0]


def test_each_outcome_and_the_delay_of_the_first_sending_are_measured(
    world: NotificationWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    event = world.alert(world.add_user())
    world.advance(seconds=2)
    capsys.readouterr()
    world.consume(event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [(line["channel"], line.get("outcome"), line.get("NotificationDelay")) for line in lines] == [
        ("email", "sent", None),
        ("email", None, 2000),
    ]


def test_the_owner_of_a_subscription_hears_that_it_was_switched_off(world: NotificationWorld) -> None:
    ada = world.add_user()
    subscription = str(world.ids.new())
    data = {"subscription_id": subscription, "cause": "http_error"}
    event = world.alert(ada)
    world.consume(type(event)(event.event_id, "webhook.disabled", event.created_at, data, ada.user_id))
    (mail,) = world.mail.taken
    assert subscription in mail.body
    assert "Its receiver failed too often." in mail.body
