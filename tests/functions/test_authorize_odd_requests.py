"""Well-formed requests that are odd all the same: for nothing, of nobody, from the future, sent again, for a part."""

import hashlib
import json
import secrets
from collections.abc import Iterator

import psycopg
import pytest

from tests.builders import SeededCard, add_card
from tests.fakes.secrets_extension import serving_secrets
from tests.functions.test_authorize_transaction import SECRETS, answer_to, body, composed, post, signed, url_event


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, cache_url: str) -> Iterator[None]:
    """The function's variables, and nothing composed before or after."""
    with serving_secrets({"inbound": {"secrets": SECRETS}}) as served, composed(monkeypatch, database_url, cache_url, served):
        yield


@pytest.fixture
def card(database_url: str) -> SeededCard:
    """An active card."""
    return add_card(database_url)


def test_a_question_for_nothing_is_answered_and_holds_nothing(card: SeededCard, database_url: str) -> None:
    status, told = post(body(card.token, amount="0"))
    assert (status, told["decision"], told["approved_amount"]) == (200, "APPROVE", "0.00")
    with psycopg.connect(database_url) as connection:
        held = connection.execute("SELECT held, day_spent FROM card_limits WHERE card_id = %s", (card.card_id,)).fetchone()
    assert held == (0, 0)


@pytest.mark.parametrize("occurred_at", ["2999-12-31T23:59:59Z", "1970-01-01T00:00:00+14:00", None])
def test_what_the_network_says_of_the_time_decides_nothing(card: SeededCard, database_url: str, occurred_at: str | None) -> None:
    status, told = post(body(card.token, occurred_at=occurred_at))
    assert (status, told["decision"]) == (200, "APPROVE")
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT decided_at = hold_expires_at - interval '7 days', day_start <= decided_at, detail ->> 'occurred_at' "
            "FROM card_transactions WHERE transaction_id = %s",
            (told["transaction_id"],),
        ).fetchone()
    assert row == (True, True, occurred_at)
    assert not told["decided_at"].startswith(("2999", "1970"))


def test_a_message_sent_again_octet_for_octet_is_one_transaction(card: SeededCard, database_url: str) -> None:
    raw = json.dumps(body(card.token)).encode()
    event = url_event(raw, signed(raw))
    answers = [answer_to(event) for _ in range(3)]
    assert answers[0][0] == 200
    assert answers[1:] == answers[:1] * 2
    with psycopg.connect(database_url) as connection:
        held = connection.execute("SELECT held, chain_seq FROM card_limits WHERE card_id = %s", (card.card_id,)).fetchone()
    assert held is not None
    assert (str(held[0]), held[1]) == ("42.10", 1)


def test_a_part_is_approved_where_one_is_welcome(card: SeededCard) -> None:
    status, told = post(body(card.token, amount="500.01", partial_approval=True))
    assert (status, told["decision"], told["reason"], told["approved_amount"]) == (200, "APPROVE", "approved", "500.00")


def test_a_token_of_nobody_is_a_decline_and_stays_out_of_what_is_kept(database_url: str) -> None:
    stranger = f"tok_{secrets.token_hex(8)}"
    status, told = post(body(stranger))
    assert (status, told["decision"], told["reason"], told["final"]) == (200, "DECLINE", "card_not_found", True)
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT u::text, card_token_digest FROM unmatched_authorizations u WHERE transaction_id = %s",
            (told["transaction_id"],),
        ).fetchone()
    assert row is not None
    assert stranger not in row[0]
    assert row[1] == hashlib.sha256(stranger.encode()).digest()


def test_more_of_what_was_never_authorized_is_decided_like_a_first_request(card: SeededCard) -> None:
    status, told = post(body(card.token, type="incremental", original_authorization_id="auth_of_nobody"))
    assert (status, told["decision"]) == (200, "APPROVE")
    status, told = post(body(card.token, type="incremental", original_authorization_id="auth_of_nobody", amount="500.01"))
    assert (status, told["reason"]) == (200, "per_transaction_limit_exceeded")
