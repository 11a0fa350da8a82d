"""SQL of what is measured."""

from datetime import datetime

from cardwright.platform.postgres import Transaction
from cardwright.webhooks.store.claiming import WAITING, span, subscription_of
from cardwright.webhooks.store.turns import IN_TURN


def oldest_due(tx: Transaction, now: datetime) -> datetime | None:
    """Since when the attempt is due that has waited longest for us; what waits for an earlier event of its card is not due."""
    row = tx.fetch_one(
        f"WITH RECURSIVE {WAITING} "  # noqa: S608  # constant text
        f"SELECT min(d.next_attempt_at) AS oldest FROM waiting w {subscription_of('w')} CROSS JOIN LATERAL ("
        "  SELECT d.next_attempt_at FROM webhook_deliveries d WHERE d.user_id = w.user_id"
        "    AND d.subscription_id = w.subscription_id AND d.status = 'PENDING' AND NOT d.blocked"
        f"    AND d.next_attempt_at <= %(now)s AND {IN_TURN} ORDER BY d.next_attempt_at LIMIT 1) d "
        "WHERE w.next_attempt_at <= %(now)s",
        {"now": now, "steps": None, **span()},
    )
    return None if row is None else row["oldest"]


def outcomes_since(tx: Transaction, since: datetime) -> dict[str, int]:
    """How many attempts had which outcome since then."""
    rows = tx.fetch_all(
        "SELECT outcome, count(*) AS n FROM webhook_attempts WHERE started_at >= %s GROUP BY outcome ORDER BY outcome", (since,)
    )
    return {row["outcome"]: row["n"] for row in rows}


def first_attempt_delay_since(tx: Transaction, since: datetime) -> float | None:
    """Of first attempts since then, in how many seconds after their event 95 of 100 were made. Replays are left out."""
    row = tx.fetch_one(
        "SELECT extract(epoch FROM percentile_disc(0.95) WITHIN GROUP (ORDER BY a.started_at - d.event_created_at)) AS delay_s "
        "FROM webhook_attempts a JOIN webhook_deliveries d USING (user_id, subscription_id, event_id) "
        "WHERE a.started_at >= %s AND a.number = 1 AND NOT d.replayed",
        (since,),
    )
    return None if row is None or row["delay_s"] is None else float(row["delay_s"])
