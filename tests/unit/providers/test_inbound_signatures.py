"""Signatures of what processors send, checked with the vendors' own libraries: one changed byte and it is refused."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from lithic import Lithic
from standardwebhooks import Webhook

from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.providers.inbound_lithic import LithicInbound
from cardwright.providers.inbound_marqeta import MarqetaInbound
from cardwright.providers.inbound_standard import StandardInbound
from cardwright.providers.inbound_stripe import StripeInbound
from cardwright.transactions.ports import InboundScheme

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
BODY = '{"amount":"42.10","name":"Café"}'.encode()
STANDARD_KEYS = ["whsec_" + base64.b64encode(bytes(range(first, first + 32))).decode() for first in (0, 1)]
STRIPE_KEYS = ["an endpoint's secret", "the secret before it"]
MARQETA_KEYS = [
    json.dumps({"username": "cardwright", "password": f"a:password-{number}", "signing_secret": f"the-webhook-secret-{number}A!"})
    for number in (1, 2)
]


def sign_standard(key: str, body: bytes, at: datetime) -> dict[str, str]:
    """Headers by the reference library of Standard Webhooks."""
    signature = Webhook(key).sign("msg_1", at, body.decode(errors="surrogateescape"))
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def sign_stripe(key: str, body: bytes, at: datetime) -> dict[str, str]:
    """The header by Stripe's library."""
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), key, int(at.timestamp()))
    return {"Stripe-Signature": header}


def sign_marqeta(key: str, body: bytes, at: datetime, algorithm: str = "sha256") -> dict[str, str]:
    """Headers as Marqeta's guide makes them."""
    told = json.loads(key)
    login = base64.b64encode(f"{told['username']}:{told['password']}".encode()).decode()
    signature = hmac.new(told["signing_secret"].encode(), body, algorithm).hexdigest()
    return {"Authorization": f"Basic {login}", "X-Marqeta-Signature": signature}


@dataclass(frozen=True)
class Scheme:
    """A scheme, two of its secrets, how it is signed by somebody else, and the headers that must not change."""

    scheme: InboundScheme
    keys: list[str]
    sign: Callable[[str, bytes, datetime], dict[str, str]]
    signed_headers: tuple[str, ...]
    stamped: bool = True

    def takes(self, headers: Mapping[str, str], body: bytes = BODY, now: datetime = NOW, keys: list[str] | None = None) -> bool:
        """Whether a request is taken, by one of all the keys unless some are given."""
        try:
            self.scheme.verify([Secret(key) for key in (self.keys if keys is None else keys)], headers, body, now)
        except UnauthenticatedError:
            return False
        return True

    def refusal(self, headers: Mapping[str, str], body: bytes = BODY, now: datetime = NOW) -> str:
        """The code a request is refused with."""
        with pytest.raises(UnauthenticatedError) as refusal:
            self.scheme.verify([Secret(key) for key in self.keys], headers, body, now)
        return refusal.value.code


_WEBHOOKS = ("webhook-id", "webhook-timestamp", "webhook-signature")
SCHEMES = {
    "standard": Scheme(StandardInbound(), STANDARD_KEYS, sign_standard, _WEBHOOKS),
    "lithic": Scheme(LithicInbound(), STANDARD_KEYS, sign_standard, _WEBHOOKS),
    "stripe": Scheme(StripeInbound(), STRIPE_KEYS, sign_stripe, ("Stripe-Signature",)),
    "marqeta": Scheme(MarqetaInbound(), MARQETA_KEYS, sign_marqeta, ("X-Marqeta-Signature",), stamped=False),
}
STAMPED = {name: scheme for name, scheme in SCHEMES.items() if scheme.stamped}


@pytest.mark.parametrize("named", SCHEMES)
@pytest.mark.parametrize("number", [0, 1])
def test_a_request_signed_with_any_active_secret_is_taken(named: str, number: int) -> None:
    scheme = SCHEMES[named]
    headers = scheme.sign(scheme.keys[number], BODY, NOW)
    assert scheme.takes(headers)
    assert scheme.takes({name.upper(): value for name, value in headers.items()})
    assert not scheme.takes(headers, keys=[scheme.keys[1 - number]])


@pytest.mark.parametrize("named", SCHEMES)
@given(data=st.data())
def test_any_changed_byte_is_refused(named: str, data: st.DataObject) -> None:
    scheme = SCHEMES[named]
    headers = scheme.sign(scheme.keys[0], BODY, NOW)
    part = data.draw(st.sampled_from(["body", *scheme.signed_headers]))
    whole = BODY if part == "body" else headers[part].encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 127).filter(lambda byte: byte != whole[at]))
    changed = whole[:at] + bytes([other]) + whole[at + 1 :]
    if part == "body":
        assert scheme.refusal(headers, changed) == "signature_invalid"
    else:
        scheme.refusal({**headers, part: changed.decode()})


@pytest.mark.parametrize("named", SCHEMES)
def test_a_cut_or_longer_body_is_refused(named: str) -> None:
    scheme = SCHEMES[named]
    headers = scheme.sign(scheme.keys[0], BODY, NOW)
    for body in (BODY[:-1], BODY + b" ", b"", BODY.decode().encode("utf-16")):
        assert scheme.refusal(headers, body) == "signature_invalid"


@pytest.mark.parametrize("named", SCHEMES)
def test_a_request_without_one_of_its_headers_is_not_signed(named: str) -> None:
    scheme = SCHEMES[named]
    headers = scheme.sign(scheme.keys[0], BODY, NOW)
    for name in headers:
        assert scheme.refusal({**headers, name: ""}) == "signature_missing"
    assert scheme.refusal({}) == "signature_missing"


@pytest.mark.parametrize("named", STAMPED)
@pytest.mark.parametrize(
    ("offset_s", "taken"), [(0, True), (299, True), (-299, True), (302, False), (-302, False), (86_400, False)]
)
def test_a_replayed_or_future_dated_request_is_refused(named: str, offset_s: int, taken: bool) -> None:
    scheme = STAMPED[named]
    headers = scheme.sign(scheme.keys[0], BODY, NOW + timedelta(seconds=offset_s))
    if taken:
        assert scheme.takes(headers)
    else:
        assert scheme.refusal(headers) == "timestamp_out_of_range"


@pytest.mark.parametrize("named", SCHEMES)
def test_a_body_that_is_no_text_is_checked_byte_by_byte(named: str) -> None:
    body = bytes(range(128))
    scheme = SCHEMES[named]
    assert scheme.takes(scheme.sign(scheme.keys[0], body, NOW), body)


@pytest.mark.parametrize(("named", "key"), [("standard", "plain"), ("stripe", ""), ("marqeta", "plain"), ("marqeta", "{}")])
def test_a_secret_of_ours_that_cannot_be_one_is_a_fault_of_ours_and_is_not_shown(named: str, key: str) -> None:
    scheme = SCHEMES[named]
    with pytest.raises(BrokenInvariantError) as fault:
        scheme.takes(scheme.sign(scheme.keys[0], BODY, NOW), keys=[key])
    assert not key or key not in str(fault.value)


# Lithic


def test_lithics_own_library_takes_what_we_take() -> None:
    now = datetime.now(UTC)
    headers = sign_standard(STANDARD_KEYS[0], BODY, now)
    Lithic(api_key="none").webhooks.verify_signature(BODY, headers, secret=STANDARD_KEYS[0])
    assert SCHEMES["lithic"].takes(headers, now=now)


def test_lithics_older_header_names_are_read_and_never_mixed_with_the_newer() -> None:
    headers = sign_standard(STANDARD_KEYS[0], BODY, NOW)
    older = {name.replace("webhook-", "svix-"): value for name, value in headers.items()}
    assert SCHEMES["lithic"].takes(older)
    assert SCHEMES["lithic"].refusal({**older, "webhook-id": "msg_1"}) == "signature_missing"
    assert SCHEMES["standard"].refusal(older) == "signature_missing"


# Stripe


def test_stripes_own_library_takes_what_we_take() -> None:
    at = int(time.time())
    header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), STRIPE_KEYS[0], at)
    assert stripe.WebhookSignature.verify_header(BODY, header, STRIPE_KEYS[0], 300)
    assert SCHEMES["stripe"].takes({"stripe-signature": header}, now=datetime.fromtimestamp(at, UTC))


def test_one_good_signature_of_several_is_enough_and_test_signatures_do_not_count() -> None:
    (header,) = sign_stripe(STRIPE_KEYS[0], BODY, NOW).values()
    stamp, _, signature = header.partition(",")
    good = signature.removeprefix("v1=")
    assert SCHEMES["stripe"].takes({"stripe-signature": f"{stamp},v1={'0' * 64},v1={good},v0={'1' * 64}"})
    assert SCHEMES["stripe"].refusal({"stripe-signature": f"{stamp},v0={good}"}) == "signature_invalid"
    many = ",".join([f"v1={'0' * 64}"] * 1_000)
    assert SCHEMES["stripe"].refusal({"stripe-signature": f"{stamp},{many},v1={good}"}) == "signature_invalid"


@pytest.mark.parametrize(
    "header", ["t=", "t=abc,v1=00", "v1=00", "t=1,t=2,v1=00", "t=1e3,v1=0", "garbage", "t=-1,v1=0", "t=1,v1"]
)
def test_a_stripe_header_that_cannot_be_read_is_refused(header: str) -> None:
    assert SCHEMES["stripe"].refusal({"stripe-signature": header}) in {"signature_invalid", "timestamp_out_of_range"}


# Marqeta

# By another implementation: openssl dgst -sha256 -hmac / -sha1 -hmac.
VECTOR = b'{"transactions":[]}'
VECTORS = ["f97b6b03c181b491b9b14b08d171cb66ca65e5c40df320c25c0374ece54fadc8", "24c55cabf6c3010a36372526412c13284883a730"]


@pytest.mark.parametrize("signature", VECTORS)
def test_both_of_marqetas_algorithms_are_taken(signature: str) -> None:
    headers = {**sign_marqeta(MARQETA_KEYS[0], VECTOR, NOW), "X-Marqeta-Signature": signature}
    assert SCHEMES["marqeta"].takes(headers, VECTOR)


def test_marqetas_signature_does_not_do_without_its_password_nor_the_reverse() -> None:
    right = sign_marqeta(MARQETA_KEYS[0], BODY, NOW)
    other = sign_marqeta(MARQETA_KEYS[1], BODY, NOW)
    mixed = {**right, "Authorization": other["Authorization"]}
    assert SCHEMES["marqeta"].refusal(mixed) == "signature_invalid"
    login = base64.b64encode(b"cardwright:guessed").decode()
    assert SCHEMES["marqeta"].refusal({**right, "Authorization": f"Basic {login}"}) == "signature_invalid"
    for unreadable in ("Basic ?", f"Bearer {login}", f"Basic {login}é"):
        assert SCHEMES["marqeta"].refusal({**right, "Authorization": unreadable}) == "signature_invalid"
    assert SCHEMES["marqeta"].refusal({**right, "X-Marqeta-Signature": hashlib.sha512(BODY).hexdigest()}) == "signature_invalid"
