"""How well deliveries go: for operators' gauges and alarms."""

from datetime import timedelta

from cardwright.kernel.clock import Clock
from cardwright.platform import metrics
from cardwright.platform.postgres import Database, Transaction
from cardwright.webhooks.service.jobs import WORKER
from cardwright.webhooks.store import measuring as store

_HOUR = timedelta(hours=1)


def gauges(database: Database, clock: Clock) -> list[tuple[str, float]]:
    """Age in seconds of the oldest due attempt, attempts of the last hour by outcome, and the 95th percentile of the delay in
    seconds from an event to its first attempt. Raises UnavailableError."""
    since = clock.now() - _HOUR
    with database.transaction(WORKER) as tx:
        oldest = _oldest_age_s(tx, clock)
        outcomes = store.outcomes_since(tx, since)
        delay_s = store.first_attempt_delay_since(tx, since)
    measured = [("cardwright_webhook_oldest_due_age_seconds", oldest)]
    measured += [(f'cardwright_webhook_attempts_last_hour{{outcome="{outcome}"}}', float(n)) for outcome, n in outcomes.items()]
    if delay_s is not None:
        measured.append(("cardwright_webhook_first_attempt_delay_p95_seconds", delay_s))
    return measured


def report(database: Database, clock: Clock) -> None:
    """Tell CloudWatch how long the oldest due attempt has waited. Raises UnavailableError."""
    with database.transaction(WORKER) as tx:
        age_s = _oldest_age_s(tx, clock)
    metrics.emit({"WebhookOldestEventAgeSeconds": (age_s, "Seconds")}, {}, clock.now())


def _oldest_age_s(tx: Transaction, clock: Clock) -> float:
    now = clock.now()
    oldest = store.oldest_due(tx, now)
    return 0.0 if oldest is None else (now - oldest).total_seconds()
