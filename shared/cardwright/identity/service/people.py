"""A person's values: sealed under the person's own data key, opened for the person."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.identity import store
from cardwright.identity.ports import IdentityTools
from cardwright.kernel.errors import UnauthenticatedError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import DataKeys, open_with, seal_with
from cardwright.platform.postgres import Actor

EMAIL = "email"
FIRST_NAME = "first_name"
LAST_NAME = "last_name"
TOTP = "totp"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person sees of the own account."""

    user_id: UUID
    email: str
    first_name: str
    last_name: str
    role: Role
    organization_id: UUID | None
    email_verified: bool
    mfa_enrolled: bool
    version: int
    created_at: datetime


def seal(key: Secret[bytes], user_id: UUID, field: str, text: str) -> bytes:
    """Seal one value; it opens as this field of this user only."""
    return seal_with(key, text.encode(), seal_context(user_id, field))


class Person:
    """A stored user together with the unwrapped data key."""

    def __init__(self, data_keys: DataKeys, row: store.UserRow) -> None:
        self.row = row
        self._key = data_keys.unwrap(row.wrapped_key, key_context(row.user_id))

    def seal(self, field: str, text: str) -> bytes:
        """Seal a value of this person."""
        return seal(self._key, self.row.user_id, field, text)

    def profile(self) -> Profile:
        """Open what the person sees."""
        row = self.row
        return Profile(
            user_id=row.user_id,
            email=self._open(EMAIL, row.email_sealed),
            first_name=self._open(FIRST_NAME, row.first_name_sealed),
            last_name=self._open(LAST_NAME, row.last_name_sealed),
            role=row.role,
            organization_id=row.organization_id,
            email_verified=row.email_verified_at is not None,
            mfa_enrolled=row.totp_confirmed_at is not None,
            version=row.version,
            created_at=row.created_at,
        )

    def totp_secret(self) -> Secret[str] | None:
        """The authenticator's secret, confirmed or waiting for it."""
        sealed = self.row.totp_sealed
        return None if sealed is None else Secret(self._open(TOTP, sealed))

    def _open(self, field: str, sealed: bytes) -> str:
        return open_with(self._key, sealed, seal_context(self.row.user_id, field)).decode()


def load_person(tools: IdentityTools, actor: Actor, user_id: UUID) -> Person:
    """Load and open a user. Raises UnauthenticatedError when there is none, UnavailableError."""
    with tools.database.transaction(actor) as tx:
        row = store.load_user(tx, user_id)
    if row is None:
        raise UnauthenticatedError("The account is gone.", code="invalid_token")
    return Person(tools.data_keys, row)


def key_context(user_id: UUID) -> dict[str, str]:
    """The encryption context of a user's data key."""
    return {"user_id": str(user_id)}


def seal_context(user_id: UUID, field: str) -> str:
    """What a sealed value of a user is bound to."""
    return f"user:{user_id}:{field}"
