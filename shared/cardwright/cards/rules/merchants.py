"""Merchant categories: ISO 18245 codes, and named groups of them for who does not want to look codes up.

Codes and their meanings are those of ISO 18245:2003 with the additions of the card schemes. 3000 to 3999 is left by the standard
to private use; the schemes number airlines (3000 to 3350), car rentals (3351 to 3500) and hotels (3501 to 3999) there, one code a
company and new ones each year, so groups hold these ranges whole.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final


def _range(first: int, last: int) -> frozenset[str]:
    return frozenset(f"{code:04d}" for code in range(first, last + 1))


def _codes(text: str) -> frozenset[str]:
    # With commas: a row of codes parted by spaces alone may read as a card number.
    return frozenset(text.split(", "))


# Air carriers, by company and unnamed.
_AIRLINES = _range(3000, 3350) | _codes("4511")
# Cars, trucks and motor homes for hire, by company and unnamed.
_CAR_RENTAL = _range(3351, 3500) | _codes("7512, 7513, 7519")
# Hotels and motels by company and unnamed, timeshares, camps, camp-sites.
_HOTELS = _range(3501, 3999) | _codes("7011, 7012, 7032, 7033")
# Railways, commuter transport, taxis, buses, tolls, other transport, parking.
_TRANSPORT = _codes("4011, 4111, 4112, 4121, 4131, 4784, 4789, 7523")

CATEGORY_GROUPS: Final[dict[str, frozenset[str]]] = {
    "airlines": _AIRLINES,
    "car_rental": _CAR_RENTAL,
    "hotels": _HOTELS,
    "transport": _TRANSPORT,
    # All of the above but taxis, tolls and parking, with cruise lines, airports, travel agencies and tour operators.
    "travel": _AIRLINES | _CAR_RENTAL | _HOTELS | _codes("4011, 4112, 4411, 4582, 4722, 4723, 4733, 5962"),
    # Supermarkets, meat, sweets, dairies, bakeries, convenience and speciality food.
    "groceries": _codes("5411, 5422, 5441, 5451, 5462, 5499"),
    # Caterers, restaurants, bars, fast food.
    "restaurants": _codes("5811, 5812, 5813, 5814"),
    # Service stations, automated fuel dispensers, charging of electric vehicles, fuel dealers.
    "fuel": _codes("5541, 5542, 5552, 5983"),
    # Bars, wholesale and retail of drink, tobacco.
    "alcohol_and_tobacco": _codes("5715, 5813, 5921, 5993"),
    # Lotteries, on-line casinos, races, betting.
    "gambling": _codes("7800, 7801, 7802, 7995, 9406"),
    # Inbound telemarketing (audiotext and adult content), dating and escort services, massage parlours.
    "adult": _codes("5967, 7273, 7297"),
    # Cash from a counter and from a machine.
    "cash": _codes("6010, 6011"),
    # Wire transfers and money orders, foreign and crypto currency, stored value, transfers between people.
    "crypto_and_quasi_cash": _codes("4829, 6050, 6051, 6532, 6533, 6536, 6537, 6538, 6540"),
    # Goods and services of banks, securities, insurance.
    "financial": _codes("5960, 6012, 6211, 6300, 6381, 6399"),
    # Courts, fines, bail, taxes, embassies, post, other services of a government.
    "government": _codes("9211, 9222, 9223, 9311, 9399, 9400, 9402, 9405"),
    # Ambulances, medical equipment, drugs and pharmacies, aids, everybody who treats.
    "healthcare": _codes("4119, 5047, 5122, 5912, 5975, 5976, 7280, 8011, 8021")
    | _codes("8031, 8041, 8042, 8043, 8044, 8049, 8050, 8062, 8071, 8099"),
    # Films, music, games, theatre, sport, parks, clubs and other recreation; betting is gambling.
    "entertainment": _codes("5815, 5816, 7829, 7832, 7841, 7911, 7922, 7929, 7932")
    | _codes("7933, 7941, 7991, 7992, 7993, 7994, 7996, 7997, 7998, 7999"),
    # Media, games, applications and other goods that are only downloaded.
    "digital_goods": _codes("5815, 5816, 5817, 5818"),
    # Clothes and shoes.
    "clothing": _codes("5611, 5621, 5631, 5641, 5651, 5655, 5661, 5681, 5691, 5697, 5698, 5699"),
    # Computers, telephones, household appliances, electronics, software.
    "electronics": _codes("4812, 5045, 5722, 5732, 5734, 5946"),
    # Telephone, network, television, electricity, gas, water.
    "utilities": _codes("4813, 4814, 4815, 4816, 4821, 4899, 4900"),
    # Schools, universities, courses, child care.
    "education": _codes("8211, 8220, 8241, 8244, 8249, 8299, 8351"),
}


def known_merchant_category(entry: str) -> bool:
    """True for a named group, and for a code that ISO 18245 or a card scheme gives a meaning."""
    return entry in CATEGORY_GROUPS or entry in _known_codes()


def category_codes(entries: Iterable[str]) -> frozenset[str]:
    """All codes that codes and groups stand for. What is neither stands for itself, which no merchant's code is."""
    codes: set[str] = set()
    for entry in entries:
        codes |= CATEGORY_GROUPS.get(entry, {entry})
    return frozenset(codes)


@cache
def _known_codes() -> frozenset[str]:
    # Only who writes a list needs the tables; an authorization is decided without them.
    import iso18245

    return frozenset(category.mcc for category in iso18245.get_all_mccs())
