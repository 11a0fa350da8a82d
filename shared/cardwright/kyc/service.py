"""Use cases of KYC: submit, ask, take the provider's outcomes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel import signatures
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError, ConflictError, ProviderRefusedError
from cardwright.kernel.rows import API_PREFIX, Role
from cardwright.kernel.secret import Secret
from cardwright.kyc import rules, store
from cardwright.kyc.ports import KycProvider
from cardwright.kyc.rules import Details, KycStatus, Outcome
from cardwright.kyc.store import KycCase
from cardwright.outbox import service as outbox
from cardwright.outbox.rules import Event
from cardwright.platform.ids import IdSource
from cardwright.platform.postgres import Actor, Database, Transaction

__all__ = ["CALLBACK_PATH", "KycCase", "KycEvents", "KycService"]

CALLBACK_PATH = f"{API_PREFIX}/webhooks/kyc"


def _audit(
    tx: Transaction, ids: IdSource, user_id: UUID, action: str, now: datetime, old: KycStatus, new: Mapping[str, object]
) -> None:
    audit.append(
        tx,
        subject_type="user",
        subject_id=user_id,
        entry_id=ids.new(),
        action=action,
        occurred_at=now,
        old={"kyc_status": old.value},
        new=new,
    )


class KycService:
    """What people and other domains ask. `provider` is made when a submission needs it."""

    def __init__(
        self, database: Database, clock: Clock, ids: IdSource, *, provider: Callable[[], KycProvider], public_url: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._provider = provider
        self._callback_url = public_url + CALLBACK_PATH

    def status_of(self, tx: Transaction, user_id: UUID) -> KycStatus:
        """The status, read in the caller's transaction."""
        return store.load(tx, user_id).status

    def status(self, actor: Actor) -> KycCase:
        """The actor's own case. Raises UnavailableError."""
        with self._database.transaction(actor) as tx:
            return store.load(tx, _user(actor))

    def submit(self, actor: Actor, details: Details, operation_id: UUID) -> KycCase:
        """Hand a person's details to the provider; nothing of them is kept. The same operation is handed over once.

        Raises InvalidFieldsError, ConflictError kyc_pending / kyc_already_verified / kyc_in_review, ProviderRefusedError
        (the case is as before), UnavailableError (the case is PENDING and may be submitted again).
        """
        user_id, now = _user(actor), self._clock.now()
        rules.check_details(details, now.date())
        with self._database.transaction(actor) as tx:
            before = store.lock(tx, user_id)
            if before.submission_id == operation_id and before.taken:
                return before
            if not rules.may_submit(before.status, taken=before.taken):
                raise _not_now(before.status)
            store.begin(tx, user_id, operation_id, now)
            _audit(tx, self._ids, user_id, "kyc.submitted", now, before.status, {"submission_id": str(operation_id)})
        try:
            name = self._provider().submit(rules.reference(user_id, operation_id), details, self._callback_url)
        except ProviderRefusedError:
            with self._database.transaction(actor) as tx:
                # A case that was left PENDING by an outage has nothing to go back to but the start.
                back = KycStatus.NOT_STARTED if before.status is KycStatus.PENDING else before.status
                store.take_back(tx, user_id, operation_id, back)
            raise
        with self._database.transaction(actor) as tx:
            store.confirm_taken(tx, user_id, operation_id, name)
            return store.load(tx, user_id)

    def provision_status(self, user_id: UUID, status: KycStatus) -> None:
        """Put a status for an operator, such as the seed of a local stack; idempotent, tells nobody. Raises UnavailableError."""
        with self._database.transaction(Actor(None, Role.ADMIN, reason="provisioned by an operator")) as tx:
            before = store.lock(tx, user_id)
            if before.status is not status:
                now = self._clock.now()
                store.decide(tx, user_id, status, now)
                _audit(tx, self._ids, user_id, "kyc.provisioned", now, before.status, {"kyc_status": status.value})


class KycEvents:
    """Takes a provider's signed events: at least once, in any order. `read_event` translates the provider's JSON."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: IdSource,
        *,
        secrets: Callable[[], Sequence[Secret[str]]],
        read_event: Callable[[bytes], Outcome | None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._secrets = secrets
        self._read_event = read_event

    def receive(self, headers: Mapping[str, str], body: bytes, request_id: str | None = None) -> bool:
        """Check and take one event; True when it moved a case. Events of no interest, late or doubled ones are taken and change
        nothing.

        Raises UnauthenticatedError signature_missing / signature_invalid / timestamp_out_of_range, InvalidRequestError,
        UnavailableError.
        """
        now = self._clock.now()
        signatures.verify(self._secrets(), headers, body, now)
        outcome = self._read_event(body)
        if outcome is None:
            return False
        with self._database.transaction(Actor(None, "system", request_id, reason="KYC provider")) as tx:
            return self._take(tx, outcome, now)

    def _take(self, tx: Transaction, outcome: Outcome, now: datetime) -> bool:
        user_id, status = outcome.user_id, outcome.status
        case = store.lock_existing(tx, user_id)
        if case is None:
            return False
        applied = case.submission_id == outcome.submission_id and rules.may_move(case.status, status)
        if not store.record_event(tx, user_id, outcome.event_id, status, applied=applied, now=now) or not applied:
            return False
        store.decide(tx, user_id, status, now)
        _audit(
            tx, self._ids, user_id, "kyc.decided", now, case.status, {"kyc_status": status.value, "event_id": outcome.event_id}
        )
        if status in rules.EVENTS:
            data = {"user_id": str(user_id), "status": status.value}
            outbox.append(tx, Event(self._ids.new(), rules.EVENTS[status], now, data, user_id=user_id))
        return True


def _user(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise BrokenInvariantError("A KYC case belongs to a person.")
    return actor.user_id


def _not_now(status: KycStatus) -> ConflictError:
    codes = {KycStatus.VERIFIED: "kyc_already_verified", KycStatus.NEEDS_REVIEW: "kyc_in_review"}
    return ConflictError(f"Nothing can be submitted while the status is {status.value}.", code=codes.get(status, "kyc_pending"))
