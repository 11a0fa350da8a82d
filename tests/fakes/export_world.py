"""A card world with exports: asked for under role app, written under role worker into a bucket of an emulator in this process."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import psycopg
from moto import mock_aws

from cardwright.cards.rules import Card
from cardwright.platform.aws import client
from cardwright.platform.objects import ObjectStore, Part
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules.exports import TransactionExport
from cardwright.transactions.rules.history import HistoryFilters
from cardwright.transactions.service.export_runs import ExportRunner
from cardwright.transactions.service.exports import ExportedFile, TransactionExports
from tests.fakes.card_world import NOW, CardWorld, as_role

BUCKET = "cardwright-test-exports"
# Smaller than S3's: the emulator is told to take them (see `emulated`).
PART_BYTES = 30_000
ALL = HistoryFilters()
_FILL = """
INSERT INTO card_transactions (
    card_id, transaction_id, user_id, authorization_id, root_authorization_id, type, status, reason, amount, approved_amount,
    held_amount, currency, merchant_category, detail, request_digest, config_version, day_start, month_start, decided_at,
    chain_seq, chain_hash)
SELECT %(card_id)s, (lpad(to_hex(%(last_ms)s - (%(count)s - n) * 10), 12, '0') || '7000' || '8'
    || lpad(to_hex(n), 15, '0'))::uuid, %(user_id)s, 'auth_' || n, 'auth_' || n, 'authorization', 'AUTHORIZED', 'approved',
    n / 100.0, n / 100.0, n / 100.0, 'USD', '5411',
    jsonb_build_object('channel', 'chip', 'merchant', jsonb_build_object(
        'id', 'm_' || n %% 500, 'name', 'Corner Shop ' || n %% 500,
        'city', 'Lyon', 'country', 'FR', 'latitude', 45.76, 'longitude', 4.83)),
    '', 1, %(at)s, %(at)s, %(at)s::timestamptz - make_interval(secs => (%(count)s - n) * 0.01), n, ''
FROM generate_series(1, %(count)s) AS n
"""


@contextmanager
def emulated() -> Iterator[ObjectStore]:
    """The bucket of exports, in an emulator that takes parts of any size."""
    with mock_aws(), small_parts():
        client("s3").create_bucket(Bucket=BUCKET)
        yield ObjectStore(BUCKET)


@contextmanager
def small_parts() -> Iterator[None]:
    """Let the emulator take parts that S3 would find too small."""
    with patch("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1024):
        yield


class Killed(BaseException):
    """The process died here."""


class FaultyObjects(ObjectStore):
    """The real store with faults: `faults` are raised by the next parts, None lets one pass; it counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.faults: list[BaseException | None] = []
        self.put: list[int] = []
        self.lost_parts = 0
        self.read_back = 0
        self.largest = 0

    def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part | None:
        """Store a part, fail, or have lost the upload."""
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        if self.lost_parts:
            self.lost_parts -= 1
            return None
        self.put.append(number)
        self.largest = max(self.largest, len(body))
        return super().put_part(key, upload_id, number, body)

    def read(self, key: str) -> Iterator[bytes]:
        """Read an object and note that."""
        self.read_back += 1
        return super().read(key)


class Deadline:
    """Seconds left: `left` of them, `each` fewer at every question; none once the runner has found nothing to do."""

    def __init__(self, left: float = 1000.0, each: float = 0.0) -> None:
        self.left = left
        self.each = each

    def __call__(self) -> float:
        """Seconds left."""
        self.left -= self.each
        return self.left

    def sleep(self, seconds: float) -> None:
        """Nothing was found."""
        self.left = 0.0


class ExportWorld(CardWorld):
    """What exports are asked for and written with; enter `emulated` first."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.objects = FaultyObjects()
        self.exports = TransactionExports(self.database, self.clock, self.ids, cards=self.service, objects=lambda: self.objects)
        self.worker = as_role(url, "worker")

    def used_card(self, actor: Actor, count: int) -> Card:
        """A card with so many transactions, a hundredth of a second apart, the last of them now."""
        card = self.issue(actor)
        filled = {
            "card_id": card.card_id,
            "user_id": card.user_id,
            "count": count,
            "at": NOW,
            "last_ms": int(NOW.timestamp()) * 1000,
        }
        with psycopg.connect(self.url) as connection:
            connection.execute(_FILL.encode(), filled)
        return card

    def ask(self, actor: Actor, card: Card, filters: HistoryFilters = ALL) -> TransactionExport:
        """Ask for an export that becomes a job."""
        job = self.exports.export(actor, card.card_id, filters)
        assert isinstance(job, TransactionExport), "it fits into an answer"
        return job

    def inline(self, actor: Actor, card: Card, filters: HistoryFilters = ALL) -> str:
        """Ask for an export that is an answer."""
        file = self.exports.export(actor, card.card_id, filters)
        assert isinstance(file, ExportedFile), "it became a job"
        return file.text

    def runner(self, deadline: Deadline | None = None, *, part_bytes: int = PART_BYTES) -> ExportRunner:
        """A worker that ends as soon as nothing is due."""
        return ExportRunner(self.worker, self.clock, self.objects, part_bytes=part_bytes, sleep=(deadline or Deadline()).sleep)

    def run(self, deadline: Deadline | None = None, *, part_bytes: int = PART_BYTES) -> int:
        """Work off what is due now; return how many jobs came to their end."""
        deadline = deadline or Deadline()
        return self.runner(deadline, part_bytes=part_bytes).run(deadline)

    def job(self, actor: Actor, card: Card, job: TransactionExport) -> TransactionExport:
        """The job as it is now."""
        return self.exports.get(actor, card.card_id, job.job_id)[0]

    def file(self, job: TransactionExport) -> bytes:
        """The job's file."""
        return b"".join(self.objects.read(f"transactions/{job.job_id}.csv"))

    def later(self, **passed: float) -> None:
        """Let time pass."""
        self.clock.at += timedelta(**passed)

    def close(self) -> None:
        """Close this thread's connections."""
        super().close()
        self.worker.close()


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a file by column."""
    return list(csv.DictReader(io.StringIO(text, newline="")))
