"""Card numbers: 16 digits under a BIN with a valid Luhn check digit."""

import secrets
from typing import Final

_LENGTH: Final = 16
_LARGEST_DIGIT: Final = 9


def luhn_digit(payload: str) -> str:
    """The check digit that makes `payload` and it pass the Luhn test (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, character in enumerate(reversed(payload)):
        digit = int(character)
        if place % 2 == 0:
            digit *= 2
            if digit > _LARGEST_DIGIT:
                digit -= _LARGEST_DIGIT
        total += digit
    return str(-total % 10)


def new_pan(bin_digits: str) -> str:
    """A random card number under the BIN; whether it is free is for the caller to find out."""
    room = _LENGTH - 1 - len(bin_digits)
    payload = bin_digits + f"{secrets.randbelow(10**room):0{room}d}"
    return payload + luhn_digit(payload)
