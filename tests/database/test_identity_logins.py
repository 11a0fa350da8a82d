"""Logins against the real database: passwords, locks, second factors."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import psycopg
import pyotp
import pytest

from cardwright.identity import rules
from cardwright.identity.service import IdentityService, SecondFactorOwed, Tokens
from cardwright.kernel.errors import CardwrightError, ForbiddenError, RateLimitedError, UnauthenticatedError
from cardwright.kernel.secret import Secret
from cardwright.platform import passwords
from cardwright.ratelimit.service import RateLimiter
from tests.fix_identity import ADDRESS, PASSWORD, Someone, Tools, log_in, new_email, totp_code

WRONG = Secret("incorrect horse battery staple")


def login(identity: IdentityService, email: str, password: Secret[str] = PASSWORD) -> Tokens | SecondFactorOwed:
    """Log in from one address."""
    return identity.login(email, password, address=ADDRESS, request_id="req-1")


def refused(identity: IdentityService, email: str, password: Secret[str] = PASSWORD) -> CardwrightError:
    """The error a login answers."""
    with pytest.raises(UnauthenticatedError) as caught:
        login(identity, email, password)
    return caught.value


def owed(identity: IdentityService, who: Someone) -> Secret[str]:
    """The token of a login that owes its second factor."""
    outcome = login(identity, who.email)
    assert isinstance(outcome, SecondFactorOwed)
    return outcome.mfa_token


def actions(database_url: str, user_id: UUID) -> list[str]:
    """Actions in a user's audit chain, in order."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT action FROM audit_log WHERE subject_id = %s ORDER BY seq", (user_id,)).fetchall()
    return [row[0] for row in rows]


def alerts(database_url: str, user_id: UUID) -> list[str]:
    """Kinds of the security alerts of a user."""
    sql = "SELECT data ->> 'kind' FROM outbox WHERE user_id = %s AND type = 'security.alert' ORDER BY event_id"
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute(sql, (user_id,)).fetchall()]


def test_a_right_password_without_second_factor_gives_tokens(identity: IdentityService, someone: Someone) -> None:
    tokens = login(identity, someone.email.upper())
    assert isinstance(tokens, Tokens)
    assert (tokens.profile.user_id, tokens.profile.email) == (someone.user_id, someone.email)
    assert identity.authenticate(tokens.access.token.reveal()).mfa_at is None


def test_unknown_address_wrong_password_and_locked_account_answer_the_same(identity: IdentityService, someone: Someone) -> None:
    answers = [refused(identity, new_email()), refused(identity, someone.email, WRONG)]
    for _ in range(rules.MAX_FAILED_LOGINS - 1):
        refused(identity, someone.email, WRONG)
    answers.append(refused(identity, someone.email, PASSWORD))
    assert {(answer.code, answer.detail) for answer in answers} == {("invalid_credentials", answers[0].detail)}


def test_an_unknown_address_costs_a_password_hash_too(identity: IdentityService, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str | None] = []

    def check(encoded: str | None, _: Secret[str]) -> bool:
        checked.append(encoded)
        return False

    monkeypatch.setattr(passwords, "verify_password", check)
    refused(identity, new_email())
    assert checked == [None]


def test_ten_failures_lock_for_thirty_minutes(
    identity: IdentityService, tools: Tools, someone: Someone, database_url: str
) -> None:
    for _ in range(9):
        refused(identity, someone.email, WRONG)
    assert isinstance(login(identity, someone.email), Tokens)
    for _ in range(10):
        refused(identity, someone.email, WRONG)
    tools.advance(timedelta(minutes=29, seconds=59))
    assert refused(identity, someone.email).code == "invalid_credentials"
    tools.advance(timedelta(seconds=1))
    assert isinstance(login(identity, someone.email), Tokens)
    assert alerts(database_url, someone.user_id) == ["account_locked"]


def test_failures_while_locked_do_not_prolong_the_lock(identity: IdentityService, tools: Tools, someone: Someone) -> None:
    for _ in range(10):
        refused(identity, someone.email, WRONG)
    tools.advance(timedelta(minutes=20))
    for _ in range(12):
        refused(identity, someone.email, WRONG)
    tools.advance(timedelta(minutes=10))
    assert isinstance(login(identity, someone.email), Tokens)


def test_concurrent_failures_are_all_counted(
    identity: IdentityService, tools: Tools, someone: Someone, database_url: str
) -> None:
    def fail(_: int) -> str:
        try:
            return refused(identity, someone.email, WRONG).code
        finally:
            tools.database.close()

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(fail, range(10))) == {"invalid_credentials"}
    assert refused(identity, someone.email, PASSWORD).code == "invalid_credentials"
    assert alerts(database_url, someone.user_id) == ["account_locked"]


def test_every_attempt_is_in_the_audit_log(identity: IdentityService, someone: Someone, database_url: str) -> None:
    refused(identity, someone.email, WRONG)
    login(identity, someone.email)
    assert actions(database_url, someone.user_id) == ["user.provisioned", "login.failed", "login.succeeded"]


def test_the_eleventh_login_in_fifteen_minutes_is_refused(identity: IdentityService, tools: Tools, someone: Someone) -> None:
    tools.ratelimit = RateLimiter(tools.cache, tools.clock, tools.ids, enabled=True)
    for _ in range(10):
        login(identity, someone.email)
    with pytest.raises(RateLimitedError):
        login(identity, someone.email)
    assert isinstance(identity.login(someone.email, PASSWORD, address="192.0.2.8", request_id=None), Tokens)
    tools.advance(timedelta(minutes=15))
    assert isinstance(login(identity, someone.email), Tokens)


def test_the_eleventh_second_factor_in_fifteen_minutes_is_refused(
    identity: IdentityService, tools: Tools, enrolled: Someone
) -> None:
    tools.ratelimit = RateLimiter(tools.cache, tools.clock, tools.ids, enabled=True)
    log_in(identity, tools, enrolled)
    token = owed(identity, enrolled)
    assert enrolled.totp_secret is not None
    for _ in range(9):
        with pytest.raises(UnauthenticatedError):
            identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret), address=ADDRESS, request_id=None)
    fresh = totp_code(tools, enrolled.totp_secret, 1)
    with pytest.raises(RateLimitedError):
        identity.verify_mfa(token, fresh, address=ADDRESS, request_id=None)
    assert identity.verify_mfa(token, fresh, address="192.0.2.8", request_id=None).profile.mfa_enrolled


def test_an_old_hash_is_renewed_at_login(
    identity: IdentityService, someone: Someone, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> str:
        with psycopg.connect(database_url) as connection:
            row = connection.execute("SELECT password_hash FROM users WHERE user_id = %s", (someone.user_id,)).fetchone()
        assert row is not None
        return str(row[0])

    before = stored()
    assert before.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    login(identity, someone.email)
    assert stored() == before
    monkeypatch.setattr(passwords, "outdated", lambda _: True)
    login(identity, someone.email)
    assert stored() != before
    assert isinstance(login(identity, someone.email), Tokens)


def test_a_second_factor_is_owed_and_finishes_the_login(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    token = owed(identity, enrolled)
    assert enrolled.totp_secret is not None
    tokens = identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret), address=ADDRESS, request_id=None)
    principal = identity.authenticate(tokens.access.token.reveal())
    assert (principal.mfa_at, principal.mfa_enrolled) == (tools.clock.now(), True)
    with pytest.raises(UnauthenticatedError, match="log in again"):
        identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret, 1), address=ADDRESS, request_id=None)


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_codes_of_the_neighbouring_steps_are_taken(
    identity: IdentityService, tools: Tools, enrolled: Someone, steps: int, taken: bool
) -> None:
    assert enrolled.totp_secret is not None
    code = totp_code(tools, enrolled.totp_secret, steps)
    token = owed(identity, enrolled)
    if taken:
        assert identity.verify_mfa(token, code, address=ADDRESS, request_id=None).profile.mfa_enrolled
    else:
        with pytest.raises(UnauthenticatedError) as caught:
            identity.verify_mfa(token, code, address=ADDRESS, request_id=None)
        assert caught.value.code == "mfa_code_invalid"


def test_a_code_is_taken_once_and_no_older_one_after_it(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    log_in(identity, tools, enrolled)
    for steps in (0, -1):
        with pytest.raises(UnauthenticatedError) as caught:
            log_in(identity, tools, enrolled, steps)
        assert caught.value.code == "mfa_code_used"
    assert log_in(identity, tools, enrolled, 1).profile.user_id == enrolled.user_id


def test_a_code_is_taken_once_by_twenty_at_the_same_moment(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    assert enrolled.totp_secret is not None
    tokens = [owed(identity, enrolled) for _ in range(20)]
    code = totp_code(tools, enrolled.totp_secret)

    def verify(token: Secret[str]) -> str:
        try:
            identity.verify_mfa(token, code, address=ADDRESS, request_id=None)
            return "in"
        except UnauthenticatedError as error:
            return error.code
        finally:
            tools.database.close()

    with ThreadPoolExecutor(10) as pool:
        outcomes = sorted(pool.map(verify, tokens))
    assert outcomes == ["in", *["mfa_code_used"] * 19]


def test_a_challenge_ends_after_five_tries(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    assert enrolled.totp_secret is not None
    token = owed(identity, enrolled)
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret, 9), address=ADDRESS, request_id=None)
    with pytest.raises(UnauthenticatedError) as caught:
        identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret), address=ADDRESS, request_id=None)
    assert caught.value.code == "mfa_token_invalid"
    assert log_in(identity, tools, enrolled).profile.user_id == enrolled.user_id


def test_a_used_code_costs_no_try(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    assert enrolled.totp_secret is not None
    log_in(identity, tools, enrolled)
    token = owed(identity, enrolled)
    for _ in range(7):
        with pytest.raises(UnauthenticatedError) as caught:
            identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret), address=ADDRESS, request_id=None)
        assert caught.value.code == "mfa_code_used"
    assert identity.verify_mfa(
        token, totp_code(tools, enrolled.totp_secret, 1), address=ADDRESS, request_id=None
    ).profile.mfa_enrolled


def test_wrong_codes_lock_the_account_over_many_challenges(
    identity: IdentityService, tools: Tools, enrolled: Someone, database_url: str
) -> None:
    assert enrolled.totp_secret is not None
    for _ in range(10):
        with pytest.raises(UnauthenticatedError):
            identity.verify_mfa(
                owed(identity, enrolled), totp_code(tools, enrolled.totp_secret, 9), address=ADDRESS, request_id=None
            )
    assert refused(identity, enrolled.email).code == "invalid_credentials"
    assert alerts(database_url, enrolled.user_id) == ["account_locked"]


def test_a_challenge_ends_after_five_minutes(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    assert enrolled.totp_secret is not None
    token = owed(identity, enrolled)
    tools.advance(timedelta(minutes=5))
    with pytest.raises(UnauthenticatedError) as caught:
        identity.verify_mfa(token, totp_code(tools, enrolled.totp_secret), address=ADDRESS, request_id=None)
    assert caught.value.code == "mfa_token_invalid"


@pytest.mark.parametrize("token", ["", "mfa_", "mfa_AAAA", "refresh_AAAA", "mfa_" + "é" * 40, "x" * 5000])
def test_a_token_we_did_not_make_is_refused(identity: IdentityService, token: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        identity.verify_mfa(Secret(token), Secret("123456"), address=ADDRESS, request_id=None)
    assert caught.value.code == "mfa_token_invalid"


def test_a_refresh_token_is_no_mfa_token(identity: IdentityService, someone: Someone) -> None:
    tokens = login(identity, someone.email)
    assert isinstance(tokens, Tokens)
    disguised = Secret(tokens.refresh.reveal().replace("refresh_", "mfa_"))
    with pytest.raises(UnauthenticatedError):
        identity.verify_mfa(disguised, Secret("123456"), address=ADDRESS, request_id=None)


def test_a_step_up_gives_a_fresh_token(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    assert enrolled.totp_secret is not None
    principal = identity.authenticate(log_in(identity, tools, enrolled).access.token.reveal())
    tools.advance(timedelta(minutes=6))
    access = identity.challenge(principal, totp_code(tools, enrolled.totp_secret), request_id=None)
    stepped = identity.authenticate(access.token.reveal())
    assert (stepped.mfa_at, stepped.session_id) == (tools.clock.now(), principal.session_id)
    with pytest.raises(UnauthenticatedError) as caught:
        identity.challenge(principal, totp_code(tools, enrolled.totp_secret), request_id=None)
    assert caught.value.code == "mfa_code_used"


def test_a_step_up_without_second_factor_asks_to_enrol(identity: IdentityService, tools: Tools, someone: Someone) -> None:
    principal = identity.authenticate(log_in(identity, tools, someone).access.token.reveal())
    with pytest.raises(ForbiddenError) as caught:
        identity.challenge(principal, Secret("123456"), request_id=None)
    assert caught.value.code == "mfa_enrolment_required"


def test_ten_wrong_step_ups_lock_the_account(identity: IdentityService, tools: Tools, enrolled: Someone) -> None:
    assert enrolled.totp_secret is not None
    principal = identity.authenticate(log_in(identity, tools, enrolled).access.token.reveal())
    for _ in range(10):
        with pytest.raises(UnauthenticatedError):
            identity.challenge(principal, totp_code(tools, enrolled.totp_secret, 9), request_id=None)
    with pytest.raises(ForbiddenError) as caught:
        identity.challenge(principal, totp_code(tools, enrolled.totp_secret, 1), request_id=None)
    assert caught.value.code == "account_locked"


def test_enrolment_counts_once_confirmed_and_its_recovery_codes_work_once(
    identity: IdentityService, tools: Tools, someone: Someone
) -> None:
    principal = identity.authenticate(log_in(identity, tools, someone).access.token.reveal())
    with pytest.raises(CardwrightError) as caught:
        identity.confirm_totp(principal, Secret("123456"), request_id=None)
    assert caught.value.code == "totp_not_started"
    identity.enrol_totp(principal, request_id=None)
    enrolment = identity.enrol_totp(principal, request_id=None)
    parsed = pyotp.parse_uri(enrolment.otpauth_url.reveal())
    assert (parsed.secret, parsed.name, parsed.issuer) == (enrolment.secret.reveal(), someone.email, "Cardwright")
    assert isinstance(login(identity, someone.email), Tokens)
    codes, access = identity.confirm_totp(principal, totp_code(tools, enrolment.secret), request_id=None)
    stepped = identity.authenticate(access.token.reveal())
    assert (stepped.mfa_enrolled, stepped.mfa_at) == (True, tools.clock.now())
    assert len({code.reveal() for code in codes}) == 10
    assert identity.verify_mfa(
        owed(identity, someone), Secret(codes[3].reveal().upper()), address=ADDRESS, request_id=None
    ).profile.mfa_enrolled
    with pytest.raises(UnauthenticatedError) as used:
        identity.verify_mfa(owed(identity, someone), codes[3], address=ADDRESS, request_id=None)
    assert used.value.code == "mfa_code_invalid"
    with pytest.raises(CardwrightError) as again:
        identity.enrol_totp(principal, request_id=None)
    assert again.value.code == "totp_already_enrolled"
    with pytest.raises(CardwrightError) as twice:
        identity.confirm_totp(principal, totp_code(tools, enrolment.secret, 1), request_id=None)
    assert twice.value.code == "totp_already_enrolled"


def test_a_wrong_code_does_not_confirm(identity: IdentityService, tools: Tools, someone: Someone) -> None:
    principal = identity.authenticate(log_in(identity, tools, someone).access.token.reveal())
    enrolment = identity.enrol_totp(principal, request_id=None)
    with pytest.raises(UnauthenticatedError) as caught:
        identity.confirm_totp(principal, totp_code(tools, enrolment.secret, 5), request_id=None)
    assert caught.value.code == "mfa_code_invalid"
    assert isinstance(login(identity, someone.email), Tokens)
