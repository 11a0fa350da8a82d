"""Digests: a day in one mail, with everything that can be told in it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from cardwright.notifications.rules import DigestMode
from cardwright.notifications.store import messages
from tests.fakes.notification_world import NotificationWorld


@pytest.fixture
def world(fresh_database: str, cache_url: str) -> Iterator[NotificationWorld]:
    """A world of the test's own."""
    world = NotificationWorld(fresh_database, cache_url)
    yield world
    world.close()


def test_a_digest_gathers_a_day_in_one_mail(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    world.wish(ada, digest=DigestMode.DAILY, digest_hour=18, locale="de")
    for amount in ("1.00", "2.00", "3.00"):
        world.consume(world.purchase(ada, amount=amount))
    assert world.push.taken == world.mail.taken == []
    assert len(world.users.list_notifications(ada, 10)) == 3
    world.clock.at = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
    world.run_schedule()
    (mail,) = world.mail.taken
    assert mail.subject == "Ihre Karten heute: 3"
    assert [line.partition(":")[0] for line in mail.body.splitlines()[:3]] == ["Zahlung genehmigt"] * 3
    world.consume(world.purchase(ada, amount="4.00"))
    world.advance(days=1)
    world.run_schedule()
    assert [mail.subject for mail in world.mail.taken] == ["Ihre Karten heute: 3", "Ihre Karten heute: 1"]


def test_a_digest_of_more_than_it_has_lines_says_how_many_are_left_out(
    world: NotificationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "DIGEST_LINES_MAX", 2)
    ada = world.add_user()
    world.wish(ada, digest=DigestMode.DAILY, digest_hour=18)
    world.consume(*[world.purchase(ada, amount=amount) for amount in ("1.00", "2.00", "3.00")])
    world.clock.at = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
    world.run_schedule()
    (mail,) = world.mail.taken
    assert mail.subject == "Your cards today: 3"
    lines = mail.body.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["Purchase approved"] * 2
    assert lines[2] == "and 1 more, which your inbox has"


def test_one_notification_nobody_has_words_for_any_more_hides_no_other(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.wish(ada, digest=DigestMode.DAILY, digest_hour=18)
    world.consume(world.purchase(ada, amount="1.00"), world.purchase(ada, amount="2.00"), world.purchase(ada, amount="3.00"))
    (_, old, older) = world.users.list_notifications(ada, 10)
    world.sql("UPDATE notifications SET template = 'of_long_ago' WHERE notification_id = %s", old.notification_id)
    world.sql("UPDATE notifications SET params = '{}' WHERE notification_id = %s", older.notification_id)
    inbox = world.users.list_notifications(ada, 10)
    assert [entry.title for entry in inbox] == ["Purchase approved", "A message", "A message"]
    assert world.users.mark_read(ada, old.notification_id).body == "This message cannot be shown any more."
    world.clock.at = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
    world.run_schedule()
    (mail,) = world.mail.taken
    assert sorted(line.partition(":")[0] for line in mail.body.splitlines()[:3]) == [
        "A message",
        "A message",
        "Purchase approved",
    ]
