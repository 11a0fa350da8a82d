"""Card numbers under a new key: whatever dies meanwhile, each stays readable and all arrive; and creation without keys."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from uuid import UUID

import boto3
import psycopg
import pytest
from moto import mock_aws
from psycopg import sql
from psycopg.rows import dict_row

from cardwright.cards.service import numbers
from cardwright.cards.service.numbers import CardNumberRotation
from cardwright.http import problems
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.envelopes import EnvelopeKey
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import MacKey
from cardwright.vault.service import Vault
from tests.builders import NOW, add_card, add_user, as_role
from tests.fakes.card_world import CardWorld
from tests.fakes.vault import FakeVault
from tests.pans import pan

AnyVault = Vault | FakeVault


def pan_of(number: int) -> Secret[str]:
    """A number of its own for each card."""
    return Secret(pan(f"42424{number:03d}"))


class World:
    """Cards of one database, whose numbers are all encrypted anew."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = as_role(url, "worker")
        self.clock = FixedClock(NOW)
        self.ids = IdSource(self.clock)

    def add(self, vault: AnyVault, count: int = 1, *, key_name: str | None = None) -> dict[UUID, Secret[str]]:
        """Add cards with numbers under the vault's current key, noted under `key_name` where another is given."""
        user_id, made = add_user(self.url), {}
        for _ in range(count):
            card = add_card(self.url, user_id=user_id)
            made[card.card_id] = number = pan_of(secrets.randbelow(1000))
            self.sql(
                "UPDATE virtual_cards SET card_number_encrypted = %s, vault_key = %s WHERE card_id = %s",
                vault.encrypt(card.card_id, number),
                vault.key_name if key_name is None else key_name,
                card.card_id,
            )
        return made

    def run(self, vault: AnyVault, deadline: Callable[[], float] = lambda: 60.0) -> int:
        """Run once, as the schedule does."""
        return CardNumberRotation(self.database, cast(Vault, vault), self.clock, self.ids).run(deadline)

    def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement as superuser."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def card(self, card_id: UUID) -> dict[str, Any]:
        """A card's row."""
        return self.sql("SELECT * FROM virtual_cards WHERE card_id = %s", card_id)[0]

    def under(self, key_name: str) -> int:
        """How many cards are noted under a key."""
        return int(self.sql("SELECT count(*) AS n FROM virtual_cards WHERE vault_key = %s", key_name)[0]["n"])

    def audited(self) -> list[dict[str, Any]]:
        """Audit entries of numbers encrypted anew."""
        return self.sql("SELECT * FROM card_audit_log WHERE action = 'card.number_reencrypted'")

    def numbers(self, vault: AnyVault) -> dict[UUID, Secret[str]]:
        """Each card's number, as the vault opens it."""
        rows = self.sql("SELECT card_id, card_number_encrypted AS sealed FROM virtual_cards")
        return {row["card_id"]: vault.decrypt(row["card_id"], row["sealed"]) for row in rows}


@pytest.fixture
def world(fresh_database: str) -> Iterator[World]:
    """A database without other cards."""
    made = World(fresh_database)
    yield made
    made.database.close()


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """ARNs of two keys, in a KMS played by moto in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("kms")
        yield [client.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]


def no_mac() -> MacKey:
    """The job is granted no key for fingerprints."""
    raise AssertionError("asked for")


def test_after_a_run_the_new_key_alone_opens_every_number(world: World, kms: list[str]) -> None:
    old, new = kms
    cards = world.add(Vault(EnvelopeKey([old]), no_mac), 3)
    rotating = Vault(EnvelopeKey([new, old]), no_mac)
    meanwhile = world.add(rotating)
    untouched = {card_id: world.card(card_id) for card_id in meanwhile}
    assert world.numbers(rotating) == cards | meanwhile
    assert world.run(rotating) == 3
    assert (world.under(old), world.under(new)) == (0, 4)
    assert world.numbers(Vault(EnvelopeKey([new]), no_mac)) == cards | meanwhile
    assert {card_id: world.card(card_id) for card_id in meanwhile} == untouched
    assert world.run(rotating) == 0
    entries = world.audited()
    assert {entry["card_id"] for entry in entries} == set(cards)
    assert all((entry["old_values"], entry["new_values"]) == ({"vault_key": old}, {"vault_key": new}) for entry in entries)
    assert all(entry["actor_role"] == "system" for entry in entries)


def test_a_run_goes_over_pages_and_changes_nothing_else_of_a_card(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "PAGE", 2)
    cards = world.add(FakeVault("old"), 5)
    first = next(iter(cards))
    before = world.card(first)
    assert world.run(FakeVault("new", "old")) == 5
    assert world.numbers(FakeVault("new")) == cards
    after = world.card(first)
    assert {name for name in after if after[name] != before[name]} == {"card_number_encrypted", "vault_key"}


def test_a_number_under_the_key_already_only_gets_its_name(world: World) -> None:
    vault = FakeVault("only")
    cards = world.add(vault, key_name="")
    (card_id,) = cards
    ciphertext = world.card(card_id)["card_number_encrypted"]
    assert world.run(vault) == 1
    assert (world.card(card_id)["card_number_encrypted"], world.card(card_id)["vault_key"]) == (ciphertext, "only")
    assert world.audited() == []


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("before", ["the key service", "the commit"])
def test_killed_at_each_card_the_next_run_goes_on(world: World, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    cards = world.add(FakeVault("old"), 5)
    vault = FakeVault("new", "old")
    asked = 0

    def second(*_: object) -> Any:
        nonlocal asked
        asked += 1
        if asked % 2 == 0:
            raise Killed
        return kept(*_)

    target, name = (vault, "reencrypt") if before == "the key service" else (world.ids, "new")
    kept = getattr(target, name)
    monkeypatch.setattr(target, name, second)
    for done in range(1, 5):
        with pytest.raises(Killed):
            world.run(vault)
        assert (world.under("new"), world.under("old"), len(world.audited())) == (done, 5 - done, done)
        assert world.numbers(vault) == cards
    world.run(vault)
    assert world.numbers(FakeVault("new")) == cards
    assert len(world.audited()) == 5


def test_without_the_key_service_a_run_stops_and_what_is_done_stays_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = world.add(FakeVault("old"), 4)
    vault = FakeVault("new", "old")
    encrypt, turns = vault.encrypt, iter(range(10))

    def fails_at_the_third(card_id: UUID, number: Secret[str]) -> bytes:
        if next(turns) == 2:
            raise UnavailableError("gone", code="keys_unavailable")
        return encrypt(card_id, number)

    monkeypatch.setattr(vault, "encrypt", fails_at_the_third)
    with pytest.raises(UnavailableError):
        world.run(vault)
    assert (world.under("new"), world.under("old")) == (2, 2)
    assert world.numbers(vault) == cards
    assert world.run(vault) == 2


def test_a_broken_number_is_named_and_passed_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    cards = world.add(FakeVault("old"), 3)
    broken = sorted(cards)[1]
    world.sql("UPDATE virtual_cards SET card_number_encrypted = card_number_encrypted || 'x' WHERE card_id = %s", broken)
    ciphertext = world.card(broken)["card_number_encrypted"]
    vault = FakeVault("new", "old")
    assert world.run(vault) == 2
    assert (world.card(broken)["vault_key"], world.card(broken)["card_number_encrypted"]) == ("old", ciphertext)
    with pytest.raises(BrokenInvariantError):
        world.numbers(vault)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.__dict__["card_id"] == str(broken)
    assert world.run(vault) == 0


def test_two_runs_at_once_move_each_card_once(world: World) -> None:
    cards = world.add(FakeVault("old"), 15)

    def run(_: int) -> int:
        try:
            return world.run(FakeVault("new", "old"))
        finally:
            world.database.close()

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(run, range(3))) == 15
    assert len(world.audited()) == 15
    assert world.numbers(FakeVault("new")) == cards


def test_a_number_replaced_in_between_is_left_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (card_id,) = world.add(FakeVault("old"))
    vault = FakeVault("new", "old")
    reencrypt, other = vault.reencrypt, FakeVault("old").encrypt(card_id, pan_of(7))

    def overtaken(card: UUID, ciphertext: bytes) -> bytes | None:
        world.sql("UPDATE virtual_cards SET card_number_encrypted = %s WHERE card_id = %s", other, card_id)
        return reencrypt(card, ciphertext)

    monkeypatch.setattr(vault, "reencrypt", overtaken)
    assert world.run(vault) == 0
    assert (world.card(card_id)["card_number_encrypted"], world.card(card_id)["vault_key"]) == (other, "old")
    assert world.audited() == []


def test_a_run_ends_in_time(world: World) -> None:
    world.add(FakeVault("old"), 4)
    left = iter([60.0, 40.0, 20.0, 14.0])
    assert world.run(FakeVault("new", "old"), lambda: next(left)) == 2
    assert world.run(FakeVault("new", "old"), lambda: 10.0) == 0
    assert world.under("old") == 2


def test_doors_can_neither_read_nor_replace_a_ciphertext(world: World) -> None:
    (card_id,) = world.add(FakeVault("old"))
    app = as_role(world.url, "app")
    for statement, parameters in (
        ("SELECT * FROM stale_card_numbers('new', %s, 1)", (UUID(int=0),)),
        ("SELECT replace_card_number(%s, ''::bytea, ''::bytea, 'new')", (card_id,)),
        ("UPDATE virtual_cards SET vault_key = 'new' WHERE card_id = %s", (card_id,)),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.call(statement, parameters)
    app.close()


def everything(url: str) -> str:
    """All rows of all tables as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
        return "\n".join(
            str(row[0])
            for (table,) in tables
            for row in connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table)))
        )


@pytest.mark.parametrize("failing", ["encrypt", "fingerprint"])
def test_without_keys_a_card_is_not_made_by_halves_and_the_same_operation_finishes_it(
    fresh_database: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    world = CardWorld(fresh_database)
    holder, card_id = world.add_user(), world.ids.new()
    with monkeypatch.context() as gone:
        gone.setattr(world.fake_vault, failing, raise_keys_unavailable)
        for _ in range(2):
            with pytest.raises(UnavailableError) as failure:
                world.service.issue_card(holder, world.wish(), card_id)
            assert (failure.value.code, problems.status_of(failure.value)) == ("keys_unavailable", 503)
            assert [row["state"] for row in world.rows("card_issuances", card_id)] == ["REQUESTED"]
            assert all(world.rows(table, card_id) == [] for table in ("virtual_cards", "card_tokens", "card_limits", "outbox"))
    number = world.processor.cards[card_id].pan.reveal()
    assert number not in everything(world.url)
    card = world.service.issue_card(holder, world.wish(), card_id)
    assert (card.card_id, len(world.processor.cards)) == (card_id, 1)
    assert [row["state"] for row in world.rows("card_issuances", card_id)] == ["ISSUED"]
    (row,) = world.rows("virtual_cards", card_id)
    assert row["vault_key"] == world.fake_vault.key_name
    assert world.fake_vault.decrypt(card_id, row["card_number_encrypted"]).reveal() == number
    kept = everything(world.url)
    assert str(card_id) in kept
    said = capfd.readouterr()
    for text in (kept, said.out, said.err):
        assert number not in text
        assert number.encode().hex() not in text
    world.close()


def raise_keys_unavailable(*_: object) -> bytes:
    """What the vault does while KMS is gone."""
    raise UnavailableError("The key service does not answer.", code="keys_unavailable")
