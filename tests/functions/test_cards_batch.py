"""The doors of batches: what clients send and see, and the worker's handler."""

import json
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cardwright.platform.postgres import Actor
from functions.cards import routes, run_card_batches
from functions.cards.create_card_batch import endpoint as create
from functions.cards.get_card_batch import endpoint as get
from tests.fakes.api_world import Answer, ApiWorld
from tests.fakes.batch_world import BatchWorld, UntilIdle
from tests.pans import pan

MIB = 1024 * 1024


class Doors(ApiWorld):
    """Doors over a world with batches."""

    def __init__(self, world: BatchWorld) -> None:
        super().__init__(world)
        self.batches = world


@pytest.fixture
def api(fresh_database: str) -> Iterator[Doors]:
    """Doors over a database of this test, as workers take whatever is due."""
    world = BatchWorld(fresh_database)
    yield Doors(world)
    world.close()


@pytest.fixture
def holder(api: Doors) -> Actor:
    """A verified cardholder."""
    return api.world.add_user()


@pytest.fixture
def token(api: Doors, holder: Actor) -> str:
    """The holder's access token, with a fresh second factor."""
    return api.let_in(holder)


def item(api: Doors, **fields: Any) -> dict[str, Any]:
    """An item of the world's program."""
    return {"currency": "USD", "program_id": str(api.world.program.program_id), **fields}


def post(api: Doors, token: str, body: Any, key: str | None = None) -> Answer:
    """Send a batch."""
    return api.ask(create, token, body, headers={"Idempotency-Key": key or str(api.ids.new())})


def ended(api: Doors, token: str, sent: Answer) -> dict[str, Any]:
    """The job of a batch after the workers had their turn."""
    assert sent.status == 202, sent.text
    api.batches.run()
    answer = api.ask(get, token, job_id=sent.json["id"])
    assert answer.status == 200
    job: dict[str, Any] = answer.json
    return job


def codes(answer: Answer) -> set[tuple[str, str]]:
    """Field errors of a problem."""
    return {(error["field"], error["code"]) for error in answer.json["errors"]}


def test_a_batch_is_a_job_with_a_place_and_ends_with_a_card_for_each_item(api: Doors, token: str) -> None:
    sent = post(api, token, {"items": [item(api, label="One", idempotency_key="team-1"), item(api)]})
    job = sent.json
    assert (sent.status, sent.headers["location"]) == (202, f"/api/v1/cards/batch/{job['id']}")
    assert job == {
        "id": job["id"],
        "status": "QUEUED",
        "progress": {"done": 0, "total": 2},
        "created_at": "2026-11-21T12:00:00.000Z",
        "finished_at": None,
    }
    waiting = api.ask(get, token, job_id=job["id"]).json["result"]
    pending = {"index": 0, "idempotency_key": "team-1", "status": "PENDING", "card": None, "error": None}
    assert (waiting["succeeded"], waiting["failed"], waiting["items"][0]) == (0, 0, pending)
    done = ended(api, token, sent)
    result = done.pop("result")
    assert done == {
        **job,
        "status": "DONE",
        "progress": {"done": 2, "total": 2},
        "finished_at": "2026-11-21T12:00:00.000Z",
    }
    first = result["items"][0]
    card_id = first["card"]["id"]
    (made,) = [card for made_for, card in api.world.processor.cards.items() if str(made_for) == card_id]
    assert first == {
        "index": 0,
        "idempotency_key": "team-1",
        "status": "SUCCEEDED",
        "card": {
            "id": card_id,
            "status": "ACTIVE",
            "last_four": made.last_four,
            "expiry_month": 11,
            "expiry_year": 2029,
            "currency": "USD",
            "label": "One",
        },
        "error": None,
    }
    assert (result["succeeded"], result["failed"], len(result["items"])) == (2, 0, 2)


def test_an_item_that_is_not_valid_fails_by_itself_with_its_fields(api: Doors, token: str) -> None:
    items = [
        item(api),
        item(api, limits={"daily": "-1"}, idempotency_key="k-1"),
        item(api, merchant_categories={"allow": ["5411"], "deny": ["5411"]}),
        item(api, limits={"daily": "10.00", "per_transaction": "11.00"}),
        item(api, body="surprise"),
        {},
        7,
        item(api, idempotency_key=""),
        item(api, idempotency_key="a\tb"),
    ]
    result = ended(api, token, post(api, token, {"items": items}))["result"]
    found = [
        None if one["error"] is None else (one["error"]["code"], *((e["field"], e["code"]) for e in one["error"]["errors"]))
        for one in result["items"]
    ]
    assert found == [
        None,
        ("invalid_fields", ("limits.daily", "amount_invalid")),
        ("invalid_fields", ("merchant_categories", "merchant_category_conflict")),
        ("invalid_fields", ("limits.per_transaction", "limit_order")),
        ("invalid_fields", ("body", "unknown_field")),
        ("invalid_fields", ("currency", "required")),
        ("invalid_fields", ("item", "invalid_type")),
        ("invalid_fields", ("idempotency_key", "too_short")),
        ("invalid_fields", ("idempotency_key", "idempotency_key_invalid")),
    ]
    assert [one["idempotency_key"] for one in result["items"]] == [None, "k-1", *[None] * 7]
    assert (result["succeeded"], result["failed"]) == (1, 8)


def test_an_error_without_fields_shows_no_list_of_them(api: Doors, token: str) -> None:
    result = ended(api, token, post(api, token, {"items": [item(api, currency="EUR")]}))["result"]
    assert result["items"][0]["error"] == {
        "code": "program_currency_mismatch",
        "detail": "Cards of this program are in USD.",
    }


def test_what_the_sender_of_a_bad_item_wrote_is_kept_nowhere(api: Doors, token: str) -> None:
    items = [item(api, label="number " + pan()), item(api, idempotency_key=pan()), item(api, **{pan(): 1})]
    sent = post(api, token, {"items": items})
    assert sent.json["status"] == "FAILED"
    job = ended(api, token, sent)
    told = [one["error"]["errors"][0]["code"] for one in job["result"]["items"]]
    assert told == ["card_number_not_allowed", "card_number_not_allowed", "unknown_field"]
    kept = api.world.sql("SELECT item_key, wish FROM card_batch_items")
    assert kept == [{"item_key": None, "wish": {}}] * 3


def test_a_result_tells_no_more_of_a_bad_item_than_fits(api: Doors, token: str) -> None:
    surprises = {f"field_{number}": 1 for number in range(100)}
    result = ended(api, token, post(api, token, {"items": [item(api, **surprises), item(api)]}))["result"]
    assert len(result["items"][0]["error"]["errors"]) == 10


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {("items", "required")}),
        ({"items": []}, {("items", "too_few_items")}),
        ({"items": [{"currency": "USD"}] * 1001}, {("items", "too_many_items")}),
        ({"items": {"currency": "USD"}}, {("items", "invalid_type")}),
        ({"items": [{"currency": "USD"}], "notify": True}, {("notify", "unknown_field")}),
        (
            {"items": [{"currency": "USD", "idempotency_key": "a"}, {"idempotency_key": "a"}, {"idempotency_key": "b"}]},
            {("items.1.idempotency_key", "duplicate_key")},
        ),
    ],
)
def test_a_batch_whose_frame_is_wrong_is_refused_as_a_whole(
    api: Doors, token: str, body: dict[str, Any], found: set[tuple[str, str]]
) -> None:
    answer = post(api, token, body)
    assert (answer.status, codes(answer)) == (422, found)
    assert api.world.sql("SELECT 1 FROM card_batches") == []


def test_the_same_key_answers_the_same_job(api: Doors, token: str) -> None:
    body = {"items": [item(api)]}
    first, again = post(api, token, body, "key-1"), post(api, token, body, "key-1")
    assert (again.status, again.text, again.headers["location"]) == (202, first.text, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    ended(api, token, again)
    assert len(api.world.processor.cards) == 1
    assert post(api, token, {"items": [item(api)] * 2}, "key-1").json["code"] == "idempotency_key_reused"


def test_a_batch_needs_a_key_a_cardholder_a_second_factor_and_a_verified_identity(api: Doors, token: str, holder: Actor) -> None:
    body = {"items": [item(api)]}
    assert api.ask(create, token, body).json["code"] == "idempotency_key_required"
    assert post(api, api.let_in(holder, stepped_up=False), body).json["code"] == "step_up_required"
    assert post(api, api.let_in(api.world.add_user("support")), body).json["code"] == "role_not_allowed"
    assert holder.user_id is not None
    api.world.kyc.statuses[holder.user_id] = "REJECTED"
    refused = post(api, token, body)
    assert (refused.status, refused.json["code"]) == (403, "kyc_required")


def test_the_eleventh_batch_of_an_hour_is_refused_and_replays_do_not_count(api: Doors, token: str) -> None:
    body = {"items": [item(api)]}
    for number in range(10):
        assert post(api, token, body, f"key-{number}").status == 202
    assert post(api, token, body, "key-3").headers["idempotency-replayed"] == "true"
    refused = post(api, token, body, "key-10")
    assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (429, "rate_limited", "3600")
    assert refused.headers["ratelimit-policy"] == '"card_batches";q=10;w=3600'
    api.world.clock.at += timedelta(hours=1)
    assert post(api, api.let_in(api.world.add_user()), body, "key-10").status == 202


def test_another_owners_job_is_not_there(api: Doors, token: str) -> None:
    job_id = post(api, token, {"items": [item(api)]}).json["id"]
    stranger = api.let_in(api.world.add_user())
    answer = api.ask(get, stranger, job_id=job_id)
    assert (answer.status, answer.json["code"]) == (404, "card_batch_not_found")
    assert api.ask(get, token, job_id=str(api.ids.new())).status == 404
    assert api.ask(get, token, job_id="7").status == 422
    assert api.ask(get, api.let_in(api.world.add_user("support")), job_id=job_id).status == 200


def test_the_largest_batch_is_taken_and_its_result_fits_an_answer(api: Doors, token: str) -> None:
    surprises = {"é" * 64 + str(number): 0 for number in range(10)}
    items = [item(api, idempotency_key=f"{number:04d}" + "k" * 251, label="x" * 100, **surprises) for number in range(1000)]
    body = json.dumps({"items": items}, ensure_ascii=False)
    assert len(body.encode()) < 2 * MIB
    assert post(api, token, body + " " * (2 * MIB)).status == 413
    sent = post(api, token, body)
    assert (sent.status, sent.json["progress"]) == (202, {"done": 1000, "total": 1000})
    answer = api.ask(get, token, job_id=sent.json["id"])
    # As Lambda hands it on: the body is a string in a JSON document.
    assert len(json.dumps(answer.text, ensure_ascii=False).encode()) < 6 * MIB
    assert answer.json["result"]["failed"] == 1000


def test_the_workers_handler_runs_what_is_due_until_its_time_is_up(
    api: Doors, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = post(api, token, {"items": [item(api)] * 3}).json["id"]
    until = UntilIdle()
    runner = api.batches.runner(until=until)
    monkeypatch.setattr(run_card_batches, "_workers", lambda: SimpleNamespace(cards=SimpleNamespace(run_batches=runner.run)))
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: until() * 1000)
    assert run_card_batches.handler({}, cast(Any, context)) == {"items": 3}
    assert api.ask(get, token, job_id=job_id).json["status"] == "DONE"
    # Begun with its whole time, a run looks for items for at least its minute.
    assert routes.RUN_CARD_BATCHES.timeout_s - 30 >= routes.RUN_CARD_BATCHES.every_s
