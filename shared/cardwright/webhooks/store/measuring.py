"""SQL of what is measured."""

from datetime import datetime

from cardwright.platform.postgres import Transaction
from cardwright.webhooks.store.claiming import HEADS, WAITING, subscription_of


def oldest_due(tx: Transaction, now: datetime) -> datetime | None:
    """Since when the attempt is due that has waited longest for us; what waits for an earlier event of its card is not due."""
    row = tx.fetch_one(
        f"WITH RECURSIVE {WAITING}, {HEADS} "  # noqa: S608  # constant text
        "SELECT min(d.next_attempt_at) AS oldest FROM ("
        "  SELECT user_id, subscription_id, next_attempt_at FROM waiting WHERE NOT ordered"
        "  UNION ALL SELECT user_id, subscription_id, next_attempt_at FROM heads"
        f") d {subscription_of('d')} WHERE d.next_attempt_at <= %s",
        (now,),
    )
    return None if row is None else row["oldest"]


def outcomes_since(tx: Transaction, since: datetime) -> dict[str, int]:
    """How many attempts had which outcome since then."""
    rows = tx.fetch_all(
        "SELECT outcome, count(*) AS n FROM webhook_attempts WHERE started_at >= %s GROUP BY outcome ORDER BY outcome", (since,)
    )
    return {row["outcome"]: row["n"] for row in rows}


def first_attempt_delay_since(tx: Transaction, since: datetime) -> float | None:
    """Of first attempts since then, in how many seconds after their event 95 of 100 were made."""
    row = tx.fetch_one(
        "SELECT extract(epoch FROM percentile_disc(0.95) WITHIN GROUP (ORDER BY a.started_at - d.event_created_at)) AS delay_s "
        "FROM webhook_attempts a JOIN webhook_deliveries d USING (user_id, subscription_id, event_id) "
        "WHERE a.started_at >= %s AND a.number = 1",
        (since,),
    )
    return None if row is None or row["delay_s"] is None else float(row["delay_s"])
