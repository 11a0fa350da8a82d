"""The schemas of events: whole, true to our own rules, served to anybody, and looked at by the tests of everything else."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, cast

import psycopg
import pytest
from jsonschema import Draft202012Validator

from cardwright.authorizations.rules import Reason
from cardwright.cards.rules import CardStatus, Channel, Controls, Limits, ReasonCode
from cardwright.kernel.money import parse_amount
from cardwright.outbox.rules import EVENT_TYPES, envelope
from cardwright.platform.ids import IdSource
from cardwright.transactions.rules.history import TransactionStatus
from cardwright.transactions.rules.life import Flag
from cardwright.webhooks.rules import schemas
from cardwright.webhooks.rules.versions import CURRENT, SUPPORTED
from functions.webhooks.get_event_schema import endpoint as get_schema
from functions.webhooks.list_event_types import endpoint as list_types
from infra.packaging import code_files
from tests.builders import NOW
from tests.fakes.api_world import ApiWorld
from tests.fakes.card_world import CardWorld
from tests.fakes.webhook_world import WebhookWorld
from tests.fix_schemas import faults, unfit

Json = dict[str, Any]
FOLDER = files("cardwright.outbox") / "schemas"
PLANNED = {"card.fraud_detected", "report.ready"}


def shared(name: str) -> Json:
    """One of the definitions that the newest schemas have in common."""
    found: Json = json.loads((FOLDER / CURRENT / "definitions.json").read_text("utf-8"))["$defs"][name]
    return found


def fields(value: Any) -> Iterator[str]:
    """The names of all fields a schema knows."""
    if isinstance(value, list):
        for part in value:
            yield from fields(part)
    elif isinstance(value, dict):
        yield from value.get("properties", {})
        for part in value.values():
            yield from fields(part)


@pytest.mark.parametrize("version", sorted(SUPPORTED))
def test_a_version_has_a_schema_of_each_type(version: str) -> None:
    names = {entry.name for entry in (FOLDER / version).iterdir()}
    assert names - {"definitions.json"} == {f"{name}.json" for name in schemas._types(version)}
    assert schemas._types(version) <= EVENT_TYPES
    assert version != CURRENT or schemas._types(version) == EVENT_TYPES


def test_there_are_schemas_of_the_supported_versions_and_of_no_other() -> None:
    assert {entry.name for entry in FOLDER.iterdir()} == SUPPORTED


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_schema_is_one_and_its_examples_fit_it(event_type: str) -> None:
    schema = schemas.schema(event_type)
    Draft202012Validator.check_schema(schema)
    assert schema["examples"]
    assert [faults(example) for example in schema["examples"]] == [[] for _ in schema["examples"]]
    assert (schema["title"], schema["properties"]["type"]["const"]) == (event_type, event_type)
    assert schema["properties"]["api_version"]["const"] == CURRENT
    assert schema["description"].endswith(".")


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_schema_is_complete_in_itself(event_type: str) -> None:
    schema = schemas.schema(event_type)
    referred = schemas._names(schema)
    assert referred == schema["$defs"].keys()
    assert "definitions.json" not in json.dumps(schema)


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES - PLANNED))
def test_a_schema_takes_no_field_that_it_does_not_name(event_type: str) -> None:
    example = schemas.schema(event_type)["examples"][0]
    assert faults({**example, "more": 1}) == [f"{event_type} $ additionalProperties"]
    assert faults({**example, "data": {**example["data"], "more": 1}}) != []
    for name in example["data"]:
        assert faults({**example, "data": {key: value for key, value in example["data"].items() if key != name}}) != []


def test_no_schema_knows_a_field_for_what_is_never_told() -> None:
    told = {name for event_type in EVENT_TYPES for name in fields(schemas.schema(event_type))}
    assert not {name for name in told if {"pan", "cvv", "cvc", "number", "email", "phone", "secret"} & set(name.split("_"))}
    assert not told & {"first_name", "last_name", "full_name", "cardholder", "label", "processor_card_token"}


def test_the_words_of_the_schemas_are_those_of_our_rules() -> None:
    def words(name: str) -> set[str]:
        return set(shared(name)["enum"]) - {None}

    assert words("card_status") == set(CardStatus)
    assert words("card_reason") == set(ReasonCode)
    assert words("channel") == set(Channel)
    assert set(shared("flags")["items"]["enum"]) == set(Flag)
    assert words("transaction_status") == set(TransactionStatus)
    assert words("reason") == {*Reason, "force_posted", "refunded"}
    assert set(shared("decline")["properties"]["reason"]["enum"]) == set(Reason) - {Reason.APPROVED}


def test_the_limits_of_the_schemas_are_those_of_a_card() -> None:
    amount = parse_amount("10")
    document = Controls(limits=Limits(per_transaction=amount, daily=amount, monthly=amount)).document()
    assert set(shared("limits")["required"]) == set(document)
    changed = schemas.schema("card.limits_updated")["properties"]["data"]["properties"]["changed"]
    assert set(changed["items"]["enum"]) == set(document)


def test_what_nothing_sends_yet_is_marked() -> None:
    assert {kind.type for kind in schemas.kinds() if kind.planned} == PLANNED


def test_the_schemas_are_shipped_with_the_functions() -> None:
    shipped = code_files()
    for event_type in EVENT_TYPES:
        assert f"cardwright/outbox/schemas/{CURRENT}/{event_type}.json" in shipped


@pytest.fixture
def api(world: CardWorld) -> ApiWorld:
    """Doors over the world."""
    return ApiWorld(world)


def test_anybody_may_read_which_events_there_are(api: ApiWorld) -> None:
    answered = api.ask(list_types, None)
    assert answered.status == 200
    assert answered.json["pagination"] == {"next_cursor": None, "has_more": False}
    shown = {one.pop("type"): one for one in answered.json["data"]}
    assert set(shown) == EVENT_TYPES
    assert shown["card.frozen"] == {
        "description": "A card was frozen: authorizations are declined until it is unfrozen.",
        "planned": False,
        "api_versions": [CURRENT],
        "schema_path": "/api/v1/webhooks/event-types/card.frozen/schema",
    }


@pytest.mark.parametrize("query", [{}, {"api_version": CURRENT}])
def test_anybody_may_read_a_schema(api: ApiWorld, query: Json) -> None:
    answered = api.ask(get_schema, None, event_type="card.created", **query)
    assert (answered.status, answered.headers["content-type"]) == (200, "application/json")
    assert answered.json == schemas.schema("card.created")


@pytest.mark.parametrize("event_type", ["card.flown", "definitions", "webhook.disabled", "webhook.verification_requested", ".."])
def test_there_is_no_schema_of_what_is_no_event_for_partners(api: ApiWorld, event_type: str) -> None:
    answered = api.ask(get_schema, None, event_type=event_type)
    assert (answered.status, answered.json["code"]) == (404, "event_type_not_found")


@pytest.mark.parametrize("version", ["2020-01-01", "..", ""])
def test_there_is_no_schema_of_a_version_that_never_was(api: ApiWorld, version: str) -> None:
    answered = api.ask(get_schema, None, event_type="card.created", api_version=version)
    assert (answered.status, answered.json["errors"][0]["code"]) == (422, "api_version_unknown")


def test_what_does_not_fit_is_found_in_a_database(fresh_database: str) -> None:
    world = WebhookWorld(fresh_database)
    event_id = IdSource(world.clock).new()
    plant = "INSERT INTO outbox (event_id, type, user_id, data, created_at) VALUES (%s, %s, NULL, %s, %s)"
    with psycopg.connect(fresh_database) as connection:
        connection.execute(plant, (event_id, "kyc.verified", '{"user_id": "nobody", "status": "MAYBE"}', NOW))
        connection.execute(plant, (IdSource(world.clock).new(), "tests.made_up", "{}", NOW))
    assert unfit(fresh_database) == ["kyc.verified $.data.status const", "kyc.verified $.data.user_id format"]
    with psycopg.connect(fresh_database) as connection:
        connection.execute("DELETE FROM outbox WHERE event_id = %s", (event_id,))
    assert unfit(fresh_database) == []
    world.close()


def test_a_decision_that_does_not_fit_is_found_in_a_database(fresh_database: str) -> None:
    world = CardWorld(fresh_database)
    paid = world.pay(world.issue(world.add_user()))
    change = "UPDATE card_transactions SET detail = detail || %s::jsonb WHERE transaction_id = %s"
    with psycopg.connect(fresh_database) as connection:
        connection.execute(change, ('{"channel": "pigeon"}', paid.transaction_id))
    # Either shape of the type would do, so it is the whole of the data that has none.
    assert unfit(fresh_database) == ["transaction.authorized $.data oneOf"]
    with psycopg.connect(fresh_database) as connection:
        connection.execute(change, ('{"channel": "chip"}', paid.transaction_id))
    assert unfit(fresh_database) == []
    world.close()


def test_events_that_tests_make_up_fit(fresh_database: str) -> None:
    world = WebhookWorld(fresh_database)
    user = world.add_user()
    made = [world.event(user, event_type) for event_type in EVENT_TYPES]
    world.close()
    assert [faults(cast(Json, envelope(event))) for event in made] == [[] for _ in made]
