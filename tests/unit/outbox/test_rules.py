"""Events as messages: what goes in comes out, and nothing else does."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel import ids
from cardwright.outbox.rules import (
    API_VERSION,
    EVENT_TYPES,
    VERIFICATION_REQUESTED,
    WEBHOOK_DISABLED,
    WEBHOOK_TEST,
    Event,
    FeedFilter,
    envelope,
    for_partners,
    for_people,
    from_message,
    message,
)

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
EVENTS = st.builds(
    Event,
    event_id=st.uuids(),
    type=st.sampled_from(sorted(EVENT_TYPES)),
    created_at=MOMENTS,
    data=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.none() | st.integers(), max_size=3),
    user_id=st.none() | st.uuids(),
    card_id=st.none() | st.uuids(),
)


@given(EVENTS)
def test_a_message_gives_its_event_back(event: Event) -> None:
    assert from_message(message(event)) == event


def test_partners_see_the_envelope_and_not_whom_it_concerns() -> None:
    event = Event(UUID(int=1), "card.created", datetime(2026, 11, 21, 10, tzinfo=UTC), {"a": 1}, UUID(int=2), UUID(int=3))
    assert envelope(event) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "type": "card.created",
        "created_at": "2026-11-21T10:00:00.000Z",
        "api_version": API_VERSION,
        "data": {"a": 1},
    }


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"event": None, "user_id": None, "card_id": None},
        {"event": {"id": 5, "type": "x", "created_at": "2026", "data": {}}, "user_id": None, "card_id": None},
        {"event": {"id": "x", "type": "x", "created_at": "2026-11-21T10:00:00Z", "data": {}}, "user_id": None, "card_id": None},
        {"event": {"id": str(UUID(int=1)), "type": "x", "created_at": "soon", "data": {}}, "user_id": None, "card_id": None},
        {
            "event": {"id": str(UUID(int=1)), "type": "x", "created_at": "2026-11-21", "data": []},
            "user_id": None,
            "card_id": None,
        },
        {"event": {"id": str(UUID(int=1)), "type": 1, "created_at": "2026-11-21", "data": {}}, "user_id": None, "card_id": None},
    ],
)
def test_a_document_that_is_no_message_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_message(document)


def test_internal_events_are_not_offered_to_partners() -> None:
    assert VERIFICATION_REQUESTED not in EVENT_TYPES
    assert WEBHOOK_DISABLED not in EVENT_TYPES
    assert len(EVENT_TYPES) == 20


def test_each_queue_has_its_types() -> None:
    assert all(for_partners(event_type) for event_type in EVENT_TYPES)
    assert for_partners(VERIFICATION_REQUESTED)
    assert not for_partners(WEBHOOK_DISABLED)
    assert {event_type for event_type in EVENT_TYPES if not for_people(event_type)} == {WEBHOOK_TEST}
    assert for_people(WEBHOOK_DISABLED)
    assert not for_people(VERIFICATION_REQUESTED)
    assert not for_partners("card.polished")
    assert not for_people("card.polished")


def test_the_feed_is_searched_among_ids_of_its_time_with_room_on_both_sides() -> None:
    since = datetime(2026, 11, 21, 10, tzinfo=UTC)
    wanted = FeedFilter(
        user_id=None,
        types=frozenset(("card.created", WEBHOOK_TEST)),
        card_ids=None,
        organization_id=None,
        since=since,
        until=since + timedelta(hours=1),
    )
    full, empty = b"\xff" * ids.ENTROPY_BYTES, bytes(ids.ENTROPY_BYTES)
    assert wanted.told_types == ["card.created"]
    # An operation may be repeated for a day, and its event has the id of its first try.
    assert ids.uuid7(since - timedelta(hours=25), full) < wanted.lowest_id <= ids.uuid7(since - timedelta(hours=24), empty)
    assert ids.uuid7(wanted.until, full) < wanted.highest_id < ids.uuid7(wanted.until + timedelta(hours=2), empty)
