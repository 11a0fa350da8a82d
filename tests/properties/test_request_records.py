"""A request is read back from its row as it was asked, and its digest tells it from every other."""

import json
from dataclasses import fields, replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cardwright.authorizations.rules import AuthorizationRequest, Merchant
from cardwright.authorizations.service.records import read_request, request_digest, write_detail
from cardwright.platform.postgres import Row

IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="{}"), min_size=1, max_size=20)
# JSON that we accept holds neither NUL nor lone surrogates.
TEXTS = st.none() | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
DEGREES = st.none() | st.decimals(Decimal(-90), Decimal(90), allow_nan=False)
AMOUNTS = st.decimals(Decimal("0.00"), Decimal("9999999999.99"), places=2)
REQUESTS = st.builds(
    AuthorizationRequest,
    authorization_id=IDS,
    card_token=IDS,
    type=st.sampled_from(["authorization", "incremental"]),
    amount=AMOUNTS,
    currency=st.sampled_from(["USD", "EUR"]),
    merchant=st.builds(
        Merchant,
        category_code=st.sampled_from(["5411", "7995"]),
        id=TEXTS,
        name=TEXTS,
        city=TEXTS,
        country=st.sampled_from([None, "FR", "US"]),
        latitude=DEGREES,
        longitude=DEGREES,
    ),
    channel=st.sampled_from([None, "chip", "atm"]),
    original_authorization_id=st.none() | IDS,
    merchant_amount=st.none() | st.decimals(Decimal(0), Decimal("99999.999"), places=3),
    merchant_currency=st.sampled_from([None, "EUR", "KWD"]),
    partial_approval=st.booleans(),
    device_id=TEXTS,
    ip=st.sampled_from([None, "192.0.2.1", "2001:db8::1"]),
    occurred_at=st.sampled_from([None, "2026-11-21T10:00:00Z"]),
)


def row_of(request: AuthorizationRequest) -> Row:
    """What a row keeps of a request, as it comes back."""
    return {
        "authorization_id": request.authorization_id,
        "type": request.type,
        "amount": request.amount,
        "currency": request.currency,
        "merchant_category": request.merchant.category_code,
        "original_authorization_id": request.original_authorization_id,
        "detail": json.loads(write_detail(request)),
    }


def digest(request: AuthorizationRequest) -> bytes:
    """The digest of a request."""
    return request_digest(request, write_detail(request))


@given(REQUESTS)
def test_a_request_is_read_back_from_its_row_as_it_was_asked(request: AuthorizationRequest) -> None:
    again = read_request(row_of(request), request.card_token)
    assert again == request
    assert digest(again) == digest(request)


@given(REQUESTS, REQUESTS, st.data())
def test_whatever_one_request_says_otherwise_gives_another_digest(
    one: AuthorizationRequest, other: AuthorizationRequest, data: st.DataObject
) -> None:
    whole = data.draw(
        st.sampled_from([field.name for field in fields(one) if field.name not in ("authorization_id", "merchant")])
    )
    told = getattr(other, whole)
    assert (digest(replace(one, **{whole: told})) == digest(one)) == (told == getattr(one, whole))
    part = data.draw(st.sampled_from([field.name for field in fields(one.merchant)]))
    merchant = replace(one.merchant, **{part: getattr(other.merchant, part)})
    # Degrees are kept as they were spelled: 1.0 is told otherwise than 1.
    alike = str(getattr(merchant, part)) == str(getattr(one.merchant, part)) and merchant == one.merchant
    assert (digest(replace(one, merchant=merchant)) == digest(one)) == alike
