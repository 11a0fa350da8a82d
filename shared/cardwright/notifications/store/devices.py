"""SQL of devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.notifications.rules import Channel, Device, DeviceStatus, Platform
from cardwright.platform.postgres import Row, Transaction

_COLUMNS = "device_id, channel, platform, last_four, status, created_at"


@dataclass(frozen=True, slots=True)
class NewRow:
    """A device to insert; its address is sealed."""

    user_id: UUID
    device_id: UUID
    channel: Channel
    platform: Platform | None
    address_sealed: bytes
    address_digest: bytes
    last_four: str | None
    status: DeviceStatus
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Reached:
    """A device a message may go to; its address is sealed."""

    device_id: UUID
    channel: Channel


def load(tx: Transaction, user_id: UUID, device_id: UUID) -> Device | None:
    """One of the user's devices, held until the transaction ends."""
    row = tx.fetch_one(
        f"SELECT {_COLUMNS} FROM notification_devices WHERE user_id = %s AND device_id = %s FOR NO KEY UPDATE",  # noqa: S608 - names of ours
        (user_id, device_id),
    )
    return None if row is None else _device(row)


def find(tx: Transaction, user_id: UUID, channel: Channel, digests: Sequence[bytes]) -> Device | None:
    """The user's device of an address, held until the transaction ends."""
    row = tx.fetch_one(
        f"SELECT {_COLUMNS} FROM notification_devices WHERE user_id = %s AND channel = %s "  # noqa: S608 - names of ours
        "AND address_digest = ANY (%s) FOR NO KEY UPDATE",
        (user_id, channel.value, list(digests)),
    )
    return None if row is None else _device(row)


def list_of(tx: Transaction, user_id: UUID) -> list[Device]:
    """The user's devices, newest first."""
    sql = f"SELECT {_COLUMNS} FROM notification_devices WHERE user_id = %s ORDER BY created_at DESC, device_id DESC"  # noqa: S608 - names of ours
    return [_device(row) for row in tx.fetch_all(sql, (user_id,))]


def count(tx: Transaction, user_id: UUID) -> int:
    """How many devices the user has."""
    row = tx.fetch_one("SELECT count(*) AS n FROM notification_devices WHERE user_id = %s", (user_id,))
    return 0 if row is None else int(row["n"])


def insert(tx: Transaction, new: NewRow) -> None:
    """Insert a device. Raises UniqueViolation when its address is somebody's since just now."""
    tx.execute(
        "INSERT INTO notification_devices (user_id, device_id, channel, platform, address_sealed, address_digest, last_four, "
        "status, created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            new.user_id,
            new.device_id,
            new.channel.value,
            None if new.platform is None else new.platform.value,
            new.address_sealed,
            new.address_digest,
            new.last_four,
            new.status.value,
            new.created_at,
            new.created_at,
        ),
    )


def activate(tx: Transaction, user_id: UUID, device_id: UUID, platform: Platform | None, now: datetime) -> None:
    """Let a device take messages; its code is spent. Raises UniqueViolation as `insert` does."""
    tx.execute(
        "UPDATE notification_devices SET status = 'ACTIVE', platform = coalesce(%s, platform), code_digest = NULL, "
        "code_expires_at = NULL, updated_at = %s WHERE user_id = %s AND device_id = %s",
        (None if platform is None else platform.value, now, user_id, device_id),
    )


def put_code(tx: Transaction, user_id: UUID, device_id: UUID, digest: bytes, expires_at: datetime, now: datetime) -> None:
    """Ask for a code before the device takes messages; an earlier code is good no more."""
    tx.execute(
        "UPDATE notification_devices SET status = 'UNCONFIRMED', code_digest = %s, code_expires_at = %s, code_tries = 0, "
        "code_sent_at = NULL, updated_at = %s WHERE user_id = %s AND device_id = %s",
        (digest, expires_at, now, user_id, device_id),
    )


def note_sent(tx: Transaction, user_id: UUID, device_id: UUID, now: datetime) -> None:
    """Note that the code was handed to a provider."""
    tx.execute(
        "UPDATE notification_devices SET code_sent_at = %s WHERE user_id = %s AND device_id = %s", (now, user_id, device_id)
    )


def code_sent(tx: Transaction, user_id: UUID, device_id: UUID) -> bool:
    """True when the device's code was handed to a provider."""
    row = tx.fetch_one(
        "SELECT code_sent_at IS NOT NULL AS sent FROM notification_devices WHERE user_id = %s AND device_id = %s",
        (user_id, device_id),
    )
    return row is not None and bool(row["sent"])


def try_code(tx: Transaction, user_id: UUID, device_id: UUID, most: int, now: datetime) -> bytes | None:
    """Take one try at a device's code; its digest, or None when the code is spent or expired."""
    row = tx.fetch_one(
        "UPDATE notification_devices SET code_tries = code_tries + 1 WHERE user_id = %s AND device_id = %s "
        "AND status = 'UNCONFIRMED' AND code_tries < %s AND code_expires_at > %s RETURNING code_digest",
        (user_id, device_id, most, now),
    )
    return None if row is None else row["code_digest"]


def take_address(tx: Transaction, channel: Channel, digests: Sequence[bytes]) -> int:
    """Take an address away from everybody but the caller; return from how many."""
    row = tx.fetch_one("SELECT take_notification_address(%s, %s) AS moved", (channel.value, list(digests)))
    return 0 if row is None else int(row["moved"])


def take_number(tx: Transaction, user_id: UUID, device_id: UUID) -> None:
    """Take the number of a device of the caller's away from everybody else who has it."""
    tx.fetch_one(
        "SELECT take_notification_address(channel, ARRAY[address_digest]) AS moved FROM notification_devices "
        "WHERE user_id = %s AND device_id = %s",
        (user_id, device_id),
    )


def delete(tx: Transaction, user_id: UUID, device_id: UUID) -> bool:
    """Remove a device; False when there is none."""
    sql = "DELETE FROM notification_devices WHERE user_id = %s AND device_id = %s"
    return tx.execute(sql, (user_id, device_id)) == 1


def reached(tx: Transaction, user_id: UUID) -> list[Reached]:
    """Devices that take messages."""
    rows = tx.fetch_all(
        "SELECT device_id, channel FROM notification_devices WHERE user_id = %s AND status = 'ACTIVE' ORDER BY device_id",
        (user_id,),
    )
    return [Reached(row["device_id"], Channel(row["channel"])) for row in rows]


def bury(tx: Transaction, user_id: UUID, device_id: UUID, now: datetime) -> None:
    """Note that a device takes nothing any more."""
    tx.execute(
        "UPDATE notification_devices SET status = 'DEAD', updated_at = %s "
        "WHERE user_id = %s AND device_id = %s AND status = 'ACTIVE'",
        (now, user_id, device_id),
    )


def bury_address(tx: Transaction, channel: Channel, digests: Sequence[bytes], now: datetime) -> bool:
    """Note that an address takes nothing any more, whoever has it; False when no active device has it."""
    buried = tx.execute(
        "UPDATE notification_devices SET status = 'DEAD', updated_at = %s "
        "WHERE channel = %s AND address_digest = ANY (%s) AND status = 'ACTIVE'",
        (now, channel.value, list(digests)),
    )
    return buried > 0


def _device(row: Row) -> Device:
    platform = row["platform"]
    return Device(
        device_id=row["device_id"],
        channel=Channel(row["channel"]),
        platform=None if platform is None else Platform(platform),
        last_four=row["last_four"],
        status=DeviceStatus(row["status"]),
        created_at=row["created_at"],
    )
