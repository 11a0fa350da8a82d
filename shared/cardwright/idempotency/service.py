"""Claim a key before the work, keep the answer after it."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cardwright.idempotency import store
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import ConflictError, UnprocessableError
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import Sealer
from cardwright.platform.postgres import Actor, Database

# Longer than any function may run, so that a second run starts only when the first is surely over.
LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Fresh:
    """The work is to be done, under this operation id; it is the same id at every run of the key."""

    operation_id: UUID


@dataclass(frozen=True, slots=True)
class Replay:
    """The work was done; this was its answer."""

    status: int
    body: bytes


class IdempotencyService:
    """Keeps keys for at least 24 hours, per user, answers sealed."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._ids = ids

    def begin(self, actor: Actor, key: str, method: str, target: str, body: bytes) -> Fresh | Replay:
        """Claim the key for this request; `target` is its path and query.

        Raises UnprocessableError idempotency_key_reused for another request, ConflictError idempotency_in_progress while running.
        """
        user_id = _user(actor)
        digest = hashlib.sha256(b"\x00".join((method.encode(), target.encode(), body))).digest()
        now = self._clock.now()
        with self._database.transaction(actor) as tx:
            operation_id = self._ids.new()
            if store.insert(tx, user_id, key, digest, operation_id, now + LEASE, now):
                return Fresh(operation_id)
            claim = store.lock(tx, user_id, key)
            if claim is None:
                raise ConflictError("A request with this key has just ended.", code="idempotency_in_progress")
            if claim.request_digest != digest:
                raise UnprocessableError("This key was used for another request.", code="idempotency_key_reused")
            if claim.status is not None and claim.response_sealed is not None:
                return Replay(claim.status, self._sealer.open(claim.response_sealed, _context(user_id, key)))
            if claim.lease_until > now:
                raise ConflictError("A request with this key is running.", code="idempotency_in_progress")
            store.extend(tx, user_id, key, now + LEASE)
            return Fresh(claim.operation_id)

    def complete(self, actor: Actor, key: str, status: int, body: bytes) -> None:
        """Keep the answer of a request that had its effect."""
        user_id = _user(actor)
        sealed = self._sealer.seal(body, _context(user_id, key))
        with self._database.transaction(actor) as tx:
            store.complete(tx, user_id, key, status, sealed)

    def release(self, actor: Actor, key: str) -> None:
        """Forget the claim of a request that was refused."""
        with self._database.transaction(actor) as tx:
            store.release(tx, _user(actor), key)

    def suspend(self, actor: Actor, key: str) -> None:
        """Let the next run go on at once with the same operation id: the outcome of this one is not known."""
        with self._database.transaction(actor) as tx:
            store.extend(tx, _user(actor), key, self._clock.now())


def _user(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise UnprocessableError("An idempotency key needs a signed-in user.", code="idempotency_needs_user")
    return actor.user_id


def _context(user_id: UUID, key: str) -> str:
    return f"idempotency:{user_id}:{key}"
