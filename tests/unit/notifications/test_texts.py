"""Templates: every one, in every language, filled with what events tell; nothing in a message that must not be in it."""

import re
import tomllib
from datetime import UTC, datetime
from importlib.resources import files
from uuid import UUID

import pytest

from cardwright.authorizations.rules import Reason
from cardwright.cards.rules.states import ReasonCode
from cardwright.kernel.errors import BrokenInvariantError, InvalidFieldsError, UnprocessableError
from cardwright.notifications.rules import LOCALES, plan, render, sendable, templates
from cardwright.outbox.rules import EVENT_TYPES, NOTIFICATION_REQUESTED, WEBHOOK_DISABLED, Event, for_people
from tests.pans import pan

FOLDER = files("cardwright.notifications") / "templates"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
USER = UUID(int=1)
SAMPLES = {
    "text": "blue",
    "name": "Blue",
    "lines": "one\ntwo",
    "card": "4242",
    "amount": "1234.50",
    "currency": "EUR",
    "moment": "2026-11-21T12:00:00Z",
    "word:card_reasons": "lost",
    "word:decline_reasons": "daily_limit_exceeded",
    "word:alerts": "account_locked",
    "word:webhook_causes": "gone",
}
# What nobody is told of: partners' business alone, or what the cardholder was told when it was held.
UNTOLD = {"transaction.cleared", "transaction.expired", "webhook.test"}


def event(event_type: str, **more: object) -> Event:
    """An event that tells everything any reader asks for."""
    data: dict[str, object] = {
        "last_four": "4242",
        "reason_code": "lost",
        "amount": "12.30",
        "currency": "EUR",
        "merchant": {"name": "Shop", "category_code": "5411"},
        "reason": "daily_limit_exceeded",
        "kind": "account_locked",
        "locked_until": "2026-11-21T12:30:00Z",
        "subscription_id": str(UUID(int=9)),
        "cause": "gone",
        "template": "support_answer",
        "params": {"case": "17"},
        **more,
    }
    return Event(UUID(int=2), event_type, NOW, data, USER, UUID(int=3))


@pytest.mark.parametrize("locale", LOCALES)
def test_every_template_is_there_in_every_language_and_says_what_it_is_given(locale: str) -> None:
    for name, template in templates().items():
        texts = render(name, locale, "Europe/Berlin", {one: SAMPLES[kind] for one, kind in template.kinds.items()})
        for part in ("title", "body", "sms", "subject", "email"):
            said = getattr(texts, part)
            assert said, (name, part)
            assert "{" not in said, (name, part)
        assert "\n" not in texts.subject + texts.title


@pytest.mark.parametrize("locale", LOCALES)
def test_every_template_does_without_what_may_be_missing(locale: str) -> None:
    for name, template in templates().items():
        texts = render(name, locale, "UTC", {one: SAMPLES[kind] for one, kind in template.needs.items()})
        assert not re.search(r"  | \.|: *$", texts.body + texts.subject), name


def test_no_file_is_there_without_its_template_and_languages_have_the_same_words() -> None:
    words = []
    for locale in LOCALES:
        names = {path.name.removesuffix(".toml") for path in (FOLDER / locale).iterdir()}
        assert names == {*templates(), "words"}
        tables = tomllib.loads((FOLDER / locale / "words.toml").read_text(encoding="utf-8"))
        words.append({table: set(rows) for table, rows in tables.items()})
    assert all(one == words[0] for one in words)


def test_every_reason_has_words_of_its_own() -> None:
    tables = tomllib.loads((FOLDER / "en" / "words.toml").read_text(encoding="utf-8"))
    assert set(tables["decline_reasons"]) - {"other"} == {reason.value for reason in Reason}
    assert set(tables["card_reasons"]) == {code.value for code in ReasonCode}


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES - UNTOLD | {WEBHOOK_DISABLED, NOTIFICATION_REQUESTED}))
def test_every_event_people_are_told_of_fills_its_template(event_type: str) -> None:
    wanted = plan(event(event_type))
    assert wanted is not None
    assert for_people(event_type)
    for locale in LOCALES:
        assert render(wanted.template, locale, "UTC", wanted.params).title


@pytest.mark.parametrize("event_type", sorted(UNTOLD | {"webhook.verification_requested", "no.such_type"}))
def test_other_events_are_told_to_nobody(event_type: str) -> None:
    assert plan(event(event_type)) is None


def test_an_event_of_nobody_is_told_to_nobody() -> None:
    told = event("card.created")
    assert plan(Event(told.event_id, told.type, told.created_at, told.data, None, told.card_id)) is None


@pytest.mark.parametrize("event_type", ["card.created", "transaction.declined", "webhook.disabled", "notification.requested"])
def test_an_event_that_tells_too_little_is_no_event(event_type: str) -> None:
    with pytest.raises(ValueError, match=r"too little|names no template"):
        plan(Event(UUID(int=2), event_type, NOW, {}, USER, None))


def test_a_missing_parameter_and_one_of_another_kind_are_errors() -> None:
    with pytest.raises(BrokenInvariantError, match="amount"):
        render("transaction_authorized", "en", "UTC", {"currency": "EUR", "at": SAMPLES["moment"]})
    with pytest.raises(BrokenInvariantError, match="amount"):
        render("transaction_authorized", "en", "UTC", {"amount": "much", "currency": "EUR", "at": SAMPLES["moment"]})
    with pytest.raises(BrokenInvariantError, match="no template"):
        render("../words", "en", "UTC", {})


def test_a_language_we_do_not_speak_any_more_is_english() -> None:
    assert render("kyc_verified", "fr", "UTC", {"at": SAMPLES["moment"]}).title == "Identity confirmed"


def test_a_code_nobody_has_words_for_is_told_in_general_words() -> None:
    params = {"amount": "1.00", "currency": "EUR", "at": SAMPLES["moment"], "reason": "brand_new_rule"}
    assert render("transaction_declined", "en", "UTC", params).body == "€1.00 was declined. The card's rules decided so."


def test_a_merchant_cannot_forge_a_line_a_direction_or_a_template() -> None:
    name = "Shop\r\nBcc: x\N{RIGHT-TO-LEFT OVERRIDE}{{ 7 * 7 }}{% for x in y %}"
    params = {"amount": "1.00", "currency": "EUR", "at": SAMPLES["moment"], "merchant": name}
    texts = render("transaction_authorized", "en", "UTC", params)
    assert texts.subject == "Purchase approved: €1.00 at \u201cShop Bcc: x 7 * 7 % for x in y %\u201d"


def test_a_name_stands_in_the_readers_own_quotation_marks_and_nothing_in_none() -> None:
    params = {
        "amount": "1.00",
        "currency": "EUR",
        "at": SAMPLES["moment"],
        "merchant": 'Evil\nYour "code" is 123456. Call +1 555',
    }
    told = "Evil Your code is 123456. Call +1 555"
    assert render("transaction_authorized", "en", "UTC", params).body == f"€1.00 at \u201c{told}\u201d."
    assert f"bei \u201e{told}\u201c." in render("transaction_authorized", "de", "UTC", params).body
    assert render("transaction_authorized", "en", "UTC", {**params, "merchant": "\u200b[]"}).body == "€1.00."


def test_who_owns_a_webhook_is_told_which_was_switched_off() -> None:
    named = event(WEBHOOK_DISABLED, description="Accounting [1]", host="hooks.example.com")
    for told, said in (
        (named, "\u201cAccounting 1\u201d (hooks.example.com)"),
        (event(WEBHOOK_DISABLED, host="hooks.example.com"), f"{UUID(int=9)} (hooks.example.com)"),
        (event(WEBHOOK_DISABLED), f"{UUID(int=9)}"),
    ):
        wanted = plan(told)
        assert wanted is not None
        texts = render(wanted.template, "en", "UTC", wanted.params)
        for part in (texts.body, texts.sms, texts.email):
            assert f"webhook subscription {said} was switched off" in part
        assert str(UUID(int=9)) in texts.email


def test_a_card_number_in_a_merchants_name_is_not_told() -> None:
    wanted = plan(event("transaction.authorized", merchant={"name": f"Shop {pan()}", "category_code": "5411"}))
    assert wanted is not None
    assert pan() not in str(wanted.params)


@pytest.mark.parametrize(
    ("name", "params", "faults"),
    [
        ("support_answer", {"case": "17"}, []),
        ("support_answer", {}, [("params.case", "parameter_missing")]),
        ("support_answer", {"case": "17", "x": "1"}, [("params.x", "parameter_unknown")]),
        ("support_answer", {"case": "1\n2"}, [("params.case", "parameter_invalid")]),
        ("support_answer", {"case": "x" * 201}, [("params.case", "parameter_invalid")]),
        ("support_answer", {"case": pan()}, [("params.case", "parameter_invalid")]),
        ("terms_changed", {"from": "tomorrow"}, [("params.from", "parameter_invalid")]),
        ("terms_changed", {"from": "2026-11-21T12:00:00"}, [("params.from", "parameter_invalid")]),
        ("terms_changed", {"from": "2026-11-21T12:00:00Z"}, []),
    ],
    ids=range(9),
)
def test_what_the_staff_sends_is_checked_against_its_template(
    name: str, params: dict[str, str], faults: list[tuple[str, str]]
) -> None:
    found: list[tuple[str, str]] = []
    try:
        sendable(name, params)
    except InvalidFieldsError as error:
        found = [(one.field, one.code) for one in error.errors]
    assert found == faults


@pytest.mark.parametrize("name", ["security_alert", "device_code", "digest", "unreadable", "words", "nothing"])
def test_what_only_we_say_cannot_be_sent_by_the_staff(name: str) -> None:
    with pytest.raises(UnprocessableError) as caught:
        sendable(name, {})
    assert caught.value.code == "unknown_template"
