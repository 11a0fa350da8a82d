"""Rules of identity without anything outside."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.identity import rules
from cardwright.identity.rules import Claims, Standing
from cardwright.kernel.errors import InvalidFieldsError, UnauthenticatedError
from cardwright.kernel.rows import Role
from cardwright.kernel.secret import Secret

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
USER = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a909")
SESSION = UUID("01a1fd8c-6900-7e4e-b880-6d106aa6a90a")
# RFC 6238, appendix B: the SHA-1 seed, and times with their codes (the last six of eight digits).
SEED = Secret(base64.b32encode(b"12345678901234567890").decode())
RFC_6238 = [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")]


def code_of(error: InvalidFieldsError) -> str:
    """The code of the one field error."""
    (only,) = error.errors
    return only.code


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("  ada+cards@example.co.uk ", "ada+cards@example.co.uk"),
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example"),
        ("\uff41da@example.com", "ada@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
    ],
)
def test_an_address_has_one_form(text: str, normal: str) -> None:
    assert rules.normalise_email(text) == normal
    assert rules.normalise_email(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "a b@example.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..b@example.com",
        "ada@-example.com",
        "ada@example..com",
        "ada@[127.0.0.1]",
        '"ada"@example.com',
        "ada@exa_mple.com",
        "ada@example.c",
        "x" * 65 + "@example.com",
        "ada@" + "a." * 126 + "com",
        "ada@x\u200b.com\n.example",
        "ada\x00@example.com",
        "äda@example.com",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidFieldsError) as caught:
        rules.normalise_email(text)
    assert code_of(caught.value) == "email_invalid"


@given(st.text(max_size=400))
def test_any_text_is_refused_or_becomes_plain_lower_case(text: str) -> None:
    found = ""
    with suppress(InvalidFieldsError):
        found = rules.normalise_email(text)
    assert found.isascii()
    assert found == found.lower()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("elevenchars", "password_too_short"),
        ("x" * 129, "password_too_long"),
        ("ada.lovelace@example.com", "password_is_email"),
        (" Ada.Lovelace@Example.com ", "password_is_email"),
        ("Ada.Lovelace", "password_is_email"),
        ("aaaaaaaaaaaaaaaa", "password_too_simple"),
    ],
)
def test_weak_passwords_are_refused(password: str, code: str) -> None:
    with pytest.raises(InvalidFieldsError) as caught:
        rules.check_password(Secret(password), "ada.lovelace@example.com")
    assert code_of(caught.value) == code


@pytest.mark.parametrize("password", ["twelve chars", "x" * 127 + "y", "only lower case words", "\u5bc6\u7801" * 6])
def test_length_is_enough_for_a_password(password: str) -> None:
    rules.check_password(Secret(password), "ada@example.com")
    assert len(password) >= 12


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x00b", "\u202eevil"])
def test_names_without_content_or_with_controls_are_refused(name: str) -> None:
    with pytest.raises(InvalidFieldsError) as caught:
        rules.check_name("first_name", name)
    assert code_of(caught.value) == "name_invalid"


def test_names_are_trimmed_and_composed() -> None:
    assert rules.check_name("first_name", " Zoe\u0308 ") == "Zo\u00eb"
    assert rules.check_name("last_name", "x" * 100) == "x" * 100


def test_a_lock_holds_until_its_moment() -> None:
    assert rules.locked(NOW, NOW - timedelta(microseconds=1))
    assert not rules.locked(NOW, NOW)
    assert not rules.locked(None, NOW)


@pytest.mark.parametrize(("seconds", "code"), RFC_6238)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert rules.totp_step(SEED, Secret(code), moment) == seconds // 30
    assert rules.totp_step(SEED, Secret(code), moment + timedelta(seconds=30)) == seconds // 30
    assert rules.totp_step(SEED, Secret(code), moment + timedelta(seconds=60)) is None


@pytest.mark.parametrize(
    "code", ["", "28708", "2870822", "28708a", " 287082", "287082\n", "\u0662\u0668\u0667\u0660\u0668\u0662"]
)
def test_what_is_no_code_belongs_to_no_step(code: str) -> None:
    assert rules.totp_step(SEED, Secret(code), datetime.fromtimestamp(59, UTC)) is None


@pytest.mark.parametrize(
    ("secret", "valid"),
    [("A" * 26, True), ("A" * 32, True), ("A" * 25, False), ("A" * 25 + "1", False), ("a" * 32, False), ("A" * 129, False)],
)
def test_authenticator_secrets_have_128_bits(secret: str, valid: bool) -> None:
    assert rules.totp_secret_valid(Secret(secret)) is valid


@given(st.binary(min_size=10, max_size=10))
def test_recovery_codes_hold_their_entropy_and_digest_however_typed(entropy: bytes) -> None:
    code = rules.recovery_code(entropy)
    assert base64.b32decode(code.reveal().replace("-", "").upper()) == entropy
    digest = rules.recovery_digest(USER, code)
    assert digest is not None
    assert digest == rules.recovery_digest(USER, Secret(f" {code.reveal().upper()} "))
    assert digest != rules.recovery_digest(SESSION, code)


def test_a_recovery_code_takes_ten_bytes() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        rules.recovery_code(b"short")


@pytest.mark.parametrize("text", ["", "123456", "aaaa-aaaa-aaaa", "aaaa-aaaa-aaaa-aaa1", "aaaaaaaaaaaaaaaa"])
def test_what_is_no_recovery_code_has_no_digest(text: str) -> None:
    assert rules.recovery_digest(USER, Secret(text)) is None


@pytest.mark.parametrize(("organization", "mfa_at"), [(None, None), (SESSION, NOW)])
def test_claims_come_back_as_they_went_in(organization: UUID | None, mfa_at: datetime | None) -> None:
    claims = Claims(USER, Role.SUPPORT, SESSION, organization, NOW, mfa_at)
    written = rules.to_claims(claims, issuer="https://api.example.com", token_id=SESSION, now=NOW)
    assert rules.from_claims(written) == claims
    assert ("org" in written, "mfa_at" in written) == (organization is not None, mfa_at is not None)


@given(st.sampled_from(Role), st.none() | st.uuids(), st.booleans())
def test_a_standing_comes_back_as_it_went_in(role: Role, organization: UUID | None, enrolled: bool) -> None:
    standing = Standing(role, organization, enrolled)
    assert Standing.decoded(standing.encoded()) == standing


@given(st.binary(max_size=60))
def test_what_is_no_standing_is_told_from_one(text: bytes) -> None:
    found = Standing.decoded(text)
    assert found is None or Standing.decoded(found.encoded()) == found


@pytest.mark.parametrize("missing", ["sub", "sid", "role", "auth_time"])
def test_claims_that_miss_something_are_refused(missing: str) -> None:
    claims = Claims(USER, Role.SUPPORT, SESSION, None, NOW, None)
    written = rules.to_claims(claims, issuer="https://api.example.com", token_id=SESSION, now=NOW)
    del written[missing]
    with pytest.raises(UnauthenticatedError) as caught:
        rules.from_claims(written)
    assert caught.value.code == "invalid_token"
