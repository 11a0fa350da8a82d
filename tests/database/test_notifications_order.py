"""The order in which people are told: that in which things happened, also after quiet hours; and the time a batch has."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from cardwright.notifications.service import NotificationService, notifications
from cardwright.notifications.service.sending import THREADS
from cardwright.outbox.rules import Event
from cardwright.platform.postgres import Actor
from tests.fakes.notification_world import Delivered, NotificationWorld


@pytest.fixture
def world(fresh_database: str, cache_url: str) -> Iterator[NotificationWorld]:
    """A world of the test's own."""
    world = NotificationWorld(fresh_database, cache_url)
    yield world
    world.close()


def happens(world: NotificationWorld, actor: Actor) -> list[Event]:
    """Four things that happen to somebody's card, one after the other."""
    events = []
    for event_type in ("card.frozen", "card.unfrozen", "card.expired", "card.cancelled"):
        events.append(world.card_event(actor, event_type))
        world.advance(seconds=1)
    return events


TOLD = ["card_frozen", "card_unfrozen", "card_expired", "card_cancelled"]


def templates(taken: list[Delivered]) -> list[str]:
    """By which templates somebody was told."""
    return [message.data["template"] for message in taken]


def run(world: NotificationWorld, service: NotificationService | None = None) -> int:
    """Let the schedule look until nothing is due; return of how many messages a provider was asked."""
    looks = iter([100.0] * 300)
    return (service or world.service).send_due(lambda: next(looks, 0.0))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]], ids=["as they happened", "backwards", "mixed"])
def test_what_quiet_hours_held_goes_in_the_order_in_which_it_happened(world: NotificationWorld, order: list[int]) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    world.be_quiet(ada, "UTC", "11:00", "13:00")
    events = happens(world, ada)
    for position in order:
        world.consume(events[position])
    assert world.push.taken == world.mail.taken == []
    world.advance(hours=2)
    run(world)
    assert templates(world.push.taken) == templates(world.mail.taken) == TOLD


def test_what_happens_when_quiet_hours_have_just_ended_waits_for_what_they_held(world: NotificationWorld) -> None:
    ada = world.add_user()
    world.add_phone(ada)
    world.be_quiet(ada, "UTC", "11:00", "13:00")
    *held, last = happens(world, ada)
    world.consume(*held)
    world.advance(hours=2)
    world.consume(last, world.alert(ada))
    assert templates(world.push.taken) == ["security_alert"]
    world.advance(seconds=1)
    run(world)
    assert templates(world.push.taken) == ["security_alert", *TOLD]
    # Nothing is owed any more: what comes now goes at once.
    world.consume(world.card_event(ada))
    assert len(world.push.taken) == 6


def test_another_worker_takes_nothing_that_follows_what_one_is_sending(
    world: NotificationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = world.add_user(), world.add_user()
    world.add_phone(ada, "token-of-ada")
    for person in (ada, bob):
        world.be_quiet(person, "UTC", "11:00", "13:00")
        world.consume(*happens(world, person))
    world.advance(hours=2)
    monkeypatch.setattr(notifications, "CLAIM", 2)
    others: list[int] = []

    def meanwhile(_message: Delivered) -> None:
        if others:
            return
        others.append(0)
        others.append(run(world, world.another_worker()))
        world.worker_database.close()

    world.push.script = meanwhile
    run(world)
    assert templates(world.push.taken) == TOLD
    # Bob's mails are nobody's business but his: the other worker sent them.
    assert others[1] >= 4
    address = world.people.emails[bob.user_id] if bob.user_id else ""
    assert templates([mail for mail in world.mail.taken if mail.to == address]) == TOLD


def test_a_batch_begins_nothing_when_its_time_is_over_and_leaves_the_rest_to_the_schedule(world: NotificationWorld) -> None:
    people = [world.add_user() for _ in range(3 * THREADS)]
    leases = [lease for person in people for lease in world.service.process(world.alert(person))]
    asked = world.service.send(leases, lambda: 10.0 if world.mail.asked else 100.0)
    assert 1 <= asked <= THREADS
    assert len(world.mail.taken) == asked
    run(world)
    assert sorted(mail.to for mail in world.mail.taken) == sorted(world.people.emails.values())


def test_a_batch_whose_leases_are_nearly_over_is_left_to_the_schedule(world: NotificationWorld) -> None:
    people = [world.add_user() for _ in range(3 * THREADS)]
    leases = [lease for person in people for lease in world.service.process(world.alert(person))]

    late = world.clock.now() + timedelta(seconds=41)

    def slow(_message: Delivered) -> None:
        world.clock.at = late

    world.mail.script = slow
    asked = world.service.send(leases, lambda: 100.0)
    assert 1 <= asked <= THREADS
    assert {row["lease_token"] is None for row in world.messages("email")} == {True}
