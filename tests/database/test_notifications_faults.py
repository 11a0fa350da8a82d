"""Telling people when things go wrong: damaged data, surprises from providers, a database that leaves, many workers at once."""

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest

from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.rules import DigestMode
from tests.fakes.notification_world import Delivered, NotificationWorld


@pytest.fixture
def world(fresh_database: str, cache_url: str) -> Iterator[NotificationWorld]:
    """A world of the test's own."""
    world = NotificationWorld(fresh_database, cache_url)
    yield world
    world.close()


def surprising(_message: Delivered) -> None:
    """A provider with a bug."""
    raise RuntimeError("surprise")


def outcomes(world: NotificationWorld) -> list[tuple[str, str, str | None, int]]:
    """Channel, status, outcome and attempts of all messages."""
    return [(row["channel"], row["status"], row["outcome"], row["attempts"]) for row in world.messages()]


def test_a_bug_of_a_providers_is_an_attempt_and_ends(world: NotificationWorld) -> None:
    world.mail.script = surprising
    world.consume(world.alert(world.add_user()))
    assert outcomes(world) == [("email", "PENDING", "internal_error", 1)]
    world.mail.script = lambda _message: None
    world.advance(minutes=1)
    assert world.run_schedule() == 1
    assert outcomes(world) == [("email", "SENT", "sent", 2)]


def test_an_address_that_does_not_open_ends_after_its_attempts_and_stops_nobody(world: NotificationWorld) -> None:
    ada, bob = world.add_user(), world.add_user()
    world.add_phone(ada)
    world.add_phone(bob)
    world.sql("UPDATE notification_devices SET address_sealed = '\\x00' WHERE user_id = %s", ada.user_id)
    world.consume(world.purchase(ada), world.purchase(bob))
    for _ in range(4):
        world.advance(hours=1)
        world.run_schedule()
    assert sorted(outcomes(world)) == [("push", "FAILED", "internal_error", 5), ("push", "SENT", "sent", 1)]


def test_while_keys_are_away_no_attempt_is_spent(world: NotificationWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = world.add_user()

    def away(_user_id: UUID) -> Secret[str] | None:
        raise UnavailableError("away", code="keys_unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(world.people, "email", away)
        assert world.consume(world.alert(ada)) == []
    assert outcomes(world) == [("email", "PENDING", None, 0)]
    world.advance(seconds=60)
    assert world.run_schedule() == 1
    assert outcomes(world) == [("email", "SENT", "sent", 1)]


def test_a_channel_without_providers_is_told_and_holds_nothing_up(world: NotificationWorld) -> None:
    world.providers["push"] = ()
    world.service = world.another_worker()
    ada = world.add_user()
    world.add_phone(ada)
    world.consume(world.alert(ada))
    assert sorted(outcomes(world)) == [("email", "SENT", "sent", 1), ("push", "SUPPRESSED", "no_provider", 0)]


def test_an_answer_that_could_not_be_recorded_is_had_again_under_the_same_id(
    world: NotificationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = world.add_user()
    leases = world.service.process(world.alert(ada))

    def lost(*_arguments: object) -> bool:
        raise UnavailableError("away", code="database_unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("cardwright.notifications.store.messages.record", lost)
        assert world.service.send(leases, lambda: 100.0) == 1
    world.advance(seconds=60)
    assert world.run_schedule() == 1
    assert len({mail.message_id for mail in world.mail.taken}) == 1
    assert outcomes(world) == [("email", "SENT", "sent", 1)]


def test_a_schedule_whose_database_leaves_says_so_at_its_end(world: NotificationWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("away", code="database_unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("cardwright.notifications.store.messages.claim_due", lost)
        with pytest.raises(UnavailableError):
            world.run_schedule()
    assert world.run_schedule() == 0


def test_caps_and_repeats_hold_when_many_workers_plan_for_one_person(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    card = world.ids.new()
    purchases = [world.purchase(ada) for _ in range(64)]
    declines = [world.purchase(ada, "transaction.declined", card_id=card) for _ in range(8)]
    events = [event for four in zip(*[iter(declines + purchases)] * 4, strict=True) for event in four]
    gate = threading.Barrier(4)

    def work(share: int) -> None:
        service = world.another_worker()
        gate.wait()
        for event in events[share::4]:
            service.process(event)
        world.worker_database.close()

    threads = [threading.Thread(target=work, args=(share,)) for share in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [status for _, status, _, _ in outcomes(world)]
    assert (statuses.count("PENDING"), statuses.count("SUPPRESSED")) == (60, 5)
    assert max(entry.count for entry in world.users.list_notifications(ada, 100)) == 8


def test_what_comes_while_a_digest_is_being_sent_is_in_the_next(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.wish(ada, digest=DigestMode.DAILY, digest_hour=18)
    world.consume(world.purchase(ada, amount="1.00"))
    world.clock.at = world.clock.at.replace(hour=18)

    def meanwhile(_message: Delivered) -> None:
        world.mail.script = lambda _message: None
        world.another_worker().process(world.purchase(ada, amount="2.00"))
        world.worker_database.close()

    world.mail.script = meanwhile
    world.run_schedule()
    world.advance(days=1)
    world.run_schedule()
    assert ["1.00" in mail.body for mail in world.mail.taken] == [True, False]
    assert ["2.00" in mail.body for mail in world.mail.taken] == [False, True]
