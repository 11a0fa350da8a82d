"""What people see of their notifications, and how they wish to be told."""

from collections.abc import Mapping
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import NotFoundError, StaleVersionError
from cardwright.notifications import rules
from cardwright.notifications.ports import People
from cardwright.notifications.rules import Entry, NewPreferences, Preferences
from cardwright.notifications.service.wording import worded
from cardwright.notifications.store import notifications as store
from cardwright.notifications.store import preferences as wishes
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import NOTIFICATION_REQUESTED, Event
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction, UniqueViolation


class UserNotifications:
    """Inbox and preferences of the caller, and messages of the staff to others; under role app."""

    def __init__(self, database: Database, clock: Clock, ids: IdSource, people: People) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._people = people

    def list_notifications(self, actor: Actor, limit: int, after: UUID | None = None, *, unread: bool = False) -> list[Entry]:
        """The caller's inbox in the caller's language, newest first, what is older than `after`."""
        user_id = _user(actor)
        with self._database.transaction(actor) as tx:
            preferences = wishes.load(tx, user_id)
            found = store.inbox(tx, user_id, limit, after, unread=unread)
        return [_entry(one, preferences) for one in found]

    def mark_read(self, actor: Actor, notification_id: UUID) -> Entry:
        """Note that the caller has read a notification; the first time counts. Raises NotFoundError notification_not_found."""
        user_id = _user(actor)
        with self._database.transaction(actor) as tx:
            preferences = wishes.load(tx, user_id)
            found = store.mark_read(tx, user_id, notification_id, self._clock.now())
        if found is None:
            raise NotFoundError("There is no such notification.", code="notification_not_found")
        return _entry(found, preferences)

    def get_preferences(self, actor: Actor) -> Preferences:
        """How the caller wishes to be told."""
        with self._database.transaction(actor) as tx:
            return wishes.load(tx, _user(actor))

    def put_preferences(
        self, actor: Actor, wanted: NewPreferences, operation_id: UUID, if_match: int | None = None
    ) -> Preferences:
        """Replace the caller's wishes; what is left out is as the defaults are. The same operation again returns the same.

        Raises InvalidFieldsError, StaleVersionError.
        """
        rules.check_preferences(wanted)
        user_id, now = _user(actor), self._clock.now()
        with self._database.transaction(actor) as tx:
            before = wishes.touch(tx, user_id, now)
            if before.last_operation_id == operation_id:
                return before
            if if_match is not None and if_match != before.version:
                raise StaleVersionError("The preferences have changed since.")
            after = Preferences(
                user_id=user_id,
                locale=wanted.locale,
                time_zone=wanted.time_zone,
                quiet_hours=wanted.quiet_hours,
                digest=wanted.digest,
                digest_hour=wanted.digest_hour,
                choices=rules.complete(wanted.channels),
                version=before.version + 1,
                last_operation_id=operation_id,
            )
            wishes.save(tx, after)
            self._note(tx, user_id, self._ids.new(), "notification_preferences.changed", version=after.version)
        return after

    def send(self, actor: Actor, template_id: str, user_id: UUID, params: Mapping[str, str], operation_id: UUID) -> None:
        """Let a person be told by a template, as that person wishes; the same operation again tells nothing more.

        Raises UnprocessableError unknown_template, InvalidFieldsError, NotFoundError user_not_found.
        """
        template = rules.sendable(template_id, params)
        if not self._people.exists(actor, user_id):
            raise NotFoundError("There is no such user.", code="user_not_found")
        now = self._clock.now()
        event = Event(
            operation_id, NOTIFICATION_REQUESTED, now, {"template": template.name, "params": dict(params)}, user_id=user_id
        )
        try:
            with self._database.transaction(actor) as tx:
                outbox.append(tx, event)
                self._note(tx, user_id, operation_id, "notification.requested", template=template.name)
        except UniqueViolation:
            # The event is there: the same operation was here before.
            return

    def _note(self, tx: Transaction, user_id: UUID, entry_id: UUID, action: str, **values: object) -> None:
        audit.append(
            tx,
            subject_type="user",
            subject_id=user_id,
            entry_id=entry_id,
            action=action,
            occurred_at=self._clock.now(),
            new=values,
        )


def _entry(found: store.Stored, preferences: Preferences) -> Entry:
    texts = worded(found.notification_id, found.template, found.params, preferences)
    return Entry(
        notification_id=found.notification_id,
        template=found.template,
        category=found.category,
        title=texts.title,
        body=texts.body,
        count=1 + found.repeats,
        created_at=found.created_at,
        read_at=found.read_at,
    )


def _user(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise NotFoundError("There is no such notification.", code="notification_not_found")
    return actor.user_id
