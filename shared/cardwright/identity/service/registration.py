"""Registration, confirmation of the address, and accounts made by operators."""

from dataclasses import dataclass
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.identity import rules, store
from cardwright.identity.ports import IdentityTools
from cardwright.identity.service import people
from cardwright.identity.service.logins import email_index
from cardwright.identity.service.people import key_context, load_person, seal
from cardwright.kernel.clock import rfc3339
from cardwright.kernel.errors import BrokenInvariantError, FieldError, InvalidFieldsError, UnprocessableError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform import passwords
from cardwright.platform.ids import random_digits
from cardwright.platform.postgres import Actor, Transaction

_NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Applicant:
    """Checked values of somebody who wants an account."""

    email: str
    email_index: bytes
    first_name: str
    last_name: str
    password_hash: str
    code_digest: bytes


class Registration:
    """Makes accounts."""

    def __init__(self, tools: IdentityTools) -> None:
        self._tools = tools

    def register(
        self, *, email: str, password: Secret[str], first_name: str, last_name: str, address: str, request_id: str | None
    ) -> None:
        """Register a cardholder and mail a code. Whether the address has an account shows in the mailbox alone.

        While nobody has confirmed the address, each registration of it waits with its own code, password and names; the one
        whose code is confirmed becomes the account.
        Raises InvalidFieldsError, RateLimitedError, UnavailableError, ProviderRefusedError.
        """
        tools = self._tools
        checked = rules.normalise_email(email)
        rules.check_password(password, checked)
        names = rules.check_name("first_name", first_name), rules.check_name("last_name", last_name)
        index = email_index(tools, checked)
        tools.ratelimit.login(address, b"register" + index)
        code = Secret(random_digits(rules.EMAIL_CODE_DIGITS))
        applicant = Applicant(checked, index, *names, passwords.hash_password(password), self._code_digest(index, code))
        if self._create(applicant, request_id) or self._add(applicant, request_id):
            self._mail_code(checked, code)
        else:
            self._mail_note(checked)

    def verify_email(self, *, email: str, code: Secret[str], address: str, request_id: str | None) -> None:
        """Confirm an address with a mailed code; five tries. The registration it was mailed for becomes the account.

        Raises UnprocessableError email_code_invalid (wrong, spent, expired, unknown alike), InvalidFieldsError,
        RateLimitedError, UnavailableError.
        """
        tools = self._tools
        index = email_index(tools, rules.normalise_email(email))
        tools.ratelimit.login(address, b"verify" + index)
        digest = self._code_digest(index, code)
        with tools.database.transaction(Actor(None, _NOBODY, request_id)) as tx:
            user_id = store.confirm_email(tx, index, digest, rules.CODE_TRIES, tools.clock.now())
            if user_id is not None:
                self._audit(tx, user_id, "email.verified", None)
        if user_id is None:
            raise UnprocessableError("The code is not right or not valid any more.", code="email_code_invalid")

    def provision(
        self,
        *,
        email: str,
        password: Secret[str],
        role: Role,
        first_name: str,
        last_name: str,
        totp_secret: Secret[str] | None,
        organization_id: UUID | None,
    ) -> UUID:
        """Make an account with a confirmed address for an operator; an existing one is returned as it is.

        Raises InvalidFieldsError, UnavailableError.
        """
        tools = self._tools
        checked = rules.normalise_email(email)
        index = email_index(tools, checked)
        if (held := self._find(index, None)) is not None:
            return held.user_id
        rules.check_password(password, checked)
        if totp_secret is not None and not rules.totp_secret_valid(totp_secret):
            raise InvalidFieldsError([FieldError("totp_secret", "totp_secret_invalid", "Base32 of at least 128 bits.")])
        user_id, now = tools.ids.new(), tools.clock.now()
        key, wrapped = tools.data_keys.generate(key_context(user_id))
        user = store.NewUser(
            user_id=user_id,
            role=role,
            organization_id=organization_id,
            email_index=index,
            email_sealed=seal(key, user_id, people.EMAIL, checked),
            first_name_sealed=seal(key, user_id, people.FIRST_NAME, rules.check_name("first_name", first_name)),
            last_name_sealed=seal(key, user_id, people.LAST_NAME, rules.check_name("last_name", last_name)),
            password_hash=passwords.hash_password(password),
            wrapped_key=wrapped,
            email_verified_at=now,
            totp_sealed=None if totp_secret is None else seal(key, user_id, people.TOTP, totp_secret.reveal()),
            totp_confirmed_at=None if totp_secret is None else now,
            created_at=now,
        )
        with tools.database.transaction(Actor(None, Role.ADMIN, reason="provisioned by an operator")) as tx:
            claimed = store.claim_email(tx, index, user_id)
            if claimed:
                store.insert_user(tx, user)
                self._audit(tx, user_id, "user.provisioned", role)
        if claimed:
            return user_id
        if (held := self._find(index, None)) is None:
            raise BrokenInvariantError("An address was taken and has no account.")
        return held.user_id

    def _create(self, applicant: Applicant, request_id: str | None) -> bool:
        tools = self._tools
        user_id, now = tools.ids.new(), tools.clock.now()
        key, wrapped = tools.data_keys.generate(key_context(user_id))
        user = store.NewUser(
            user_id=user_id,
            role=Role.CARDHOLDER,
            organization_id=None,
            email_index=applicant.email_index,
            email_sealed=seal(key, user_id, people.EMAIL, applicant.email),
            first_name_sealed=seal(key, user_id, people.FIRST_NAME, applicant.first_name),
            last_name_sealed=seal(key, user_id, people.LAST_NAME, applicant.last_name),
            password_hash=applicant.password_hash,
            wrapped_key=wrapped,
            email_verified_at=None,
            totp_sealed=None,
            totp_confirmed_at=None,
            created_at=now,
        )
        with tools.database.transaction(Actor(user_id, _NOBODY, request_id)) as tx:
            if not store.claim_email(tx, applicant.email_index, user_id):
                return False
            store.insert_user(tx, user)
            store.insert_pending(tx, self._pending(applicant, user_id, user.first_name_sealed, user.last_name_sealed))
            self._audit(tx, user_id, "user.registered", Role.CARDHOLDER)
        return True

    def _add(self, applicant: Applicant, request_id: str | None) -> bool:
        tools = self._tools
        held = self._find(applicant.email_index, request_id)
        if held is None or held.email_verified_at is not None:
            return False
        actor = Actor(held.user_id, _NOBODY, request_id)
        person = load_person(tools, actor, held.user_id)
        first_name = person.seal(people.FIRST_NAME, applicant.first_name)
        last_name = person.seal(people.LAST_NAME, applicant.last_name)
        with tools.database.transaction(actor) as tx:
            if not store.lock_unverified(tx, held.user_id):
                return False
            keep = rules.PENDING_REGISTRATIONS - 1
            store.trim_pending(tx, held.user_id, keep, rules.CODE_TRIES, tools.clock.now())
            store.insert_pending(tx, self._pending(applicant, held.user_id, first_name, last_name))
            self._audit(tx, held.user_id, "user.registered_again", Role.CARDHOLDER)
        return True

    def _pending(self, applicant: Applicant, user_id: UUID, first_name: bytes, last_name: bytes) -> store.PendingRegistration:
        return store.PendingRegistration(
            user_id=user_id,
            registration_id=self._tools.ids.new(),
            digest=applicant.code_digest,
            first_name_sealed=first_name,
            last_name_sealed=last_name,
            password_hash=applicant.password_hash,
            expires_at=self._tools.clock.now() + rules.EMAIL_CODE_AGE,
        )

    def _find(self, index: bytes, request_id: str | None) -> store.LoginRow | None:
        with self._tools.database.transaction(Actor(None, _NOBODY, request_id)) as tx:
            return store.find_login(tx, index)

    def _code_digest(self, index: bytes, code: Secret[str]) -> bytes:
        return self._tools.mac.mac("email-code", Secret(index + code.reveal().encode()))

    def _audit(self, tx: Transaction, user_id: UUID, action: str, role: Role | None) -> None:
        audit.append(
            tx,
            subject_type="user",
            subject_id=user_id,
            entry_id=self._tools.ids.new(),
            action=action,
            occurred_at=self._tools.clock.now(),
            new=None if role is None else {"role": role.value},
        )

    def _mail_code(self, email: str, code: Secret[str]) -> None:
        hours = int(rules.EMAIL_CODE_AGE.total_seconds()) // 3600
        self._tools.messages.send(
            "email",
            email,
            "Confirm your e-mail address",
            # Whoever knows an address can register it: only the time tells the owner which code is the own one.
            f"Your code is {code.reveal()}, for the registration at {rfc3339(self._tools.clock.now())}. It is valid for "
            f"{hours} hours. If you did not register at that time, ignore this message: with its code you would confirm "
            "the password of somebody else.",
            {"code": code.reveal()},
        )

    def _mail_note(self, email: str) -> None:
        self._tools.messages.send(
            "email",
            email,
            "You have an account already",
            "Somebody, perhaps you, tried to register with this address, which has an account. Nothing was changed: "
            "log in, or reset your password if you forgot it.",
            {},
        )
