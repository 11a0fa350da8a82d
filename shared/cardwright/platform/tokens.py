"""JSON Web Tokens signed RS256 by KMS (RFC 7515, 7519, 9068), and opaque tokens that prove they are ours."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

from cardwright.kernel.errors import BrokenInvariantError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.platform.ids import random_bytes
from cardwright.platform.keys import SigningKeys

ALGORITHM = "RS256"
TYPE = "at+jwt"
SKEW_S = 60
_LONGEST_TOKEN = 4096
_TAG_BYTES = 16
_RANDOM_BYTES = 32


@cache
def _public_key(der: bytes) -> RSAKey:
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey):
        raise BrokenInvariantError("A signing key is not RSA.")
    return RSAKey.import_key(key)


def _by_kid(keys: SigningKeys) -> dict[str, RSAKey]:
    """Keys by their RFC 7638 thumbprint. The keys are fetched once a process: an unknown kid asks nobody."""
    found = [_public_key(der) for der in keys.public_keys().values()]
    return {key.thumbprint(): key for key in found}


def jwks(keys: SigningKeys) -> list[dict[str, str]]:
    """Public keys as a JWK set's members (RFC 7517). Raises UnavailableError."""
    answer = []
    for kid, key in _by_kid(keys).items():
        public = key.as_dict(private=False)
        answer.append({"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": str(public["n"]), "e": str(public["e"])})
    return answer


def sign_token(keys: SigningKeys, claims: Mapping[str, object]) -> str:
    """Sign claims with the active key. Raises UnavailableError."""
    kid = _public_key(keys.public_keys()[keys.active]).thumbprint()
    header = {"alg": ALGORITHM, "kid": kid, "typ": TYPE}
    signed = f"{_encode(_json(header))}.{_encode(_json(claims))}"
    return f"{signed}.{_encode(keys.sign(signed.encode()))}"


def verify_token(keys: SigningKeys, token: str, *, issuer: str, audience: str, now: datetime) -> Mapping[str, object]:
    """Return the claims of a token that we signed, for us, and that is valid now.

    Raises UnauthenticatedError invalid_token (anything but RS256, unknown key, wrong signature, issuer, audience or type,
    not valid yet) and token_expired; UnavailableError.
    """
    if len(token) > _LONGEST_TOKEN:
        raise _invalid()
    known = _by_kid(keys)

    def find(token_seen: GuestProtocol) -> RSAKey:
        header = token_seen.headers()
        if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or header.get("kid") not in known:
            raise _invalid()
        return known[str(header["kid"])]

    try:
        payload = jws.deserialize_compact(token, find, algorithms=[ALGORITHM]).payload
        claims = json.loads(payload or b"")
    except (JoseError, ValueError, RecursionError) as error:
        raise _invalid() from error
    if not isinstance(claims, dict) or claims.get("iss") != issuer or claims.get("aud") != audience:
        raise _invalid()
    _check_times(claims, int(now.timestamp()))
    return claims


def _check_times(claims: Mapping[str, object], now_s: int) -> None:
    expires = _seconds(claims.get("exp"))
    if max(_seconds(claims.get("iat")), _seconds(claims.get("nbf", 0))) > now_s + SKEW_S:
        raise _invalid()
    if expires <= now_s:
        raise UnauthenticatedError("The access token has expired.", code="token_expired")


def _seconds(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid()
    return value


def make_opaque(keys: Sequence[Secret[bytes]], purpose: str, user_id: UUID, subject_id: UUID) -> Secret[str]:
    """Make a random token that names a user and one of that user's things, with a tag that says it is ours."""
    body = user_id.bytes + subject_id.bytes + random_bytes(_RANDOM_BYTES)
    return Secret(f"{purpose}_{_encode(body + _tag(keys[0], purpose, body))}")


def read_opaque(keys: Sequence[Secret[bytes]], purpose: str, token: Secret[str]) -> tuple[UUID, UUID] | None:
    """The user and thing a token of ours names, whether still good or not; None for anything we did not make."""
    prefix, separator, text = token.reveal().partition("_")
    if prefix != purpose or not separator or len(text) > _LONGEST_TOKEN or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if len(body) != 32 + _RANDOM_BYTES or not any(hmac.compare_digest(tag, _tag(key, purpose, body)) for key in keys):
        return None
    return UUID(bytes=body[:16]), UUID(bytes=body[16:32])


def digest(token: Secret[str]) -> bytes:
    """SHA-256 of a token; enough for values of 32 random bytes."""
    return hashlib.sha256(token.reveal().encode()).digest()


def _tag(key: Secret[bytes], purpose: str, body: bytes) -> bytes:
    return hmac.new(key.reveal(), purpose.encode() + b"\x00" + body, hashlib.sha256).digest()[:_TAG_BYTES]


def _invalid() -> UnauthenticatedError:
    return UnauthenticatedError("The access token is not valid.", code="invalid_token")


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
