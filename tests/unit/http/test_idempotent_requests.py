"""What an idempotency key does to a request, tried on an endpoint that exists only in tests."""

import pytest
from starlette.requests import Request

from cardwright.http import reading
from cardwright.kernel import errors
from cardwright.kernel.rows import Idempotency
from tests.fakes.thing_world import ITEM, World


def test_the_same_key_replays_the_answer_without_what_is_shown_once() -> None:
    world = World(idempotency=Idempotency.REQUIRED)
    assert world.ask({"amount": "1"}).json["code"] == "idempotency_key_required"
    first = world.ask({"amount": "1", "note": "once"}, idempotency_key="k")
    again = world.ask({"amount": "1", "note": "once"}, idempotency_key="k")
    assert (first.status, first.json["note"], "idempotency-replayed" in first.headers) == (201, "once", False)
    assert (again.status, again.headers["idempotency-replayed"], again.headers["etag"]) == (201, "true", '"3"')
    assert again.json == {name: value for name, value in first.json.items() if name != "note"}
    assert len(world.operations) == 1


@pytest.mark.parametrize("key", [" ", "x" * 256, "a\tb"])
def test_a_key_is_printable_and_not_endless(key: str) -> None:
    world = World(idempotency=Idempotency.HONOURED)
    assert world.ask({"amount": "1"}, idempotency_key=key).json["code"] == "idempotency_key_invalid"
    assert world.ask({"amount": "1"}).status == 201


def test_a_refusal_frees_the_key_and_an_unknown_outcome_keeps_the_operation() -> None:
    world = World(idempotency=Idempotency.HONOURED)
    world.failure = errors.ConflictError("x")
    world.ask({"amount": "1"}, idempotency_key="a")
    assert set(world.kept) == {"a:released"}
    for failure in (errors.UnavailableError("x"), errors.BrokenInvariantError("x"), RuntimeError("x")):
        world = World(idempotency=Idempotency.HONOURED)
        world.failure = failure
        world.ask({"amount": "1"}, idempotency_key="a")
        assert set(world.kept) == {"a", "a:suspended"}


def test_a_key_is_bound_to_the_query_whatever_its_order() -> None:
    world = World(idempotency=Idempotency.HONOURED)
    here = f"/api/v1/things/{ITEM}"
    queries: list[dict[str, list[str]] | None] = [None, {"force": ["1"]}, {"force": ["0"]}, {"force": ["1", "0"]}]
    for query in queries:
        world.ask({"amount": "1"}, idempotency_key="k", query=query)
    assert world.targets == [here, f"{here}?force=1", f"{here}?force=0", f"{here}?force=1&force=0"]
    one, other = (
        reading.target(Request({"type": "http", "path": "/", "query_string": query, "headers": []}))
        for query in (b"b=2&a=1&b=1", b"b=2&b=1&a=1")
    )
    assert one == other == "/?a=1&b=2&b=1"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (None, 201, None),
        (errors.ConflictError("x", code="card_already_frozen"), 409, "card_already_frozen"),
        (errors.UnavailableError("x", code="keys_unavailable"), 503, "keys_unavailable"),
        (RuntimeError("x"), 500, "internal_error"),
    ],
)
def test_a_claim_that_cannot_be_ended_does_not_hide_the_answer(failure: Exception | None, status: int, code: str | None) -> None:
    world = World(idempotency=Idempotency.HONOURED)
    world.failure = failure
    world.closing_failure = errors.UnavailableError("x", code="database_unavailable")
    answer = world.ask({"amount": "1"}, idempotency_key="k")
    assert (answer.status, answer.json.get("code")) == (status, code)
    assert set(world.kept) == {"k"}
    world.failure = world.closing_failure = None
    assert world.ask({"amount": "1"}, idempotency_key="k").status == 201
    assert world.operations[0] == world.operations[1]


def test_a_bug_in_ending_a_claim_is_not_swallowed() -> None:
    world = World(idempotency=Idempotency.HONOURED)
    world.closing_failure = errors.BrokenInvariantError("x")
    assert world.ask({"amount": "1"}, idempotency_key="k").status == 500
