"""The doors of a reveal: a link that is good once, to a view that the processor serves."""

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from cardwright.cards.rules import Card
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.platform.postgres import Actor
from functions.cards.open_card_reveal import endpoint as open_link
from functions.cards.reveal_card import endpoint as reveal
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.card_world import NOW

PREFIX = "http://api.test/api/v1/reveals/"


def link(api: ApiWorld, token: str, card: Card) -> str:
    """Ask for a link and return the token in it."""
    answer = api.ask(reveal, token, card_id=card.card_id)
    assert answer.status == 201, answer.text
    url: str = answer.json["url"]
    return url.removeprefix(PREFIX)


def follow(api: ApiWorld, reveal_token: str) -> Answer:
    """Follow a link as a browser's frame does: without a token of access."""
    return api.ask(open_link, None, reveal_token=reveal_token)


def test_a_link_is_answered_and_nothing_of_the_card(api: ApiWorld, token: str, card: Card) -> None:
    answer = api.ask(reveal, token, card_id=card.card_id)
    assert (answer.status, set(answer.json)) == (201, {"url", "expires_at"})
    assert answer.json["expires_at"] == "2026-11-21T12:01:00.000Z"
    assert answer.headers["cache-control"] == "no-store"
    url: str = answer.json["url"]
    assert url.startswith(PREFIX)
    # Kept is the digest of the random half: the link cannot be made from the row.
    raw = base64.urlsafe_b64decode(url.removeprefix(PREFIX) + "==")
    (row,) = api.world.rows("card_reveals", card.card_id)
    assert row["digest"] == hashlib.sha256(raw[32:]).digest()
    assert raw[32:] not in row.values()


def test_the_link_leads_to_the_processors_view_once(api: ApiWorld, token: str, card: Card) -> None:
    secret = link(api, token, card)
    answer = follow(api, secret)
    assert (answer.status, answer.text) == (303, "")
    assert answer.headers["location"] == "https://processor.test/embed/1"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert api.world.processor.reveals == [(card.processor_card_token, NOW + timedelta(seconds=60), ())]
    again = follow(api, secret)
    assert (again.status, again.json["code"]) == (410, "reveal_gone")
    assert len(api.world.processor.reveals) == 1


def test_configured_origins_may_frame_the_view_and_are_told_to_the_processor(api: ApiWorld, token: str, card: Card) -> None:
    api.settings = replace(api.settings, cors_origins=frozenset({"https://b.example", "https://a.example"}))
    answer = follow(api, link(api, token, card))
    policy = "default-src 'none'; frame-ancestors https://a.example https://b.example"
    assert answer.headers["content-security-policy"] == policy
    assert api.world.processor.reveals[-1][2] == ("https://a.example", "https://b.example")


def test_without_a_fresh_second_factor_there_is_no_link(api: ApiWorld, holder: Actor, card: Card) -> None:
    answer = api.ask(reveal, api.let_in(holder, stepped_up=False), card_id=card.card_id)
    assert (answer.status, answer.json["code"]) == (403, "step_up_required")
    assert api.world.rows("card_reveals", card.card_id) == []


@pytest.mark.parametrize("role", ["support", "admin", "compliance_officer", "merchant"])
def test_nobody_but_cardholders_is_given_a_link(api: ApiWorld, card: Card, role: str) -> None:
    answer = api.ask(reveal, api.let_in(api.world.add_user(role)), card_id=card.card_id)
    assert (answer.status, answer.json["code"]) == (403, "role_not_allowed")


def test_anothers_card_and_no_card_are_the_same(api: ApiWorld, card: Card) -> None:
    stranger = api.let_in(api.world.add_user())
    for card_id in (card.card_id, uuid4()):
        answer = api.ask(reveal, stranger, card_id=card_id)
        assert (answer.status, answer.json["code"]) == (404, "card_not_found")


def test_a_field_that_is_not_known_is_refused(api: ApiWorld, token: str, card: Card) -> None:
    answer = api.ask(reveal, token, {"minutes": 60}, card_id=card.card_id)
    assert (answer.status, answer.json["errors"][0]["code"]) == (422, "unknown_field")
    assert api.world.rows("card_reveals", card.card_id) == []


def test_the_eleventh_link_in_an_hour_is_refused_until_the_first_is_an_hour_old(api: ApiWorld, token: str, card: Card) -> None:
    for _ in range(10):
        link(api, token, card)
    answer = api.ask(reveal, token, card_id=card.card_id)
    assert (answer.status, answer.json["code"]) == (429, "rate_limited")
    assert (answer.headers["ratelimit-policy"], answer.headers["retry-after"]) == ('"card_reveals";q=10;w=3600', "3600")
    api.clock.at += timedelta(hours=1)
    assert api.ask(reveal, api.let_in(Actor(card.user_id, "cardholder")), card_id=card.card_id).status == 201


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (UnavailableError("gone", code="processor_unavailable"), 503),
        (ProviderRefusedError("no", code="processor_refused"), 502),
    ],
)
def test_while_the_processor_has_no_view_the_link_stays_good(
    api: ApiWorld, token: str, card: Card, fault: UnavailableError | ProviderRefusedError, status: int
) -> None:
    secret = link(api, token, card)
    api.world.processor.view_faults = [fault]
    answer = follow(api, secret)
    assert (answer.status, answer.json["code"]) == (status, fault.code)
    assert follow(api, secret).status == 303


@pytest.mark.parametrize(
    ("forged", "status"),
    [
        ("A" * 86, 410),
        ("A" * 85, 410),
        ("A" * 87, 410),
        ("A" * 5000, 410),
        ("=" * 86, 410),
        ("é" * 86, 410),
        ("", 404),
        ("a/b", 404),
    ],
)
def test_what_is_no_link_of_ours_is_gone(api: ApiWorld, forged: str, status: int) -> None:
    assert follow(api, forged).status == status
    assert api.world.processor.reveals == []


def test_a_link_with_one_character_changed_is_gone_and_the_true_one_still_good(api: ApiWorld, token: str, card: Card) -> None:
    secret = link(api, token, card)
    for position in (0, 30, 60, 85):
        other = "B" if secret[position] != "B" else "C"
        forged = secret[:position] + other + secret[position + 1 :]
        assert follow(api, forged).json["code"] == "reveal_gone"
    assert follow(api, secret).status == 303
