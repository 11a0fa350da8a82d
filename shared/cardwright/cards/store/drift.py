"""SQL of the comparison with the processor: how far it is, what we know of the processor's cards, what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.cards.rules import CardStatus, FindingKind, KnownCard
from cardwright.cards.rules.drift import ProcessorFinding
from cardwright.platform.postgres import Transaction


@dataclass(frozen=True, slots=True)
class Sweep:
    """A pass over a processor's cards in somebody's hands: `lease_until` names whose.

    `list_cursor` is where the processor's list goes on; `unseen_after` is None while that is read, then the last of our cards
    that was looked for in vain.
    """

    processor: str
    started_at: datetime
    list_cursor: str | None
    unseen_after: UUID | None
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be with the card of a token; see ProcessorFinding for its `card_id`."""

    kind: FindingKind
    digest: bytes
    card_id: UUID | None


@dataclass(frozen=True, slots=True)
class Reference:
    """The issuance that a processor's reference names: whose it is and how it stands."""

    card_id: UUID
    user_id: UUID
    state: str


def claim(tx: Transaction, processor: str, now: datetime, lease_until: datetime, finished_before: datetime) -> Sweep | None:
    """Take the pass that is going on, or begin one when the last ended before a time; None when neither can be had."""
    tx.execute(
        "INSERT INTO processor_sweeps (processor, started_at, lease_until) VALUES (%s, %s, %s) "
        "ON CONFLICT (processor) DO NOTHING",
        (processor, now, now),
    )
    row = tx.fetch_one(
        "UPDATE processor_sweeps SET lease_until = %(lease_until)s, finished_at = NULL, "
        "started_at = CASE WHEN finished_at IS NULL THEN started_at ELSE %(now)s END "
        "WHERE processor = %(processor)s AND lease_until <= %(now)s "
        "AND (finished_at IS NULL OR finished_at <= %(finished_before)s) "
        "RETURNING processor, started_at, list_cursor, unseen_after, lease_until",
        {"processor": processor, "now": now, "lease_until": lease_until, "finished_before": finished_before},
    )
    return None if row is None else Sweep(**row)


def advance(tx: Transaction, held: Sweep, reached: Sweep) -> bool:
    """Note how far a pass is and until when it is held; False when it is in other hands by now."""
    touched = tx.execute(
        "UPDATE processor_sweeps SET started_at = %s, list_cursor = %s, unseen_after = %s, lease_until = %s "
        "WHERE processor = %s AND lease_until = %s AND finished_at IS NULL",
        (
            reached.started_at, reached.list_cursor, reached.unseen_after, reached.lease_until,
            held.processor, held.lease_until,
        ),
    )  # fmt: skip
    return touched == 1


def finish(tx: Transaction, held: Sweep, now: datetime) -> bool:
    """Note that a pass is over; False when it is in other hands by now."""
    touched = tx.execute(
        "UPDATE processor_sweeps SET finished_at = %s, list_cursor = NULL, unseen_after = NULL, lease_until = %s "
        "WHERE processor = %s AND lease_until = %s AND finished_at IS NULL",
        (now, now, held.processor, held.lease_until),
    )
    return touched == 1


def release(tx: Transaction, held: Sweep, now: datetime) -> None:
    """Let go of a pass; whoever comes next takes it up where it is."""
    tx.execute(
        "UPDATE processor_sweeps SET lease_until = %s WHERE processor = %s AND lease_until = %s",
        (now, held.processor, held.lease_until),
    )


def known(tx: Transaction, tokens: Sequence[str]) -> dict[str, KnownCard]:
    """Those of the tokens that are our cards', with what we know of these."""
    rows = tx.fetch_all(
        "SELECT t.processor_card_token, c.card_id, c.processor, c.status::text AS status, c.updated_at "
        "FROM card_tokens t JOIN virtual_cards c ON c.card_id = t.card_id WHERE t.processor_card_token = ANY (%s)",
        (list(tokens),),
    )
    return {
        row["processor_card_token"]: KnownCard(row["card_id"], row["processor"], CardStatus(row["status"]), row["updated_at"])
        for row in rows
    }


def references(tx: Transaction, card_ids: Sequence[UUID]) -> dict[UUID, Reference]:
    """Issuances under the card ids that a processor's references are."""
    rows = tx.fetch_all("SELECT card_id, user_id, state FROM card_issuances WHERE card_id = ANY (%s)", (list(card_ids),))
    return {row["card_id"]: Reference(**row) for row in rows}


def mark_seen(tx: Transaction, card_ids: Sequence[UUID], now: datetime) -> None:
    """Note that the processor's list holds these cards; nobody asks that of one that has ended."""
    tx.execute(
        "UPDATE virtual_cards SET processor_seen_at = %s WHERE card_id = ANY (%s) AND status IN ('ACTIVE', 'FROZEN')",
        (now, list(card_ids)),
    )


def unseen(tx: Transaction, sweep: Sweep, after: UUID, limit: int) -> list[tuple[UUID, str]]:
    """Ids and tokens of open cards, made before a pass began, that it has not seen; in the order of their ids."""
    rows = tx.fetch_all(
        "SELECT card_id, processor_card_token FROM virtual_cards WHERE processor = %(processor)s "
        "AND status IN ('ACTIVE', 'FROZEN') AND created_at < %(started_at)s "
        "AND (processor_seen_at IS NULL OR processor_seen_at < %(started_at)s) AND card_id > %(after)s "
        "ORDER BY card_id LIMIT %(limit)s",
        {"processor": sweep.processor, "started_at": sweep.started_at, "after": after, "limit": limit},
    )
    return [(row["card_id"], row["processor_card_token"]) for row in rows]


def note(tx: Transaction, processor: str, finding_id: UUID, finding: Finding, now: datetime) -> bool:
    """Keep a finding, or note that one that is open is still true; returns whether it is new."""
    row = tx.fetch_one(
        "INSERT INTO processor_findings (processor, finding_id, kind, card_id, token_digest, found_at, seen_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (processor, token_digest, kind) WHERE mended_at IS NULL "
        "DO UPDATE SET seen_at = excluded.seen_at RETURNING finding_id",
        (processor, finding_id, finding.kind, finding.card_id, finding.digest, now, now),
    )
    return row is not None and row["finding_id"] == finding_id


def keep(tx: Transaction, processor: str, digests: Sequence[bytes], now: datetime) -> None:
    """Leave the open findings of tokens open: nothing is known against them."""
    tx.execute(
        "UPDATE processor_findings SET seen_at = %s WHERE processor = %s AND token_digest = ANY (%s) AND mended_at IS NULL",
        (now, processor, list(digests)),
    )


def settle(tx: Transaction, processor: str, found: Sequence[tuple[bytes, FindingKind | None]], now: datetime) -> None:
    """Close the open findings of tokens, but for the one that is still true of each."""
    tx.execute(
        "UPDATE processor_findings f SET mended_at = %s FROM unnest(%s::bytea[], %s::text[]) AS still (digest, kind) "
        "WHERE f.processor = %s AND f.token_digest = still.digest AND f.kind IS DISTINCT FROM still.kind AND f.mended_at IS NULL",
        (now, [digest for digest, _ in found], [None if kind is None else kind.value for _, kind in found], processor),
    )


def settle_unseen(tx: Transaction, sweep: Sweep, now: datetime) -> None:
    """Close the open findings that a whole pass has not found again."""
    tx.execute(
        "UPDATE processor_findings SET mended_at = %s WHERE processor = %s AND seen_at < %s AND mended_at IS NULL",
        (now, sweep.processor, sweep.started_at),
    )


def newest(tx: Transaction, *, kind: FindingKind | None, is_open: bool, limit: int, after: UUID | None) -> list[ProcessorFinding]:
    """List up to `limit` findings the actor may see, open or mended, of a kind or any, older than `after`, newest first."""
    rows = tx.fetch_all(
        "SELECT finding_id, kind, card_id, found_at, seen_at, mended_at FROM processor_findings "
        "WHERE (mended_at IS NULL) = %(is_open)s AND (%(kind)s::text IS NULL OR kind = %(kind)s) "
        "AND (%(after)s::uuid IS NULL OR finding_id < %(after)s) ORDER BY finding_id DESC LIMIT %(limit)s",
        {"is_open": is_open, "kind": kind, "after": after, "limit": limit},
    )
    return [ProcessorFinding(**{**row, "kind": FindingKind(row["kind"])}) for row in rows]


def count_open(tx: Transaction) -> int:
    """How many findings wait for somebody to look at them."""
    row = tx.fetch_one("SELECT count(*) AS waiting FROM processor_findings WHERE mended_at IS NULL")
    return 0 if row is None else int(row["waiting"])
