"""Queues and their messages in SQLite: every answered call is on disk, whatever happens to the process next."""

import json
import secrets
import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local.aws.queues import settings
from local.aws.queues.contents import Attributes

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS queues (
    id INTEGER PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, attributes TEXT NOT NULL, tags TEXT NOT NULL,
    created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, purged_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (region, name)
);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue_id INTEGER NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL, body TEXT NOT NULL, md5 TEXT NOT NULL, attributes TEXT, trace TEXT,
    sent_ms INTEGER NOT NULL, visible_ms INTEGER NOT NULL, received INTEGER NOT NULL DEFAULT 0,
    first_received_ms INTEGER, receipt TEXT, source TEXT
);
CREATE INDEX IF NOT EXISTS messages_due ON messages (queue_id, visible_ms, id);
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), ms INTEGER NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, 0);
"""
_DUE: Final = (
    "SELECT id, message_id, body, md5, attributes, trace, sent_ms, received, first_received_ms, source"
    " FROM messages WHERE queue_id = ? AND visible_ms <= ? ORDER BY visible_ms, id LIMIT ?"
)
_EXPIRY_SWEEP_MS: Final = 1_000
_CLOCK_SAVE_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue as it is set now."""

    id: int
    region: str
    name: str
    attributes: dict[str, str]
    tags: dict[str, str]
    created_ms: int
    modified_ms: int
    purged_ms: int

    def seconds(self, attribute: str) -> int:
        """A numeric attribute, or its default."""
        return int(self.attributes.get(attribute, settings.DEFAULTS[attribute]))

    @property
    def redrive(self) -> settings.Redrive | None:
        """The dead-letter target, if the queue has one."""
        text = self.attributes.get("RedrivePolicy")
        return settings.read_redrive(text) if text else None


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to be stored."""

    body: str
    md5: str
    attributes: Attributes
    trace: str | None
    delay_s: int
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Received:
    """A message handed to a receiver."""

    row: int
    message_id: str
    body: str
    md5: str
    attributes: Attributes
    trace: str | None
    sent_ms: int
    received: int
    first_received_ms: int
    source: str | None
    receipt: str


class QueueStore:
    """All queues of one data folder. Not for use from more than one thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the store."""
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        # WAL without a sync per commit survives the death of the process; only a power cut could lose the last writes.
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "foreign_keys=ON", "wal_autocheckpoint=4000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        # Monotonic within a run, and never behind an earlier run even if the system's clock was set back meanwhile.
        (saved,) = self._db.execute("SELECT ms FROM clock").fetchone()
        self._anchor_ms: int = max(time.time_ns() // 1_000_000, saved) - time.monotonic_ns() // 1_000_000
        self._clock_saved_ms = 0
        self._swept_ms: dict[int, int] = {}
        self._queues: dict[tuple[str, str], Queue] = {}
        self._load()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def now_ms(self) -> int:
        """Real time in milliseconds since 1970, not the advanced clock: hiding and delaying happen in real time."""
        return self._anchor_ms + time.monotonic_ns() // 1_000_000

    def _load(self) -> None:
        rows = self._db.execute(
            "SELECT id, region, name, attributes, tags, created_ms, modified_ms, purged_ms FROM queues"
        ).fetchall()
        self._queues = {
            (region, name): Queue(key, region, name, json.loads(attributes), json.loads(tags), created, modified, purged)
            for key, region, name, attributes, tags, created, modified, purged in rows
        }

    def _save_clock(self, now_ms: int) -> None:
        if now_ms - self._clock_saved_ms >= _CLOCK_SAVE_MS:
            self._db.execute("UPDATE clock SET ms = ?", (now_ms,))
            self._clock_saved_ms = now_ms

    # Queues

    def find(self, region: str, name: str) -> Queue | None:
        """The queue of that name."""
        return self._queues.get((region, name))

    def names(self, region: str) -> list[Queue]:
        """All queues of a region, by name."""
        return sorted((queue for queue in self._queues.values() if queue.region == region), key=lambda queue: queue.name)

    def create(self, region: str, name: str, attributes: dict[str, str], tags: dict[str, str]) -> Queue:
        """Add a queue."""
        now_ms = self.now_ms()
        self._db.execute(
            "INSERT INTO queues (region, name, attributes, tags, created_ms, modified_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (region, name, json.dumps(attributes), json.dumps(tags), now_ms, now_ms),
        )
        self._load()
        return self._queues[region, name]

    def change(self, queue: Queue, attributes: dict[str, str], tags: dict[str, str]) -> None:
        """Replace attributes and tags."""
        self._db.execute(
            "UPDATE queues SET attributes = ?, tags = ?, modified_ms = ? WHERE id = ?",
            (json.dumps(attributes), json.dumps(tags), self.now_ms(), queue.id),
        )
        self._load()

    def delete(self, queue: Queue) -> None:
        """Remove a queue and everything in it."""
        self._db.execute("DELETE FROM queues WHERE id = ?", (queue.id,))
        self._load()

    def purge(self, queue: Queue) -> None:
        """Remove every message of a queue, in flight and delayed ones too."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM messages WHERE queue_id = ?", (queue.id,))
            self._db.execute("UPDATE queues SET purged_ms = ? WHERE id = ?", (self.now_ms(), queue.id))
        self._load()

    def counts(self, queue: Queue) -> dict[str, int]:
        """How many messages wait, are delayed, and are in flight."""
        now_ms = self.now_ms()
        self._expire(queue, now_ms)
        visible, delayed, in_flight = self._db.execute(
            "SELECT COUNT(*) FILTER (WHERE visible_ms <= ?1),"
            " COUNT(*) FILTER (WHERE visible_ms > ?1 AND receipt IS NULL),"
            " COUNT(*) FILTER (WHERE visible_ms > ?1 AND receipt IS NOT NULL) FROM messages WHERE queue_id = ?2",
            (now_ms, queue.id),
        ).fetchone()
        return dict(zip(settings.COUNTED, (visible, delayed, in_flight), strict=True))

    # Messages

    def send(self, queue: Queue, drafts: Sequence[Draft]) -> None:
        """Store messages, all or none."""
        now_ms = self.now_ms()
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO messages (queue_id, message_id, body, md5, attributes, trace, sent_ms, visible_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        queue.id,
                        draft.message_id,
                        draft.body,
                        draft.md5,
                        json.dumps(draft.attributes) if draft.attributes else None,
                        draft.trace,
                        now_ms,
                        now_ms + draft.delay_s * 1_000,
                    )
                    for draft in drafts
                ],
            )
            self._save_clock(now_ms)

    def receive(self, queue: Queue, count: int, visibility_s: int, dead_letters: Queue | None) -> list[Received]:
        """Hand out up to `count` due messages and hide them; those received too often go to `dead_letters` instead."""
        now_ms = self.now_ms()
        self._expire(queue, now_ms)
        taken: list[Received] = []
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            while len(taken) < count:
                rows = self._due(queue, now_ms, count - len(taken), {message.row for message in taken})
                if not rows:
                    break
                for row in rows:
                    if dead_letters is not None and queue.redrive and row[7] >= queue.redrive.most_receives:
                        self._bury(row[0], queue, dead_letters, now_ms)
                    else:
                        taken.append(self._hand_out(row, now_ms, visibility_s))
            self._save_clock(now_ms)
        return taken

    def _due(self, queue: Queue, now_ms: int, count: int, but: set[int]) -> list[tuple[Any, ...]]:
        # Messages received with visibility 0 stay due, so those already taken in this call are skipped here.
        rows = self._db.execute(_DUE, (queue.id, now_ms, count + len(but))).fetchall()
        return [row for row in rows if row[0] not in but][:count]

    def _hand_out(self, row: tuple[Any, ...], now_ms: int, visibility_s: int) -> Received:
        key, message_id, body, md5, attributes, trace, sent_ms, received, first_ms, source = row
        receipt = secrets.token_hex(12)
        first_ms = first_ms if first_ms is not None else now_ms
        self._db.execute(
            "UPDATE messages SET visible_ms = ?, received = ?, first_received_ms = ?, receipt = ? WHERE id = ?",
            (now_ms + visibility_s * 1_000, received + 1, first_ms, receipt, key),
        )
        found = json.loads(attributes) if attributes else {}
        return Received(key, message_id, body, md5, found, trace, sent_ms, received + 1, first_ms, source, f"{key}:{receipt}")

    def _bury(self, row: int, queue: Queue, dead_letters: Queue, now_ms: int) -> None:
        self._db.execute(
            "UPDATE messages SET queue_id = ?, visible_ms = ?, receipt = NULL, source = ? WHERE id = ?",
            (dead_letters.id, now_ms, f"{queue.region}:{queue.name}", row),
        )

    def remove(self, queue: Queue, row: int, receipt: str) -> bool:
        """Delete a message by its latest receipt; an older receipt changes nothing. Tells whether it was deleted."""
        cursor = self._db.execute("DELETE FROM messages WHERE id = ? AND queue_id = ? AND receipt = ?", (row, queue.id, receipt))
        return cursor.rowcount == 1

    def exists(self, queue: Queue, row: int) -> bool:
        """Whether the message is still in the queue."""
        found = self._db.execute("SELECT 1 FROM messages WHERE id = ? AND queue_id = ?", (row, queue.id)).fetchone()
        return found is not None

    def hide(self, queue: Queue, row: int, receipt: str, visibility_s: int) -> bool:
        """Change how long a message in flight stays hidden, from now on. Tells whether it was in flight."""
        now_ms = self.now_ms()
        cursor = self._db.execute(
            "UPDATE messages SET visible_ms = ? WHERE id = ? AND queue_id = ? AND receipt = ? AND visible_ms > ?",
            (now_ms + visibility_s * 1_000, row, queue.id, receipt, now_ms),
        )
        return cursor.rowcount == 1

    def next_due_ms(self, queue: Queue) -> int | None:
        """When the next message of the queue becomes visible."""
        (due_ms,) = self._db.execute("SELECT MIN(visible_ms) FROM messages WHERE queue_id = ?", (queue.id,)).fetchone()
        return None if due_ms is None else int(due_ms)

    def move(self, source: Queue, target: Queue | None, most: int) -> tuple[int, set[int]]:
        """Move up to `most` waiting messages back to `target`, or to where each came from.

        They get a new id and start anew, as a redrive does in SQS. Returns how many moved, and to which queues.
        """
        now_ms = self.now_ms()
        reached: set[int] = set()
        moved = 0
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            rows = self._db.execute(
                "SELECT id, source FROM messages WHERE queue_id = ? AND visible_ms <= ? ORDER BY id",
                (source.id, now_ms),
            ).fetchall()
            for key, origin in rows:
                region, _, name = (origin or ":").partition(":")
                goal = target or self.find(region, name)
                if goal is None or moved == most:
                    continue
                self._db.execute(
                    "UPDATE messages SET queue_id = ?, message_id = ?, sent_ms = ?, visible_ms = ?, received = 0,"
                    " first_received_ms = NULL, receipt = NULL, source = NULL WHERE id = ?",
                    (goal.id, str(uuid.uuid4()), now_ms, now_ms, key),
                )
                reached.add(goal.id)
                moved += 1
        return moved, reached

    def _expire(self, queue: Queue, now_ms: int) -> None:
        if now_ms - self._swept_ms.get(queue.id, 0) < _EXPIRY_SWEEP_MS:
            return
        self._swept_ms[queue.id] = now_ms
        kept_ms = queue.seconds("MessageRetentionPeriod") * 1_000
        self._db.execute("DELETE FROM messages WHERE queue_id = ? AND sent_ms < ?", (queue.id, now_ms - kept_ms))
