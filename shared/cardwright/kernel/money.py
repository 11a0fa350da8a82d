"""Money: Decimal amounts with an ISO 4217 currency; never float (columns are NUMERIC(12,2))."""

import re
from decimal import Decimal

from cardwright.kernel.errors import FieldValueError

# ISO 4217 active codes by number of minor digits. Three-digit currencies do not fit NUMERIC(12,2) and are refused by name.
ZERO_DIGIT = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
THREE_DIGIT = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
TWO_DIGIT = frozenset(
    (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE "
        "CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR "
        "KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB "
        "PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY "
        "TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ).split()
)
CURRENCIES = TWO_DIGIT | ZERO_DIGIT
MAX_AMOUNT = Decimal("9999999999.99")
CENT = Decimal("0.01")
# Plain decimal notation only: no sign, exponent, NaN, infinity, group separators or other scripts' digits.
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,2})?", re.ASCII)


class MoneyError(FieldValueError):
    """An amount or currency breaks a rule."""


def check_currency(code: str) -> str:
    """Return the code when it is an ISO 4217 currency we can hold. Raises MoneyError currency_unknown / currency_unsupported."""
    if code in THREE_DIGIT:
        raise MoneyError("currency_unsupported", f"{code} has three minor digits and is not supported.")
    if code not in CURRENCIES:
        raise MoneyError("currency_unknown", "The currency is not an ISO 4217 code.")
    return code


def parse_amount(value: object) -> Decimal:
    """Read an amount from a decimal string, int or Decimal (JSON numbers arrive as Decimal from their text).

    Returns a Decimal with two decimals, 0.00 to 9999999999.99. Raises MoneyError amount_invalid for floats, signs, exponents,
    NaN, infinity, more than two decimals and anything else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise MoneyError("amount_invalid", "An amount is a decimal string such as 12.34.")
    if isinstance(value, Decimal):
        text = str(value)
    elif isinstance(value, int):
        if value < 0 or value > MAX_AMOUNT:
            raise MoneyError("amount_invalid", "The amount is out of range.")
        text = str(value)
    else:
        text = value
    if len(text) > 13 or _AMOUNT.fullmatch(text) is None:
        raise MoneyError("amount_invalid", "An amount is a decimal string with at most two decimals, such as 12.34.")
    return Decimal(text).quantize(CENT)


def check_minor_digits(amount: Decimal, currency: str) -> Decimal:
    """Return the amount when it is whole for zero-digit currencies such as JPY. Raises MoneyError amount_not_whole."""
    if currency in ZERO_DIGIT and amount != amount.to_integral_value():
        raise MoneyError("amount_not_whole", f"Amounts in {currency} have no minor digits.")
    return amount
