"""A world to issue cards in: the real database, everything outside it in memory."""

import copy
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from cardwright.authorizations.rules import AuthorizationRequest, Decision, Merchant
from cardwright.authorizations.service import AuthorizationService
from cardwright.cards.rules import Card
from cardwright.cards.service import CardService, IssueCard
from cardwright.kernel.clock import FixedClock
from cardwright.kernel.errors import CardwrightError
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache, Command, Reply
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction
from cardwright.platform.retries import Retry
from cardwright.programs.rules import Program
from cardwright.programs.service import ProgramService
from cardwright.vault.service import Vault
from tests import builders
from tests.fakes.processor import FakeProcessor
from tests.fakes.vault import FakeVault

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def as_role(url: str, role: str) -> Database:
    """The database of a superuser's URL under another role."""
    conninfo = make_conninfo(url, options=f"-c role={role}")
    return Database(lambda: conninfo)


class FakeCache:
    """Keeps the commands it was sent, and answers each with 1."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def exchange(self, commands: Sequence[Command]) -> list[Reply] | None:
        """Take commands."""
        self.commands += commands
        return [1 for _ in commands]


class NoCache:
    """A cache that is not there."""

    def get_many(self, keys: object) -> None:
        """Answer nothing."""

    def send(self, commands: object) -> None:
        """Take nothing."""


class Killed(BaseException):
    """What a process that is killed never answers: nothing of ours may catch it."""


class FakeKyc:
    """Everybody is verified who is not named otherwise."""

    def __init__(self) -> None:
        self.statuses: dict[UUID, str] = {}

    def status_of(self, tx: Transaction, user_id: UUID) -> str:
        """Return the status."""
        return self.statuses.get(user_id, "VERIFIED")


class CardWorld:
    """What CardService is composed of, with rows of its own in a shared database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.ids = IdSource(self.clock)
        self.database = as_role(url, "app")
        self.fake_cache = FakeCache()
        self.cache = cast(Cache, self.fake_cache)
        self.kyc = FakeKyc()
        self.programs = ProgramService()
        self.fake_vault = FakeVault()
        self.vault = cast(Vault, self.fake_vault)
        self.processor = FakeProcessor()
        self.pauses: list[float] = []
        self.program = self.add_program("USD", os.urandom(1)[0])
        self.service = self.serving(creations_per_hour=None)
        schedules = copy.copy(self)
        schedules.database = self._worker = as_role(url, "worker")
        self.schedules = schedules.serving(creations_per_hour=None)

    def serving(self, *, creations_per_hour: int | None) -> CardService:
        """A service over this world whose waits take no time."""
        ticks = itertools.count()
        return CardService(
            self,
            creations_per_hour=creations_per_hour,
            retry=lambda: Retry(sleep=self.pauses.append, monotonic=lambda: next(ticks) / 1000, jitter=lambda: 0.0),
        )

    def pay(self, card: Card, amount: str = "10.00", **changes: Any) -> Decision:
        """Ask the engine for an authorization of a purchase with the card."""
        engine = AuthorizationService(
            self.database, cast(Cache, NoCache()), self.clock, self.ids, secrets=lambda: [Secret("the processor's")]
        )
        asked = AuthorizationRequest(
            authorization_id=f"auth_{self.ids.new().hex}",
            card_token=card.processor_card_token,
            type="authorization",
            amount=Decimal(amount),
            currency=card.currency,
            merchant=Merchant("5411", id="m_1", name="Corner Shop", city="Lyon", country="FR", latitude=Decimal("45.76")),
            channel="chip",
        )
        return engine.evaluate(replace(asked, **changes))

    def release_holds(self, card: Card) -> None:
        """Nothing of the card is pending any more."""
        self.sql("UPDATE card_limits SET held = 0 WHERE card_id = %s", card.card_id)
        # Nor do its transactions say so: whoever looks for overdue holds in this database finds none of it.
        self.sql("UPDATE card_transactions SET held_amount = 0 WHERE card_id = %s", card.card_id)

    def kill_in_creation(self, *, made: bool) -> None:
        """Let whoever next asks the processor for a card die there, before it makes the card or after."""
        self.processor.made_before_fault = made
        self.processor.faults = [Killed()]  # type: ignore[list-item]  # no error of ours, on purpose

    def add_program(self, currency: str, number: int = 0, **changes: Any) -> Program:
        """Add a program that is nobody's default."""
        program = Program(
            program_id=self.ids.new(),
            name=f"Test {number}",
            network="visa",
            bin="424242",
            currency=currency,
            created_at=NOW,
            default_per_transaction=Decimal("500.00"),
            default_daily=Decimal("1000.00"),
            default_monthly=Decimal("5000.00"),
        )
        program = replace(program, **changes)
        migrator = as_role(self.url, "migrator")
        with migrator.transaction(Actor(None, "system")) as tx:
            self.programs.add_program(tx, program)
        migrator.close()
        return program

    def add_user(self, role: str = "cardholder") -> Actor:
        """Add a user and return it as the one who acts."""
        user_id = builders.add_user(self.url, role)
        return Actor(user_id, role, "req_1")

    def wish(self, **changes: Any) -> IssueCard:
        """A wish for a card of this world's program."""
        return replace(IssueCard(currency="USD", program_id=self.program.program_id), **changes)

    def issue(self, actor: Actor, **changes: Any) -> Card:
        """Issue a card."""
        return self.service.issue_card(actor, self.wish(**changes), self.ids.new())

    def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement as superuser."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def actions(self, card_id: UUID) -> list[str]:
        """Actions in a card's audit chain, in order."""
        return [str(row["action"]) for row in sorted(self.rows("card_audit_log", card_id), key=lambda row: int(row["seq"]))]

    def events(self, card_id: UUID) -> Counter[str]:
        """Types of a card's events."""
        return Counter(str(row["type"]) for row in self.rows("outbox", card_id))

    def at_once(self, *works: Callable[[], object]) -> Counter[str]:
        """Run each work in a thread of its own, let go together; count what became of them: done, or the error's code."""
        gate = threading.Barrier(len(works))
        outcomes: list[str] = []

        def run(work: Callable[[], object]) -> None:
            gate.wait()
            try:
                work()
                outcomes.append("done")
            except CardwrightError as error:
                outcomes.append(error.code)
            except BaseException as error:
                outcomes.append(repr(error))
            finally:
                self.close()

        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Counter(outcomes)

    def rows(self, table: str, card_id: UUID) -> list[dict[str, Any]]:
        """Rows of a card in a table, in no order."""
        return self.sql(f"SELECT * FROM {table} WHERE card_id = %s", card_id)  # noqa: S608 - names of the tests' own

    def close(self) -> None:
        """Close this thread's connections."""
        self.database.close()
        self._worker.close()
