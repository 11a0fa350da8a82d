"""Second factors: enrol an authenticator, check codes, step up."""

import base64
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.identity import rules, store
from cardwright.identity.ports import IdentityTools
from cardwright.identity.rules import Principal, Standing
from cardwright.identity.service import people
from cardwright.identity.service.failures import count_failure
from cardwright.identity.service.people import Person, load_person
from cardwright.identity.service.sessions import AccessToken, Sessions
from cardwright.kernel.errors import ConflictError, ForbiddenError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import random_bytes
from cardwright.platform.postgres import Actor, Transaction

_SECRET_BYTES = 20
_RECOVERY_BYTES = 10


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator needs, shown once."""

    secret: Secret[str]
    otpauth_url: Secret[str]


@dataclass(frozen=True, slots=True)
class Proof:
    """A code that fits and is not spent yet: a time step or a recovery code."""

    step: int | None = None
    recovery: bytes | None = None


def prove(person: Person, code: Secret[str], now: datetime) -> Proof | None:
    """What a code may be for this person; None when it is wrong."""
    recovery = rules.recovery_digest(person.row.user_id, code)
    if recovery is not None:
        return Proof(recovery=recovery)
    secret = person.totp_secret()
    step = None if secret is None or person.row.totp_confirmed_at is None else rules.totp_step(secret, code, now)
    return None if step is None else Proof(step=step)


def spend(tx: Transaction, user_id: UUID, proof: Proof, now: datetime) -> bool:
    """Take the code, once whoever else tries at the same moment; False when it was taken or there is none such."""
    if proof.step is not None:
        return store.spend_totp_step(tx, user_id, proof.step)
    return proof.recovery is not None and store.spend_recovery_code(tx, user_id, proof.recovery, now)


def code_refused(tools: IdentityTools, user_id: UUID, proof: Proof | None, request_id: str | None) -> UnauthenticatedError:
    """The error for a code that was not taken; all but a right one seen again count as a failed attempt."""
    if proof is not None and proof.step is not None:
        return UnauthenticatedError("This code was used before; wait for the next one.", code="mfa_code_used")
    count_failure(tools, user_id, known=True, action="second_factor.failed", request_id=request_id)
    return UnauthenticatedError("The code is not right.", code="mfa_code_invalid")


class SecondFactors:
    """Enrols authenticators and steps sessions up."""

    def __init__(self, tools: IdentityTools, sessions: Sessions) -> None:
        self._tools = tools
        self._sessions = sessions

    def enrol(self, principal: Principal, request_id: str | None) -> Enrolment:
        """Make a secret that waits for its confirmation. Raises ConflictError totp_already_enrolled, UnavailableError."""
        actor = _actor(principal, request_id)
        person = load_person(self._tools, actor, principal.user_id)
        secret = Secret(base64.b32encode(random_bytes(_SECRET_BYTES)).decode())
        with self._tools.database.transaction(actor) as tx:
            if not store.put_totp(tx, principal.user_id, person.seal(people.TOTP, secret.reveal())):
                raise _enrolled()
        return Enrolment(secret, Secret(rules.otpauth_url(secret, person.profile().email)))

    def confirm(self, principal: Principal, code: Secret[str], request_id: str | None) -> tuple[list[Secret[str]], AccessToken]:
        """Confirm the authenticator; answers recovery codes, shown once, and a token that has stepped up.

        Raises ConflictError totp_already_enrolled, totp_not_started; UnauthenticatedError mfa_code_invalid; UnavailableError.
        """
        tools = self._tools
        actor = _actor(principal, request_id)
        person = load_person(tools, actor, principal.user_id)
        secret, sealed = person.totp_secret(), person.row.totp_sealed
        if person.row.totp_confirmed_at is not None:
            raise _enrolled()
        if secret is None or sealed is None:
            raise ConflictError("Ask for a secret first.", code="totp_not_started")
        now = tools.clock.now()
        _refuse_locked(person, now)
        step = rules.totp_step(secret, code, now)
        if step is None:
            raise code_refused(tools, principal.user_id, None, request_id)
        codes = [rules.recovery_code(random_bytes(_RECOVERY_BYTES)) for _ in range(rules.RECOVERY_CODES)]
        digests = [digest for digest in (rules.recovery_digest(principal.user_id, made) for made in codes) if digest]
        access = self._sessions.access_token(_session(principal, now))
        with tools.database.transaction(actor) as tx:
            if not store.confirm_totp(tx, principal.user_id, sealed, step, now):
                raise ConflictError("Another secret was asked for meanwhile.", code="totp_not_started")
            store.put_recovery_codes(tx, principal.user_id, digests)
            store.mark_second_factor(tx, principal.user_id, principal.session_id, now)
            living = store.living_sessions(tx, principal.user_id, now)
            audit.append(
                tx,
                subject_type="user",
                subject_id=principal.user_id,
                entry_id=tools.ids.new(),
                action="second_factor.enrolled",
                occurred_at=now,
                new={"kind": "totp", "recovery_codes": len(codes)},
            )
        # Every session of the user may step up from now on, not this one alone.
        self._sessions.renew(living, Standing(person.row.role, person.row.organization_id, mfa_enrolled=True))
        return codes, access

    def challenge(self, principal: Principal, code: Secret[str], request_id: str | None) -> AccessToken:
        """Answer a fresh access token for a code: the session has shown its second factor now.

        Raises ForbiddenError mfa_enrolment_required, account_locked; UnauthenticatedError mfa_code_invalid, mfa_code_used;
        UnavailableError.
        """
        tools = self._tools
        actor = _actor(principal, request_id)
        person = load_person(tools, actor, principal.user_id)
        if person.row.totp_confirmed_at is None:
            raise ForbiddenError("Enrol a second factor first.", code="mfa_enrolment_required")
        now = tools.clock.now()
        _refuse_locked(person, now)
        proof = prove(person, code, now)
        if proof is None:
            raise code_refused(tools, principal.user_id, None, request_id)
        access = self._sessions.access_token(_session(principal, now))
        with tools.database.transaction(actor) as tx:
            taken = spend(tx, principal.user_id, proof, now)
            if taken:
                store.clear_failures(tx, principal.user_id, now)
                store.mark_second_factor(tx, principal.user_id, principal.session_id, now)
                audit.append(
                    tx,
                    subject_type="user",
                    subject_id=principal.user_id,
                    entry_id=tools.ids.new(),
                    action="second_factor.shown",
                    occurred_at=now,
                    new={"session_id": str(principal.session_id), "kind": "totp" if proof.step else "recovery_code"},
                )
        if not taken:
            raise code_refused(tools, principal.user_id, proof, request_id)
        return access


def _session(principal: Principal, mfa_at: datetime) -> store.SessionRow:
    return store.SessionRow(
        principal.user_id, principal.session_id, principal.role, principal.organization_id, principal.auth_time, mfa_at
    )


def _actor(principal: Principal, request_id: str | None) -> Actor:
    return Actor(principal.user_id, principal.role, request_id)


def _refuse_locked(person: Person, now: datetime) -> None:
    if rules.locked(person.row.locked_until, now):
        raise ForbiddenError("The account is locked for now.", code="account_locked")


def _enrolled() -> ConflictError:
    return ConflictError("An authenticator is enrolled already.", code="totp_already_enrolled")
