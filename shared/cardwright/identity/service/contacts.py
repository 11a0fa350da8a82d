"""People's addresses for those who write to them, and values of theirs kept elsewhere, under their own data keys."""

from collections.abc import Callable
from uuid import UUID

from cardwright.identity import store
from cardwright.identity.service import people
from cardwright.kernel.errors import UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import DataKeys, open_with, seal_with
from cardwright.platform.postgres import Actor, Database

_WORKER = Actor(None, "system")


class Contacts:
    """Opens addresses, under role worker."""

    def __init__(self, database: Database, data_keys: DataKeys) -> None:
        self._database = database
        self._data_keys = data_keys

    def email(self, user_id: UUID) -> Secret[str] | None:
        """The confirmed e-mail address; None when there is none, or nobody of that id. Raises UnavailableError."""
        row = self._find(user_id)
        if row is None or row.email_verified_at is None:
            return None
        return self._open(user_id, row, people.EMAIL, row.email_sealed)

    def open(self, user_id: UUID, field: str, sealed: bytes) -> Secret[str] | None:
        """A value that `ContactSeals` sealed; None when there is nobody of that id.

        Raises UnavailableError, BrokenInvariantError when it was sealed as another field or for somebody else.
        """
        row = self._find(user_id)
        return None if row is None else self._open(user_id, row, field, sealed)

    def _find(self, user_id: UUID) -> store.ContactRow | None:
        with self._database.transaction(_WORKER) as tx:
            return store.find_contact(tx, user_id)

    def _open(self, user_id: UUID, row: store.ContactRow, field: str, sealed: bytes) -> Secret[str]:
        key = self._data_keys.unwrap(row.wrapped_key, people.key_context(user_id))
        return Secret(open_with(key, sealed, people.seal_context(user_id, field)).decode())


class ContactSeals:
    """Seals values of people, under role app. `data_keys` is asked for when the first value is sealed."""

    def __init__(self, database: Database, data_keys: Callable[[], DataKeys]) -> None:
        self._database = database
        self._data_keys = data_keys

    def exists(self, actor: Actor, user_id: UUID) -> bool:
        """True when there is such a user for this actor. Raises UnavailableError."""
        with self._database.transaction(actor) as tx:
            return store.load_user(tx, user_id) is not None

    def seal(self, actor: Actor, user_id: UUID, field: str, text: Secret[str]) -> bytes:
        """Seal one value; it opens as this field of this user only. Raises UnauthenticatedError, UnavailableError."""
        with self._database.transaction(actor) as tx:
            row = store.load_user(tx, user_id)
        if row is None:
            raise UnauthenticatedError("The account is gone.", code="invalid_token")
        key = self._data_keys().unwrap(row.wrapped_key, people.key_context(user_id))
        return seal_with(key, text.reveal().encode(), people.seal_context(user_id, field))
