"""Nothing in the repository is, or looks like, what must not be there: card numbers, secrets, addresses of machines."""

import re

from cardwright.kernel.secret import luhn_valid
from tests.house.sources import text_files

# Locks and generated documents hold digests, whose digits mean nothing.
_DIGESTS = re.compile(r"requirements/.*\.txt|.*\.sha256")
_DIGITS = re.compile(r"(?<![0-9A-Fa-f._-])(?:[0-9][ -]?){12,18}[0-9](?![0-9A-Fa-f._-])")
_SECRET = re.compile(
    r"whsec_[A-Za-z0-9+/]{24,}|eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b"
)
# Written apart, so that this file keeps its own rule.
_MACHINES = re.compile(
    "|".join(
        (r"(?<![\w.])/ro" + r"ot\b", r"(?<![\w./])/wo" + r"rk/", r"/tm" + r"p/brief", r"/ho" + r"me/[a-z]", r"/Us" + r"ers/[a-z]")
    )
)
_REGISTRIES = re.compile("|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(?:org|com)", "index-" + "url")))
# Where a document or command speaks of the option that leaves addresses out.
_SPEAKS_OF_IT = {"tools/lock.py", "docs/decisions", "requirements"}


def card_numbers(name: str, text: str) -> list[str]:
    """Digits that pass for a PAN."""
    found = []
    for match in _DIGITS.finditer(text):
        digits = re.sub(r"[ -]", "", match.group(0))
        if 13 <= len(digits) <= 19 and luhn_valid(digits) and len(set(digits)) > 1:
            found.append(f"{name}: {digits[:2]}...{digits[-2:]}")
    return found


def secrets(name: str, text: str) -> list[str]:
    """Secrets in a form in which they would work."""
    return [f"{name}: {match.group(0)[:8]}" for match in _SECRET.finditer(text)]


def machine_paths(name: str, text: str) -> list[str]:
    """Paths of somebody's machine."""
    return [f"{name}: {match.group(0)}" for match in _MACHINES.finditer(text)]


def registries(name: str, text: str) -> list[str]:
    """Addresses of package registries."""
    if name.startswith(tuple(_SPEAKS_OF_IT)):
        return [f"{name}: {found.group(0)}" for found in _REGISTRIES.finditer(text) if "." in found.group(0)]
    return [f"{name}: {match.group(0)}" for match in _REGISTRIES.finditer(text)]


def test_no_card_number_is_in_the_repository() -> None:
    assert [found for name, text in text_files() if not _DIGESTS.fullmatch(name) for found in card_numbers(name, text)] == []


def test_no_secret_is_in_the_repository() -> None:
    assert [found for name, text in text_files() for found in secrets(name, text)] == []


def test_no_machine_is_named_in_the_repository() -> None:
    assert [found for name, text in text_files() for found in (*machine_paths(name, text), *registries(name, text))] == []


def test_the_rules_find_planted_violations() -> None:
    number = "4" + "111 " + "1111 " * 2 + "1111"
    assert card_numbers("a.txt", f"card {number} here") == ["a.txt: 41...11"]
    assert card_numbers("a.txt", "created 2026112110000012 id 0000000000000000") == []
    assert secrets("a.txt", "whs" + "ec_" + "A" * 32) == ["a.txt: whsec_AA"]
    assert secrets("a.txt", "AK" + "IA" + "A" * 16) == ["a.txt: AKIAAAAA"]
    assert machine_paths("a.txt", "cd /ho" + "me/ann") == ["a.txt: /ho" + "me/a"]
    assert registries("a.txt", "from https://py" + "pi.org") == ["a.txt: py" + "pi.org"]
