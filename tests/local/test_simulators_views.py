"""The processor's view of a card, the levers that part its cards from ours, its keys, its storage, and our client of it."""

import base64
import hashlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from cardwright.cards.rules import Expiry, IssuedCard, Limits, ProcessorCard, ProcessorState, issued_card_fault
from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.processor_simulated import SimulatedProcessor
from local.clock import ClockFile
from tests.local.outside_world import CARD, KEY, SECRET, World, in_minutes
from tests.local.programs import program

AMOUNTS = {"per_transaction": "500.00", "daily": "1000.00", "monthly": "5000.00"}
LIMITS = Limits(Decimal("500.00"), Decimal("1000.00"), Decimal("5000.00"))
EXPIRY = Expiry(2029, 11)


def view_url(world: World, token: str, minutes: float = 1, origins: tuple[str, ...] = ()) -> str:
    """The address of a view."""
    wanted = {"expires_at": in_minutes(world, minutes), "origins": list(origins)}
    answer = world.call(world.processor, "POST", f"/v1/cards/{token}/embed", json=wanted)
    assert answer.status_code == 200
    return str(answer.json()["url"])


def shown(page: str, name: str) -> str:
    """What the page shows under an id."""
    found = re.search(rf"id={name}>([^<]*)", page)
    assert found is not None
    return found[1]


def lever(world: World, name: str, **body: Any) -> httpx.Response:
    """POST /simulate/..."""
    return world.http.post(f"{world.processor.url}/simulate/{name}", json=body)


# Limits


def test_limits_are_kept_shown_and_changed_beside_the_state(world: World, key: str) -> None:
    path = f"/v1/cards/{world.make_card(key, limits=AMOUNTS).json()['token']}"
    assert world.call(world.processor, "GET", path).json()["limits"] == AMOUNTS
    less = {**AMOUNTS, "per_transaction": "5"}
    assert world.call(world.processor, "PATCH", path, json={"limits": less}).json()["state"] == "ACTIVE"
    card = world.call(world.processor, "PATCH", path, json={"state": "PAUSED"}).json()
    assert (card["state"], card["limits"]) == ("PAUSED", less)
    card = world.call(world.processor, "PATCH", path, json={"state": "CLOSED", "limits": AMOUNTS}).json()
    assert (card["state"], card["limits"]) == ("CLOSED", AMOUNTS)
    assert world.call(world.processor, "PATCH", path, json={"limits": less}).status_code == 409
    assert world.call(world.processor, "PATCH", path, json={"state": "CLOSED"}).status_code == 200


def test_limits_belong_to_what_an_idempotency_key_was_used_for(world: World, key: str) -> None:
    first = world.make_card(key, limits=AMOUNTS)
    assert world.make_card(key, limits=AMOUNTS).json() == first.json()
    assert world.make_card(key, limits={**AMOUNTS, "daily": "1.00"}).status_code == 409


@pytest.mark.parametrize("change", [{}, {"state": None}, {"limits": {"daily": "1.00"}}, {"limits": {**AMOUNTS, "daily": 1}}])
def test_a_change_of_nothing_or_of_bad_limits_is_refused(world: World, key: str, change: dict[str, Any]) -> None:
    path = f"/v1/cards/{world.make_card(key, limits=AMOUNTS).json()['token']}"
    assert world.call(world.processor, "PATCH", path, json=change).status_code == 422
    assert world.call(world.processor, "GET", path).json()["limits"] == AMOUNTS


# Views


def test_a_view_shows_number_expiry_and_code_once(world: World, key: str) -> None:
    card = world.make_card(key, expires_on="2031-05").json()
    url = view_url(world, card["token"])
    assert url.startswith(f"{world.processor.url}/embed/")
    page = world.http.get(url)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert shown(page.text, "number") == " ".join(re.findall("....", card["pan"]))
    assert shown(page.text, "expiry") == "05/31"
    assert re.fullmatch("[0-9]{3}", shown(page.text, "cvv"))
    again = world.http.get(url)
    assert (again.status_code, again.headers["content-type"]) == (410, "text/html; charset=utf-8")
    assert not re.search("[0-9]{4}", again.text.split("</style>")[1])


def test_the_code_is_the_same_in_each_view_and_not_that_of_every_card(world: World, key: str) -> None:
    tokens = [world.make_card(f"{key}-{number}").json()["token"] for number in range(8)]
    codes = [shown(world.http.get(view_url(world, token)).text, "cvv") for token in tokens]
    assert codes == [shown(world.http.get(view_url(world, token)).text, "cvv") for token in tokens]
    assert len(set(codes)) > 1


def test_a_view_runs_nothing_is_kept_nowhere_and_is_framed_by_its_origins_alone(world: World, key: str) -> None:
    token = world.make_card(key).json()["token"]
    url = view_url(world, token, origins=("https://app.test", "http://localhost:3000"))
    for page in (world.http.get(url), world.http.get(url), world.http.get(view_url(world, token))):
        style = re.search("<style>(.*)</style>", page.text)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        origins = "https://app.test http://localhost:3000" if str(page.url) == url else "'none'"
        assert page.headers["content-security-policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors {origins}; base-uri 'none'; form-action 'none'"
        )
        assert "<script" not in page.text
        names = ("cache-control", "referrer-policy", "x-content-type-options")
        assert [page.headers[name] for name in names] == ["no-store", "no-referrer", "nosniff"]


def test_of_many_at_once_one_sees_the_card(world: World, key: str) -> None:
    url = view_url(world, world.make_card(key).json()["token"])
    gate = threading.Barrier(8)

    def look(_number: int) -> int:
        gate.wait(10)
        return world.http.get(url).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(look, range(8))) == [200] + [410] * 7


def test_a_view_expires_by_the_shared_clock(world: World, key: str) -> None:
    url = view_url(world, world.make_card(key).json()["token"], minutes=5)
    with ClockFile(world.folder / "clock") as clock:
        clock.advance(timedelta(minutes=5))
    assert world.http.get(url).status_code == 410


def test_a_head_request_does_not_use_a_view_up(world: World, key: str) -> None:
    url = view_url(world, world.make_card(key).json()["token"])
    assert world.http.head(url).status_code == 405
    assert world.http.get(url).status_code == 200


def test_a_card_closed_or_lost_in_the_meantime_is_not_shown(world: World, key: str) -> None:
    closed, lost = (world.make_card(f"{key}-{number}").json()["token"] for number in range(2))
    urls = [view_url(world, token) for token in (closed, lost)]
    world.call(world.processor, "PATCH", f"/v1/cards/{closed}", json={"state": "CLOSED"})
    lever(world, "lose-card", card_token=lost)
    assert [world.http.get(url).status_code for url in urls] == [410, 410]
    wanted = {"expires_at": in_minutes(world, 1), "origins": []}
    paths = [f"/v1/cards/{token}/embed" for token in (closed, lost)]
    assert [world.call(world.processor, "POST", path, json=wanted).status_code for path in paths] == [409, 404]


def test_a_view_nobody_made_is_gone(world: World) -> None:
    assert world.http.get(f"{world.processor.url}/embed/nothing").status_code == 410


@pytest.mark.parametrize(
    ("minutes", "origins"),
    [
        (-1, []),
        (60 * 25, []),
        (1, ["https://app.test/path"]),
        (1, ["https://a.test; script-src *"]),
        (1, ["*"]),
        (1, "https://app.test"),
        (1, ["https://app.test\n"]),
        (1, ["https://app.test"] * 21),
    ],
)
def test_a_bad_view_is_refused(world: World, key: str, minutes: float, origins: object) -> None:
    path = f"/v1/cards/{world.make_card(key).json()['token']}/embed"
    wanted = {"expires_at": in_minutes(world, minutes), "origins": origins}
    assert world.call(world.processor, "POST", path, json=wanted).status_code == 422
    assert world.http.post(world.processor.url + path, json={**wanted, "origins": []}).status_code == 401


def test_neither_a_code_nor_the_secret_of_a_view_is_kept(world: World, key: str) -> None:
    url = view_url(world, world.make_card(key).json()["token"])
    secret = url.rpartition("/")[2]
    assert len(secret) == 43
    with sqlite3.connect(world.folder / "processor" / "cards.db") as database:
        columns = [row[1] for table in ("cards", "embeds") for row in database.execute(f"PRAGMA table_info({table})")]
    database.close()
    assert not [name for name in columns if "cv" in name]
    kept = b"".join(path.read_bytes() for path in (world.folder / "processor").iterdir())
    assert secret.encode() not in kept


# Levers


def test_a_card_nobody_asked_for_can_be_made(world: World, key: str) -> None:
    random = lever(world, "cards", bin="453201", currency="USD")
    named = lever(world, "cards", bin="453201", currency="EUR", reference=key)
    assert (random.status_code, named.status_code) == (201, 201)
    assert "pan" not in random.json()
    assert str(UUID(random.json()["reference"])) == random.json()["reference"]
    (found,) = world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()["data"]
    assert found == named.json()
    assert (found["currency"], found["state"], found["limits"]) == ("EUR", "ACTIVE", None)


def test_a_state_can_be_forced_out_of_closed(world: World, key: str) -> None:
    token = world.make_card(key).json()["token"]
    for state in ("CLOSED", "ACTIVE", "PAUSED"):
        assert lever(world, "card-state", card_token=token, state=state).json()["state"] == state
        assert world.call(world.processor, "GET", f"/v1/cards/{token}").json()["state"] == state
    assert lever(world, "card-state", card_token=token, state="LOST").status_code == 422
    assert lever(world, "card-state", card_token="nothing", state="ACTIVE").status_code == 404


def test_a_lost_card_is_as_if_it_had_never_been_made(world: World, key: str) -> None:
    token = world.make_card(key, reference=key).json()["token"]
    assert lever(world, "lose-card", card_token=token).json()["token"] == token
    assert lever(world, "lose-card", card_token=token).status_code == 404
    assert world.call(world.processor, "GET", f"/v1/cards/{token}").status_code == 404
    assert world.call(world.processor, "GET", "/v1/cards", params={"reference": key}).json()["data"] == []
    assert world.make_card(key, reference=key).json()["token"] != token


# Keys and storage


def test_every_one_of_several_keys_opens_and_a_storage_of_an_earlier_version_is_gone_on_with(tmp_path: Path) -> None:
    data = tmp_path / "processor"
    data.mkdir()
    old = sqlite3.connect(data / "cards.db")
    old.executescript(
        """CREATE TABLE cards (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, idempotency_key TEXT NOT NULL UNIQUE,
            request_digest TEXT NOT NULL, reference TEXT NOT NULL, program TEXT NOT NULL, pan TEXT NOT NULL UNIQUE,
            exp_month INTEGER NOT NULL, exp_year INTEGER NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
            created_at TEXT NOT NULL);
        INSERT INTO cards VALUES
            (1, 'card_old', 'k', 'd', 'r', 'p', '453201', 5, 2031, 'USD', 'ACTIVE', '2026-11-21T10:00:00.000Z');
        """
    )
    old.close()
    more = ["--secret", SECRET, "--authorization-url", "http://127.0.0.1:9/"]
    with program("local.simulators.processor", "--data", str(data), "--api-key", f"new, {KEY}", *more) as running:
        path = f"{running.url}/v1/cards"
        with httpx.Client(trust_env=False) as client:
            for given, status in (("Bearer new", 200), (f"Bearer {KEY}", 200), (f"Bearer new, {KEY}", 401), ("Bearer", 401)):
                assert client.get(path, headers={"Authorization": given}).status_code == status
            client.headers["Authorization"] = "Bearer new"
            assert client.get(f"{path}/card_old").json()["limits"] is None
            assert client.patch(f"{path}/card_old", json={"limits": AMOUNTS}).json()["limits"] == AMOUNTS
            made = client.post(path, json={**CARD, "limits": AMOUNTS}, headers={"Idempotency-Key": "k2"}).json()
            running.kill_and_restart()
            assert client.get(f"{path}/{made['token']}").json()["limits"] == AMOUNTS


# Our client


@pytest.fixture
def ours(world: World) -> Iterator[SimulatedProcessor]:
    with httpx.HTTPTransport() as transport:
        yield SimulatedProcessor(world.processor.url, lambda: (Secret("not yet known"), Secret(KEY)), transport=transport)


def make(processor: SimulatedProcessor, card_id: UUID) -> IssuedCard:
    """A card by our client."""
    program_id = UUID(int=7)
    return processor.create_card(
        card_id=card_id, program_id=program_id, bin_prefix="453201", currency="USD", expiry=EXPIRY, limits=LIMITS
    )


def test_our_client_lives_through_a_cards_life(world: World, ours: SimulatedProcessor) -> None:
    card_id = uuid4()
    assert ours.find_card(card_id) is None
    card = make(ours, card_id)
    assert issued_card_fault(card, "453201", "USD", EXPIRY) is None
    assert make(ours, card_id) == card
    ours.set_state(card.token, ProcessorState.PAUSED)
    ours.set_state(card.token, ProcessorState.PAUSED)
    ours.set_limits(card.token, LIMITS, "USD")
    assert ours.find_card(card_id) == ProcessorCard(card.token, card_id, ProcessorState.PAUSED)
    expires_at = datetime.fromisoformat(in_minutes(world, 1))
    page = world.http.get(ours.reveal_url(card.token, expires_at=expires_at, origins=["https://app.test"]))
    assert shown(page.text, "number").replace(" ", "") == card.pan.reveal()
    ours.set_state(card.token, ProcessorState.CLOSED)
    with pytest.raises(ProviderRefusedError):
        ours.set_state(card.token, ProcessorState.ACTIVE)
    with pytest.raises(ProviderRefusedError):
        ours.reveal_url(card.token, expires_at=expires_at, origins=())
    lever(world, "lose-card", card_token=card.token)
    with pytest.raises(ProviderRefusedError):
        ours.set_limits(card.token, LIMITS, "USD")


def test_our_client_lists_every_card_once_and_in_order(world: World, ours: SimulatedProcessor) -> None:
    tokens = [lever(world, "cards", bin="453201", currency="USD", reference=f"{n}").json()["token"] for n in range(201)]
    page = ours.list_cards(None)
    listed = [*page.cards]
    assert len(listed) == 200
    while page.next_cursor is not None:
        page = ours.list_cards(page.next_cursor)
        listed += page.cards
    assert [card.token for card in listed if card.token in set(tokens)] == tokens
    assert len({card.token for card in listed}) == len(listed)


@pytest.mark.parametrize(
    ("fault", "raised"), [("error_inside", ProviderRefusedError), ("garbage", UnavailableError)], ids=["refused", "garbage"]
)
def test_our_client_reads_a_fault_for_what_it_is(
    world: World, ours: SimulatedProcessor, fault: str, raised: type[Exception]
) -> None:
    world.faults(processor={fault: True})
    with pytest.raises(raised):
        make(ours, uuid4())
    with pytest.raises(raised):
        ours.list_cards(None)


@pytest.mark.parametrize(("fault", "name"), [("wrong_bin", "bin_mismatch"), ("wrong_currency", "currency_mismatch")])
def test_a_wrong_card_is_seen_for_what_it_is(world: World, ours: SimulatedProcessor, fault: str, name: str) -> None:
    world.faults(processor={fault: True})
    assert issued_card_fault(make(ours, uuid4()), "453201", "USD", EXPIRY) == name
