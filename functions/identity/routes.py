"""Rows of the identity doors."""

from cardwright.kernel.rows import SIGNED_IN, Audience, Capability, Http, RateClass

_PUBLIC = frozenset({Capability.DATABASE_APP, Capability.CACHE, Capability.SEALING_SECRET})

REGISTER_USER = Http(
    name="register_user",
    domain="identity",
    method="POST",
    path="/auth/register",
    audience=Audience.PUBLIC,
    rate=RateClass.LOGIN,
    needs=_PUBLIC | {Capability.MAC_KEY, Capability.USER_KEY, Capability.MESSAGES},
    summary="Register a cardholder; a code is mailed to confirm the address.",
    tags=("identity",),
)
VERIFY_EMAIL = Http(
    name="verify_email",
    domain="identity",
    method="POST",
    path="/auth/verify-email",
    audience=Audience.PUBLIC,
    rate=RateClass.LOGIN,
    needs=_PUBLIC | {Capability.MAC_KEY},
    summary="Confirm an e-mail address with the code that was mailed.",
    tags=("identity",),
)
LOGIN = Http(
    name="login",
    domain="identity",
    method="POST",
    path="/auth/login",
    audience=Audience.PUBLIC,
    rate=RateClass.LOGIN,
    needs=_PUBLIC | {Capability.MAC_KEY, Capability.USER_KEY, Capability.SIGNING_KEY},
    memory_mb=1024,
    summary="Log in with e-mail and password; accounts with a second factor get an mfa_token.",
    tags=("identity",),
)
VERIFY_MFA = Http(
    name="verify_mfa",
    domain="identity",
    method="POST",
    path="/auth/mfa/verify",
    audience=Audience.PUBLIC,
    rate=RateClass.LOGIN,
    needs=_PUBLIC | {Capability.USER_KEY, Capability.SIGNING_KEY},
    summary="Finish a login with a second factor.",
    tags=("identity",),
)
CHALLENGE_MFA = Http(
    name="challenge_mfa",
    domain="identity",
    method="POST",
    path="/auth/mfa/challenge",
    needs=SIGNED_IN | {Capability.USER_KEY, Capability.SIGNING_KEY},
    summary="Step up: answer a fresh access token for a second-factor code.",
    tags=("identity",),
)
ENROL_TOTP = Http(
    name="enrol_totp",
    domain="identity",
    method="POST",
    path="/auth/mfa/totp",
    needs=SIGNED_IN | {Capability.USER_KEY},
    summary="Start enrolling a TOTP authenticator (RFC 6238).",
    tags=("identity",),
)
CONFIRM_TOTP = Http(
    name="confirm_totp",
    domain="identity",
    method="POST",
    path="/auth/mfa/totp/confirm",
    needs=SIGNED_IN | {Capability.USER_KEY, Capability.SIGNING_KEY},
    summary="Confirm the authenticator with a code; answers recovery codes once.",
    tags=("identity",),
)
REFRESH_SESSION = Http(
    name="refresh_session",
    domain="identity",
    method="POST",
    path="/auth/refresh",
    audience=Audience.PUBLIC,
    needs=_PUBLIC | {Capability.USER_KEY, Capability.SIGNING_KEY},
    summary="Exchange a refresh token for a new pair; a reused one ends the session.",
    tags=("identity",),
)
LOGOUT = Http(
    name="logout",
    domain="identity",
    method="POST",
    path="/auth/logout",
    needs=SIGNED_IN,
    summary="End this session.",
    tags=("identity",),
)
GET_PROFILE = Http(
    name="get_profile",
    domain="identity",
    method="GET",
    path="/users/me",
    needs=SIGNED_IN | {Capability.USER_KEY},
    summary="The caller's own profile.",
    tags=("identity",),
)
GET_JWKS = Http(
    name="get_jwks",
    domain="identity",
    method="GET",
    path="/.well-known/jwks.json",
    root=True,
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    needs=frozenset({Capability.SIGNING_PUBLIC_KEY}),
    summary="Public keys that verify access tokens (RFC 7517).",
    tags=("identity",),
)
GET_OPENID_CONFIGURATION = Http(
    name="get_openid_configuration",
    domain="identity",
    method="GET",
    path="/.well-known/openid-configuration",
    root=True,
    audience=Audience.PUBLIC,
    rate=RateClass.NONE,
    summary="Issuer metadata.",
    tags=("identity",),
)

ROWS = (
    REGISTER_USER,
    VERIFY_EMAIL,
    LOGIN,
    VERIFY_MFA,
    CHALLENGE_MFA,
    ENROL_TOTP,
    CONFIRM_TOTP,
    REFRESH_SESSION,
    LOGOUT,
    GET_PROFILE,
    GET_JWKS,
    GET_OPENID_CONFIGURATION,
)
