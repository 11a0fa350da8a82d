"""The doors of exports: a file at once or a job and its link, and the worker's handler."""

import hashlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cardwright.cards.rules import Card
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules import exports as rules
from functions.transactions import run_transaction_exports
from functions.transactions.export_card_transactions import endpoint as export
from functions.transactions.get_transaction_export import endpoint as get
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.export_world import Deadline, ExportWorld, emulated, rows

MANY = 400


class Doors(ApiWorld):
    """Doors over a world with exports."""

    def __init__(self, world: ExportWorld) -> None:
        super().__init__(world)
        self.exporting = world
        self.transaction_exports = world.exports


@pytest.fixture
def api(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    """Doors over a database of this test, as workers take whatever is due; an answer holds 20 kB."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(rules, "INLINE_MAX_BYTES", 20_000)
    with emulated():
        world = ExportWorld(fresh_database)
        yield Doors(world)
        world.close()


@pytest.fixture
def holder(api: Doors) -> Actor:
    """A cardholder."""
    return api.world.add_user()


@pytest.fixture
def card(api: Doors, holder: Actor) -> Card:
    """A card whose history is too long for one answer."""
    return api.exporting.used_card(holder, MANY)


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and code of a problem."""
    return answer.status, answer.json["code"]


def test_a_short_history_is_a_file_at_once(api: Doors, holder: Actor) -> None:
    card = api.world.issue(holder)
    api.world.pay(card, "12.34")
    answer = api.ask(export, api.let_in(holder), card_id=card.card_id, format="csv")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="transactions-{card.card_id}-2026-11-21.csv"'
    assert answer.headers["cache-control"] == "no-store"
    (row,) = rows(answer.text)
    assert (row["amount"], row["merchant_name"], row["merchant_category"]) == ("12.34", "Corner Shop", "5411")
    assert row["merchant_category_name"].startswith("Groc")
    assert answer.text == rules.header() + answer.text.splitlines(keepends=True)[1]


def test_a_card_that_was_never_used_gives_the_header_alone(api: Doors, holder: Actor) -> None:
    answer = api.ask(export, api.let_in(holder), card_id=api.world.issue(holder).card_id)
    assert (answer.status, answer.text) == (200, rules.header())


def test_a_long_history_is_a_job_with_a_place_and_ends_with_a_link(api: Doors, holder: Actor, card: Card) -> None:
    token = api.let_in(holder)
    sent = api.ask(export, token, card_id=card.card_id)
    job = sent.json
    assert (sent.status, sent.headers["location"]) == (
        202,
        f"/api/v1/cards/{card.card_id}/transactions/export/{job['id']}",
    )
    assert job == {
        "id": job["id"],
        "status": "QUEUED",
        "progress": {"done": 0, "total": MANY},
        "created_at": "2026-11-21T12:00:00.000Z",
        "finished_at": None,
    }
    assert api.ask(get, token, card_id=card.card_id, job_id=job["id"]).json == job
    api.exporting.run()
    done = api.ask(get, token, card_id=card.card_id, job_id=job["id"]).json
    result = done.pop("result")
    file = b"".join(api.exporting.objects.read(f"transactions/{job['id']}.csv"))
    assert done == {
        **job,
        "status": "DONE",
        "progress": {"done": MANY, "total": MANY},
        "finished_at": "2026-11-21T12:00:00.000Z",
    }
    assert result.pop("url").startswith("https://cardwright-test-exports.s3.")
    assert result == {
        "expires_at": "2026-11-21T12:15:00.000Z",
        "rows": MANY,
        "bytes": len(file),
        "sha256": hashlib.sha256(file).hexdigest(),
    }


def test_a_failed_job_says_so_by_a_code(api: Doors, holder: Actor, card: Card) -> None:
    token = api.let_in(holder)
    job = api.ask(export, token, card_id=card.card_id).json
    for _ in range(rules.TRIES):
        api.exporting.objects.faults = [ZeroDivisionError("inside")]
        api.exporting.run()
        api.exporting.later(minutes=10)
    failed = api.ask(get, token, card_id=card.card_id, job_id=job["id"]).json
    assert (failed["status"], failed["error"]) == ("FAILED", {"code": "internal_error"})
    assert "result" not in failed


def test_filters_of_the_list_hold_for_the_file(api: Doors, holder: Actor, card: Card) -> None:
    asked: dict[str, Any] = {"min_amount": "3.95", "max_amount": "3.99", "status": "AUTHORIZED", "to": "2026-11-21T12:00:00Z"}
    answer = api.ask(export, api.let_in(holder), card_id=card.card_id, **asked)
    assert [row["amount"] for row in rows(answer.text)] == ["3.99", "3.98", "3.97", "3.96", "3.95"]
    searched = api.ask(export, api.let_in(holder), card_id=card.card_id, q="shop 399")
    assert [row["merchant_name"] for row in rows(searched.text)] == ["Corner Shop 399"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"format": "pdf"}, "format"),
        ({"status": "GONE"}, "status"),
        ({"min_amount": "a lot"}, "min_amount"),
        ({"merchant_category": "54"}, "merchant_category"),
        ({"from": "yesterday"}, "from"),
        ({"limit": "10"}, "limit"),
    ],
)
def test_a_bad_filter_is_named(api: Doors, holder: Actor, asked: dict[str, Any], field: str) -> None:
    answer = api.ask(export, api.let_in(holder), card_id=api.world.issue(holder).card_id, **asked)
    assert answer.status == 422
    assert field in {error["field"] for error in answer.json["errors"]}


def test_others_cards_and_jobs_are_not_found(api: Doors, holder: Actor, card: Card) -> None:
    owner, stranger = api.let_in(holder), api.let_in(api.world.add_user())
    job_id = api.ask(export, owner, card_id=card.card_id).json["id"]
    assert refusal(api.ask(export, stranger, card_id=card.card_id)) == (404, "card_not_found")
    assert refusal(api.ask(get, stranger, card_id=card.card_id, job_id=job_id)) == (404, "card_not_found")
    another = api.world.issue(holder)
    missing = (404, "transaction_export_not_found")
    assert refusal(api.ask(get, owner, card_id=another.card_id, job_id=job_id)) == missing
    assert refusal(api.ask(get, owner, card_id=card.card_id, job_id=api.ids.new())) == missing
    assert refusal(api.ask(export, None, card_id=card.card_id)) == (401, "token_missing")


def test_the_sixth_open_job_is_refused(api: Doors, holder: Actor, card: Card) -> None:
    token = api.let_in(holder)
    for cents in range(1, 6):
        assert api.ask(export, token, card_id=card.card_id, min_amount=f"0.0{cents}").status == 202
    assert refusal(api.ask(export, token, card_id=card.card_id, min_amount="0.06")) == (409, "too_many_exports")


def test_a_file_that_is_kept_no_longer_is_gone(api: Doors, holder: Actor, card: Card) -> None:
    token = api.let_in(holder)
    job_id = api.ask(export, token, card_id=card.card_id).json["id"]
    api.exporting.run()
    api.exporting.later(days=7)
    assert refusal(api.ask(get, token, card_id=card.card_id, job_id=job_id)) == (410, "transaction_export_expired")


def test_the_worker_runs_until_its_minute_is_over(api: Doors, holder: Actor, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    api.ask(export, api.let_in(holder), card_id=card.card_id)
    deadline = Deadline()
    root = SimpleNamespace(export_runs=api.exporting.runner(deadline))
    monkeypatch.setattr(run_transaction_exports, "_workers", lambda: root)
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: deadline() * 1000)
    assert run_transaction_exports.handler({}, cast(Any, context)) == {"exports": 1}
    assert json.dumps(run_transaction_exports.handler({}, cast(Any, context))) == '{"exports": 0}'
