"""How long a hold lasts and how far a clearing may go over it, by merchant category (ISO 18245).

The networks' own rules differ by region and change; these are the common ones: seven days, a month where what is used is paid at
the end, a day for automated fuel; a tip or a service charge over the authorized amount, and fuel authorized before it is pumped.
"""

from datetime import datetime, timedelta
from decimal import Decimal

HOLD_DAYS = 7
_FUEL_PUMPS = "5542"
_LODGING_AND_RENTAL = frozenset({"7011", "7012", "7033", "7512", "7513", "7519", "4411"})
_TIPPED = frozenset({"5811", "5812", "5813", "5814", "4121", "7230", "7297", "7298"})
_FUEL = frozenset({"5541", _FUEL_PUMPS})
_FIFTH = Decimal("0.20")
_SEVENTH = Decimal("0.15")
# A pump asks for one unit of the currency to see that the card is good, and posts what was pumped.
_PUMP_ASKS_AT_MOST = Decimal("1.00")
_PUMP_POSTS_AT_MOST = Decimal("175.00")
_CENT = Decimal("0.01")


def hold_expires_at(merchant_category: str, decided_at: datetime) -> datetime:
    """When a hold nobody cleared is given back."""
    return decided_at + timedelta(days=hold_days(merchant_category))


def hold_days(merchant_category: str) -> int:
    """Days a hold of this category lasts."""
    if merchant_category == _FUEL_PUMPS:
        return 1
    return 31 if merchant_category in _LODGING_AND_RENTAL or _named_hotel_or_rental(merchant_category) else HOLD_DAYS


def clearing_tolerance(merchant_category: str, authorized: Decimal) -> Decimal:
    """How much over the authorized amount a clearing may be without being flagged, in the card's currency."""
    if merchant_category in _FUEL and Decimal(0) < authorized <= _PUMP_ASKS_AT_MOST:
        return _PUMP_POSTS_AT_MOST - authorized
    if merchant_category in _TIPPED:
        return (authorized * _FIFTH).quantize(_CENT)
    if merchant_category in _FUEL | _LODGING_AND_RENTAL or _named_hotel_or_rental(merchant_category):
        return (authorized * _SEVENTH).quantize(_CENT)
    return Decimal("0.00")


def _named_hotel_or_rental(code: str) -> bool:
    """3351-3500 are car rental companies and 3501-3999 hotels by name; airlines, 3000-3350, post what they asked for."""
    return "3351" <= code <= "3999"
