"""Templates: what each needs, and its words in the reader's language, manner and time zone.

They stand in files (templates/<locale>/<template>.toml) and are filled by jinja2, sandboxed and strict: a template that names
what it is not given fails, which a test over all of them would find before anybody's message does.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cardwright.kernel.errors import BrokenInvariantError, FieldError, FieldValueError, InvalidFieldsError, UnprocessableError
from cardwright.kernel.money import parse_amount
from cardwright.kernel.secret import holds_card_number
from cardwright.notifications.rules.names import shown_name
from cardwright.notifications.rules.wishes import LOCALES, Category

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

TEXT_MAX = 200
DEVICE_CODE = "device_code"
DIGEST = "digest"
# Stands for one that a later release has no words for.
UNREADABLE = "unreadable"
_CARD = re.compile(r"[0-9]{4}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# What stands for a code nobody has words for.
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Template:
    """A template and what it is filled with: names of parameters and their kinds."""

    name: str
    needs: Mapping[str, str]
    may: Mapping[str, str]
    category: Category | None
    sendable: bool

    @property
    def kinds(self) -> dict[str, str]:
        """All parameters with their kinds."""
        return {**self.needs, **self.may}


@dataclass(frozen=True, slots=True)
class Texts:
    """A template filled: `title` and `body` for the inbox and push, the others for e-mail and SMS."""

    title: str
    body: str
    sms: str
    subject: str
    email: str


@cache
def templates() -> Mapping[str, Template]:
    """All templates by name."""
    found = {}
    for name, row in _file("index.toml").items():
        category = Category(row["category"]) if "category" in row else None
        found[name] = Template(name, row.get("needs", {}), row.get("may", {}), category, bool(row.get("sendable", False)))
    return found


def sendable(name: str, params: Mapping[str, str]) -> Template:
    """The template somebody of the staff may send with these parameters.

    Raises UnprocessableError unknown_template, InvalidFieldsError.
    """
    template = templates().get(name)
    if template is None or not template.sendable:
        raise UnprocessableError("There is no template of this name to be sent.", code="unknown_template")
    kinds = template.kinds
    errors = [
        FieldError(f"params.{one[:40]}", "parameter_unknown", f"The parameters are {', '.join(kinds) or 'none'}.")
        for one in params
        if one not in kinds
    ]
    errors += [
        FieldError(f"params.{one}", "parameter_missing", "The template needs it.") for one in template.needs if one not in params
    ]
    errors += [
        FieldError(f"params.{one}", "parameter_invalid", f"It is not of the kind {kinds[one]}.")
        for one, value in params.items()
        if one in kinds and not _fits(kinds[one], value)
    ]
    if errors:
        raise InvalidFieldsError(errors)
    return template


def render(name: str, locale: str, time_zone: str, params: Mapping[str, str]) -> Texts:
    """Fill a template. Raises BrokenInvariantError when a parameter is missing or not of its kind."""
    template = templates().get(name)
    if template is None:
        raise BrokenInvariantError(f"there is no template {name}")
    if missing := set(template.needs) - set(params):
        raise BrokenInvariantError(f"the template {name} is not given {', '.join(sorted(missing))}")
    spoken = locale if locale in LOCALES else LOCALES[0]
    values = {one: _said(kind, one, params, spoken, time_zone) for one, kind in template.kinds.items()}
    source = _compiled(spoken, name)
    return Texts(**{part: compiled.render(values).strip() for part, compiled in source.items()})


def _fits(kind: str, value: str) -> bool:
    if kind == "text":
        return 0 < len(value) <= TEXT_MAX and not holds_card_number(value) and _NOT_SHOWN.search(value) is None
    if kind == "card":
        return _CARD.fullmatch(value) is not None
    if kind == "currency":
        return _CURRENCY.fullmatch(value) is not None
    try:
        if kind == "amount":
            parse_amount(value)
        elif kind == "moment":
            return datetime.fromisoformat(value).tzinfo is not None
    except (FieldValueError, ValueError):
        return False
    return True


def _said(kind: str, name: str, params: Mapping[str, str], locale: str, time_zone: str) -> str:
    """A parameter as it is read; one that may be missing and is, is empty."""
    value = params.get(name)
    if value is None:
        return ""
    try:
        if kind == "amount":
            from babel.numbers import format_currency

            return format_currency(Decimal(value), params["currency"], locale=locale)
        if kind == "moment":
            from babel.dates import format_datetime

            return format_datetime(datetime.fromisoformat(value), "long", tzinfo=ZoneInfo(time_zone), locale=locale)
    except (ArithmeticError, KeyError, ValueError) as error:
        raise BrokenInvariantError(f"the parameter {name} is not of the kind {kind}") from error
    if kind.startswith("word:"):
        table = _words(locale)[kind.removeprefix("word:")]
        return table.get(value, table.get(_OTHER, ""))
    if kind == "name":
        name, marks = shown_name(value), _words(locale)["marks"]
        return f"{marks['opening']}{name}{marks['closing']}" if name else ""
    # No line of anybody's in a subject, nothing that turns the text.
    return value if kind == "lines" else _NOT_SHOWN.sub(" ", value)


@cache
def _environment() -> "SandboxedEnvironment":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Plain text everywhere: whoever shows it as HTML escapes it there.
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@cache
def _compiled(locale: str, name: str) -> Mapping[str, Any]:
    told = _file(f"{locale}/{name}.toml")
    source = {"title": told["title"], "body": told["body"], "sms": told["sms"]}
    source |= {"subject": told["email"]["subject"], "email": told["email"]["text"]}
    return {part: _environment().from_string(text) for part, text in source.items()}


@cache
def _words(locale: str) -> Mapping[str, Mapping[str, str]]:
    return _file(f"{locale}/words.toml")


def _file(name: str) -> dict[str, Any]:
    return tomllib.loads((files("cardwright.notifications") / "templates" / name).read_text(encoding="utf-8"))
