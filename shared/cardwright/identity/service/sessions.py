"""Sessions and the tokens that stand for them: issue, check, refresh, end."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.identity import rules, store
from cardwright.identity.ports import IdentityTools
from cardwright.identity.rules import Claims, Principal, Standing
from cardwright.identity.service.failures import alert
from cardwright.identity.service.people import Person, Profile
from cardwright.kernel.errors import UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.platform import tokens
from cardwright.platform.entries import seal, unseal
from cardwright.platform.postgres import Actor, Transaction

REFRESH = "refresh"
# What the cache says of a session that has ended; of a living one it keeps the standing.
ENDED = b"-"
# An end is final: what was read before it never takes its place.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token and the seconds it lives."""

    token: Secret[str]
    expires_in: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh answers."""

    access: AccessToken
    refresh: Secret[str]
    profile: Profile


class Sessions:
    """Begins, checks, refreshes and ends sessions."""

    def __init__(self, tools: IdentityTools) -> None:
        self._tools = tools

    def access_token(self, session: store.SessionRow) -> AccessToken:
        """Sign an access token for a session. Raises UnavailableError."""
        claims = Claims(
            session.user_id, session.role, session.session_id, session.organization_id, session.auth_time, session.mfa_at
        )
        written = rules.to_claims(
            claims,
            issuer=self._tools.settings.public_url,
            token_id=self._tools.ids.new(),
            now=self._tools.clock.now(),
        )
        signed = Secret(tokens.sign_token(self._tools.signing, written))
        return AccessToken(signed, int(rules.ACCESS_TOKEN_AGE.total_seconds()))

    def prepare(self, person: Person, *, second_factor: bool) -> tuple[store.SessionRow, Tokens]:
        """Everything of a new session that may fail outside the database; `begin` makes it true. Raises UnavailableError."""
        now = self._tools.clock.now()
        row = person.row
        session = store.SessionRow(
            row.user_id, self._tools.ids.new(), row.role, row.organization_id, now, now if second_factor else None
        )
        refresh = self._make_refresh(session.user_id, session.session_id)
        return session, Tokens(self.access_token(session), refresh, person.profile())

    def begin(self, tx: Transaction, session: store.SessionRow, granted: Tokens) -> None:
        """Begin a prepared session in the caller's transaction."""
        expires_at = session.auth_time + rules.SESSION_AGE
        store.insert_session(tx, session, tokens.digest(granted.refresh), expires_at)
        audit.append(
            tx,
            subject_type="user",
            subject_id=session.user_id,
            entry_id=self._tools.ids.new(),
            action="login.succeeded",
            occurred_at=session.auth_time,
            new={"session_id": str(session.session_id), "second_factor": session.mfa_at is not None},
        )

    def authenticate(self, token: str) -> Principal:
        """Turn an access token into the one it stands for, if its session is alive. Role, organization and enrolment are the
        user's of now (SESSION_CACHE_S seconds old at most), not those of the day the token was signed.

        Raises UnauthenticatedError invalid_token, token_expired, session_ended; UnavailableError.
        """
        tools = self._tools
        claims = rules.from_claims(
            tokens.verify_token(
                tools.signing, token, issuer=tools.settings.public_url, audience=rules.AUDIENCE, now=tools.clock.now()
            )
        )
        standing = self._standing(claims)
        if standing is None:
            raise UnauthenticatedError("The session has ended.", code="session_ended")
        return Principal(
            user_id=claims.user_id,
            role=standing.role,
            session_id=claims.session_id,
            organization_id=standing.organization_id,
            auth_time=claims.auth_time,
            mfa_at=claims.mfa_at,
            mfa_enrolled=standing.mfa_enrolled,
        )

    def refresh(self, refresh_token: Secret[str], request_id: str | None) -> Tokens:
        """Exchange a refresh token for a new pair. One that was exchanged before ends the session.

        Raises UnauthenticatedError refresh_token_invalid, refresh_token_reused; UnavailableError.
        """
        tools = self._tools
        named = tokens.read_opaque(tools.sealer.keys_for("refresh-token"), REFRESH, refresh_token)
        if named is None:
            raise _refresh_invalid()
        user_id, session_id = named
        now = tools.clock.now()
        actor = Actor(user_id, "nobody", request_id)
        with tools.database.transaction(actor) as tx:
            found = store.load_session(tx, user_id, session_id, now)
            row = store.load_user(tx, user_id)
        if found is None or row is None:
            raise _refresh_invalid()
        # Keys are asked before the old token is spent: a failure leaves the caller with one that still works.
        session, standing = found
        access = self.access_token(session)
        profile = Person(tools.data_keys, row).profile()
        renewed = self._make_refresh(user_id, session_id)
        with tools.database.transaction(actor) as tx:
            outcome = store.rotate_session(tx, user_id, session_id, tokens.digest(refresh_token), tokens.digest(renewed), now)
            if outcome == "reused":
                self._audit_end(tx, user_id, session_id, "refresh_token_reused")
                alert(tx, tools, user_id, "refresh_token_reused", now, session_id=str(session_id))
        if outcome == "rotated":
            # The new token may say another role than the cache: it counts from its first use.
            self.renew([session_id], standing)
            return Tokens(access, renewed, profile)
        if outcome == "reused":
            self._remember_end(session_id)
            raise UnauthenticatedError("This refresh token was used before; the session has ended.", code="refresh_token_reused")
        raise _refresh_invalid()

    def logout(self, principal: Principal, request_id: str | None) -> None:
        """End the principal's session; ending it twice is no error. Raises UnavailableError."""
        actor = Actor(principal.user_id, principal.role, request_id)
        with self._tools.database.transaction(actor) as tx:
            if store.revoke_session(tx, principal.user_id, principal.session_id, "logout", self._tools.clock.now()):
                self._audit_end(tx, principal.user_id, principal.session_id, "logout")
        self._remember_end(principal.session_id)

    def renew(self, session_ids: Sequence[UUID], standing: Standing) -> None:
        """Put what is now true of sessions in the cache, over what may be there but their end."""
        keys, value = self._keys(), self._stamped(standing)
        self._tools.cache.exchange(
            [
                ("EVAL", _RENEW, 1, key, seal(keys, key, ENDED), seal(keys, key, value), rules.SESSION_CACHE_S)
                for key in map(_key, session_ids)
            ]
        )

    def _remember_end(self, session_id: UUID) -> None:
        key = _key(session_id)
        self._tools.cache.exchange([("SET", key, seal(self._keys(), key, ENDED), "EX", rules.SESSION_CACHE_S)])

    def _keys(self) -> Sequence[Secret[bytes]]:
        return self._tools.sealer.keys_for("session-cache")

    def _stamped(self, standing: Standing) -> bytes:
        """The standing with its time: a cache that keeps an entry longer than it was told to must not be believed either."""
        return b"%d %b" % (int(self._tools.clock.now().timestamp()), standing.encoded())

    def _cached(self, key: str) -> bytes | None:
        """What the cache says of a session, ENDED or an encoded standing; None when it says nothing that is ours and young."""
        cached = self._tools.cache.get_many([key])
        if cached is None or cached[0] is None:
            return None
        value = unseal(self._keys(), key, cached[0])
        if value is None or value == ENDED:
            return value
        stamp, _, standing = value.partition(b" ")
        age = int(self._tools.clock.now().timestamp()) - int(stamp)
        return standing if age <= rules.SESSION_CACHE_S else None

    def _standing(self, claims: Claims) -> Standing | None:
        key = _key(claims.session_id)
        held = self._cached(key)
        if held == ENDED:
            return None
        if held is not None and (known := Standing.decoded(held)) is not None:
            return known
        # The own session is read: it needs no role, and the one in the token may be gone.
        with self._tools.database.transaction(Actor(claims.user_id, "nobody")) as tx:
            found = store.load_session(tx, claims.user_id, claims.session_id, self._tools.clock.now())
        standing = None if found is None else found[1]
        value = seal(self._keys(), key, ENDED if standing is None else self._stamped(standing))
        # NX: what a logout wrote while this was read stays.
        self._tools.cache.send([("SET", key, value, "EX", rules.SESSION_CACHE_S, "NX")])
        return standing

    def _make_refresh(self, user_id: UUID, session_id: UUID) -> Secret[str]:
        return tokens.make_opaque(self._tools.sealer.keys_for("refresh-token"), REFRESH, user_id, session_id)

    def _audit_end(self, tx: Transaction, user_id: UUID, session_id: UUID, because: str) -> None:
        audit.append(
            tx,
            subject_type="user",
            subject_id=user_id,
            entry_id=self._tools.ids.new(),
            action="session.ended",
            occurred_at=self._tools.clock.now(),
            new={"session_id": str(session_id), "because": because},
        )


def _key(session_id: UUID) -> str:
    return f"session:{{{session_id}}}"


def _refresh_invalid() -> UnauthenticatedError:
    return UnauthenticatedError("The refresh token is not valid.", code="refresh_token_invalid")
