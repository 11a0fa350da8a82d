"""Rules of webhooks: URLs, retries, health, what is shown of answers."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.webhooks import rules
from cardwright.webhooks.rules import Health, SubscriptionStatus, check_url

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
ACTIVE = Health(SubscriptionStatus.ACTIVE, 0, False, 3)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com/path?token=1&x=%20",
        "https://HOOKS.example.com:443/",
        "https://hooks.example.com:8443/cards",
        "https://xn--bcher-kva.example/h",
        "https://a-b.c0.example.co/",
    ],
)
def test_public_https_urls_are_taken_on_every_stage(url: str) -> None:
    assert check_url(url, local=False) is None
    assert check_url(url, local=True) is None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "url_invalid"),
        ("https://exa mple.com/", "url_invalid"),
        ("https://example.com/\r\nHost: x", "url_invalid"),
        ("https://example.com\\@10.0.0.1/", "url_invalid"),
        ("https://example.com/#part", "url_invalid"),
        ("https://bücher.example/", "url_invalid"),
        ("https://example。com/", "url_invalid"),
        ("https://" + "a" * 2048 + ".com/", "url_invalid"),
        ("https://example.com:99999/", "url_invalid"),
        ("https://example.com:44٣/", "url_invalid"),
        ("https://[::1", "url_invalid"),
        ("http://example.com/", "url_not_https"),
        ("ftp://example.com/", "url_not_https"),
        ("file:///etc/passwd", "url_not_https"),
        ("gopher://example.com:443/", "url_not_https"),
        ("https:///path", "url_not_https"),
        ("example.com", "url_not_https"),
        ("https://user:pass@example.com/", "url_has_credentials"),
        ("https://example.com@10.0.0.1/", "url_has_credentials"),
        ("https://10.0.0.1/", "url_host_not_allowed"),
        ("https://127.0.0.2/", "url_host_not_allowed"),
        ("https://169.254.169.254/latest/meta-data", "url_host_not_allowed"),
        ("https://8.8.8.8/", "url_host_not_allowed"),
        ("https://2130706433/", "url_host_not_allowed"),
        ("https://0x7f000001/", "url_host_not_allowed"),
        ("https://0177.0.0.1/", "url_host_not_allowed"),
        ("https://127.1/", "url_host_not_allowed"),
        ("https://[fd00:ec2::254]/", "url_host_not_allowed"),
        ("https://[::ffff:7f00:1]/", "url_host_not_allowed"),
        ("https://[fe80::1%25eth0]/", "url_host_not_allowed"),
        ("https://[example.com]/", "url_host_not_allowed"),
        ("https://example.com./", "url_host_not_allowed"),
        ("https://metadata/", "url_host_not_allowed"),
        ("https://app.localhost/", "url_host_not_allowed"),
        ("https://db.internal/", "url_host_not_allowed"),
        ("https://printer.local/", "url_host_not_allowed"),
        ("https://-a.example.com/", "url_host_not_allowed"),
        ("https://a..example.com/", "url_host_not_allowed"),
        ("https://example.com:22/", "url_port_not_allowed"),
        ("https://example.com:80/", "url_port_not_allowed"),
        ("https://example.com:/", "url_port_not_allowed"),
    ],
)
def test_urls_we_would_not_post_to_are_refused_on_every_stage(url: str, code: str) -> None:
    for local in (False, True):
        refused = check_url(url, local=local)
        assert refused is not None
        # urlsplit refuses brackets around a name in newer versions of Python.
        assert refused.code in ({code, "url_invalid"} if "[" in url else {code})
        assert refused.field == "url"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/hook", "http://localhost:1/", "http://[::1]:8080/x", "https://localhost/"]
)
def test_this_machine_is_a_receiver_on_the_local_stage_alone(url: str) -> None:
    assert check_url(url, local=True) is None
    assert check_url(url, local=False) is not None


def test_port_zero_leads_nowhere_on_this_machine_too() -> None:
    refused = check_url("http://127.0.0.1:0/", local=True)
    assert refused is not None
    assert refused.code == "url_port_not_allowed"


def test_unknown_event_types_are_named_by_their_place() -> None:
    assert rules.check_event_types(["card.created", "webhook.test"]) == []
    errors = rules.check_event_types(["card.created", "card.exploded", "webhook.verification_requested"])
    assert [(error.field, error.code) for error in errors] == [
        ("event_types.1", "event_type_unknown"),
        ("event_types.2", "event_type_unknown"),
    ]
    assert rules.check_event_types([])[0].code == "required"


def test_a_card_filter_is_absent_or_names_one_to_a_hundred_cards() -> None:
    assert rules.check_card_ids(None) == []
    assert rules.check_card_ids([uuid4()] * 100) == []
    assert rules.check_card_ids([])[0].code == "too_few_items"
    assert rules.check_card_ids([uuid4()] * 101)[0].code == "too_many_items"


@pytest.mark.parametrize(("size", "good"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_secret_holds_24_to_64_bytes(size: int, good: bool) -> None:
    if good:
        assert rules.secret_text(bytes(size)).reveal().startswith("whsec_AAAA")
    else:
        with pytest.raises(ValueError, match="24 to 64"):
            rules.secret_text(bytes(size))


@pytest.mark.parametrize(("attempts", "delay_s"), [(1, 60), (2, 300), (3, 900), (4, 3600), (5, 21600)])
def test_waits_grow_and_jitter_adds_at_most_a_tenth(attempts: int, delay_s: int) -> None:
    assert rules.next_attempt(attempts, NOW, 0.0) == NOW + timedelta(seconds=delay_s)
    assert rules.next_attempt(attempts, NOW, 0.5) == NOW + timedelta(seconds=delay_s * 1.05)
    latest = rules.next_attempt(attempts, NOW, 0.999999)
    assert latest is not None
    assert latest <= NOW + timedelta(seconds=delay_s * 1.1)


def test_the_sixth_attempt_is_the_last() -> None:
    assert rules.next_attempt(6, NOW, 0.0) is None
    with pytest.raises(ValueError, match="first"):
        rules.next_attempt(0, NOW, 0.0)


@pytest.mark.parametrize(("asked_s", "waited_s"), [(None, 60), (0, 60), (59, 60), (61, 61), (3600, 3600), (10**8, 21600)])
def test_a_receiver_may_ask_for_more_time_within_six_hours_and_never_for_less(asked_s: int | None, waited_s: int) -> None:
    assert rules.next_attempt(1, NOW, 0.0, asked_s) == NOW + timedelta(seconds=waited_s)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Sat, 21 Nov 2026 10:02:00 GMT", 120),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 09:00:00 -0000", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 30, None),
        ("Sat, 99 Nov 2026 10:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value: str, seconds: int | None) -> None:
    assert rules.retry_after_s({"retry-after": value}, NOW) == seconds
    assert rules.retry_after_s({}, NOW) is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (199, "http_error"),
        (301, "redirect_refused"),
        (307, "redirect_refused"),
        (400, "http_error"),
        (410, "gone"),
        (500, "http_error"),
    ],
)
def test_only_2xx_takes_an_event(status: int, outcome: str) -> None:
    assert rules.outcome_of(status) == outcome


def test_success_heals_and_slowness_moves_to_the_background() -> None:
    ill = Health(SubscriptionStatus.ACTIVE, 4, True, 3)
    assert rules.learn(ill, delivered=True, spent=False, gone=False, latency_ms=10) == ACTIVE
    slow = rules.learn(ACTIVE, delivered=True, spent=False, gone=False, latency_ms=rules.SLOW_MS + 1)
    assert slow == Health(SubscriptionStatus.ACTIVE, 0, True, 3)
    assert rules.learn(ACTIVE, delivered=True, spent=False, gone=False, latency_ms=rules.SLOW_MS) == ACTIVE


def test_five_events_in_a_row_that_failed_for_good_disable() -> None:
    health = ACTIVE
    for failed in range(1, 5):
        for _ in range(5):
            health = rules.learn(health, delivered=False, spent=False, gone=False, latency_ms=1)
        health = rules.learn(health, delivered=False, spent=True, gone=False, latency_ms=1)
        assert health == Health(SubscriptionStatus.ACTIVE, failed, True, 3)
    health = rules.learn(health, delivered=False, spent=True, gone=False, latency_ms=1)
    assert health == Health(SubscriptionStatus.DISABLED, 5, True, 4)


def test_gone_disables_at_once_and_only_once() -> None:
    gone = rules.learn(ACTIVE, delivered=False, spent=True, gone=True, latency_ms=1)
    assert gone.status is SubscriptionStatus.DISABLED
    assert rules.learn(gone, delivered=False, spent=True, gone=True, latency_ms=1).version == gone.version


@given(st.binary(max_size=5000))
def test_what_is_stored_of_an_answer_is_short_and_printable(body: bytes) -> None:
    text = rules.printable(body)
    assert len(text) <= 1024
    assert all(char.isprintable() for char in text)


def test_readable_answers_stay_as_they_are() -> None:
    assert rules.printable('{"ok": "ça va"}'.encode()) == '{"ok": "ça va"}'
    assert (
        rules.printable(b"a\x00b\x1b[2Jc\n")
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[2Jc\N{REPLACEMENT CHARACTER}"
    )


@pytest.mark.parametrize(
    ("status", "body", "met"),
    [
        (200, b'{"challenge":"abc"}', True),
        (201, b'{"challenge":"abc","more":1}', True),
        (500, b'{"challenge":"abc"}', False),
        (302, b'{"challenge":"abc"}', False),
        (200, b'{"challenge":"other"}', False),
        (200, b"abc", False),
        (200, b'["challenge","abc"]', False),
        (200, b"[" * 100_000, False),
        (200, b"\xff\xfe", False),
        (200, b"", False),
    ],
)
def test_a_challenge_is_met_by_2xx_with_the_same_value(status: int, body: bytes, met: bool) -> None:
    assert rules.challenge_met(status, body, "abc") is met


def test_sent_bytes_are_compact_json_in_utf_8() -> None:
    assert rules.compact({"id": "1", "data": {"name": "Café"}}) == '{"id":"1","data":{"name":"Café"}}'.encode()
