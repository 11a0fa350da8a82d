"""The face of identity: one method per use case."""

from uuid import UUID

from cardwright.identity import rules
from cardwright.identity.ports import IdentityTools
from cardwright.identity.rules import Principal
from cardwright.identity.service.logins import Logins, SecondFactorOwed
from cardwright.identity.service.people import Profile, load_person
from cardwright.identity.service.registration import Registration
from cardwright.identity.service.second_factors import Enrolment, SecondFactors
from cardwright.identity.service.sessions import AccessToken, Sessions, Tokens
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform import tokens
from cardwright.platform.postgres import Actor


class IdentityService:
    """Registration, logins, second factors, sessions. Each use case takes from `tools` only what it needs."""

    def __init__(self, tools: IdentityTools) -> None:
        self._tools = tools
        self._sessions = Sessions(tools)
        self._logins = Logins(tools, self._sessions)
        self._second_factors = SecondFactors(tools, self._sessions)
        self._registration = Registration(tools)

    def authenticate(self, token: str) -> Principal:
        """Who an access token stands for.

        Raises UnauthenticatedError invalid_token, token_expired, session_ended; UnavailableError.
        """
        return self._sessions.authenticate(token)

    def register(
        self, *, email: str, password: Secret[str], first_name: str, last_name: str, address: str, request_id: str | None
    ) -> None:
        """Register a cardholder; a code is mailed, or a note to who has an account. `address`: the client's IP.

        Raises InvalidFieldsError, RateLimitedError, UnavailableError.
        """
        self._registration.register(
            email=email, password=password, first_name=first_name, last_name=last_name, address=address, request_id=request_id
        )

    def verify_email(self, *, email: str, code: Secret[str], address: str, request_id: str | None) -> None:
        """Confirm an address. Raises UnprocessableError email_code_invalid, InvalidFieldsError, RateLimitedError."""
        self._registration.verify_email(email=email, code=code, address=address, request_id=request_id)

    def provision_user(
        self,
        email: str,
        password: Secret[str],
        role: Role,
        first_name: str,
        last_name: str,
        totp_secret: Secret[str] | None = None,
        organization_id: UUID | None = None,
    ) -> UUID:
        """Make an account for an operator, idempotent by address. Raises InvalidFieldsError, UnavailableError."""
        return self._registration.provision(
            email=email,
            password=password,
            role=role,
            first_name=first_name,
            last_name=last_name,
            totp_secret=totp_secret,
            organization_id=organization_id,
        )

    def login(self, email: str, password: Secret[str], *, address: str, request_id: str | None) -> Tokens | SecondFactorOwed:
        """Log in; accounts with a second factor owe it first.

        Raises InvalidFieldsError, RateLimitedError, UnauthenticatedError invalid_credentials, ForbiddenError email_not_verified.
        """
        return self._logins.login(email, password, address, request_id)

    def verify_mfa(self, mfa_token: Secret[str], code: Secret[str], *, address: str, request_id: str | None) -> Tokens:
        """Finish a login. Raises RateLimitedError, UnauthenticatedError mfa_token_invalid, mfa_code_invalid, mfa_code_used."""
        return self._logins.verify_mfa(mfa_token, code, address, request_id)

    def challenge(self, principal: Principal, code: Secret[str], *, request_id: str | None) -> AccessToken:
        """Step up. Raises ForbiddenError mfa_enrolment_required, account_locked; UnauthenticatedError mfa_code_*."""
        return self._second_factors.challenge(principal, code, request_id)

    def enrol_totp(self, principal: Principal, *, request_id: str | None) -> Enrolment:
        """Start enrolling an authenticator. Raises ConflictError totp_already_enrolled."""
        return self._second_factors.enrol(principal, request_id)

    def confirm_totp(
        self, principal: Principal, code: Secret[str], *, request_id: str | None
    ) -> tuple[list[Secret[str]], AccessToken]:
        """Finish enrolling. Raises ConflictError totp_already_enrolled, totp_not_started; UnauthenticatedError."""
        return self._second_factors.confirm(principal, code, request_id)

    def refresh(self, refresh_token: Secret[str], *, request_id: str | None) -> Tokens:
        """Exchange a refresh token. Raises UnauthenticatedError refresh_token_invalid, refresh_token_reused."""
        return self._sessions.refresh(refresh_token, request_id)

    def logout(self, principal: Principal, *, request_id: str | None) -> None:
        """End the session."""
        self._sessions.logout(principal, request_id)

    def profile(self, principal: Principal, *, request_id: str | None) -> Profile:
        """What the principal sees of the own account. Raises UnavailableError."""
        actor = Actor(principal.user_id, principal.role, request_id)
        return load_person(self._tools, actor, principal.user_id).profile()

    def jwks(self) -> list[dict[str, str]]:
        """Public keys that verify access tokens (RFC 7517). Raises UnavailableError."""
        return tokens.jwks(self._tools.signing)

    def metadata(self) -> dict[str, object]:
        """Issuer metadata (OpenID Connect Discovery 1.0, as far as it applies)."""
        issuer = self._tools.settings.public_url
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "id_token_signing_alg_values_supported": [tokens.ALGORITHM],
            "subject_types_supported": ["public"],
            "claims_supported": ["iss", "aud", "sub", "sid", "role", "org", "auth_time", "mfa_at", "iat", "exp", "jti"],
            "access_token_lifetime": int(rules.ACCESS_TOKEN_AGE.total_seconds()),
        }
