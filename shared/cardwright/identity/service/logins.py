"""Logins: address and password, then the second factor where there is one."""

from dataclasses import dataclass
from uuid import UUID

from cardwright.identity import rules, store
from cardwright.identity.ports import IdentityTools
from cardwright.identity.service.failures import count_failure
from cardwright.identity.service.people import load_person
from cardwright.identity.service.second_factors import code_refused, prove, spend
from cardwright.identity.service.sessions import Sessions, Tokens
from cardwright.kernel.errors import ForbiddenError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.platform import passwords, tokens
from cardwright.platform.postgres import Actor

MFA = "mfa"
_NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class SecondFactorOwed:
    """The password was right; this token and a code finish the login."""

    mfa_token: Secret[str]


class Logins:
    """Lets people in."""

    def __init__(self, tools: IdentityTools, sessions: Sessions) -> None:
        self._tools = tools
        self._sessions = sessions

    def login(self, email: str, password: Secret[str], address: str, request_id: str | None) -> Tokens | SecondFactorOwed:
        """Log in. An unknown address, a wrong password and a locked account answer alike, for the same work.

        Raises InvalidFieldsError, RateLimitedError, UnauthenticatedError invalid_credentials, ForbiddenError
        email_not_verified (after a right password only), UnavailableError.
        """
        tools = self._tools
        index = email_index(tools, rules.normalise_email(email))
        tools.ratelimit.login(address, index)
        with tools.database.transaction(Actor(None, _NOBODY, request_id)) as tx:
            account = store.find_login(tx, index)
        right = passwords.verify_password(account.password_hash if account else None, password)
        if account is None or not right or rules.locked(account.locked_until, tools.clock.now()):
            who = account.user_id if account else UUID(bytes=index[:16])
            count_failure(tools, who, known=account is not None, action="login.failed", request_id=request_id)
            raise _refused()
        if account.email_verified_at is None:
            raise ForbiddenError("Confirm the e-mail address first.", code="email_not_verified")
        if passwords.outdated(account.password_hash):
            self._rehash(account, password, request_id)
        if account.totp_confirmed_at is not None:
            return self._owe(account, request_id)
        return self._let_in(account, request_id)

    def verify_mfa(self, mfa_token: Secret[str], code: Secret[str], address: str, request_id: str | None) -> Tokens:
        """Finish a login with a second factor.

        Raises UnauthenticatedError mfa_token_invalid (also after five tries or five minutes), mfa_code_invalid,
        mfa_code_used; RateLimitedError, UnavailableError.
        """
        tools = self._tools
        named = tokens.read_opaque(tools.sealer.keys_for("mfa-token"), MFA, mfa_token)
        if named is None:
            raise _token_refused()
        user_id, challenge_id = named
        tools.ratelimit.login(address, b"mfa" + user_id.bytes)
        now = tools.clock.now()
        actor = Actor(user_id, _NOBODY, request_id)
        with tools.database.transaction(actor) as tx:
            is_open = store.try_challenge(tx, user_id, challenge_id, tokens.digest(mfa_token), rules.CODE_TRIES, now)
        if not is_open:
            raise _token_refused()
        person = load_person(tools, actor, user_id)
        if rules.locked(person.row.locked_until, now):
            raise _token_refused()
        proof = prove(person, code, now)
        if proof is None:
            raise code_refused(tools, user_id, None, request_id)
        session, granted = self._sessions.prepare(person, second_factor=True)
        with tools.database.transaction(Actor(user_id, person.row.role, request_id)) as tx:
            taken = spend(tx, user_id, proof, now)
            if taken:
                # Nothing is spent when the challenge was passed or the account locked meanwhile: raising rolls back.
                if not store.close_challenge(tx, user_id, challenge_id, now) or not store.clear_failures(tx, user_id, now):
                    raise _token_refused()
                self._sessions.begin(tx, session, granted)
            elif proof.step is not None:
                store.give_back_try(tx, user_id, challenge_id)
        if not taken:
            raise code_refused(tools, user_id, proof, request_id)
        return granted

    def _owe(self, account: store.LoginRow, request_id: str | None) -> SecondFactorOwed:
        tools = self._tools
        challenge_id = tools.ids.new()
        token = tokens.make_opaque(tools.sealer.keys_for("mfa-token"), MFA, account.user_id, challenge_id)
        expires_at = tools.clock.now() + rules.CHALLENGE_AGE
        with tools.database.transaction(Actor(account.user_id, account.role, request_id)) as tx:
            store.insert_challenge(tx, account.user_id, challenge_id, tokens.digest(token), expires_at)
        return SecondFactorOwed(token)

    def _let_in(self, account: store.LoginRow, request_id: str | None) -> Tokens:
        tools = self._tools
        actor = Actor(account.user_id, account.role, request_id)
        session, granted = self._sessions.prepare(load_person(tools, actor, account.user_id), second_factor=False)
        with tools.database.transaction(actor) as tx:
            if not store.clear_failures(tx, account.user_id, tools.clock.now()):
                raise _refused()
            self._sessions.begin(tx, session, granted)
        return granted

    def _rehash(self, account: store.LoginRow, password: Secret[str], request_id: str | None) -> None:
        renewed = passwords.hash_password(password)
        with self._tools.database.transaction(Actor(account.user_id, account.role, request_id)) as tx:
            store.put_password_hash(tx, account.user_id, renewed)


def email_index(tools: IdentityTools, email: str) -> bytes:
    """The keyed blind index of a normalised address (32 bytes). Raises UnavailableError."""
    return tools.mac.mac("email", Secret(email.encode()))


def _refused() -> UnauthenticatedError:
    return UnauthenticatedError(
        "The e-mail address or the password is not right, or the account is locked for now.", code="invalid_credentials"
    )


def _token_refused() -> UnauthenticatedError:
    return UnauthenticatedError("The mfa_token is not valid any more; log in again.", code="mfa_token_invalid")
