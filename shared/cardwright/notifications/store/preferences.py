"""SQL of preferences."""

from datetime import datetime
from uuid import UUID

from cardwright.notifications import rules
from cardwright.notifications.rules import DigestMode, Preferences, QuietHours
from cardwright.platform.postgres import Jsonb, Row, Transaction

_COLUMNS = "user_id, locale, time_zone, quiet_from, quiet_until, digest, digest_hour, choices, version, last_operation_id"


def load(tx: Transaction, user_id: UUID) -> Preferences:
    """A person's preferences; the defaults where none were told."""
    row = tx.fetch_one(f"SELECT {_COLUMNS} FROM notification_preferences WHERE user_id = %s", (user_id,))  # noqa: S608 - names of ours
    return rules.unknowing(user_id) if row is None else preferences_of(row)


def touch(tx: Transaction, user_id: UUID, now: datetime) -> Preferences:
    """A person's preferences; until this transaction ends nobody else plans messages of the person or changes them."""
    row = tx.fetch_one(
        "INSERT INTO notification_preferences (user_id, touched_at) VALUES (%s, %s) "  # noqa: S608 - names of ours
        f"ON CONFLICT (user_id) DO UPDATE SET touched_at = EXCLUDED.touched_at RETURNING {_COLUMNS}",
        (user_id, now),
    )
    return rules.unknowing(user_id) if row is None else preferences_of(row)


def save(tx: Transaction, preferences: Preferences) -> None:
    """Replace what somebody wishes; the row is there and held."""
    quiet = preferences.quiet_hours
    told = preferences.choices.items()
    choices = {category.value: {channel.value: on for channel, on in row.items()} for category, row in told}
    tx.execute(
        "UPDATE notification_preferences SET locale = %s, time_zone = %s, quiet_from = %s, quiet_until = %s, digest = %s, "
        "digest_hour = %s, choices = %s, version = %s, last_operation_id = %s WHERE user_id = %s",
        (
            preferences.locale,
            preferences.time_zone,
            None if quiet is None else quiet.start,
            None if quiet is None else quiet.until,
            preferences.digest.value,
            preferences.digest_hour,
            Jsonb(choices),
            preferences.version,
            preferences.last_operation_id,
            preferences.user_id,
        ),
    )


def spend_code(tx: Transaction, user_id: UUID, now: datetime, window_from: datetime, most: int) -> datetime | None:
    """Count a code that is sent; the time since which the spent ones count when there may be no more."""
    taken = tx.execute(
        "UPDATE notification_preferences SET "
        "codes_sent = CASE WHEN codes_since > %(since)s THEN codes_sent + 1 ELSE 1 END, "
        "codes_since = CASE WHEN codes_since > %(since)s THEN codes_since ELSE %(now)s END "
        "WHERE user_id = %(user)s AND (codes_since IS NULL OR codes_since <= %(since)s OR codes_sent < %(most)s)",
        {"user": user_id, "now": now, "since": window_from, "most": most},
    )
    if taken:
        return None
    row = tx.fetch_one("SELECT codes_since FROM notification_preferences WHERE user_id = %s", (user_id,))
    return now if row is None else row["codes_since"]


def preferences_of(row: Row) -> Preferences:
    """Preferences as stored; choices are completed by the defaults of today."""
    quiet = None if row["quiet_from"] is None else QuietHours(row["quiet_from"], row["quiet_until"])
    return Preferences(
        user_id=row["user_id"],
        locale=row["locale"],
        time_zone=row["time_zone"],
        quiet_hours=quiet,
        digest=DigestMode(row["digest"]),
        digest_hour=row["digest_hour"],
        choices=rules.complete(row["choices"]),
        version=row["version"],
        last_operation_id=row["last_operation_id"],
    )
