"""Values that must never be printed: PAN, keys, passwords, tokens (PCI DSS 3.4.1: masked wherever displayed)."""

import re
import unicodedata
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
# Digits of a PAN in free text: what is shorter is no card's, what is longer neither (ISO/IEC 7812-1).
_PAN_MIN, _PAN_MAX = 13, 19
_GROUPED_DIGITS = re.compile(r"[0-9][0-9 .,:/_-]*[0-9]", re.ASCII)
_BETWEEN_GROUPS = re.compile(r"[ .,:/_-]+")


class Secret(Generic[T]):
    """Holds a value and shows `****` to str, repr, format and logging; refuses pickling. `reveal()` is the only way in."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the value itself; every call site is worth a second look."""
        return self._value

    def __repr__(self) -> str:
        return "****"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "****"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never serialized")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def luhn_valid(digits: str) -> bool:
    """True when the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    if not digits.isascii() or not digits.isdigit():
        return False
    total = 0
    for position, char in enumerate(reversed(digits)):
        value = int(char)
        if position % 2 == 1:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def holds_card_number(text: str) -> bool:
    """True when free text has what may be a PAN in it: 13 to 19 digits, perhaps in groups, with a valid check digit.

    Its cost grows with the text's length and no faster: strangers choose these texts.
    """
    # Full-width digits and fixed spaces are digits and spaces to whoever reads them.
    for run in _GROUPED_DIGITS.findall(unicodedata.normalize("NFKC", text)):
        groups = _BETWEEN_GROUPS.split(run)
        for start in range(len(groups)):
            digits = ""
            for group in groups[start : start + _PAN_MAX]:
                digits += group
                if len(digits) > _PAN_MAX:
                    break
                if len(digits) >= _PAN_MIN and luhn_valid(digits):
                    return True
    return False
