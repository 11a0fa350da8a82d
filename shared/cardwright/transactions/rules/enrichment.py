"""Merchants as people know them: a clean name out of a statement's descriptor, what a category code means, words to search by."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files

from cardwright.kernel.secret import holds_card_number

# What the network may have sent is longer in no field that is kept.
_LONGEST = 200
# A descriptor has a few layers of noise, not many.
_ROUNDS = 8
_HIDDEN = "****"
_LETTERS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.IGNORECASE)
_APART = re.compile(r"[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class EnrichedMerchant:
    """A merchant as it is shown. Nothing in it looks like a card number. Coordinates are decimal degrees, as text."""

    id: str | None
    name: str | None
    clean_name: str | None
    category_code: str
    category: str | None
    city: str | None
    country: str | None
    latitude: str | None
    longitude: str | None


@dataclass(frozen=True)
class _Rules:
    """The rule file, compiled (descriptors.toml)."""

    brands: tuple[tuple[re.Pattern[str], str], ...]
    prefixes: re.Pattern[str]
    endings: re.Pattern[str]
    places: re.Pattern[str]
    cities: re.Pattern[str]
    regions: re.Pattern[str]
    domain: re.Pattern[str]
    small: frozenset[str]
    words: Mapping[str, str]


def enrich(told: Mapping[str, object], category_code: str) -> EnrichedMerchant:
    """The merchant the network told of, completed: readable name, meaning of its category, place."""
    name, city = _text(told, "name"), _text(told, "city")
    return EnrichedMerchant(
        id=_text(told, "id"),
        name=name,
        clean_name=clean_name(name, city),
        category_code=category_code,
        category=category_of(category_code),
        city=city,
        country=_text(told, "country"),
        latitude=_degrees(told, "latitude"),
        longitude=_degrees(told, "longitude"),
    )


@lru_cache(maxsize=4096)
def clean_name(descriptor: str | None, city: str | None = None) -> str | None:
    """The name in a descriptor: without payment service, store number, telephone number, place and legal form, and not shouted.

    The descriptor itself where cleaning would leave nothing; None for none.
    """
    text = " ".join((descriptor or "")[:_LONGEST].split())
    if not text:
        return None
    rules = _rules()
    for _ in range(3):
        for pattern, name in rules.brands:
            if pattern.match(text):
                return name
        shorter = rules.prefixes.sub("", text, count=1).strip()
        if not shorter or shorter == text:
            break
        text = shorter
    text = _site(text, rules)
    return _in_case(_site(_side_of_star(_without_ends(text, city or "", rules)), rules), rules)


@cache
def category_of(code: str) -> str | None:
    """What a merchant category code means (ISO 18245 with the networks' additions), or None for one that nobody describes."""
    # Read once, and never on the authorization path.
    import iso18245

    try:
        found = iso18245.get_mcc(code)
    except (iso18245.InvalidMCC, iso18245.MCCNotFound, ValueError):
        return None
    told = found.iso_description or found.usda_description or found.visa_description or found.mastercard_description
    return _in_case(told, _rules()) if told else None


def search_text(told: Mapping[str, object], category_code: str, amount: Decimal) -> str:
    """The words a transaction is found by: merchant raw and clean, city, category, amount.

    Names are in it as they are written, with their accents left out, and with their signs taken apart, so that `cafe` finds
    `Café` and `netflix` finds `NETFLIX.COM`.
    """
    merchant = enrich(told, category_code)
    named = [one for one in (merchant.name, merchant.clean_name, merchant.city, merchant.category) if one]
    spoken = " ".join(named)
    plain = "".join(one for one in unicodedata.normalize("NFKD", spoken) if not unicodedata.combining(one))
    whole = [str(int(amount))] if amount == amount.to_integral_value() else []
    return " ".join([spoken, plain, _APART.sub(" ", plain), category_code, f"{amount:.2f}", *whole])


def masked(text: str | None) -> str | None:
    """Free text to show, or `****` where it may hold a card number (PCI DSS 3.4.1)."""
    return _HIDDEN if text is not None and holds_card_number(text) else text


def _text(told: Mapping[str, object], name: str) -> str | None:
    value = told.get(name)
    return None if value is None else masked(str(value)[:_LONGEST])


def _degrees(told: Mapping[str, object], name: str) -> str | None:
    """Decimal degrees to six places, some ten centimetres; with more digits they could be taken for a card number."""
    try:
        value = Decimal(str(told.get(name)))
        return str(value.quantize(Decimal("0.000001")).normalize()) if abs(value) <= 180 else None
    except ArithmeticError:
        return None


def _without_ends(text: str, city: str, rules: _Rules) -> str:
    """Take noise and places from the end, one layer after the other, but never the whole name."""
    for _ in range(_ROUNDS):
        before = text
        for pattern in (rules.endings, rules.places, rules.regions):
            text = _shortened(pattern.sub("", text, count=1), text)
        # A city alone may be a word of the name, as in Trattoria Roma.
        if " " in (without := _shortened(rules.cities.sub("", text, count=1), text)):
            text = without
        for place in (city.casefold(), _plain(city).casefold()):
            if len(place) > 2 and text.casefold().endswith(f" {place}"):
                text = _shortened(text[: -len(place)], text)
        if text == before:
            return text
    return text


def _shortened(shorter: str, text: str) -> str:
    """The shorter text if somebody could still be called so."""
    stripped = shorter.rstrip(" ,*#/:_-")
    return stripped if sum(letter.isalnum() for letter in stripped) >= 2 else text


def _side_of_star(text: str) -> str:
    """A star parts the merchant from what was bought; in front of it a few letters are a service that is not in the rules."""
    front, star, behind = (part.strip() for part in text.partition("*"))
    if not star or not any(letter.isalnum() for letter in behind):
        return text
    return front if sum(letter.isalnum() for letter in front) > 3 else behind


def _site(text: str, rules: _Rules) -> str:
    found = rules.domain.fullmatch(text)
    return found.group("name") if found and len(found.group("name")) > 1 else text


def _in_case(text: str, rules: _Rules) -> str:
    """Title case for what is written in one case alone; who chose both meant them."""
    if any(letter.isupper() for letter in text) and any(letter.islower() for letter in text):
        return text
    words = text.split(" ")
    return " ".join(_word(word, rules, inside=0 < place < len(words) - 1) for place, word in enumerate(words))


def _word(word: str, rules: _Rules, *, inside: bool) -> str:
    folded = word.casefold()
    bare = folded.strip('()[],.:;!?"')
    if bare in rules.words:
        return folded.replace(bare, rules.words[bare], 1)
    if inside and folded in rules.small:
        return folded
    if _ORDINAL.fullmatch(word):
        return folded
    return _LETTERS.sub(lambda found: _capitalized(found.group(), rules), word)


def _capitalized(letters: str, rules: _Rules) -> str:
    known = rules.words.get(letters.casefold())
    if known is not None:
        return known
    # Initials and the like have no vowel in them.
    if 1 < len(letters) <= 4 and not set(letters.casefold()) & set("aeiouyàáâäåæèéêëìíîïòóôöøùúûü"):
        return letters.upper()
    head, sign, tail = letters[:1].upper(), "", letters[1:].lower()
    # O'Reilly, L'Oréal; but Joe's.
    if len(letters) > 3 and letters[1] in "'\u2019":
        sign, tail = letters[1], letters[2:3].upper() + letters[3:].lower()
    return head + sign + tail


def _plain(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))


@cache
def _rules() -> _Rules:
    told = tomllib.loads(files("cardwright.transactions").joinpath("descriptors.toml").read_text("utf-8"))
    places, regions = "|".join(map(re.escape, told["cities"])), "|".join(map(re.escape, told["regions"]))
    domains = "|".join(map(re.escape, told["domains"]))
    return _Rules(
        brands=tuple((re.compile(one["pattern"], re.IGNORECASE), one["name"]) for one in told["brands"]),
        prefixes=re.compile(f"^(?:{'|'.join(told['prefixes'])})", re.IGNORECASE),
        endings=re.compile(f"(?:{'|'.join(told['endings'])})$", re.IGNORECASE),
        places=re.compile(rf"[ ,]+(?:{places})(?:[ ,]+(?:{regions})){{1,2}}$", re.IGNORECASE),
        cities=re.compile(rf"[ ,]+(?:{places})$", re.IGNORECASE),
        # Letters of a state stand for it behind a number or an address; elsewhere they may be a word of the name.
        regions=re.compile(rf"(?:(?<=\d)|(?<=\.com))[ ,]+(?:{regions})$", re.IGNORECASE),
        domain=re.compile(rf"(?:https?://)?(?:www\.)?(?P<name>[\w-]+)\.(?:{domains})(?:/\S*)?", re.IGNORECASE),
        small=frozenset(told["small"]),
        words={word.casefold(): word for word in told["words"]},
    )
