"""The quick reader of authorization requests against the model: it leaves a request alone or reads it as the model does."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardwright.kernel import jsontext
from cardwright.kernel.errors import InvalidRequestError
from functions.authorizations import shapes
from tests.pans import pan

# What stands in a field by right, and what a stranger may put there.
_IDS = st.sampled_from(["auth_1", "a" * 128, "a" * 129, "", "with space", "{tag}", "line\n", "\u00e9", "card|1", "~!"])
_TEXTS = st.sampled_from(
    [
        "Corner Shop",
        "",
        "\u00c9picerie",
        "x" * 200,
        "x" * 201,
        "shop 1234567890",
        pan(),
        " ".join(pan()),
        "\uff14" * 16,
        "\u2460" * 13,
    ]
) | st.text(max_size=30)
_ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-2, 10**14) | st.just([]) | st.just({}) | st.just(["USD"]) | st.just("")
)
_DEGREES = st.decimals(-200, 200, places=3) | st.integers(-200, 200) | st.sampled_from([Decimal("1E+30"), "45.5", True, "x"])
_MERCHANTS = st.fixed_dictionaries(
    {"category_code": st.sampled_from(["5411", "5411", "541", "54111", "54a1", "\u0665\u0664\u0661\u0661", "5411\n"]) | _ODD},
    optional={
        "id": _TEXTS | _ODD,
        "name": _TEXTS | _ODD,
        "city": _TEXTS | _ODD,
        "country": st.sampled_from(["FR", "FRA", "XX", "fr", "F", "FRAN", "FR\n"]) | _ODD,
        "latitude": _DEGREES | _ODD,
        "longitude": _DEGREES | _ODD,
        "unknown": _ODD,
    },
)
_AMOUNTS = st.sampled_from(
    [
        "42.10",
        "0",
        "0.00",
        "9999999999.99",
        "10000000000",
        "1.234",
        "-1",
        "1e3",
        "01",
        "",
        "NaN",
        Decimal("42.10"),
        Decimal("1E+3"),
    ]
)
_CURRENCIES = st.sampled_from(["USD", "USD", "EUR", "JPY", "BHD", "usd", "XXX", "US", "USD "])
_REQUESTS = st.fixed_dictionaries(
    {
        "authorization_id": _IDS | _ODD,
        "card_token": _IDS | _ODD,
        "amount": _AMOUNTS | _ODD,
        "currency": _CURRENCIES | _ODD,
        "merchant": _MERCHANTS | _ODD,
    },
    optional={
        "type": st.sampled_from(["authorization", "incremental", "refund"]) | _ODD,
        "original_authorization_id": _IDS | _ODD,
        "merchant_amount": _AMOUNTS | _ODD,
        "merchant_currency": _CURRENCIES | _ODD,
        "partial_approval": st.sampled_from([True, False, 1, 0, "true"]) | _ODD,
        "channel": st.sampled_from(["ecommerce", "atm", "post", "ATM"]) | _ODD,
        "device_id": _TEXTS | _ODD,
        "ip": st.sampled_from(["192.0.2.1", "2001:DB8::1", "192.0.2.256", "192.0.2.1/24", "fe80::1%eth0"]) | _ODD,
        "occurred_at": st.sampled_from(
            ["2026-11-21T10:00:00Z", "2026-11-21t10:00:00+01:00", "2026-11-21T10:00:00", "2026-13-21T10:00:00Z", "z" * 41, "now"]
        )
        | _ODD,
        "unknown": _ODD,
    },
)
_USUAL: dict[str, Any] = {
    "authorization_id": "auth_1",
    "card_token": "card_1",
    "type": "authorization",
    "amount": "42.10",
    "currency": "USD",
    "merchant_amount": "39.00",
    "merchant_currency": "EUR",
    "partial_approval": False,
    "merchant": {
        "id": "m_1", "name": "Corner Shop", "category_code": "5411", "city": "Lyon", "country": "FR",
        "latitude": Decimal("45.76"), "longitude": Decimal("4.83"),
    },
    "channel": "ecommerce",
    "device_id": None,
    "ip": "192.0.2.1",
    "occurred_at": "2026-11-21T10:00:00Z",
}  # fmt: skip
_FIELDS = [*_USUAL, "original_authorization_id"]


def _compare(value: Any) -> None:
    read = shapes.read_usual(value)
    if read is not None:
        by_model = shapes.read_any(value)
        assert read == by_model
        assert [str(getattr(read, name)) for name in ("amount", "merchant_amount", "merchant", "ip")] == [
            str(getattr(by_model, name)) for name in ("amount", "merchant_amount", "merchant", "ip")
        ]


@settings(max_examples=400)
@given(_REQUESTS)
def test_what_is_read_quickly_is_read_as_the_model_reads_it(value: dict[str, Any]) -> None:
    _compare(value)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(_FIELDS), _IDS | _TEXTS | _AMOUNTS | _CURRENCIES | _DEGREES | _ODD, max_size=2), st.data())
def test_odd_fields_in_a_usual_request_are_read_as_the_model_reads_them(odd: dict[str, Any], data: st.DataObject) -> None:
    value = {**_USUAL, **odd}
    if isinstance(value["merchant"], dict) and data.draw(st.booleans()):
        value["merchant"] = {**_USUAL["merchant"], **data.draw(_MERCHANTS)}
    _compare(value)


@given(st.recursive(_ODD | _TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3)))
def test_what_is_no_request_at_all_is_left_to_the_model(value: Any) -> None:
    assert shapes.read_usual(value) is None
    with pytest.raises(InvalidRequestError) as refused:
        shapes.read_any(value)
    assert refused.value.code == "request_malformed"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"type": "incremental", "original_authorization_id": "auth_0"},
        {"merchant": {"category_code": "5411"}, "channel": None, "merchant_amount": None, "merchant_currency": None},
        {"partial_approval": True, "device_id": "device", "occurred_at": "2026-11-21T10:00:00+01:00"},
    ],
)
def test_the_usual_request_needs_no_model(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    value = {**_USUAL, **change}
    expected = shapes.read_any(value)
    monkeypatch.setattr(shapes, "read_any", None)
    assert shapes.parse(_sent(value)) == expected


def _sent(value: Any) -> bytes:
    """JSON with decimals as numbers."""
    body = json.dumps(value, default=lambda number: f"#{number}#").replace('"#', "").replace('#"', "").encode()
    assert jsontext.parse(body) == value
    return body
