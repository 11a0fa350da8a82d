"""Wishes: what is on by default, what cannot be switched off, what cannot be wished; and the ways that follow from them."""

from dataclasses import replace
from datetime import UTC, datetime, time
from uuid import UUID

import pytest

from cardwright.kernel.errors import InvalidFieldsError
from cardwright.notifications.rules import (
    Category,
    Channel,
    DigestMode,
    MessageStatus,
    NewPreferences,
    QuietHours,
    check_preferences,
    complete,
    unknowing,
    ways,
)

USER = UUID(int=1)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
WANTED = NewPreferences("en", "UTC", None, DigestMode.OFF, 8, {})


def refused(**changes: object) -> list[tuple[str, str]]:
    """Fields and codes of what is wrong with such wishes."""
    try:
        check_preferences(replace(WANTED, **changes))  # type: ignore[arg-type]  # values are the cases'
    except InvalidFieldsError as error:
        return [(one.field, one.code) for one in error.errors]
    return []


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"locale": "xx"}, [("locale", "locale_unknown")]),
        ({"time_zone": "Mars/Olympus"}, [("time_zone", "time_zone_unknown")]),
        ({"time_zone": "localtime"}, [("time_zone", "time_zone_unknown")]),
        ({"time_zone": "../../etc/passwd"}, [("time_zone", "time_zone_unknown")]),
        ({"quiet_hours": QuietHours(time(7), time(7))}, [("quiet_hours.until", "quiet_hours_empty")]),
        ({"quiet_hours": QuietHours(time(7, tzinfo=UTC), time(8))}, [("quiet_hours", "quiet_hours_invalid")]),
        ({"digest_hour": 24}, [("digest.hour", "digest_hour_invalid")]),
        ({"channels": {"gossip": {"push": True}}}, [("channels.gossip", "category_unknown")]),
        ({"channels": {"cards": {"pigeon": True}}}, [("channels.cards.pigeon", "channel_unknown")]),
        ({"channels": {"security": {"email": False}}}, [("channels.security.email", "channel_required")]),
        ({"channels": {"security": {"in_app": False}}}, [("channels.security.in_app", "channel_required")]),
        ({"channels": {"cards": {"in_app": False}}}, [("channels.cards.in_app", "channel_required")]),
        ({"channels": {"security": {"push": False, "sms": False}}}, []),
    ],
)
def test_wishes_that_cannot_be_kept_are_refused(changes: dict[str, object], faults: list[tuple[str, str]]) -> None:
    assert refused(**changes) == faults


def test_by_default_purchases_are_pushed_the_rest_is_mailed_too_and_warnings_are_texted() -> None:
    person = unknowing(USER)
    by = {
        channel: {category for category in Category if person.wants(category, channel)}
        for channel in (Channel.IN_APP, Channel.PUSH, Channel.EMAIL, Channel.SMS)
    }
    assert by == {
        Channel.IN_APP: set(Category),
        Channel.PUSH: set(Category),
        Channel.EMAIL: set(Category) - {Category.TRANSACTIONS},
        Channel.SMS: {Category.SECURITY},
    }


def test_what_is_stored_of_old_wishes_cannot_switch_warnings_off() -> None:
    person = replace(unknowing(USER), choices=complete({"security": {"email": False, "push": False}, "gone": {"email": False}}))
    assert person.wants(Category.SECURITY, Channel.EMAIL)
    assert not person.wants(Category.SECURITY, Channel.PUSH)


def test_quiet_hours_and_digests_never_hold_a_warning_back() -> None:
    person = replace(unknowing(USER), quiet_hours=QuietHours(time(11), time(13)), digest=DigestMode.DAILY)
    found = ways(person, Category.SECURITY, {}, NOON, NOON)
    assert {(way.channel, way.status, way.at) for way in found} == {
        (channel, MessageStatus.PENDING, NOON) for channel in (Channel.PUSH, Channel.EMAIL, Channel.SMS)
    }


def test_a_digest_takes_the_place_of_every_other_way_of_a_purchase() -> None:
    person = replace(unknowing(USER), digest=DigestMode.DAILY, digest_hour=18)
    (way,) = ways(person, Category.TRANSACTIONS, {}, NOON, NOON)
    assert (way.channel, way.status, way.at) == (Channel.EMAIL, MessageStatus.DIGESTED, NOON.replace(hour=18))
    assert {way.status for way in ways(person, Category.CARDS, {}, NOON, NOON)} == {MessageStatus.PENDING}


def test_at_the_cap_a_channel_is_suppressed_and_below_it_is_not() -> None:
    person = unknowing(USER)
    for count, status in ((29, MessageStatus.PENDING), (30, MessageStatus.SUPPRESSED)):
        found = {way.channel: way.status for way in ways(person, Category.CARDS, {Channel.EMAIL: count}, NOON, NOON)}
        assert found == {Channel.PUSH: MessageStatus.PENDING, Channel.EMAIL: status}
