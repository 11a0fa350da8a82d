"""Rules of identity: addresses, passwords, lockout, second factors, and what an access token says."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp

from cardwright.kernel.errors import FieldError, InvalidFieldsError, UnauthenticatedError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret

AUDIENCE = "cardwright"
ACCESS_TOKEN_AGE = timedelta(minutes=15)
SESSION_AGE = timedelta(days=30)
CHALLENGE_AGE = timedelta(minutes=5)
EMAIL_CODE_AGE = timedelta(hours=24)
CODE_TRIES = 5
EMAIL_CODE_DIGITS = 6
# Registrations of one address that wait for its confirmation at the same time; the oldest makes room.
PENDING_REGISTRATIONS = 5
# PCI DSS 4.0.1, 8.3.4: locked after at most 10 attempts, for at least 30 minutes.
MAX_FAILED_LOGINS = 10
LOCK_AGE = timedelta(minutes=30)
# NIST SP 800-63B: length, not composition; PCI DSS 8.3.6: at least 12.
PASSWORD_LENGTH = (12, 128)
EMAIL_LENGTH = 254
NAME_LENGTH = 100
TOTP_STEP_S = 30
RECOVERY_CODES = 10
SESSION_CACHE_S = 60

# The part of RFC 5321 that mail providers use: no quoted local parts, no address literals.
_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])", re.ASCII)
_RECOVERY = re.compile(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", re.ASCII)
_TOTP = re.compile(r"[0-9]{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a valid access token stands for. `mfa_at`: when a second factor was last shown in this session."""

    user_id: UUID
    role: Role
    session_id: UUID
    organization_id: UUID | None
    auth_time: datetime
    mfa_at: datetime | None
    mfa_enrolled: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says (RFC 9068)."""

    user_id: UUID
    role: Role
    session_id: UUID
    organization_id: UUID | None
    auth_time: datetime
    mfa_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is true of a living session's user now, whatever its tokens say."""

    role: Role
    organization_id: UUID | None
    mfa_enrolled: bool

    def encoded(self) -> bytes:
        """The standing as the cache keeps it."""
        return f"{self.role.value} {self.organization_id or '-'} {int(self.mfa_enrolled)}".encode()

    @classmethod
    def decoded(cls, text: bytes) -> "Standing | None":
        """Read back `encoded`; None for anything else, such as what another version wrote."""
        try:
            role, organization, enrolled = text.decode().split(" ")
            return cls(Role(role), None if organization == "-" else UUID(organization), {"0": False, "1": True}[enrolled])
        except (ValueError, KeyError):
            return None


def normalise_email(text: str) -> str:
    """Return the address in the one form it is looked up by: trimmed, NFKC, lower case, domain in ASCII (IDNA).

    Raises InvalidFieldsError email_invalid.
    """
    folded = unicodedata.normalize("NFKC", text.strip()).lower()
    local, _, domain = folded.rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode() if domain else ""
    except UnicodeError:
        ascii_domain = ""
    address = f"{local}@{ascii_domain}"
    if (
        len(address) > EMAIL_LENGTH
        or not 1 <= len(local) <= 64
        or _LOCAL.fullmatch(local) is None
        or _DOMAIN.fullmatch(ascii_domain) is None
    ):
        raise InvalidFieldsError([FieldError("email", "email_invalid", "This is not an e-mail address.")])
    return address


def check_password(password: Secret[str], email: str) -> None:
    """Refuse a password that is too short, too long, or the address. Raises InvalidFieldsError."""
    shortest, longest = PASSWORD_LENGTH
    text = unicodedata.normalize("NFKC", password.reveal())
    lowered = text.strip().lower()
    if len(text) < shortest:
        problem = FieldError("password", "password_too_short", f"A password has at least {shortest} characters.")
    elif len(text) > longest:
        problem = FieldError("password", "password_too_long", f"A password has at most {longest} characters.")
    elif lowered in (email, email.partition("@")[0]):
        problem = FieldError("password", "password_is_email", "The password must not be the e-mail address.")
    elif len(set(lowered)) == 1:
        problem = FieldError("password", "password_too_simple", "The password is one character repeated.")
    else:
        return
    raise InvalidFieldsError([problem])


def check_name(field: str, text: str) -> str:
    """Return a name trimmed. Raises InvalidFieldsError name_invalid when it is empty, too long or not printable."""
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
        raise InvalidFieldsError([FieldError(field, "name_invalid", f"A name has 1 to {NAME_LENGTH} printable characters.")])
    return name


def locked(locked_until: datetime | None, now: datetime) -> bool:
    """True while an account is locked."""
    return locked_until is not None and locked_until > now


def totp_secret_valid(secret: Secret[str]) -> bool:
    """True for a base32 secret of at least 128 bits (RFC 4226, section 4, R6)."""
    return re.fullmatch(r"[A-Z2-7]{26,128}=*", secret.reveal(), re.ASCII) is not None


def totp_step(secret: Secret[str], code: Secret[str], now: datetime) -> int | None:
    """The time step a code belongs to, the current one or a neighbour (RFC 6238, section 5.2); None when it is none's."""
    if _TOTP.fullmatch(code.reveal()) is None:
        return None
    generator = pyotp.TOTP(secret.reveal(), interval=TOTP_STEP_S)
    current = int(now.timestamp()) // TOTP_STEP_S
    found = None
    # All three are compared whatever matches, in constant time each.
    for step in (current - 1, current, current + 1):
        if pyotp.utils.strings_equal(code.reveal(), generator.generate_otp(step)):
            found = step
    return found


def otpauth_url(secret: Secret[str], email: str) -> str:
    """The key URI an authenticator reads from a QR code."""
    return pyotp.TOTP(secret.reveal(), interval=TOTP_STEP_S).provisioning_uri(name=email, issuer_name="Cardwright")


def recovery_code(entropy: bytes) -> Secret[str]:
    """Write 10 random bytes as four groups of four base32 characters. Raises ValueError on other lengths."""
    if len(entropy) != 10:
        raise ValueError("a recovery code takes 10 bytes of entropy")
    number = int.from_bytes(entropy, "big")
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    text = "".join(alphabet[(number >> (5 * position)) & 31] for position in reversed(range(16)))
    return Secret("-".join(text[start : start + 4] for start in range(0, 16, 4)))


def recovery_digest(user_id: UUID, code: Secret[str]) -> bytes | None:
    """Digest of a recovery code, bound to its user; None for what cannot be one. 80 random bits need no slow hash."""
    text = code.reveal().strip().lower()
    if _RECOVERY.fullmatch(text) is None:
        return None
    return hashlib.sha256(b"recovery" + user_id.bytes + text.encode()).digest()


def to_claims(claims: Claims, *, issuer: str, token_id: UUID, now: datetime) -> dict[str, object]:
    """The claims of an access token issued now."""
    issued = int(now.timestamp())
    written: dict[str, object] = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(claims.user_id),
        "sid": str(claims.session_id),
        "role": claims.role.value,
        "auth_time": int(claims.auth_time.timestamp()),
        "iat": issued,
        "exp": issued + int(ACCESS_TOKEN_AGE.total_seconds()),
        "jti": str(token_id),
    }
    if claims.organization_id is not None:
        written["org"] = str(claims.organization_id)
    if claims.mfa_at is not None:
        written["mfa_at"] = int(claims.mfa_at.timestamp())
    return written


def from_claims(written: Mapping[str, object]) -> Claims:
    """Read back `to_claims`. Raises UnauthenticatedError invalid_token when something is missing or of another kind."""
    try:
        organization = written.get("org")
        mfa_at = written.get("mfa_at")
        return Claims(
            user_id=UUID(str(written["sub"])),
            role=Role(str(written["role"])),
            session_id=UUID(str(written["sid"])),
            organization_id=None if organization is None else UUID(str(organization)),
            auth_time=_moment(written["auth_time"]),
            mfa_at=None if mfa_at is None else _moment(mfa_at),
        )
    except (KeyError, ValueError, OverflowError) as error:
        raise UnauthenticatedError("The access token is not valid.", code="invalid_token") from error


def _moment(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not a time")
    return datetime.fromtimestamp(value, UTC)
