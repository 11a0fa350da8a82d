"""Rules of subscriptions and replays: states, secrets that overlap, ranges of time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.kernel.errors import ConflictError, InvalidFieldsError
from cardwright.outbox.rules import EVENT_TYPES
from cardwright.webhooks import rules
from cardwright.webhooks.rules import Scope, Subscription, SubscriptionStatus, check_url
from tests.pans import pan

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER, OTHER = UUID(int=1), UUID(int=2)
ACTIVE = Subscription(
    user_id=OWNER,
    subscription_id=UUID(int=3),
    url="https://example.com/",
    event_types=("card.created", "webhook.test"),
    card_ids=None,
    organization_id=None,
    ordered=False,
    api_version="2026-11-21",
    description=None,
    scope=Scope.OWN,
    status=SubscriptionStatus.ACTIVE,
    status_detail="verified",
    secrets_sealed=(b"1",),
    secrets_until=(),
    verified_at=NOW - DAY,
    verification_due_at=None,
    inactive_since=None,
    failing_since=None,
    filter_since=None,
    consecutive_failures=0,
    background=False,
    version=2,
    last_operation_id=UUID(int=4),
    created_at=NOW - 2 * DAY,
    updated_at=NOW - DAY,
)


def in_status(status: SubscriptionStatus) -> Subscription:
    """A subscription that has been in this status for an hour."""
    stopped = replace(ACTIVE, status=status, inactive_since=NOW - timedelta(hours=1))
    if status is SubscriptionStatus.ACTIVE:
        return ACTIVE
    if status is SubscriptionStatus.PENDING_VERIFICATION:
        return replace(stopped, verified_at=None, verification_due_at=NOW)
    return replace(stopped, verified_at=None) if status is SubscriptionStatus.VERIFICATION_FAILED else stopped


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://api.example.com/hook", "https://api.example.com"),
        ("https://API.example.com:443/hook", "https://api.example.com"),
        ("https://api.example.com:8443/", "https://api.example.com:8443"),
        ("http://127.0.0.1:8080/api", "http://localhost:8080"),
        ("http://[::1]:8080/", "http://127.0.0.1:8080"),
    ],
)
def test_a_url_of_our_own_is_refused(url: str, ours: str) -> None:
    refused = check_url(url, local=True, ours=["https://other.example.com", ours])
    assert refused is not None
    assert refused.code == "url_is_ours"


@pytest.mark.parametrize(
    "tail",
    ["/{0}", "?pan={0}", "/x?a=1&pan={0}&b=2", "?pan={1}", "/{2}", "?{3}"],
    ids=["path", "query", "among", "plus", "grouped", "encoded"],
)
def test_a_card_number_in_a_url_is_refused_however_it_is_written(tail: str) -> None:
    number = pan()
    groups = [number[start : start + 4] for start in range(0, 16, 4)]
    url = "http://127.0.0.1:8081" + tail.format(number, "+".join(groups), "/".join(groups), "".join(f"%3{one}" for one in number))
    refused = check_url(url, local=True)
    assert refused is not None
    assert refused.code == "card_number_not_allowed"
    assert number not in refused.detail


def test_a_card_number_as_a_host_is_refused_and_digits_of_a_port_are_none() -> None:
    refused = check_url(f"https://{pan()}.example.com/", local=False)
    assert refused is not None
    assert refused.code == "card_number_not_allowed"
    # With the port's digits it would be one.
    number = pan("844312")
    assert check_url(f"https://hooks.example.com:8443/{number[4:]}", local=False) is None


@pytest.mark.parametrize("before", ["", "a", "b-"])
def test_digits_of_an_id_are_no_card_number(before: str) -> None:
    number = pan()
    # Longer than a card's number, as the ids of some chats are, or a part of a UUID.
    for digits in (number + "00", f"12{number}", f"{number}-{number[:4]}", f"x{number}"):
        assert check_url(f"https://hooks.example.com/{before}{digits}/x", local=False) is None


def test_another_port_or_host_is_not_ours() -> None:
    assert check_url("http://127.0.0.1:8081/", local=True, ours=["http://127.0.0.1:8080"]) is None
    assert check_url("https://hooks.example.com/", local=False, ours=["https://api.example.com"]) is None
    assert check_url("https://api.example.com:8443/", local=False, ours=["https://api.example.com"]) is None


@pytest.mark.parametrize("text", ["", "x" * 201, "two\nlines", "\x00"])
def test_a_description_is_one_short_printable_line(text: str) -> None:
    assert [error.code for error in rules.check_description(text)] == ["description_invalid"]
    assert rules.check_description("Café, till 3") == rules.check_description(None) == []


def test_a_version_that_was_never_published_is_refused() -> None:
    assert [error.code for error in rules.check_api_version("2020-01-01")] == ["api_version_unknown"]
    assert rules.check_api_version("2026-11-21") == []


def test_a_new_secret_comes_first_and_the_one_before_signs_until_the_end_of_the_overlap() -> None:
    once = rules.rotated(ACTIVE, b"2", NOW, 3600)
    assert (once.secrets_sealed, once.secrets_until) == ((b"2", b"1"), (NOW + timedelta(hours=1),))
    signing = [
        rules.signing(once.secrets_sealed, once.secrets_until, NOW + timedelta(seconds=after)) for after in (0, 3599, 3600)
    ]
    assert signing == [(b"2", b"1"), (b"2", b"1"), (b"2",)]


def test_nothing_signs_longer_than_it_was_to_and_what_has_ended_is_forgotten() -> None:
    once = rules.rotated(ACTIVE, b"2", NOW, 60)
    twice = rules.rotated(once, b"3", NOW + timedelta(seconds=30), 3600)
    assert twice.secrets_sealed == (b"3", b"2", b"1")
    assert twice.secrets_until == (NOW + timedelta(seconds=3630), NOW + timedelta(seconds=60))
    thrice = rules.rotated(twice, b"4", NOW + timedelta(seconds=60), 0)
    assert (thrice.secrets_sealed, thrice.secrets_until) == ((b"4",), ())


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, rules.OVERLAP_MAX_S)), min_size=1, max_size=12))
def test_however_often_it_is_rotated_one_to_five_secrets_sign_the_newest_always(turns: list[tuple[int, int]]) -> None:
    subscription, now, ends = ACTIVE, NOW, {b"1": NOW + 1000 * DAY}
    for turn, (wait_s, overlap_s) in enumerate(turns):
        now += timedelta(seconds=wait_s)
        fresh = b"n%d" % turn
        subscription = rules.rotated(subscription, fresh, now, overlap_s)
        ends = {one: min(end, now + timedelta(seconds=overlap_s)) for one, end in ends.items()} | {fresh: now + 1000 * DAY}
        signing = rules.signing(subscription.secrets_sealed, subscription.secrets_until, now)
        assert signing == subscription.secrets_sealed
        assert signing[0] == fresh
        assert len(signing) <= 5
        assert len(subscription.secrets_until) == len(signing) - 1
        assert all(ends[one] > now for one in signing)
        assert signing == tuple(one for one in reversed(ends) if ends[one] > now)[:5]


@pytest.mark.parametrize("overlap_s", [-1, 604801])
def test_an_overlap_is_at_most_a_week(overlap_s: int) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        rules.rotated(ACTIVE, b"2", NOW, overlap_s)
    assert [error.code for error in refusal.value.errors] == ["overlap_out_of_range"]


@pytest.mark.parametrize(
    ("status", "after_move", "after_pause", "after_reactivation"),
    [
        ("ACTIVE", "PENDING_VERIFICATION", "PAUSED", "already_active"),
        ("PENDING_VERIFICATION", "PENDING_VERIFICATION", "subscription_not_active", "verification_pending"),
        ("VERIFICATION_FAILED", "PENDING_VERIFICATION", "subscription_not_active", "PENDING_VERIFICATION"),
        ("PAUSED", "PAUSED", "already_paused", "ACTIVE"),
        ("DISABLED", "DISABLED", "subscription_not_active", "ACTIVE"),
    ],
)
def test_what_becomes_of_each_status(status: str, after_move: str, after_pause: str, after_reactivation: str) -> None:
    subscription = in_status(SubscriptionStatus(status))

    def after(change: Callable[[], Subscription]) -> str:
        try:
            return str(change().status)
        except ConflictError as error:
            return error.code

    assert after(lambda: rules.moved(subscription, "https://example.org/", NOW)) == after_move
    assert after(lambda: rules.paused(subscription, NOW)) == after_pause
    assert after(lambda: rules.reactivated(subscription, NOW)) == after_reactivation


@pytest.mark.parametrize("status", list(SubscriptionStatus))
def test_it_is_known_since_when_nothing_is_heard_and_when_a_challenge_is_due(status: SubscriptionStatus) -> None:
    before = in_status(status)
    changes: tuple[Callable[[], Subscription], ...] = (
        lambda: rules.moved(before, "https://example.org/", NOW),
        lambda: rules.paused(before, NOW),
        lambda: rules.reactivated(before, NOW),
        lambda: rules.activated(before, "verified", NOW),
        lambda: rules.unverified(replace(before, inactive_since=before.inactive_since or NOW), "timeout"),
    )
    for change in changes:
        try:
            after = change()
        except ConflictError:
            continue
        active = after.status is SubscriptionStatus.ACTIVE
        assert active == (after.inactive_since is None)
        assert (after.status is SubscriptionStatus.PENDING_VERIFICATION) == (after.verification_due_at is not None)
        assert not active or after.verified_at is not None
        if before.inactive_since is not None and not active:
            assert after.inactive_since == before.inactive_since


def test_a_stopped_one_at_a_new_url_is_verified_before_it_goes_on() -> None:
    there = rules.moved(in_status(SubscriptionStatus.PAUSED), "https://example.org/", NOW)
    again = rules.reactivated(there, NOW)
    assert (again.status, again.verification_due_at) == (SubscriptionStatus.PENDING_VERIFICATION, NOW + timedelta(seconds=60))


def test_reactivation_forgets_failures() -> None:
    ill = replace(in_status(SubscriptionStatus.DISABLED), consecutive_failures=5, failing_since=NOW, background=True)
    well = rules.reactivated(ill, NOW)
    assert (well.consecutive_failures, well.failing_since, well.background) == (0, None, False)


@pytest.mark.parametrize(
    ("since_days", "until_days", "codes"),
    [
        (-1, 0, []),
        (-31, 0, []),
        (-90, -60, []),
        (-1, -1, ["range_empty"]),
        (-1, -2, ["range_empty"]),
        (-32, 0, ["range_too_long"]),
        (-91, -89, ["range_too_old"]),
        (-365, -340, ["range_too_old"]),
        (-365, 0, ["range_too_long", "range_too_old"]),
        (-1, 1, ["range_in_future"]),
        (1, 2, ["range_in_future"]),
    ],
)
def test_a_range_is_short_recent_and_over(since_days: int, until_days: int, codes: list[str]) -> None:
    errors = rules.check_range(NOW + since_days * DAY, NOW + until_days * DAY, NOW)
    assert [error.code for error in errors] == codes


def test_what_was_missed_begins_a_day_before_the_stop_or_where_the_filter_began() -> None:
    paused = in_status(SubscriptionStatus.PAUSED)
    hour, stopped = timedelta(hours=1), NOW - timedelta(hours=1)
    assert rules.missed_range(paused, None, NOW) == (stopped - DAY, NOW + timedelta(minutes=1))
    began = [
        rules.missed_range(replace(paused, filter_since=since), None, NOW)[0]
        for since in (stopped - 3 * DAY, stopped - 5 * hour, stopped - hour / 2, stopped + hour / 2)
    ]
    assert began == [stopped - DAY, stopped - 5 * hour, stopped - hour, stopped - hour]


def test_what_was_missed_begins_with_what_was_given_up_but_not_before_the_subscription_or_ninety_days() -> None:
    paused = in_status(SubscriptionStatus.PAUSED)
    assert rules.missed_range(paused, NOW - timedelta(hours=30), NOW)[0] == NOW - timedelta(hours=30)
    assert rules.missed_range(paused, NOW, NOW)[0] == NOW - timedelta(hours=25)
    assert rules.missed_range(paused, NOW - 3 * DAY, NOW)[0] == paused.created_at
    new = replace(paused, created_at=NOW - timedelta(hours=1))
    assert rules.missed_range(new, None, NOW)[0] == new.created_at
    old = replace(paused, created_at=NOW - 500 * DAY, inactive_since=NOW - 200 * DAY)
    assert rules.missed_range(old, None, NOW)[0] == NOW - 90 * DAY


def test_the_filter_dates_from_the_last_change_of_what_is_wanted() -> None:
    assert rules.filtered(ACTIVE, replace(ACTIVE, url="https://example.org/", ordered=True), NOW).filter_since is None
    for other in (
        replace(ACTIVE, event_types=("card.frozen",)),
        replace(ACTIVE, card_ids=(OTHER,)),
        replace(ACTIVE, organization_id=OTHER),
    ):
        assert rules.filtered(ACTIVE, other, NOW).filter_since == NOW


def test_an_owner_hears_own_events_staff_everybodys_and_a_test_is_for_the_one_it_names() -> None:
    staff = replace(ACTIVE, scope=Scope.ALL)
    mine = str(ACTIVE.subscription_id)
    heard = [
        rules.may_hear(subscription, event_type, user_id, named)
        for subscription in (ACTIVE, staff)
        for event_type, user_id, named in (
            ("card.frozen", OWNER, None),
            ("card.frozen", OTHER, None),
            ("card.frozen", None, None),
            ("webhook.test", OWNER, mine),
            ("webhook.test", OWNER, str(OTHER)),
            ("webhook.verification_requested", OWNER, mine),
        )
    ]
    assert heard == [True, False, False, True, False, False, True, True, True, True, False, False]


def test_a_replay_of_a_range_leaves_tests_out() -> None:
    assert rules.replayed_types(ACTIVE) == {"card.created"}
    assert rules.replayed_types(replace(ACTIVE, event_types=tuple(EVENT_TYPES))) == EVENT_TYPES - {"webhook.test"}
