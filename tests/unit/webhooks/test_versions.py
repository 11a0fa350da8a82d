"""Versions of the event schemas: what a subscriber of each is sent."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from cardwright.outbox.rules import API_VERSION, EVENT_TYPES, VERIFICATION_REQUESTED, WEBHOOK_DISABLED, Event, envelope
from cardwright.webhooks.rules.versions import CURRENT, SUPPORTED, render


def event(event_type: str) -> Event:
    """An event of a type."""
    return Event(UUID(int=1), event_type, datetime(2026, 11, 21, 10, tzinfo=UTC), {"a": 1}, UUID(int=2), UUID(int=3))


def test_the_version_of_today_is_published_and_sends_events_as_they_are() -> None:
    assert CURRENT == API_VERSION
    assert CURRENT in SUPPORTED
    for event_type in EVENT_TYPES:
        assert render(event(event_type), CURRENT) == envelope(event(event_type))


def test_every_version_sends_what_names_it_and_knows_nothing_that_is_ours_alone() -> None:
    for version in SUPPORTED:
        document = render(event("card.created"), version)
        assert document is not None
        assert document["api_version"] == version
        for internal in (VERIFICATION_REQUESTED, WEBHOOK_DISABLED, "card.polished"):
            assert render(event(internal), version) is None


def test_a_version_that_was_never_published_is_no_version() -> None:
    with pytest.raises(KeyError):
        render(event("card.created"), "2020-01-01")
