"""SQL of users, their data keys, sessions, challenges and codes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.identity.rules import Standing
from cardwright.kernel.rows import Role
from cardwright.platform.postgres import Row, Transaction


@dataclass(frozen=True, slots=True)
class LoginRow:
    """What a login is measured against."""

    user_id: UUID
    role: Role
    password_hash: str
    locked_until: datetime | None
    email_verified_at: datetime | None
    totp_confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to insert; personal values are sealed."""

    user_id: UUID
    role: Role
    organization_id: UUID | None
    email_index: bytes
    email_sealed: bytes
    first_name_sealed: bytes
    last_name_sealed: bytes
    password_hash: str
    wrapped_key: bytes
    email_verified_at: datetime | None
    totp_sealed: bytes | None
    totp_confirmed_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PendingRegistration:
    """A registration that waits for its code; names are sealed under the user's data key."""

    user_id: UUID
    registration_id: UUID
    digest: bytes
    first_name_sealed: bytes
    last_name_sealed: bytes
    password_hash: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user as stored; personal values are sealed under the data key that `wrapped_key` holds."""

    user_id: UUID
    role: Role
    organization_id: UUID | None
    email_sealed: bytes
    first_name_sealed: bytes
    last_name_sealed: bytes
    email_verified_at: datetime | None
    locked_until: datetime | None
    totp_sealed: bytes | None
    totp_confirmed_at: datetime | None
    version: int
    created_at: datetime
    wrapped_key: bytes


@dataclass(frozen=True, slots=True)
class ContactRow:
    """What a worker that writes to somebody needs: the sealed address, and the data key that opens it."""

    email_sealed: bytes
    email_verified_at: datetime | None
    wrapped_key: bytes


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session with what its tokens say of its user."""

    user_id: UUID
    session_id: UUID
    role: Role
    organization_id: UUID | None
    auth_time: datetime
    mfa_at: datetime | None


def find_login(tx: Transaction, email_index: bytes) -> LoginRow | None:
    """The account of an address; needs no actor."""
    row = tx.fetch_one("SELECT * FROM find_login(%s)", (email_index,))
    return None if row is None else LoginRow(**{**row, "role": Role(row["role"])})


def claim_email(tx: Transaction, email_index: bytes, user_id: UUID) -> bool:
    """Give an address to a user; False when it has one."""
    sql = "INSERT INTO user_emails (email_index, user_id) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    return tx.execute(sql, (email_index, user_id)) == 1


def insert_user(tx: Transaction, user: NewUser) -> None:
    """Insert a user with the wrapped data key."""
    tx.execute(
        "INSERT INTO users (user_id, role, organization_id, email_sealed, first_name_sealed, last_name_sealed, password_hash, "
        "email_verified_at, totp_sealed, totp_confirmed_at, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            user.user_id,
            user.role.value,
            user.organization_id,
            user.email_sealed,
            user.first_name_sealed,
            user.last_name_sealed,
            user.password_hash,
            user.email_verified_at,
            user.totp_sealed,
            user.totp_confirmed_at,
            user.created_at,
        ),
    )
    tx.execute(
        "INSERT INTO user_data_keys (user_id, wrapped_key, created_at) VALUES (%s, %s, %s)",
        (user.user_id, user.wrapped_key, user.created_at),
    )


def lock_unverified(tx: Transaction, user_id: UUID) -> bool:
    """Make other registrations and the confirmation of this address wait; False when it was confirmed."""
    sql = "SELECT 1 AS held FROM users WHERE user_id = %s AND email_verified_at IS NULL FOR NO KEY UPDATE"
    return tx.fetch_one(sql, (user_id,)) is not None


def load_user(tx: Transaction, user_id: UUID) -> UserRow | None:
    """A user with the wrapped data key, as the actor may see it."""
    row = tx.fetch_one(
        "SELECT u.user_id, u.role, u.organization_id, u.email_sealed, u.first_name_sealed, u.last_name_sealed, "
        "u.email_verified_at, u.locked_until, u.totp_sealed, u.totp_confirmed_at, u.version, u.created_at, k.wrapped_key "
        "FROM users AS u JOIN user_data_keys AS k USING (user_id) WHERE u.user_id = %s",
        (user_id,),
    )
    return None if row is None else UserRow(**{**row, "role": Role(row["role"])})


def find_contact(tx: Transaction, user_id: UUID) -> ContactRow | None:
    """How a user is written to; for workers."""
    row = tx.fetch_one("SELECT * FROM find_contact(%s)", (user_id,))
    return None if row is None else ContactRow(**row)


def insert_pending(tx: Transaction, pending: PendingRegistration) -> None:
    """Keep a registration until its code is confirmed; others of the same address stay as they are."""
    tx.execute(
        "INSERT INTO pending_registrations (user_id, registration_id, digest, first_name_sealed, last_name_sealed, "
        "password_hash, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            pending.user_id,
            pending.registration_id,
            pending.digest,
            pending.first_name_sealed,
            pending.last_name_sealed,
            pending.password_hash,
            pending.expires_at,
        ),
    )


def trim_pending(tx: Transaction, user_id: UUID, keep: int, max_tries: int, now: datetime) -> None:
    """Drop a user's registrations that can no longer be confirmed, and all but the newest `keep` of the others."""
    tx.execute(
        "DELETE FROM pending_registrations WHERE user_id = %(user)s AND registration_id NOT IN ("
        "  SELECT registration_id FROM pending_registrations WHERE user_id = %(user)s AND expires_at > %(now)s"
        "  AND tries < %(tries)s ORDER BY expires_at DESC, registration_id DESC LIMIT %(keep)s)",
        {"user": user_id, "now": now, "tries": max_tries, "keep": keep},
    )


def confirm_email(tx: Transaction, email_index: bytes, digest: bytes, max_tries: int, now: datetime) -> UUID | None:
    """Take one try at the codes mailed to an address; the user when one was right. Its registration becomes the account, the
    others are gone. A wrong try counts against all of them. Needs no actor."""
    row = tx.fetch_one("SELECT confirm_email(%s, %s, %s, %s) AS user_id", (email_index, digest, max_tries, now))
    found: UUID | None = row["user_id"] if row else None
    return found


def count_failure(tx: Transaction, user_id: UUID, now: datetime, most: int, locked_until: datetime) -> bool:
    """Count a failed attempt; True when this one locks the account. While it is locked, nothing is counted."""
    row = tx.fetch_one(
        "UPDATE users SET failed_logins = CASE WHEN failed_logins + 1 >= %(most)s THEN 0 ELSE failed_logins + 1 END, "
        "locked_until = CASE WHEN failed_logins + 1 >= %(most)s THEN %(until)s::timestamptz END "
        "WHERE user_id = %(user)s AND (locked_until IS NULL OR locked_until <= %(now)s) RETURNING locked_until",
        {"most": most, "until": locked_until, "user": user_id, "now": now},
    )
    return row is not None and row["locked_until"] is not None


def clear_failures(tx: Transaction, user_id: UUID, now: datetime) -> bool:
    """Forget failed attempts; False when the account has been locked meanwhile."""
    sql = (
        "UPDATE users SET failed_logins = 0, locked_until = NULL "
        "WHERE user_id = %s AND (locked_until IS NULL OR locked_until <= %s)"
    )
    return tx.execute(sql, (user_id, now)) == 1


def put_password_hash(tx: Transaction, user_id: UUID, password_hash: str) -> None:
    """Replace the hash of the same password by one with today's parameters."""
    tx.execute("UPDATE users SET password_hash = %s WHERE user_id = %s", (password_hash, user_id))


def put_totp(tx: Transaction, user_id: UUID, sealed: bytes) -> bool:
    """Keep a secret that waits for its confirmation; False when one is confirmed already."""
    sql = "UPDATE users SET totp_sealed = %s WHERE user_id = %s AND totp_confirmed_at IS NULL"
    return tx.execute(sql, (sealed, user_id)) == 1


def confirm_totp(tx: Transaction, user_id: UUID, sealed: bytes, step: int, now: datetime) -> bool:
    """Confirm the secret that was waiting and spend the step; False when another was put or confirmed meanwhile."""
    sql = (
        "UPDATE users SET totp_confirmed_at = %s, totp_last_step = %s, version = version + 1 "
        "WHERE user_id = %s AND totp_confirmed_at IS NULL AND totp_sealed = %s"
    )
    return tx.execute(sql, (now, step, user_id, sealed)) == 1


def spend_totp_step(tx: Transaction, user_id: UUID, step: int) -> bool:
    """Take a step once, whoever else tries at the same moment; False when it or a later one was taken."""
    sql = "UPDATE users SET totp_last_step = %s WHERE user_id = %s AND totp_last_step < %s"
    return tx.execute(sql, (step, user_id, step)) == 1


def put_recovery_codes(tx: Transaction, user_id: UUID, digests: list[bytes]) -> None:
    """Replace a user's recovery codes."""
    tx.execute("DELETE FROM recovery_codes WHERE user_id = %s", (user_id,))
    tx.execute(
        "INSERT INTO recovery_codes (user_id, digest) SELECT %s, digest FROM unnest(%s::bytea[]) AS digest", (user_id, digests)
    )


def spend_recovery_code(tx: Transaction, user_id: UUID, digest: bytes, now: datetime) -> bool:
    """Take a recovery code once; False when there is none or it was taken."""
    sql = "UPDATE recovery_codes SET used_at = %s WHERE user_id = %s AND digest = %s AND used_at IS NULL"
    return tx.execute(sql, (now, user_id, digest)) == 1


def insert_challenge(tx: Transaction, user_id: UUID, challenge_id: UUID, digest: bytes, expires_at: datetime) -> None:
    """Open a challenge after a right password."""
    tx.execute(
        "INSERT INTO mfa_challenges (user_id, challenge_id, digest, expires_at) VALUES (%s, %s, %s, %s)",
        (user_id, challenge_id, digest, expires_at),
    )


def try_challenge(tx: Transaction, user_id: UUID, challenge_id: UUID, digest: bytes, max_tries: int, now: datetime) -> bool:
    """Take one try at a challenge; False when it is unknown, spent or expired. Needs no actor."""
    row = tx.fetch_one("SELECT try_mfa_challenge(%s, %s, %s, %s, %s) AS open", (user_id, challenge_id, digest, max_tries, now))
    return row is not None and bool(row["open"])


def give_back_try(tx: Transaction, user_id: UUID, challenge_id: UUID) -> None:
    """A try that was no guess is not counted."""
    tx.execute(
        "UPDATE mfa_challenges SET tries = tries - 1 WHERE user_id = %s AND challenge_id = %s AND tries > 0",
        (user_id, challenge_id),
    )


def close_challenge(tx: Transaction, user_id: UUID, challenge_id: UUID, now: datetime) -> bool:
    """Delete a passed challenge, and the user's expired ones; False when it was passed before."""
    tx.execute("DELETE FROM mfa_challenges WHERE user_id = %s AND expires_at <= %s", (user_id, now))
    sql = "DELETE FROM mfa_challenges WHERE user_id = %s AND challenge_id = %s"
    return tx.execute(sql, (user_id, challenge_id)) == 1


def insert_session(tx: Transaction, session: SessionRow, refresh_digest: bytes, expires_at: datetime) -> None:
    """Begin a session."""
    tx.execute(
        "INSERT INTO sessions (user_id, session_id, refresh_digest, auth_time, mfa_at, refreshed_at, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            session.user_id,
            session.session_id,
            refresh_digest,
            session.auth_time,
            session.mfa_at,
            session.auth_time,
            expires_at,
        ),
    )


def rotate_session(tx: Transaction, user_id: UUID, session_id: UUID, digest: bytes, new_digest: bytes, now: datetime) -> str:
    """Exchange the refresh token: `rotated`, `reused` (the session has ended for it) or `ended`. Needs no actor."""
    row = tx.fetch_one("SELECT rotate_session(%s, %s, %s, %s, %s) AS outcome", (user_id, session_id, digest, new_digest, now))
    return "ended" if row is None else str(row["outcome"])


def load_session(tx: Transaction, user_id: UUID, session_id: UUID, now: datetime) -> tuple[SessionRow, Standing] | None:
    """A session that is alive, and how its user stands now; None when it has ended."""
    row = tx.fetch_one(
        "SELECT s.user_id, s.session_id, u.role, u.organization_id, s.auth_time, s.mfa_at, "
        "u.totp_confirmed_at IS NOT NULL AS enrolled FROM sessions AS s JOIN users AS u USING (user_id) "
        "WHERE s.user_id = %s AND s.session_id = %s AND s.revoked_at IS NULL AND s.expires_at > %s",
        (user_id, session_id, now),
    )
    if row is None:
        return None
    session = _session(row)
    return session, Standing(session.role, session.organization_id, row["enrolled"])


def living_sessions(tx: Transaction, user_id: UUID, now: datetime) -> list[UUID]:
    """A user's sessions that have not ended."""
    sql = "SELECT session_id FROM sessions WHERE user_id = %s AND revoked_at IS NULL AND expires_at > %s"
    return [row["session_id"] for row in tx.fetch_all(sql, (user_id, now))]


def mark_second_factor(tx: Transaction, user_id: UUID, session_id: UUID, now: datetime) -> None:
    """Note that the session has just shown a second factor."""
    tx.execute("UPDATE sessions SET mfa_at = %s WHERE user_id = %s AND session_id = %s", (now, user_id, session_id))


def revoke_session(tx: Transaction, user_id: UUID, session_id: UUID, because: str, now: datetime) -> bool:
    """End a session; False when it had ended."""
    sql = (
        "UPDATE sessions SET revoked_at = %s, revoked_because = %s WHERE user_id = %s AND session_id = %s AND revoked_at IS NULL"
    )
    return tx.execute(sql, (now, because, user_id, session_id)) == 1


def _session(row: Row) -> SessionRow:
    return SessionRow(
        row["user_id"], row["session_id"], Role(row["role"]), row["organization_id"], row["auth_time"], row["mfa_at"]
    )
