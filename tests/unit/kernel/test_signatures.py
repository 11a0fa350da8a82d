"""Signatures, checked against the reference library of Standard Webhooks in both directions."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import sign, verify

KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
BODY = b'{"amount":"42.10","name":"Caf\xc3\xa9"}'


def headers(body: bytes, at: datetime, *keys: str, message_id: str = "msg_1") -> dict[str, str]:
    """Signed headers as we send them."""
    timestamp = int(at.timestamp())
    signature = sign([Secret(key) for key in keys], message_id, timestamp, body)
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_the_reference_library_takes_our_signatures_by_any_of_the_keys() -> None:
    signed = headers(BODY, datetime.now(UTC), KEY, OTHER)
    assert Webhook(KEY).verify(BODY.decode(), signed) == {"amount": "42.10", "name": "Café"}
    assert Webhook(OTHER).verify(BODY.decode(), signed) == {"amount": "42.10", "name": "Café"}


def test_the_reference_library_refuses_ours_for_another_body() -> None:
    signed = headers(BODY, datetime.now(UTC), KEY)
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(BODY.decode() + " ", signed)


def test_we_take_the_signatures_of_the_reference_library() -> None:
    now = datetime.now(UTC)
    signature = Webhook(KEY).sign("msg_9", now, BODY.decode())
    given_headers = {
        "Webhook-Id": "msg_9",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": f"v1,AAAA v1a,whatever {signature}",
    }
    verify([Secret(OTHER), Secret(KEY)], given_headers, BODY, now)
    with pytest.raises(UnauthenticatedError) as refusal:
        verify([Secret(OTHER)], given_headers, BODY, now)
    assert refusal.value.code == "signature_invalid"


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_request_without_one_of_the_headers_is_not_signed(missing: str) -> None:
    now = datetime.now(UTC)
    signed = {**headers(BODY, now, KEY), missing: ""}
    with pytest.raises(UnauthenticatedError) as refusal:
        verify([Secret(KEY)], signed, BODY, now)
    assert refusal.value.code == "signature_missing"


@pytest.mark.parametrize(("offset_s", "taken"), [(0, True), (299, True), (-299, True), (302, False), (-302, False), (360, False)])
def test_a_timestamp_over_five_minutes_off_is_refused_in_both_directions(offset_s: int, taken: bool) -> None:
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    signed = headers(BODY, now + timedelta(seconds=offset_s), KEY)
    if taken:
        verify([Secret(KEY)], signed, BODY, now)
        return
    with pytest.raises(UnauthenticatedError) as refusal:
        verify([Secret(KEY)], signed, BODY, now)
    assert refusal.value.code == "timestamp_out_of_range"


@pytest.mark.parametrize("timestamp", ["abc", "1e9", "-5", "1.5", "٣٤", "9" * 13, " 12"])
def test_a_timestamp_that_is_no_number_is_refused(timestamp: str) -> None:
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    with pytest.raises(UnauthenticatedError) as refusal:
        verify([Secret(KEY)], {**headers(BODY, now, KEY), "webhook-timestamp": timestamp}, BODY, now)
    assert refusal.value.code == "signature_invalid"


@pytest.mark.parametrize("secret", ["whsec_***", "AAAA", "whsec_", "whsec_AAA"])
def test_a_broken_secret_of_ours_is_loud_and_shows_nothing_of_it(secret: str) -> None:
    with pytest.raises(BrokenInvariantError) as failure:
        sign([Secret(secret)], "msg", 1, b"")
    assert secret not in str(failure.value)


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=64), st.integers(0, 199), st.integers(1, 255))
def test_any_changed_byte_breaks_the_signature(body: bytes, key: bytes, position: int, flip: int) -> None:
    secret, now = Secret("whsec_" + base64.b64encode(key).decode()), datetime(2026, 11, 21, tzinfo=UTC)
    signed = headers(body, now, secret.reveal())
    verify([secret], signed, body, now)
    changed = bytearray(body or b"\x00")
    changed[position % len(changed)] ^= flip
    with pytest.raises(UnauthenticatedError):
        verify([secret], signed, bytes(changed), now)
