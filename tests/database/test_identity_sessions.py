"""Sessions and tokens against the real database and cache."""

import base64
import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from cardwright.identity.rules import Standing
from cardwright.identity.service import IdentityService, Tokens
from cardwright.identity.service.sessions import Sessions
from cardwright.kernel.errors import CardwrightError, UnauthenticatedError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret
from cardwright.platform import tokens as token_tools
from cardwright.platform.cache import Cache
from cardwright.platform.entries import seal
from cardwright.platform.keys import SigningKeys
from tests.fix_identity import PASSWORD, PUBLIC_URL, KeyArns, Someone, StageSettings, Tools, log_in, new_email, totp_code


def part(value: object) -> str:
    """One part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def opened(token: str, index: int) -> dict[str, object]:
    """One part of a JWT, read without checking anything."""
    text = token.split(".")[index]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def refusal(identity: IdentityService, token: str) -> str:
    """The code an access token is refused with."""
    with pytest.raises(UnauthenticatedError) as caught:
        identity.authenticate(token)
    return caught.value.code


def refresh_refusal(identity: IdentityService, token: Secret[str]) -> str:
    """The code a refresh token is refused with."""
    with pytest.raises(UnauthenticatedError) as caught:
        identity.refresh(token, request_id=None)
    return caught.value.code


@pytest.fixture
def granted(identity: IdentityService, tools: Tools, someone: Someone) -> Tokens:
    """Tokens of a fresh login."""
    return log_in(identity, tools, someone)


def test_an_access_token_verifies_by_the_published_keys(identity: IdentityService, granted: Tokens, someone: Someone) -> None:
    published = KeySet([RSAKey.import_key(dict(key)) for key in identity.jwks()])
    token = jwt.decode(granted.access.token.reveal(), published, algorithms=["RS256"])
    assert (token.header["typ"], token.claims["iss"], token.claims["aud"]) == ("at+jwt", PUBLIC_URL, "cardwright")
    assert (token.claims["sub"], token.claims["role"]) == (str(someone.user_id), "cardholder")
    assert token.claims["exp"] - token.claims["iat"] == granted.access.expires_in == 900
    assert {key["kid"] for key in identity.jwks()} >= {token.header["kid"]}
    assert len(identity.jwks()) == 2


def test_a_token_of_a_key_that_no_longer_signs_is_still_good(
    identity: IdentityService, tools: Tools, granted: Tokens, key_arns: KeyArns
) -> None:
    tools.signing = SigningKeys(key_arns.signing[::-1])
    renewed = identity.refresh(granted.refresh, request_id=None)
    kids = {opened(pair.access.token.reveal(), 0)["kid"] for pair in (granted, renewed)}
    assert len(kids) == 2
    assert identity.authenticate(granted.access.token.reveal()) == identity.authenticate(renewed.access.token.reveal())
    tools.signing = SigningKeys(key_arns.signing[1:])
    assert refusal(identity, granted.access.token.reveal()) == "invalid_token"


def test_a_token_ends_after_fifteen_minutes(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    tools.advance(timedelta(minutes=14, seconds=59))
    assert identity.authenticate(granted.access.token.reveal()).mfa_enrolled is False
    tools.advance(timedelta(seconds=1))
    assert refusal(identity, granted.access.token.reveal()) == "token_expired"


def test_a_token_from_the_future_is_refused(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    tools.advance(timedelta(seconds=-60))
    assert identity.authenticate(granted.access.token.reveal()).mfa_at is None
    tools.advance(timedelta(seconds=-1))
    assert refusal(identity, granted.access.token.reveal()) == "invalid_token"


def test_forged_tokens_are_refused(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    good = granted.access.token.reveal()
    header, claims = opened(good, 0), opened(good, 1)
    head, body, signature = good.split(".")
    der = next(iter(tools.signing.public_keys().values()))
    pem = load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = [f"{part({**header, 'alg': 'none'})}.{body}."]
    for key in (der, pem):
        signed = f"{part({**header, 'alg': 'HS256'})}.{body}"
        mac = hmac.digest(key, signed.encode(), hashlib.sha256)
        forged.append(f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")
    other = RSAKey.import_key(rsa.generate_private_key(65537, 2048))
    forged.append(jwt.encode(header, claims, other, algorithms=["RS256"]))
    forged.append(jwt.encode({**header, "kid": other.thumbprint()}, claims, other, algorithms=["RS256"]))
    forged.append(jwt.encode({**header, "jwk": other.as_dict(private=False)}, claims, other, algorithms=["RS256"]))
    forged.append(f"{head}.{part({**claims, 'role': 'admin'})}.{signature}")
    forged.append(f"{head}.{body}.{signature[:-4]}AAAA")
    forged += [
        good + ".x",
        f"{head}.{body}",
        "",
        "a.b.c",
        ".." * 3,
        "é.é.é",
        "[" * 3000,
        "x" * 9000,
        f"{part([])}.{body}.{signature}",
    ]
    assert [refusal(identity, token) for token in forged] == ["invalid_token"] * len(forged)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://elsewhere.example.com"},
        {"aud": "somebody"},
        {"aud": ["cardwright"]},
        {"exp": "soon"},
        {"exp": None},
        {"exp": True},
        {"nbf": 99999999999},
        {"sub": "root"},
        {"sid": None},
        {"role": "god"},
        {"mfa_at": "now"},
        {"auth_time": 10**20},
    ],
)
def test_claims_that_do_not_hold_are_refused(
    identity: IdentityService, tools: Tools, granted: Tokens, change: dict[str, object]
) -> None:
    claims = opened(granted.access.token.reveal(), 1)
    signed = token_tools.sign_token(tools.signing, {**claims, **change})
    assert refusal(identity, signed) == "invalid_token"
    assert str(identity.authenticate(token_tools.sign_token(tools.signing, claims)).user_id) == claims["sub"]


def test_another_type_of_token_under_our_key_is_refused(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    head, body, _ = granted.access.token.reveal().split(".")
    header = {**opened(f"{head}.x", 0), "typ": "JWT"}
    signed = f"{part(header)}.{body}"
    signature = base64.urlsafe_b64encode(tools.signing.sign(signed.encode())).decode().rstrip("=")
    assert refusal(identity, f"{signed}.{signature}") == "invalid_token"


def test_an_unknown_kid_asks_the_key_service_nothing(
    identity: IdentityService, tools: Tools, granted: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity.authenticate(granted.access.token.reveal())
    monkeypatch.setattr(tools.signing, "_kms", None)
    head, body, signature = granted.access.token.reveal().split(".")
    for name in ("a", "b"):
        assert refusal(identity, f"{part({**opened(head + '.x', 0), 'kid': name})}.{body}.{signature}") == "invalid_token"
    assert identity.authenticate(granted.access.token.reveal()).mfa_at is None


def test_logout_ends_the_session_at_once(identity: IdentityService, granted: Tokens) -> None:
    token = granted.access.token.reveal()
    principal = identity.authenticate(token)
    identity.logout(principal, request_id=None)
    assert refusal(identity, token) == "session_ended"
    assert refresh_refusal(identity, granted.refresh) == "refresh_token_invalid"
    identity.logout(principal, request_id=None)


def test_without_a_cache_the_database_decides(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    tools.cache = Cache("redis://127.0.0.1:1", connect_s=0.2)
    token = granted.access.token.reveal()
    principal = identity.authenticate(token)
    identity.logout(principal, request_id=None)
    assert refusal(identity, token) == "session_ended"


def test_a_cached_session_needs_no_database(identity: IdentityService, tools: Tools, granted: Tokens, database_url: str) -> None:
    principal = identity.authenticate(granted.access.token.reveal())
    tools.cache.exchange([("PING",)])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE sessions SET expires_at = auth_time WHERE session_id = %s", (principal.session_id,))
    assert identity.authenticate(granted.access.token.reveal()) == principal
    reply = tools.cache.exchange([("TTL", f"session:{{{principal.session_id}}}")])
    assert reply is not None
    assert isinstance(reply[0], int)
    assert 0 < reply[0] <= 60


def test_what_logout_wrote_is_not_overwritten_by_a_slower_reader(
    identity: IdentityService, tools: Tools, granted: Tokens
) -> None:
    key = f"session:{{{opened(granted.access.token.reveal(), 1)['sid']}}}"
    ended = seal(tools.sealer.keys_for("session-cache"), key, b"-")
    tools.cache.exchange([("SET", key, ended, "EX", 60)])
    assert refusal(identity, granted.access.token.reveal()) == "session_ended"


@pytest.mark.parametrize("lie", [b"admin - 1", b"-", b"1 admin - 1" + b"x" * 16, b"", b"\xff" * 40])
def test_a_cache_that_lies_makes_nobody_an_administrator_and_ends_nothing(
    identity: IdentityService, tools: Tools, granted: Tokens, lie: bytes
) -> None:
    token = granted.access.token.reveal()
    key = f"session:{{{opened(token, 1)['sid']}}}"
    tools.cache.exchange([("SET", key, lie, "EX", 60)])
    assert identity.authenticate(token).role is Role.CARDHOLDER


def test_what_the_cache_said_before_the_logout_is_believed_no_longer_than_it_was_to_be_kept(
    identity: IdentityService, tools: Tools, granted: Tokens
) -> None:
    token = granted.access.token.reveal()
    principal = identity.authenticate(token)
    key = f"session:{{{principal.session_id}}}"
    (held,) = tools.cache.get_many([key]) or [None]
    assert held is not None
    identity.logout(principal, request_id=None)
    tools.cache.exchange([("SET", key, held, "EX", 600)])
    tools.clock.at += timedelta(seconds=61)
    assert refusal(identity, token) == "session_ended"


def be(database_url: str, user_id: UUID, role: str) -> None:
    """Give somebody another role, as an operator does."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET role = %s WHERE user_id = %s", (role, user_id))


def test_a_demotion_counts_for_tokens_signed_before_it(identity: IdentityService, tools: Tools, database_url: str) -> None:
    email = new_email()
    agent = Someone(identity.provision_user(email, PASSWORD, Role.SUPPORT, "Ada", "Lovelace"), email, None)
    granted = log_in(identity, tools, agent)
    token = granted.access.token.reveal()
    assert identity.authenticate(token).role is Role.SUPPORT
    be(database_url, agent.user_id, "cardholder")
    renewed = identity.refresh(granted.refresh, request_id=None)
    assert opened(renewed.access.token.reveal(), 1)["role"] == "cardholder"
    # Both in the cache, which the refresh has told, and without one.
    assert opened(token, 1)["role"] == "support"
    assert identity.authenticate(token).role is Role.CARDHOLDER
    tools.cache = Cache("redis://127.0.0.1:1", connect_s=0.2)
    assert identity.authenticate(token).role is Role.CARDHOLDER


def test_what_another_version_cached_is_read_anew(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    token = granted.access.token.reveal()
    for held in (b"1", b"god - 1", b"admin - 2", b"admin x 1", b"\xff"):
        tools.cache.exchange([("SET", f"session:{{{opened(token, 1)['sid']}}}", held, "EX", 60)])
        principal = identity.authenticate(token)
        assert (principal.role, principal.mfa_enrolled) == (Role.CARDHOLDER, False)


def test_an_enrolment_counts_for_every_session_of_the_user(identity: IdentityService, tools: Tools, someone: Someone) -> None:
    here, there, gone = (log_in(identity, tools, someone).access.token.reveal() for _ in range(3))
    principal, elsewhere, left = (identity.authenticate(token) for token in (here, there, gone))
    identity.logout(left, request_id=None)
    enrolment = identity.enrol_totp(principal, request_id=None)
    identity.confirm_totp(principal, totp_code(tools, enrolment.secret), request_id=None)
    assert not elsewhere.mfa_enrolled
    assert identity.authenticate(there).mfa_enrolled
    assert refusal(identity, gone) == "session_ended"


def test_a_renewed_standing_never_takes_the_place_of_an_end(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    token = granted.access.token.reveal()
    principal = identity.authenticate(token)
    identity.logout(principal, request_id=None)
    Sessions(tools).renew([principal.session_id], Standing(Role.CARDHOLDER, None, mfa_enrolled=True))
    assert refusal(identity, token) == "session_ended"


def test_a_session_that_is_not_there_is_refused(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    claims = {**opened(granted.access.token.reveal(), 1), "sid": str(uuid4())}
    assert refusal(identity, token_tools.sign_token(tools.signing, claims)) == "session_ended"


def test_refresh_exchanges_both_tokens_and_keeps_the_session(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    first = log_in(identity, tools, enrolled)
    tools.advance(timedelta(hours=3))
    second = identity.refresh(first.refresh, request_id=None)
    before, after = opened(first.access.token.reveal(), 1), opened(second.access.token.reveal(), 1)
    assert {name: before[name] for name in ("sid", "sub", "mfa_at", "auth_time")} == {
        name: after[name] for name in ("sid", "sub", "mfa_at", "auth_time")
    }
    assert second.refresh != first.refresh
    assert second.profile.email == enrolled.email
    assert identity.authenticate(second.access.token.reveal()).mfa_enrolled


def test_reuse_of_any_older_refresh_token_ends_the_session(
    identity: IdentityService, granted: Tokens, someone: Someone, database_url: str
) -> None:
    second = identity.refresh(granted.refresh, request_id=None)
    third = identity.refresh(second.refresh, request_id=None)
    assert refresh_refusal(identity, granted.refresh) == "refresh_token_reused"
    assert refresh_refusal(identity, third.refresh) == "refresh_token_invalid"
    assert refusal(identity, third.access.token.reveal()) == "session_ended"
    sql = "SELECT data ->> 'kind' FROM outbox WHERE user_id = %s AND type = 'security.alert'"
    with psycopg.connect(database_url) as connection:
        assert connection.execute(sql, (someone.user_id,)).fetchall() == [("refresh_token_reused",)]


def test_of_twenty_refreshes_with_one_token_one_wins_and_the_session_ends(
    identity: IdentityService, tools: Tools, granted: Tokens
) -> None:
    def refresh(_: int) -> str:
        try:
            identity.refresh(granted.refresh, request_id=None)
            return "in"
        except UnauthenticatedError as error:
            return error.code
        finally:
            tools.database.close()
            tools.cache.close()

    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(refresh, range(20)))
    assert (outcomes.count("in"), outcomes.count("refresh_token_reused")) == (1, 1)
    assert outcomes.count("refresh_token_invalid") == 18


def test_a_refresh_token_we_did_not_make_ends_nothing(identity: IdentityService, granted: Tokens) -> None:
    text = granted.refresh.reveal()
    for forged in (text[:-2] + ("AA" if text[-2:] != "AA" else "BB"), "refresh_" + "A" * 150, "", text + "A"):
        assert refresh_refusal(identity, Secret(forged)) == "refresh_token_invalid"
    assert identity.refresh(granted.refresh, request_id=None).profile == granted.profile


def test_refresh_tokens_outlive_a_rotation_of_the_sealing_key(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    tools.sealer.rotate()
    assert identity.refresh(granted.refresh, request_id=None).profile == granted.profile


def test_a_session_ends_after_thirty_days(identity: IdentityService, tools: Tools, granted: Tokens) -> None:
    tools.advance(timedelta(days=29))
    renewed = identity.refresh(granted.refresh, request_id=None)
    tools.advance(timedelta(days=1))
    assert refresh_refusal(identity, renewed.refresh) == "refresh_token_invalid"


def test_a_failing_key_service_spends_no_refresh_token(
    identity: IdentityService, tools: Tools, granted: Tokens, key_arns: KeyArns
) -> None:
    broken = SigningKeys(["arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"])
    tools.signing = broken
    with pytest.raises(CardwrightError) as caught:
        identity.refresh(granted.refresh, request_id=None)
    assert caught.value.code == "keys_unavailable"
    tools.signing = SigningKeys(key_arns.signing)
    assert identity.refresh(granted.refresh, request_id=None).profile == granted.profile


def test_metadata_names_the_issuer_and_its_keys(identity: IdentityService, tools: Tools) -> None:
    tools.settings = StageSettings("https://cards.example.org")
    metadata = identity.metadata()
    assert (metadata["issuer"], metadata["jwks_uri"]) == (
        "https://cards.example.org",
        "https://cards.example.org/.well-known/jwks.json",
    )
