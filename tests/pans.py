"""Card numbers for tests, made when they run: none stands in the repository (tests/house/test_secrets.py)."""


def pan(prefix: str = "424242", length: int = 16) -> str:
    """Return a number under the prefix: padded with its own digits in turn, closed by its Luhn check digit."""
    payload = (prefix * length)[: length - 1]
    total = 0
    for place, char in enumerate(reversed(payload)):
        doubled = int(char) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return payload + str(-total % 10)
