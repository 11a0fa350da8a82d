"""A world whose transactions are compared with a processor's list and its settlement files, in a database of its own."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cardwright.authorizations.rules import Decision
from cardwright.cards.rules import Card
from cardwright.kernel.errors import CardwrightError
from cardwright.platform.postgres import Database
from cardwright.settlement.ports import ListedFile, TransactionPage
from cardwright.settlement.rules import ProcessorTransaction, TheirState
from cardwright.settlement.service import Reconciliation
from cardwright.settlement.service.work import Tally
from cardwright.transactions.rules.events import EventType
from cardwright.transactions.service.life import TransactionLife
from local.simulators.processor.settlement_file import SALE, Line, write_file
from tests.fakes.card_world import CardWorld, as_role
from tests.fakes.life_world import LifeWorld


class FakeSource:
    """What the processor tells; `faults` are raised by the next calls."""

    name = "fake"

    def __init__(self) -> None:
        self.listed: dict[str, ProcessorTransaction] = {}
        self.content: dict[str, bytes] = {}
        self.faults: list[CardwrightError] = []
        self.page = 100
        self.tells_digests = True
        self.opened: list[str] = []

    def transactions(self, since: datetime, cursor: str | None) -> TransactionPage:
        """A page, in the order of ids."""
        self._fail()
        found = sorted((it for it in self.listed.values() if it.changed_at >= since), key=lambda it: it.authorization_id)
        start = int(cursor or "0")
        more = len(found) > start + self.page
        return TransactionPage(tuple(found[start : start + self.page]), str(start + self.page) if more else None)

    def files(self, since: datetime) -> Sequence[ListedFile]:
        """Every file."""
        self._fail()
        return [
            ListedFile(file_id, hashlib.sha256(content).digest() if self.tells_digests else None)
            for file_id, content in self.content.items()
        ]

    def open(self, file_id: str) -> Iterator[bytes]:
        """A file in pieces that end anywhere."""
        self._fail()
        self.opened.append(file_id)
        content = self.content[file_id]
        return (content[start : start + 777] for start in range(0, len(content), 777))

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


class SettlementWorld(CardWorld):
    """One card of one holder, and a processor that knows of it what it is told."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.holder = self.add_user()
        self.card: Card = self.issue(self.holder)
        self.life = LifeWorld(self, url, self.card)
        self.source = FakeSource()

    def runs(self, database: Database | None = None, *, chunk: int = 1000) -> Reconciliation:
        """The reconciliation, with its own way to the database where one is given."""
        way = database or self._worker
        life = TransactionLife(way, self.clock, self.ids)
        return Reconciliation(way, self.clock, self.ids, life, self.source.name, self.source, chunk=chunk)

    def reconcile(self, deadline: Callable[[], float] = lambda: 300.0, *, chunk: int = 1000) -> Tally:
        """Run once."""
        done = self.runs(chunk=chunk).run(deadline)
        assert done is not None
        return done

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.clock.at += timedelta(**span)

    def told(self, decision: Decision, state: TheirState = TheirState.APPROVED, **changes: Any) -> ProcessorTransaction:
        """Let the processor list an authorization as it was decided, but for the changes."""
        said: dict[str, Any] = {
            "card_token": self.card.processor_card_token,
            "authorization_id": decision.authorization_id,
            "state": state,
            "approved_amount": decision.approved_amount if state is TheirState.APPROVED else Decimal("0.00"),
            "cleared_amount": Decimal("0.00"),
            "currency": self.card.currency,
            "changed_at": self.clock.at,
        }
        listed = ProcessorTransaction(**{**said, **changes})
        self.source.listed[listed.authorization_id] = listed
        return listed

    def bought(self, amount: str = "40.00", *, cleared: bool = True) -> tuple[Decision, str]:
        """A purchase that both sides know of, cleared or not; its decision, and the id of the event that cleared it."""
        decision = self.pay(self.card, amount)
        event = self.life.event(EventType.CLEARED, amount, decision.authorization_id, final_clearing=True)
        if cleared:
            self.life.life.receive(event)
        self.told(decision, cleared_amount=Decimal(amount) if cleared else Decimal("0.00"))
        return decision, event.event_id

    def line(self, reference: str, amount: str = "40.00", **changes: Any) -> Line:
        """A line of a file about the card."""
        said: dict[str, Any] = {
            "type": SALE,
            "card_token": self.card.processor_card_token,
            "reference": reference,
            "authorization_id": "",
            "amount": Decimal(amount),
            "currency": self.card.currency,
            "occurred_at": self.clock.at,
            "merchant_category": "5411",
            "final": True,
        }
        return Line(**{**said, **changes})

    def file(self, *lines: Line, file_id: str = "file_1") -> bytes:
        """Let the processor have a file of lines, a batch for each currency."""
        codes = list(dict.fromkeys(line.currency for line in lines))
        batches = [(code, [line for line in lines if line.currency == code]) for code in codes]
        self.source.content[file_id] = b"".join(write_file(file_id, self.clock.at, batches))
        return self.source.content[file_id]

    def cases(self) -> list[tuple[str, str | None, str | None, str]]:
        """Kind, our amount, theirs, and how it was closed or `open`, of every case, the oldest first."""
        rows = self.sql("SELECT * FROM settlement_cases ORDER BY found_at, kind, case_id")
        return [
            (
                row["kind"],
                None if row["our_amount"] is None else str(row["our_amount"]),
                None if row["their_amount"] is None else str(row["their_amount"]),
                row["closed_how"] or "open",
            )
            for row in rows
        ]

    def kinds(self) -> list[tuple[str, str]]:
        """Kind, and how it was closed or `open`, of every case."""
        return [(kind, closed) for kind, _, _, closed in self.cases()]

    def file_row(self, file_id: str = "file_1") -> dict[str, Any]:
        """What is kept of a file."""
        (row,) = self.sql("SELECT * FROM settlement_files WHERE file_id = %s", file_id)
        return row

    def settled(self) -> list[tuple[str, int]]:
        """Reference and line of all that was settled."""
        rows = self.sql("SELECT reference, line FROM settled_events ORDER BY file_id, line")
        return [(row["reference"], row["line"]) for row in rows]

    def postings(self, kind: str) -> int:
        """How many postings of a kind there are."""
        (row,) = self.sql("SELECT count(*) AS found FROM ledger_postings WHERE kind = %s", kind)
        return int(row["found"])

    def close(self) -> None:
        """Close this thread's connections."""
        self.life.close()
        super().close()


def worker(url: str) -> Database:
    """A way to the database of one's own."""
    return as_role(url, "worker")
