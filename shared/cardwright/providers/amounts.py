"""Amounts as vendors take them: whole numbers of a currency's minor units."""

from decimal import Decimal

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.money import ZERO_DIGIT


def minor_units(amount: Decimal, currency: str) -> int:
    """Return an amount in minor units (cents; whole yen), exactly. Raises BrokenInvariantError for a part of a minor unit."""
    scaled = amount if currency in ZERO_DIGIT else amount * 100
    if scaled != scaled.to_integral_value():
        raise BrokenInvariantError("an amount has more decimals than its currency")
    return int(scaled)
