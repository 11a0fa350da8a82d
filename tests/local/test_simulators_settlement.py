"""The processor's list of transactions and its settlement files, read by our own client and reader."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.settlement_simulated import SimulatedSettlement
from cardwright.settlement.ports import ListedFile
from cardwright.settlement.rules import Detail, DetailKind, FileFault, FileReader, ProcessorTransaction, TheirState
from tests.local.outside_world import KEY, SECRET, Issuer, listening
from tests.local.programs import Running, program

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)


@dataclass
class World:
    """The processor and network alone, with one issuer."""

    issuer: Issuer
    processor: Running
    http: httpx.Client


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The simulator, started once for the tests of this module."""
    with listening() as issuer:
        urls = ["--authorization-url", issuer.url, "--processor-webhook-url", issuer.url]
        options = ["--data", str(tmp_path_factory.mktemp("network")), "--secret", SECRET, "--api-key", KEY, *urls]
        with program("local.simulators.processor", *options) as running, httpx.Client(trust_env=False, timeout=10) as client:
            yield World(issuer, running, client)


@pytest.fixture
def source(world: World) -> Iterator[SimulatedSettlement]:
    """Our client."""
    with httpx.HTTPTransport() as transport:
        yield SimulatedSettlement(world.processor.url, lambda: (Secret("old key"), Secret(KEY)), transport=transport)


def plays(world: World, what: str, **body: Any) -> dict[str, Any]:
    """POST /simulate/..."""
    answer = world.http.post(f"{world.processor.url}/simulate/{what}", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def issuer(world: World, decision: str = "APPROVE") -> None:
    """Let the issuer decide so, and take every event."""

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        approved = body["amount"] if decision == "APPROVE" else "0.00"
        told = {"decision": decision, "reason": "approved", "final": True, "approved_amount": approved}
        return 200, json.dumps(told).encode()

    world.issuer.answer = answer


def listed(source: SimulatedSettlement, since: datetime) -> dict[str, ProcessorTransaction]:
    """The whole list by authorization."""
    found: dict[str, ProcessorTransaction] = {}
    cursor: str | None = None
    while True:
        page = source.transactions(since, cursor)
        found |= {one.authorization_id: one for one in page.transactions}
        cursor = page.next_cursor
        if cursor is None:
            return found


def details(source: SimulatedSettlement, file: ListedFile | str) -> list[Detail]:
    """A file's details."""
    file_id = file if isinstance(file, str) else file.file_id
    return list(FileReader(file_id, source.open(file_id)).details())


def test_the_list_shows_how_each_authorization_ended(world: World, source: SimulatedSettlement, key: str) -> None:
    token = f"card_{key}"
    issuer(world)
    bought = plays(world, "authorize", card_token=token, amount="40.00", currency="USD")["request"]["authorization_id"]
    plays(world, "clear", card_token=token, authorization_id=bought, amount="15.00")
    issuer(world, "DECLINE")
    refused = plays(world, "authorize", card_token=token, amount="9.00", currency="USD")["request"]["authorization_id"]
    found = listed(source, NOW - YEAR)
    assert (found[bought].state, found[bought].approved_amount, found[bought].cleared_amount) == (
        TheirState.APPROVED,
        Decimal("40.00"),
        Decimal("15.00"),
    )
    assert (found[refused].state, found[refused].approved_amount, found[refused].card_token) == (
        TheirState.DECLINED,
        Decimal("0.00"),
        token,
    )
    assert listed(source, NOW + YEAR) == {}


def test_a_file_holds_what_was_cleared_posted_and_given_back_once_with_its_fees(
    world: World, source: SimulatedSettlement, key: str
) -> None:
    token = f"card_{key}"
    issuer(world)
    bought = plays(world, "authorize", card_token=token, amount="40.00", currency="USD")["request"]["authorization_id"]
    cleared = plays(world, "clear", card_token=token, authorization_id=bought, final_clearing=True)["event_id"]
    plays(world, "reverse", card_token=token, authorization_id=bought, amount="1.00")
    refunded = plays(world, "refund", card_token=token, authorization_id=bought, amount="10.00")["event_id"]
    posted = plays(world, "force-post", card_token=token, amount="700", currency="JPY")["event_id"]
    cut = plays(world, "settlement-file")
    ours = [one for one in details(source, cut["file_id"]) if one.card_token == token]
    assert {(one.kind, one.reference, one.amount, one.currency, one.final) for one in ours} == {
        (DetailKind.SALE, cleared, Decimal("40.00"), "USD", True),
        (DetailKind.FEE, f"fee_{cleared}", Decimal("0.05"), "USD", False),
        (DetailKind.CREDIT, refunded, Decimal("10.00"), "USD", False),
        (DetailKind.SALE, posted, Decimal("700.00"), "JPY", False),
        (DetailKind.FEE, f"fee_{posted}", Decimal("1.00"), "JPY", False),
    }
    (file,) = [it for it in source.files(NOW - YEAR) if it.file_id == cut["file_id"]]
    assert file.digest == bytes.fromhex(cut["sha256"])
    later = plays(world, "settlement-file")
    assert [one for one in details(source, later["file_id"]) if one.card_token == token] == []


@pytest.mark.parametrize(
    ("fault", "code"), [("cut", "file_cut"), ("total", "batch_total_differs"), ("checksum", "checksum_differs")]
)
def test_a_broken_file_is_noticed(world: World, source: SimulatedSettlement, key: str, fault: str, code: str) -> None:
    issuer(world)
    plays(world, "force-post", card_token=f"card_{key}", amount="12.34", currency="USD")
    cut = plays(world, "settlement-file", fault=fault)
    with pytest.raises(FileFault) as caught:
        details(source, cut["file_id"])
    assert caught.value.code == code


def test_other_bytes_may_stand_under_the_id_of_the_last_file(world: World, source: SimulatedSettlement, key: str) -> None:
    issuer(world)
    first = plays(world, "settlement-file")
    plays(world, "force-post", card_token=f"card_{key}", amount="12.34", currency="USD")
    second = plays(world, "settlement-file", fault="changed")
    assert (second["file_id"], second["sha256"] != first["sha256"]) == (first["file_id"], True)
    assert f"card_{key}" in {one.card_token for one in details(source, second["file_id"])}


def test_a_file_that_is_not_there_and_a_key_that_is_unknown_are_told_apart(world: World, source: SimulatedSettlement) -> None:
    with pytest.raises(ProviderRefusedError):
        next(source.open("set_none"))
    with httpx.HTTPTransport() as transport:
        stranger = SimulatedSettlement(world.processor.url, lambda: (Secret("nobody's"),), transport=transport)
        with pytest.raises(UnavailableError):
            next(stranger.open("set_none"))
        with pytest.raises(UnavailableError):
            stranger.transactions(NOW, None)
