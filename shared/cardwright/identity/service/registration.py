"""Registration, confirmation of the address, and accounts made by operators."""

from dataclasses import dataclass
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.identity import rules, store
from cardwright.identity.ports import IdentityTools
from cardwright.identity.service import people
from cardwright.identity.service.logins import email_index
from cardwright.identity.service.people import Person, key_context, load_person, seal
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


class Registration:
    """Makes accounts."""

    def __init__(self, tools: IdentityTools) -> None:
        self._tools = tools

    def register(
        self, *, email: str, password: Secret[str], first_name: str, last_name: str, address: str, request_id: str | None
    ) -> None:
        """Register a cardholder and mail a code. Whether the address has an account shows in the mailbox alone.

        A registration nobody confirmed is replaced by a later one of the same address: its password was never proven.
        Raises InvalidFieldsError, RateLimitedError, UnavailableError, ProviderRefusedError.
        """
        tools = self._tools
        checked = rules.normalise_email(email)
        rules.check_password(password, checked)
        names = rules.check_name("first_name", first_name), rules.check_name("last_name", last_name)
        index = email_index(tools, checked)
        tools.ratelimit.login(address, b"register" + index)
        applicant = Applicant(checked, index, *names, passwords.hash_password(password))
        code = Secret(random_digits(rules.EMAIL_CODE_DIGITS))
        digest = self._code_digest(index, code)
        if self._create(applicant, digest, request_id) or self._replace(applicant, digest, request_id):
            self._mail_code(checked, code)
        else:
            self._mail_note(checked)

    def verify_email(self, *, email: str, code: Secret[str], address: str, request_id: str | None) -> None:
        """Confirm an address with the mailed code; five tries.

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

    def _create(self, applicant: Applicant, code_digest: bytes, request_id: str | None) -> bool:
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
            store.put_email_code(tx, user_id, code_digest, now + rules.EMAIL_CODE_AGE)
            self._audit(tx, user_id, "user.registered", Role.CARDHOLDER)
        return True

    def _replace(self, applicant: Applicant, code_digest: bytes, request_id: str | None) -> bool:
        tools = self._tools
        held = self._find(applicant.email_index, request_id)
        if held is None or held.email_verified_at is not None:
            return False
        actor = Actor(held.user_id, _NOBODY, request_id)
        person: Person = load_person(tools, actor, held.user_id)
        with tools.database.transaction(actor) as tx:
            replaced = store.replace_unverified(
                tx,
                held.user_id,
                email=person.seal(people.EMAIL, applicant.email),
                first_name=person.seal(people.FIRST_NAME, applicant.first_name),
                last_name=person.seal(people.LAST_NAME, applicant.last_name),
                password_hash=applicant.password_hash,
            )
            if replaced:
                store.put_email_code(tx, held.user_id, code_digest, tools.clock.now() + rules.EMAIL_CODE_AGE)
                self._audit(tx, held.user_id, "user.registered_again", Role.CARDHOLDER)
        return replaced

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
            f"Your code is {code.reveal()}. It is valid for {hours} hours. If you did not register, ignore this message.",
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
